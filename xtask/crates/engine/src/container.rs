//! Containers that run for a moment: each has a name and a label, and ends when its client is stopped.

use anyhow::{Context as _, Result};
use xshell::{Cmd, Shell, cmd};
use xtask_outcome::Stop;
use xtask_process::{Captured, random_hex};
use xtask_workspace::Context;

use crate::Tool;

/// On every container that xtask starts outside Compose; its value is the root of the checkout that started it.
pub const CHECKOUT_LABEL: &str = "xtask.checkout";
const PURPOSE_LABEL: &str = "xtask.purpose";
const REMOVE_LIMIT_SECONDS: u64 = 60;
const NAME_BYTES: usize = 6;

/// A container that does one thing and ends.
#[derive(Debug)]
pub struct OneShot<'a> {
    context: &'a Context,
    docker: &'a Tool,
    name: String,
    purpose: &'static str,
}

/// How `docker run` ended, as far as the engine is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// The program ran; its exit code.
    Ran(Option<i32>),
    /// The engine could not start any program (125): its own fault, or the image's user or settings.
    Refused(String),
    /// The program is not one that can run (126, 127): it is not there, not executable, or of another architecture.
    NoProgram(String),
}

impl Start {
    /// Reads the exit status of `docker run`.
    pub fn of(captured: &Captured) -> Self {
        let why = || captured.tail().replace("docker: Error response from daemon: ", "");
        match captured.status.code() {
            Some(125) => Self::Refused(why()),
            // A program of its own may end with these, too; then the client has nothing to say.
            Some(126 | 127) if captured.stderr.contains("docker: ") => Self::NoProgram(why()),
            code => Self::Ran(code),
        }
    }
}

impl<'a> OneShot<'a> {
    /// A container with a name of its own. `purpose` is part of the name and a label.
    ///
    /// # Errors
    /// When the kernel gives no random bytes.
    pub fn new(context: &'a Context, docker: &'a Tool, purpose: &'static str) -> Result<Self> {
        let name = format!("{}-{purpose}-{}", context.project.stack.project, random_hex(NAME_BYTES)?);
        Ok(Self { context, docker, name, purpose })
    }

    /// The arguments of `docker run` that name and label it.
    pub fn arguments(&self) -> Vec<String> {
        let label = |name: &str, value: &str| ["--label".to_owned(), format!("{name}={value}")];
        let mut arguments = vec!["--name".to_owned(), self.name.clone()];
        arguments.extend(label(PURPOSE_LABEL, self.purpose));
        arguments.extend(label(CHECKOUT_LABEL, self.context.project.root.as_str()));
        arguments
    }

    /// Runs `docker run --rm` with [`OneShot::arguments`] in it.
    ///
    /// # Errors
    /// As [`xtask_process::Runner::capture`]; the container is then removed, since it outlives a client that is killed.
    pub fn capture(&self, run: Cmd<'_>, limit_seconds: u64) -> Result<Captured> {
        let captured = self.context.runner.capture(run, limit_seconds);
        if captured.is_err() {
            self.remove();
        }
        captured
    }

    /// As [`OneShot::capture`], and gives the trimmed stdout of a program that ended with 0.
    ///
    /// # Errors
    /// [`Stop::Broken`] otherwise.
    pub fn read(&self, run: Cmd<'_>, limit_seconds: u64) -> Result<String> {
        let captured = self.capture(run, limit_seconds)?;
        if captured.status.success() {
            return Ok(captured.stdout.trim_end().to_owned());
        }
        Err(Stop::Broken(format!(
            "the container for {} failed with {}: {}",
            self.purpose,
            captured.status,
            captured.tail()
        ))
        .into())
    }

    /// Removes it, should it still be there: for one that was not run by [`OneShot::capture`].
    pub fn remove(&self) {
        let Ok(shell) = Shell::new() else { return };
        let (docker, name) = (&self.docker.program, &self.name);
        // It may never have been made, or be gone by now.
        let remove = cmd!(shell, "{docker} rm --force --volumes {name}");
        let _ = self.context.runner.for_clean_up().capture(remove, REMOVE_LIMIT_SECONDS);
    }
}

/// Removes the containers that this checkout's killed runs left; gives how many.
///
/// # Errors
/// [`Stop::Broken`] when the engine refuses.
pub fn remove_one_shots(context: &Context, docker: &Tool) -> Result<usize> {
    let shell = Shell::new()?;
    let (docker, runner) = (&docker.program, context.runner.for_clean_up());
    let label = format!("label={CHECKOUT_LABEL}={}", context.project.root);
    let list = cmd!(shell, "{docker} ps --all --quiet --filter {label}");
    let ids = runner.read(list, REMOVE_LIMIT_SECONDS).context("look for containers of killed runs")?;
    let ids: Vec<_> = ids.lines().collect();
    let count = ids.len();
    if count > 0 {
        runner.read(cmd!(shell, "{docker} rm --force --volumes {ids...}"), REMOVE_LIMIT_SECONDS)?;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;

    fn ended(code: i32, stderr: &str) -> Start {
        Start::of(&Captured {
            status: ExitStatus::from_raw(code << 8),
            stdout: String::new(),
            stderr: stderr.to_owned(),
        })
    }

    #[test]
    fn the_engines_own_failures_are_told_from_the_programs() {
        let shim = "docker: Error response from daemon: failed to start shim: fork/exec: no such file";
        assert_eq!(ended(125, shim), Start::Refused("failed to start shim: fork/exec: no such file".into()));
        let missing = "docker: Error response from daemon: exec: \"/x\": stat /x: no such file or directory: unknown.";
        assert!(matches!(ended(127, missing), Start::NoProgram(why) if why.starts_with("exec:")));
        assert_eq!(ended(127, "sh: x: not found"), Start::Ran(Some(127)));
        assert_eq!((ended(0, ""), ended(1, "panicked")), (Start::Ran(Some(0)), Start::Ran(Some(1))));
    }
}
