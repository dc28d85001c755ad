//! The stack of this checkout: which Compose project it is, found by label, whether there is an env file or not.

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use xshell::{Shell, cmd};
use xtask_engine::Tool;
use xtask_outcome::Stop;
use xtask_process::Lock;
use xtask_workspace::Context;

use crate::leftovers::Leftovers;
use crate::readiness::{self, ContainerState};
use crate::stack::inspect;

/// Compose reads it from an env file, too: `docker compose` by hand means the same stack.
pub(super) const PROJECT_VARIABLE: &str = "COMPOSE_PROJECT_NAME";
const PROJECT_FORMAT: &str = "{{.Label \"com.docker.compose.project\"}}";
const QUERY_LIMIT_SECONDS: u64 = 60;
/// As long as a first `up` may take once its images are built.
const TURN_LIMIT_SECONDS: u64 = 600;

/// The stack of this checkout, as the engine has it.
#[derive(Debug)]
pub(super) struct Own {
    /// The Compose project.
    pub(super) project: String,
    /// Its containers, also those that have ended.
    pub(super) containers: Vec<ContainerState>,
    /// While it lives, no other process changes this stack.
    _turn: Lock,
}

impl Own {
    /// Finds it, and keeps others from changing it meanwhile.
    ///
    /// # Errors
    /// [`Stop::Absent`] when the project is another checkout's.
    pub(super) fn take(context: &Context, docker: &Tool) -> Result<Self> {
        let lock = context.project.out().join("stack.lock");
        let holder = "another command that changes the stack of this checkout";
        let turn = Lock::take(&lock, &context.runner, TURN_LIMIT_SECONDS, holder)?;
        let project = project(context, docker)?;
        let containers = containers(context, docker, &project)?;
        Ok(Self { project, containers, _turn: turn })
    }

    pub(super) fn leftovers(&self, context: &Context, docker: &Tool) -> Result<Leftovers> {
        Leftovers::of(context, docker, &self.project)
    }
}

/// The containers of a project, unless they are another checkout's.
pub(super) fn containers(context: &Context, docker: &Tool, project: &str) -> Result<Vec<ContainerState>> {
    let bad = context.project.stack.probe.bad_environment_exit_code;
    let containers: Vec<_> =
        inspect(context, docker, project)?.iter().map(|one| readiness::container_state(one, bad)).collect();
    let root = &context.project.root;
    // A checkout that was moved, or is gone, has no claim any more.
    let is_foreign =
        |folder: &&str| !folder.is_empty() && !is_same(Utf8Path::new(folder), root) && Utf8Path::new(folder).is_dir();
    if let Some(other) = containers.iter().map(|container| container.folder.as_str()).find(is_foreign) {
        let name = derived(&context.project.stack.project, root);
        let text = format!(
            "refused: the Compose project {project} is the stack of another checkout, {other}; next: give this one a name of its own, \
             `sed -i /^{PROJECT_VARIABLE}=/d .env; echo {PROJECT_VARIABLE}={name} >>.env`"
        );
        return Err(Stop::Absent(text).into());
    }
    Ok(containers)
}

pub(super) fn env_file(context: &Context) -> Utf8PathBuf {
    context.project.root.join(".env")
}

/// The name of this checkout's project: what its env file says; without one, the project of the containers that were started
/// from here; without those, the name that a new env file would get.
///
/// # Errors
/// When the env file cannot be read, or the engine does not answer.
pub(super) fn project(context: &Context, docker: &Tool) -> Result<String> {
    let (policy, file) = (&context.project.stack.project, env_file(context));
    match std::fs::read_to_string(&file) {
        // One without the name was made by hand, or by an older version: Compose takes the name in the Compose file.
        Ok(text) => return Ok(named(&text).unwrap_or_else(|| policy.clone())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("read {file}")),
    }
    let (shell, docker) = (Shell::new()?, &docker.program);
    let label = format!("label=com.docker.compose.project.working_dir={}", context.project.root);
    let list = cmd!(shell, "{docker} ps --all --filter {label} --format {PROJECT_FORMAT}");
    let projects = context.runner.read(list, QUERY_LIMIT_SECONDS)?;
    let runs = format!("{policy}-e2e-");
    let started = projects.lines().find(|project| !project.is_empty() && !project.starts_with(&runs));
    Ok(started.map_or_else(|| derived(policy, &context.project.root), ToOwned::to_owned))
}

/// What an env file's text sets the project's name to.
fn named(text: &str) -> Option<String> {
    let value =
        text.lines().rev().find_map(|line| line.trim_start().strip_prefix(PROJECT_VARIABLE)?.strip_prefix('='))?;
    let value = value.trim().trim_matches(['"', '\'']);
    (!value.is_empty()).then(|| value.to_owned())
}

/// A name that is this checkout's alone, as long as it stays where it is: two copies on one machine do not meet.
pub(super) fn derived(policy: &str, root: &Utf8Path) -> String {
    let root = root.canonicalize_utf8().unwrap_or_else(|_| root.to_owned());
    format!("{policy}-{:08x}", fnv_1a(root.as_str()))
}

/// The hash of Fowler, Noll and Vo: a name that lasts must not change with the toolchain, as the standard library's may.
fn fnv_1a(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

fn is_same(one: &Utf8Path, other: &Utf8Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkout_keeps_its_name_and_another_one_has_another() {
        let one = derived("shop", Utf8Path::new("/nowhere/one"));
        assert_eq!(one, derived("shop", Utf8Path::new("/nowhere/one")));
        assert_ne!(one, derived("shop", Utf8Path::new("/nowhere/two")));
        // It stands in env files and in the names of volumes, so it may never change.
        assert_eq!((fnv_1a(""), fnv_1a("a"), fnv_1a("foobar")), (0x811c_9dc5, 0xe40c_292c, 0xbf9c_f968));
        assert!(one.strip_prefix("shop-").unwrap().bytes().all(|byte| byte.is_ascii_hexdigit()));
    }

    #[test]
    fn the_name_is_what_the_env_file_says_last() {
        assert_eq!(named("A=1\nCOMPOSE_PROJECT_NAME=one\nCOMPOSE_PROJECT_NAME=\"two\"\n").as_deref(), Some("two"));
        assert_eq!(named("COMPOSE_PROJECT_NAME=\n# COMPOSE_PROJECT_NAME=x\nXCOMPOSE_PROJECT_NAME=y\n"), None);
    }
}
