//! Which programs are there, which version, where they came from: PATH first, then `target/xtask/tools`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use camino::Utf8PathBuf;
use serde::Deserialize;
use serde_json::json;
use which::which_in;
use xshell::{Shell, cmd};

use super::fetch;
use super::versions::{Identity, KnownVersions};
use crate::outcome::Stop;
use crate::project::Project;
use crate::tools::Runner;
use crate::version::Version;

const POLICY: &str = include_str!("../../policy/tools.toml");
const VERSION_LIMIT_SECONDS: u64 = 30;

/// One program in `policy/tools.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ToolPolicy {
    /// The ways to call it, best first: as a plugin of docker or as a program of its own.
    commands: Vec<Vec<String>>,
    /// The arguments that make it print its version.
    version: Vec<String>,
    /// The oldest version that this crate works with.
    floor: String,
    /// Versions that must never run, such as those of a supply-chain attack.
    #[serde(default)]
    known_bad: Vec<String>,
    next_step: String,
    #[serde(default)]
    source: Vec<Source>,
}

/// Where a missing program can be had.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Source {
    /// A single file in a package of a Debian suite, from the mirror that the machine itself uses.
    Debian { suite: String, package: String, member: String },
    /// A single file in a wheel on PyPI, pinned by hash (one per architecture).
    Wheel { package: String, version: String, sha256: Vec<String>, member: String },
    /// A program of a crate, compiled with its own lock file.
    Crate { package: String, version: String },
}

/// A program that can be called.
#[derive(Debug, Clone)]
pub(crate) struct Tool {
    pub(crate) program: PathBuf,
    /// The leading arguments of a plugin that is called through docker: `["buildx"]`.
    pub(crate) arguments: Vec<String>,
    pub(crate) version: String,
    /// `path`, or `fetched` for one under `target/xtask/tools`.
    pub(crate) origin: &'static str,
}

impl Tool {
    pub(crate) fn evidence(&self) -> serde_json::Value {
        json!({ "version": self.version, "origin": self.origin })
    }
}

/// Finds programs and, when told to, fetches the missing ones.
#[derive(Debug)]
pub(crate) struct Toolbox<'a> {
    project: &'a Project,
    runner: &'a Runner,
    policy: BTreeMap<String, ToolPolicy>,
    known: KnownVersions,
}

impl<'a> Toolbox<'a> {
    pub(crate) fn new(project: &'a Project, runner: &'a Runner) -> Result<Self> {
        let policy =
            toml::from_str(POLICY).map_err(|error| Stop::Repository(format!("xtask/policy/tools.toml: {error}")))?;
        Ok(Self { project, runner, policy, known: KnownVersions::read(&project.out()) })
    }

    /// A program that works.
    ///
    /// # Errors
    /// [`Stop::Missing`] says what was found instead and what to do.
    pub(crate) fn find(&self, name: &str) -> Result<Tool> {
        let policy = self.policy.get(name).with_context(|| format!("xtask/policy/tools.toml has no [{name}]"))?;
        let floor = Version::find(&policy.floor).with_context(|| format!("[{name}] floor is no version"))?;
        let mut rejected = Vec::new();
        for (program, arguments, origin) in self.candidates(policy) {
            let shown = [&[program.to_string_lossy().into_owned()], arguments.as_slice()].concat().join(" ");
            let Some(version) = self.version(&program, &arguments, policy)? else { continue };
            match Version::find(&version) {
                _ if policy.known_bad.iter().any(|bad| version.contains(bad.as_str())) => {
                    rejected.push(format!("{shown} is {version}, a version known to be malicious or broken"));
                }
                Some(found) if found < floor => rejected.push(format!("{shown} is {version}, older than {floor}")),
                // A build that calls itself `dev` has no number to compare; its user knows.
                _ => return Ok(Tool { program, arguments, version, origin }),
            }
        }
        let why = if rejected.is_empty() { "not found".to_owned() } else { rejected.join("; ") };
        Err(Stop::Missing(format!("{name}: {why}; next: `cargo xtask setup`, or {}", policy.next_step)).into())
    }

    /// As [`Toolbox::find`], and fetches the program when it is missing and can be had.
    pub(crate) fn find_or_fetch(&self, name: &str) -> Result<Tool> {
        let missing = match self.find(name) {
            Ok(tool) => return Ok(tool),
            Err(error) if matches!(error.downcast_ref(), Some(Stop::Missing(_))) => error,
            Err(error) => return Err(error),
        };
        let policy = &self.policy[name];
        let mut tried = Vec::new();
        for source in &policy.source {
            match fetch::fetch(self.project, self.runner, source, &self.fetched(policy)) {
                Ok(()) => return self.find(name).context("the program that was just fetched"),
                Err(error) if matches!(error.downcast_ref(), Some(Stop::Interrupted(_))) => return Err(error),
                Err(error) => tried.push(format!("{error:#}")),
            }
        }
        if tried.is_empty() {
            return Err(missing);
        }
        Err(Stop::Missing(format!("{name} could not be fetched ({}); next: {}", tried.join("; "), policy.next_step))
            .into())
    }

    /// The place of a fetched program: its file is named after the standalone command.
    fn fetched(&self, policy: &ToolPolicy) -> Utf8PathBuf {
        let name = policy.commands.last().and_then(|command| command.first()).map_or("tool", String::as_str);
        self.project.out().join("tools").join(name)
    }

    fn candidates(&self, policy: &ToolPolicy) -> Vec<(PathBuf, Vec<String>, &'static str)> {
        let mut found = Vec::new();
        for command in &policy.commands {
            let [program, arguments @ ..] = command.as_slice() else { continue };
            if let Ok(path) = which_in(program, Some(&self.project.environment.path), &self.project.root) {
                found.push((path, arguments.to_vec(), "path"));
            }
        }
        let fetched = self.fetched(policy);
        if fetched.is_file() {
            found.push((fetched.into_std_path_buf(), Vec::new(), "fetched"));
        }
        found
    }

    /// What the program says of itself; `None` when it does not run or does not know the subcommand (a missing plugin).
    fn version(&self, program: &Path, arguments: &[String], policy: &ToolPolicy) -> Result<Option<String>> {
        // A plugin may come and go while the program that calls it stays the same.
        let file = if arguments.is_empty() { Identity::of(program) } else { None };
        if let Some(known) = file.as_ref().and_then(|file| self.known.version(program, file)) {
            return Ok(Some(known));
        }
        let version = self.ask_version(program, arguments, policy)?;
        if let (Some(file), Some(version)) = (file, &version) {
            self.known.keep(program, file, version.clone())?;
        }
        Ok(version)
    }

    fn ask_version(&self, program: &Path, arguments: &[String], policy: &ToolPolicy) -> Result<Option<String>> {
        let shell = Shell::new()?;
        let ask = &policy.version;
        match self.runner.capture(cmd!(shell, "{program} {arguments...} {ask...}"), VERSION_LIMIT_SECONDS) {
            // The docker client prints its version even when the engine is out of reach and the exit status is not zero.
            Ok(captured) if captured.status.success() || Version::find(&captured.stdout).is_some() => {
                Ok(Some(captured.stdout.lines().next().unwrap_or_default().trim().to_owned()))
            }
            Ok(_) => Ok(None),
            Err(error) if matches!(error.downcast_ref(), Some(Stop::Interrupted(_))) => Err(error),
            Err(_) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_parses_and_every_floor_is_a_version() {
        let policy: BTreeMap<String, ToolPolicy> = toml::from_str(POLICY).unwrap();
        for (name, tool) in policy {
            assert!(Version::find(&tool.floor).is_some(), "{name}");
            assert!(!tool.commands.is_empty(), "{name}");
        }
    }

    #[test]
    fn an_unknown_key_in_the_policy_is_an_error() {
        let text = "[x]\ncommands = [[\"x\"]]\nversion = []\nfloor = \"1.0\"\nnext-step = \"\"\nfloors = 1\n";
        assert!(toml::from_str::<BTreeMap<String, ToolPolicy>>(text).is_err());
    }
}
