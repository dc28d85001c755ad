//! The client program: compiled once, then called for the journey and for every kind of load.

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;
use xshell::{Shell, cmd};

use xtask_outcome::Stop;
use xtask_workspace::Context;

const COMPILE_LIMIT_SECONDS: u64 = 900;
const RUSTC_LIMIT_SECONDS: u64 = 60;
const JOURNEY_LIMIT_SECONDS: u64 = 120;

/// The compiled client.
#[derive(Debug, Clone)]
pub struct Client {
    program: Utf8PathBuf,
}

impl Client {
    /// Compiled before anything is started, so that a compile error leaves nothing to clean up.
    ///
    /// # Errors
    /// [`Stop::Repository`] when it does not compile.
    pub fn compile(context: &Context) -> Result<Self> {
        Self::build(context, &[], "")
    }

    /// As [`Client::compile`], optimised: one that shares the processor with what it measures.
    ///
    /// # Errors
    /// As [`Client::compile`].
    pub fn compile_optimised(context: &Context) -> Result<Self> {
        Self::build(context, &["--release"], "")
    }

    /// As [`Client::compile`], as a program that runs in any image: static, and without what a debugger needs.
    ///
    /// # Errors
    /// As [`Client::compile`].
    pub fn compile_static(context: &Context) -> Result<Self> {
        let shell = Shell::new()?;
        let asked = context.runner.read(cmd!(shell, "rustc --version --verbose"), RUSTC_LIMIT_SECONDS)?;
        let target = asked.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
        // With a target of its own the flag reaches the client and no build script.
        let arguments = ["--target", target, "--config", "profile.dev.strip = true"];
        Self::build(context, &arguments, "-C target-feature=+crt-static")
    }

    /// The program's file.
    pub fn program(&self) -> &Utf8Path {
        &self.program
    }

    fn build(context: &Context, arguments: &[&str], flags: &str) -> Result<Self> {
        let shell = Shell::new()?;
        shell.change_dir(&context.project.root);
        let package = &context.project.stack.client.package;
        let mut build = cmd!(
            shell,
            "cargo build --quiet --locked --package {package} --message-format json-render-diagnostics {arguments...}"
        );
        if !flags.is_empty() {
            build = build.env("RUSTFLAGS", flags);
        }
        let progress = context.runner.progress();
        progress.now(&format!("compiles {package}, the client"));
        let captured = context.runner.capture(build, COMPILE_LIMIT_SECONDS)?;
        if !captured.status.success() {
            progress.say(captured.stderr.trim_end());
            return Err(Stop::Repository(format!("{package}, the client, does not compile")).into());
        }
        let program =
            executable(&captured.stdout, package).with_context(|| format!("cargo named no program for {package}"))?;
        Ok(Self { program })
    }

    /// Walks the journey and gives its steps, one JSON object per request. Without secrets only the part that changes
    /// nothing.
    ///
    /// # Errors
    /// [`Stop::Repository`] names the step that was answered otherwise than it should be.
    pub fn journey(&self, context: &Context, url: &str, secrets: Option<&Utf8Path>) -> Result<Vec<Value>> {
        // The administrator's password reaches the journey by file, as a secret should.
        let how = match secrets {
            Some(file) => ["--secrets", file.as_str()].to_vec(),
            None => vec!["--read-only"],
        };
        let shell = Shell::new()?;
        let program = &self.program;
        let command = cmd!(shell, "{program} --base-url {url} journey {how...}");
        let progress = context.runner.progress().clone();
        let captured = context
            .runner
            .capture_lines(command, JOURNEY_LIMIT_SECONDS, move |line| progress.now(&format!("journey: {line}")))?;
        if captured.status.code().is_none() {
            return Err(Stop::Broken(format!("the client ended with {}: {}", captured.status, captured.tail())).into());
        }
        let steps = captured.stdout.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>();
        let steps = steps.map_err(|error| Stop::Repository(format!("the journey printed no JSON: {error}")))?;
        if !captured.status.success() {
            // Its last line is the cause; those before it are the steps that passed, and stand on the screen.
            let cause = captured.stderr.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("without a word");
            return Err(Stop::Repository(cause.to_owned()).into());
        }
        if steps.is_empty() {
            return Err(Stop::Repository("the journey sent no request".to_owned()).into());
        }
        Ok(steps)
    }

    /// Runs another of the client's subcommands to its end.
    pub(crate) fn run(&self, context: &Context, url: &str, arguments: &[&str], limit_seconds: u64) -> Result<()> {
        let shell = Shell::new()?;
        let program = &self.program;
        let captured =
            context.runner.capture(cmd!(shell, "{program} --base-url {url} {arguments...}"), limit_seconds)?;
        if captured.status.success() {
            return Ok(());
        }
        Err(Stop::Repository(format!("the client's `{}` failed: {}", arguments[0], captured.tail())).into())
    }
}

/// The program that cargo's messages name, one JSON object a line.
fn executable(messages: &str, package: &str) -> Option<Utf8PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let programs = messages.filter(|message| message["target"]["name"] == package);
    programs.filter_map(|message| message["executable"].as_str().map(Utf8PathBuf::from)).next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_the_one_that_cargo_names() {
        let messages = "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"ureq\"},\"executable\":null}\nnoise\n\
            {\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"mini-e2e\"},\"executable\":\"/t/mini-e2e\"}\n";
        assert_eq!(executable(messages, "mini-e2e"), Some("/t/mini-e2e".into()));
        assert_eq!(executable("", "mini-e2e"), None);
    }
}
