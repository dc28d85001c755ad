//! What a built image is, read from the engine and from the image itself. Facts of an image id never change, so they are
//! kept by it; verdicts over them are made anew each time.

use std::thread::{self, ScopedJoinHandle};

use anyhow::{Context as _, Result, anyhow};
use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use xshell::{Shell, cmd};

use super::archive::{Archive, ImageFile};
use super::plan::ImagePlan;
use super::program;
use crate::context::Context;
use crate::engine::inspect;
use crate::outcome::Stop;
use crate::setup::tools::Tool;

const ENGINE_LIMIT_SECONDS: u64 = 60;
/// A program that only prints must end long before this.
const PROGRAM_LIMIT_SECONDS: u64 = 20;

/// What is known of one image id.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImageFacts {
    pub(crate) id: String,
    /// The bytes of all files of all layers, uncompressed: image stores disagree about `.Size`.
    pub(crate) size_bytes: u64,
    /// Every entry of every layer.
    pub(crate) files: Vec<ImageFile>,
    /// User, entrypoint, variables, labels, healthcheck, as the image's own configuration has them.
    pub(crate) config: Value,
    /// What made each step, as the builder noted it.
    pub(crate) history: Vec<String>,
    /// What the program prints for `--version`.
    pub(crate) version_line: String,
    /// What the program prints for `env --format json`: its contract.
    pub(crate) contract: Value,
}

/// Reads images through the engine.
#[derive(Debug)]
pub(crate) struct Images<'a> {
    pub(crate) context: &'a Context,
    pub(crate) docker: &'a Tool,
}

impl<'a> Images<'a> {
    pub(crate) fn new(context: &'a Context, docker: &'a Tool) -> Self {
        Self { context, docker }
    }

    /// The id that a reference stands for in the local engine.
    pub(crate) fn id(&self, reference: &str) -> Result<Option<String>> {
        let found = inspect(&self.context.runner, self.docker, &[reference.to_owned()])?;
        Ok(found.into_values().flatten().map(|image| image.id).next())
    }

    /// Makes a tag stand for an id.
    pub(crate) fn tag(&self, id: &str, tag: &str) -> Result<()> {
        let (shell, docker) = (Shell::new()?, &self.docker.program);
        self.context.runner.read(cmd!(shell, "{docker} image tag {id} {tag}"), ENGINE_LIMIT_SECONDS).map(drop)
    }

    /// The facts of an image id, read once and kept.
    pub(crate) fn facts(&self, package: &str, id: &str) -> Result<ImageFacts> {
        if let Some(known) = self.kept(id) {
            return Ok(known);
        }
        let facts = self.read_facts(package, id)?;
        let store = self.store(id);
        // Renamed into place: another build may be reading.
        let staged = Utf8PathBuf::from(format!("{store}.{}", std::process::id()));
        Shell::new()?.write_file(&staged, serde_json::to_vec_pretty(&facts)?)?;
        std::fs::rename(&staged, &store).with_context(|| format!("keep the facts of {id}"))?;
        Ok(facts)
    }

    fn store(&self, id: &str) -> Utf8PathBuf {
        self.context.project.out().join("images").join(format!("{}.json", id.trim_start_matches("sha256:")))
    }

    /// What is kept of an image id; asks nobody.
    pub(crate) fn kept(&self, id: &str) -> Option<ImageFacts> {
        std::fs::read(self.store(id)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok())
    }

    fn read_facts(&self, package: &str, id: &str) -> Result<ImageFacts> {
        // Each waits for the engine most of its time: at once they take as long as the slowest.
        let (archive, version_line, contract) = thread::scope(|scope| {
            let version = scope.spawn(|| self.ask(id, &["--version"]));
            let contract = scope.spawn(|| self.ask(id, &["env", "--format", "json"]));
            (self.saved(package, id), joined(version), joined(contract))
        });
        let (archive, version_line, contract) = (archive?, version_line?, contract?);
        let contract = serde_json::from_str(&contract)
            .map_err(|error| Stop::Repository(format!("{package} env --format json prints no JSON: {error}")))?;
        Ok(ImageFacts {
            id: id.to_owned(),
            size_bytes: archive.files.iter().map(|file| file.size_bytes).sum(),
            files: archive.files,
            config: archive.config,
            history: archive.history,
            version_line,
            contract,
        })
    }

    /// Reads the image out of its archive, without a container, and checks the program in it.
    fn saved(&self, package: &str, id: &str) -> Result<Archive> {
        let (shell, docker, runner) = (Shell::new()?, &self.docker.program, &self.context.runner);
        let folder = self.context.project.out().join("images").join(format!("saved-{package}-{}", std::process::id()));
        shell.remove_path(&folder)?;
        shell.create_dir(&folder)?;
        let read = || -> Result<Archive> {
            let file = folder.join("image.tar");
            runner.read(cmd!(shell, "{docker} image save --output {file} {id}"), ENGINE_LIMIT_SECONDS)?;
            let archive = Archive::read(&shell, runner, &file, &folder)?;
            program::check(package, &archive.program(&shell, runner, package)?)?;
            Ok(archive)
        };
        let archive = read();
        shell.remove_path(&folder)?;
        archive
    }

    /// Runs the image's program, locked down, and gives what it prints.
    fn ask(&self, id: &str, arguments: &[&str]) -> Result<String> {
        let (shell, docker) = (Shell::new()?, &self.docker.program);
        let run = cmd!(
            shell,
            "{docker} run --rm --network none --read-only --cap-drop ALL --security-opt no-new-privileges {id} {arguments...}"
        );
        let captured = self.context.runner.capture(run, PROGRAM_LIMIT_SECONDS)?;
        if captured.status.success() {
            return Ok(captured.stdout.trim().to_owned());
        }
        let asked = arguments.join(" ");
        Err(Stop::Repository(format!("the image {id} fails on `{asked}` ({}): {}", captured.status, captured.tail()))
            .into())
    }
}

/// What a thread found.
pub(super) fn joined<T>(thread: ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|_| Err(anyhow!("a thread that looked at an image panicked")))
}

/// Proves that an image holds the program that its plan means.
///
/// # Errors
/// [`Stop::Repository`] names the image and what it says of itself instead.
pub(crate) fn check_identity(plan: &ImagePlan, facts: &ImageFacts) -> Result<()> {
    let expected = format!("({})", plan.revision.id);
    if !facts.version_line.starts_with(&plan.package) || !facts.version_line.contains(&expected) {
        let text = format!(
            "{} holds another program than was built: it says `{}`, expected revision {}",
            plan.tag, facts.version_line, plan.revision.id
        );
        return Err(Stop::Repository(text).into());
    }
    if facts.contract["service"] != plan.package.as_str() {
        return Err(
            Stop::Repository(format!("{} prints the contract of {}", plan.tag, facts.contract["service"])).into()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build_images::inputs::Revision;
    use serde_json::json;

    #[test]
    fn an_older_program_under_a_new_tag_is_refused() {
        let plan = ImagePlan {
            name: "user".into(),
            package: "mini-user".into(),
            tag: "mini-user:local".into(),
            dockerfile: "services/user/Dockerfile".into(),
            revision: Revision { id: "new".into(), created: String::new(), epoch: 0 },
        };
        let mut facts = ImageFacts {
            id: "sha256:1".into(),
            size_bytes: 1,
            files: vec![],
            config: Value::Null,
            history: vec![],
            version_line: "mini-user 0.1.0 (old)".into(),
            contract: json!({ "service": "mini-user" }),
        };
        assert!(check_identity(&plan, &facts).is_err());
        facts.version_line = "mini-user 0.1.0 (new)".into();
        check_identity(&plan, &facts).unwrap();
        facts.version_line = String::new();
        assert!(check_identity(&plan, &facts).is_err());
    }
}
