//! What a built image is, read from the engine and from the image itself. Facts of an image id never change, so they are
//! kept by it; every verdict over them is judged anew.

use std::thread::{self, ScopedJoinHandle};

use anyhow::{Result, anyhow};
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use xshell::{Shell, cmd};
use xtask_engine::{OneShot, Start, Tool, inspect};
use xtask_outcome::Stop;
use xtask_process::put;
use xtask_workspace::Context;

use crate::objection::Objection;
use crate::plan::ImagePlan;
use crate::program;
use crate::saved_image::{ImageFile, SavedImage};

const ENGINE_LIMIT_SECONDS: u64 = 60;
/// A program that only prints must end long before this.
const PROGRAM_LIMIT_SECONDS: u64 = 20;
/// Where a program's side of the bargain is written down.
const INTERFACE: &str = "docs/adopting.md";

/// What is known of one image id.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ImageFacts {
    /// `sha256:…`.
    pub id: String,
    /// The bytes of all files of all layers, uncompressed: image stores disagree about `.Size`.
    pub size_bytes: u64,
    /// Every entry of every layer.
    pub files: Vec<ImageFile>,
    /// User, entrypoint, variables, labels, healthcheck, as the image's own configuration has them.
    pub config: Value,
    /// What made each step, as the builder noted it.
    pub history: Vec<String>,
    /// What is wrong with the program's file; empty for one that can run and be scanned.
    pub program_faults: Vec<String>,
    /// What the program says of itself; `None` as long as nobody could run it.
    pub program: Option<ProgramFacts>,
}

impl ImageFacts {
    /// Of an image that nobody looks into.
    pub(crate) fn unseen(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            size_bytes: 0,
            files: Vec::new(),
            config: Value::Null,
            history: Vec::new(),
            program_faults: Vec::new(),
            program: None,
        }
    }
}

/// What a program says of itself.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ProgramFacts {
    /// What it prints for `--version`.
    pub version_line: String,
    /// What it prints for `env --format json`: its contract.
    pub contract: Value,
}

/// A file of an image in the engine, read out of the image's archive: no container is made.
///
/// # Errors
/// When the engine does not give the image, and when the image has no such file.
pub fn file_of_image(context: &Context, docker: &Tool, id: &str, path: &str) -> Result<Vec<u8>> {
    let name = path.trim_start_matches('/').replace('/', "_");
    Ok(Images { context, docker }.saved(&name, id)?.content(path)?.to_vec())
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

    /// The facts of an image id that need no container, and those of its program if they are known from before.
    pub(crate) fn facts(&self, package: &str, id: &str) -> Result<ImageFacts> {
        if let Some(known) = self.kept(id) {
            return Ok(known);
        }
        let saved = self.saved(package, id)?;
        let files = saved.files();
        let program = saved.content(&format!("/{package}"));
        Ok(ImageFacts {
            id: id.to_owned(),
            size_bytes: files.iter().map(|file| file.size_bytes).sum(),
            config: saved.config().clone(),
            history: saved.history(),
            program_faults: program.map(program::faults).unwrap_or_else(|stop| vec![stop.to_string()]),
            program: None,
            files,
        })
    }

    /// Keeps the facts of an image, so that its program is run once.
    pub(crate) fn keep(&self, facts: &ImageFacts) -> Result<()> {
        put(&self.store(&facts.id), serde_json::to_vec_pretty(facts)?)
    }

    fn store(&self, id: &str) -> Utf8PathBuf {
        self.context.project.out().join("images").join(format!("{}.json", id.trim_start_matches("sha256:")))
    }

    /// What is kept of an image id; asks nobody.
    pub(crate) fn kept(&self, id: &str) -> Option<ImageFacts> {
        std::fs::read(self.store(id)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok())
    }

    /// What the program says of itself, or what keeps it from saying so.
    ///
    /// # Errors
    /// [`Stop::Broken`] when the engine starts no container, whatever is in it; an interrupt.
    pub(crate) fn program(&self, package: &str, id: &str) -> Result<Result<ProgramFacts, Objection>> {
        // Each waits for the engine most of its time: at once they take as long as the slower.
        let (version, contract) = thread::scope(|scope| {
            let version = scope.spawn(|| self.ask(id, &["--version"]));
            let contract = self.ask(id, &["env", "--format", "json"]);
            (joined(version), contract)
        });
        let objection = |words: String| Objection::new("image-interface", "program", words);
        let (version_line, contract) = match (version?, contract?) {
            (Ok(version), Ok(contract)) if version.is_empty() && contract.is_empty() => {
                let words = "its program prints nothing at all: an empty stand-in was compiled in its place";
                return Ok(Err(Objection::new("image-other-program", "program", words)));
            }
            (Ok(version), Ok(contract)) => (version, contract),
            (Err(words), _) | (_, Err(words)) => return Ok(Err(objection(words))),
        };
        match serde_json::from_str(&contract) {
            Ok(contract) => Ok(Ok(ProgramFacts { version_line, contract })),
            Err(error) => Ok(Err(objection(format!("`{package} env --format json` prints no JSON: {error}")))),
        }
    }

    /// Reads the image out of its archive, without a container.
    fn saved(&self, package: &str, id: &str) -> Result<SavedImage> {
        let (shell, docker, runner) = (Shell::new()?, &self.docker.program, &self.context.runner);
        let folder = self.context.project.out().join("images").join(format!("saved-{package}-{}", std::process::id()));
        shell.remove_path(&folder)?;
        shell.create_dir(&folder)?;
        let file = folder.join("image.tar");
        let saved = runner.read(cmd!(shell, "{docker} image save --output {file} {id}"), ENGINE_LIMIT_SECONDS);
        let saved = saved.and_then(|_| SavedImage::read(&file));
        shell.remove_path(&folder)?;
        saved
    }

    /// Runs the image's program, locked down, and gives what it prints, or what is wrong with it.
    fn ask(&self, id: &str, arguments: &[&str]) -> Result<Result<String, String>> {
        let (shell, docker) = (Shell::new()?, &self.docker.program);
        let container = OneShot::new(self.context, self.docker, "ask")?;
        let own = container.arguments();
        let run = cmd!(
            shell,
            "{docker} run --rm {own...} --network none --read-only --cap-drop ALL --security-opt no-new-privileges {id} {arguments...}"
        );
        let asked = arguments.join(" ");
        let captured = match container.capture(run, PROGRAM_LIMIT_SECONDS) {
            Ok(captured) => captured,
            Err(error) if matches!(Stop::of(&error), Some(Stop::TimedOut(_))) => {
                let words = format!("its program does not end on `{asked}` within {PROGRAM_LIMIT_SECONDS} s");
                return Ok(Err(words));
            }
            Err(error) => return Err(error),
        };
        match Start::of(&captured) {
            Start::Ran(Some(0)) => Ok(Ok(captured.stdout.trim().to_owned())),
            Start::Ran(_) => {
                Ok(Err(format!("its program fails on `{asked}` ({}): {}", captured.status, captured.tail())))
            }
            Start::NoProgram(why) => Ok(Err(format!("its program cannot be run: {why}"))),
            Start::Refused(why) => {
                let text = format!(
                    "the engine could not start a container of {id} ({why}); next: `docker run --rm {id} {asked}`"
                );
                Err(Stop::Broken(text).into())
            }
        }
    }
}

/// The contract of a program that does not print one, from the file that its manifest names.
///
/// # Errors
/// What is wrong with the file.
pub(crate) fn given(file: &Utf8Path) -> Result<ProgramFacts, Objection> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string());
    let read = text.and_then(|text| serde_json::from_str(&text).map_err(|error| error.to_string()));
    read.map(|contract| ProgramFacts { version_line: String::new(), contract }).map_err(|why| {
        Objection::new("image-interface", "program", format!("its contract {file} cannot be read: {why}"))
    })
}

/// What a thread found.
pub(crate) fn joined<T>(thread: ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|_| Err(anyhow!("a thread that looked at an image panicked")))
}

/// What to do about a program that does not say what it has to.
pub(crate) fn interface_next_step() -> String {
    format!(
        "{INTERFACE} says what a program has to offer: `--version`, `env --format json`, `healthcheck`, exit code 78"
    )
}

/// Whether an image holds another program than its plan means.
pub(crate) fn other_program(plan: &ImagePlan, program: &ProgramFacts) -> Option<Objection> {
    let expected = format!("({})", plan.revision.id);
    let said = &program.version_line;
    // One whose contract is a file says nothing of itself; its label is held to the plan.
    if plan.contract.is_none() && (!said.starts_with(&plan.package) || !said.contains(&expected)) {
        let message = format!(
            "it holds another program than was built: it says `{said}`, expected revision {}",
            plan.revision.id
        );
        return Some(Objection::new("image-other-program", "program", message));
    }
    let service = &program.contract["service"];
    (service != plan.package.as_str()).then(|| {
        Objection::new("image-other-program", "program", format!("its program prints the contract of {service}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::Revision;
    use serde_json::json;

    #[test]
    fn an_older_program_under_a_new_tag_is_refused() {
        let plan = ImagePlan {
            name: "user".into(),
            package: "mini-user".into(),
            tag: "mini-user:local".into(),
            contract: None,
            dockerfile: "services/user/Dockerfile".into(),
            revision: Revision { id: "new".into(), created: String::new(), epoch: 0 },
            version: "0.1.0".into(),
            source: None,
        };
        let says = |version_line: &str, service: &str| ProgramFacts {
            version_line: version_line.into(),
            contract: json!({ "service": service }),
        };
        assert!(other_program(&plan, &says("mini-user 0.1.0 (old)", "mini-user")).is_some());
        assert_eq!(other_program(&plan, &says("mini-user 0.1.0 (new)", "mini-user")), None);
        assert!(other_program(&plan, &says("", "mini-user")).is_some());
        assert!(other_program(&plan, &says("mini-user 0.1.0 (new)", "mini-order")).is_some());
        let given = ImagePlan { contract: Some("contract.json".into()), ..plan };
        assert_eq!(other_program(&given, &says("", "mini-user")), None);
        assert!(other_program(&given, &says("", "mini-order")).is_some());
    }
}
