//! Which programs are there, which version, where they came from: PATH first, then `target/xtask/tools`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use camino::Utf8PathBuf;
use serde_json::json;
use which::which_in;
use xshell::{Shell, cmd};
use xtask_outcome::Stop;
use xtask_process::Runner;
use xtask_workspace::Project;

use crate::fetch;
use crate::known_versions::{Answer, Identity, KnownVersions};
use crate::plugins;
use crate::tool_policy::{self, ToolPolicy};
use crate::version::Version;

const VERSION_LIMIT_SECONDS: u64 = 30;

/// A program that can be called.
#[derive(Debug, Clone)]
pub struct Tool {
    /// Its file.
    pub program: PathBuf,
    /// The leading arguments of a plugin that is called through docker: `["buildx"]`.
    pub arguments: Vec<String>,
    /// What it says of its version, in one line.
    pub version: String,
    /// `path`, or `fetched` for one under `target/xtask/tools`.
    pub origin: &'static str,
}

impl Tool {
    /// Version and origin, for a report.
    pub fn evidence(&self) -> serde_json::Value {
        json!({ "version": self.version, "origin": self.origin })
    }
}

/// Finds programs and, when told to, fetches the missing ones.
#[derive(Debug)]
pub struct Toolbox<'a> {
    project: &'a Project,
    runner: &'a Runner,
    policy: BTreeMap<String, ToolPolicy>,
    known: KnownVersions,
}

impl<'a> Toolbox<'a> {
    /// # Errors
    /// [`Stop::Repository`] when the policy cannot be read.
    pub fn new(project: &'a Project, runner: &'a Runner) -> Result<Self> {
        Ok(Self { project, runner, policy: tool_policy::load(project)?, known: KnownVersions::read(&project.out()) })
    }

    /// A program that works.
    ///
    /// # Errors
    /// [`Stop::Absent`] says what was found instead and what to do.
    pub fn find(&self, name: &str) -> Result<Tool> {
        let policy = self.policy.get(name).with_context(|| format!("policy/tools.toml has no [{name}]"))?;
        let floor = Version::find(&policy.floor).with_context(|| format!("[{name}] floor is no version"))?;
        let mut rejected = Vec::new();
        for (program, arguments, origin) in self.candidates(policy) {
            let shown = shown(&program, &arguments);
            let version = match self.version(&program, &arguments, policy)? {
                Ok(version) => version,
                Err(why) => {
                    rejected.push(format!("{shown}: {why}"));
                    continue;
                }
            };
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
        // Setup is no way out for what it cannot fetch.
        let setup = if policy.source.is_empty() { "" } else { "`cargo xtask setup`, or " };
        Err(Stop::Absent(format!("{name}: {why}; next: {setup}{}", policy.next_step)).into())
    }

    /// As [`Toolbox::find`], and fetches the program when it is missing and there is a source.
    ///
    /// # Errors
    /// [`Stop::Absent`] says what was tried.
    pub fn find_or_fetch(&self, name: &str) -> Result<Tool> {
        let missing = match self.find(name) {
            Ok(tool) => return Ok(tool),
            Err(error) if Stop::is_absent(&error) => error,
            Err(error) => return Err(error),
        };
        let policy = &self.policy[name];
        let mut tried = Vec::new();
        for source in &policy.source {
            match fetch::fetch(self.project, self.runner, source, &self.fetched(policy)) {
                Ok(()) => return self.find(name).context("the program that was just fetched"),
                Err(error) if Stop::is_interrupt(&error) => return Err(error),
                Err(error) => tried.push(format!("{error:#}")),
            }
        }
        if tried.is_empty() {
            return Err(missing);
        }
        Err(Stop::Absent(format!("{name} could not be fetched ({}); next: {}", tried.join("; "), policy.next_step))
            .into())
    }

    /// Fetches a program from its pinned source whatever is there, and gives its file: what goes into a base comes from the policy,
    /// not from what this machine has on PATH.
    ///
    /// # Errors
    /// The fetch's own failure.
    pub(crate) fn fetch_pinned(&self, name: &str) -> Result<Utf8PathBuf> {
        let policy = self.policy.get(name).with_context(|| format!("policy/tools.toml has no [{name}]"))?;
        let source = policy.source.first().with_context(|| format!("policy/tools.toml: [{name}] has no source"))?;
        let file = self.fetched(policy);
        fetch::fetch(self.project, self.runner, source, &file)?;
        Ok(file)
    }

    /// What [`Toolbox::fetch_pinned`] would fetch, for hashing.
    pub(crate) fn pin(&self, name: &str) -> String {
        format!("{:?}", self.policy.get(name).map(|policy| &policy.source))
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

    /// What the program says of itself, or why it says nothing: it does not run, or does not know the subcommand (a missing
    /// plugin).
    fn version(&self, program: &Path, arguments: &[String], policy: &ToolPolicy) -> Result<Answer> {
        let plugins = arguments.first().map(|name| plugins::files(&self.project.environment, name)).unwrap_or_default();
        let command = shown(program, arguments);
        let states =
            || std::iter::once(program).chain(plugins.iter().map(PathBuf::as_path)).map(Identity::of).collect();
        let files: Vec<_> = states();
        // That a plugin is not there is believed only while there is something else to call: somebody who has just put it where
        // nobody looks would not get past it.
        let is_of_use = |answer: &Answer| answer.is_ok() || self.fetched(policy).is_file();
        if let Some(known) = self.known.answer(&command, &files).filter(is_of_use) {
            return Ok(known);
        }
        let version = self.ask_version(program, arguments, policy)?;
        let has_plugin = plugins.iter().any(|file| plugins::is_plugin(file) && file.is_file());
        let is_decided_by_files = if arguments.is_empty() { version.is_ok() } else { version.is_ok() == has_plugin };
        if is_decided_by_files && files[0].is_some() && files == states() {
            self.known.keep(&command, files, version.clone());
        }
        Ok(version)
    }

    fn ask_version(&self, program: &Path, arguments: &[String], policy: &ToolPolicy) -> Result<Answer> {
        let shell = Shell::new()?;
        let ask = &policy.version;
        // A file that is read and never started: its hash is all that it says.
        if ask.is_empty() {
            return Ok(Ok(policy.floor.clone()));
        }
        match self.runner.capture(cmd!(shell, "{program} {arguments...} {ask...}"), VERSION_LIMIT_SECONDS) {
            // The docker client prints its version even when the engine is out of reach and the exit status is not zero.
            Ok(captured) if captured.status.success() || Version::find(&captured.stdout).is_some() => {
                // nginx prints its version where others print errors.
                let text = if captured.stdout.trim().is_empty() { &captured.stderr } else { &captured.stdout };
                Ok(Ok(version_line(text).trim().to_owned()))
            }
            Ok(captured) => {
                let why = captured.tail().lines().find(|line| !line.trim().is_empty()).unwrap_or("no word").to_owned();
                Ok(Err(format!("prints no version ({}: {why})", captured.status)))
            }
            Err(error) if Stop::is_interrupt(&error) => Err(error),
            Err(error) => Ok(Err(format!("{error:#}"))),
        }
    }
}

fn shown(program: &Path, arguments: &[String]) -> String {
    [&[program.to_string_lossy().into_owned()], arguments].concat().join(" ")
}

/// The line that holds the version: programs print banners above it, and builds without a number say `devel` there.
fn version_line(text: &str) -> &str {
    let numbered = text.lines().find(|line| Version::find(line).is_some());
    let named = || text.lines().find(|line| line.to_lowercase().contains("version"));
    numbered.or_else(named).or_else(|| text.lines().next()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::version_line;

    #[test]
    fn the_version_is_found_below_a_banner_and_without_a_number() {
        assert_eq!(
            version_line("  ___\n |\ntool: does it\n\nGitVersion: v3.0.2\nGoVersion: go1.27.3\n"),
            "GitVersion: v3.0.2"
        );
        assert_eq!(version_line("  ___\ntool: does it\nGitVersion: devel\nGoVersion: go1.27.3\n"), "GitVersion: devel");
        assert_eq!(version_line("dev\n"), "dev");
        assert_eq!(version_line("Version: 0.76.0\nVulnerability DB:\n  Version: 2\n"), "Version: 0.76.0");
    }
}
