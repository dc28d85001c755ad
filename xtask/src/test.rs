//! `cargo xtask test`: the test command. Formatting, lints, and every test, those against a real Postgres included.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use xshell::{Shell, cmd};

use xtask_engine::{OneShot, Ready, ThrowAway, Toolbox, ready};
use xtask_image_scan::sources;
use xtask_outcome::{Outcome, Stop};
use xtask_workspace::Context;

use crate::linters;

const CHECK_LIMIT_SECONDS: u64 = 1200;
/// With the engine suite, which runs every fault three times.
const CHECK_ALL_LIMIT_SECONDS: u64 = 5400;

/// Check formatting and lints and run all tests, API tests against a real Postgres included.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cargo xtask test\n  cargo xtask test --all      # the suite on the real engine, too; half an hour"
)]
pub(crate) struct Test {
    /// Also run the slow suite, which builds images and drives stacks on the real engine.
    #[arg(long)]
    all: bool,
    /// With --all: the vulnerability database from which the scan's tests draw crates (db/trivy.db in this folder).
    #[arg(long, value_name = "DIR", requires = "all")]
    db: Option<Utf8PathBuf>,
}

impl Test {
    pub(crate) fn run(&self, context: &Context, outcome: &mut Outcome) -> Result<()> {
        let suite = if self.all { ", then the engine suite, 25 minutes" } else { "" };
        context.runner.progress().detail(&format!("format, lints, tests; about 10 minutes the first time{suite}"));
        let folder = self.database_folder()?;
        let ready = ready(context)?;
        outcome.evidence.extend(ready.evidence());
        let shell = Shell::new()?;
        shell.change_dir(&context.project.root);
        let run = |command| context.runner.run(command, CHECK_LIMIT_SECONDS);
        outcome.step("formatting", |outcome| {
            run(cmd!(shell, "cargo fmt --all --check")).context("next: cargo fmt --all")?;
            outcome.checked("check of the formatting", 1);
            Ok(())
        })?;
        outcome.step("lints", |outcome| {
            let features = features(context, false);
            run(cmd!(
                shell,
                "cargo clippy --quiet --workspace --all-targets --locked {features...} -- --deny warnings"
            ))?;
            outcome.checked("check of the lints", 1);
            Ok(())
        })?;
        outcome.step("dependency policy", |outcome| sources::check(context, outcome))?;
        outcome.step("linters", |outcome| linters::check(context, outcome))?;
        outcome.step("tests", |outcome| self.tests(context, &ready, &shell, folder.as_deref(), outcome))?;
        Ok(())
    }

    fn tests(
        &self,
        context: &Context,
        ready: &Ready,
        shell: &Shell,
        folder: Option<&Utf8Path>,
        outcome: &mut Outcome,
    ) -> Result<()> {
        let neighbours = Neighbours::start(context, ready)?;
        let environment = match neighbours.environment() {
            Ok(environment) => environment,
            Err(error) => {
                let _ = neighbours.stop();
                return Err(error);
            }
        };
        let features = features(context, self.all);
        // All targets is what lints compile, too. Examples in comments are none of them: a test says that there are none.
        let mut tests =
            cmd!(shell, "cargo test --workspace --all-targets --locked --no-fail-fast {features...}").envs(environment);
        if let Some(folder) = folder {
            tests = tests.env("SCAN_TEST_DATABASE", folder);
        } else if self.all {
            outcome.unchecked("crates drawn from a real database", "no --db names one");
        }
        if self.all {
            for (name, file) in browser(context, outcome)? {
                tests = tests.env(name, file);
            }
        }
        let limit_seconds = if self.all { CHECK_ALL_LIMIT_SECONDS } else { CHECK_LIMIT_SECONDS };
        let tested = context.runner.run(tests, limit_seconds);
        let stopped = neighbours.stop();
        tested?;
        stopped?;
        outcome.checked("run of the tests", 1);
        Ok(())
    }

    /// An absolute path: tests run in other folders.
    fn database_folder(&self) -> Result<Option<Utf8PathBuf>> {
        let Some(folder) = &self.db else { return Ok(None) };
        let file = folder.join("db/trivy.db");
        let file = file.canonicalize_utf8().map_err(|error| Stop::Usage(format!("--db {folder}: {file}: {error}")))?;
        Ok(file.ancestors().nth(2).map(Utf8Path::to_owned))
    }
}

/// The features that the tests have and the programs do not.
fn features(context: &Context, engine: bool) -> Vec<String> {
    let engine = engine.then(|| "xtask/engine-tests".to_owned());
    let names = context.project.test_features.iter().cloned().chain(engine);
    names.flat_map(|name| ["--features".to_owned(), name]).collect()
}

/// What the tests of the page need, by the variable that names it; a part that is not there is reported by its name.
fn browser(context: &Context, outcome: &mut Outcome) -> Result<Vec<(&'static str, PathBuf)>> {
    let toolbox = Toolbox::new(&context.project, &context.runner)?;
    let chromium = ("the page in a browser", "PAGE_TEST_BROWSER", toolbox.find("chromium"));
    let axe = ("the accessibility of the page", "PAGE_TEST_AXE", toolbox.find_or_fetch("axe-core"));
    let mut found = Vec::new();
    for (what, variable, tool) in [chromium, axe] {
        match tool {
            Ok(tool) => found.push((variable, tool.program)),
            Err(error) if Stop::is_absent(&error) => outcome.unchecked(what, format!("{error:#}")),
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// The neighbours that the tests of the services want, by the variable that tells them where: in memory, on a free loopback port,
/// gone afterwards.
struct Neighbours<'a> {
    started: Vec<(&'a str, ThrowAway<'a>)>,
}

impl<'a> Neighbours<'a> {
    /// # Errors
    /// When one does not start; the others are removed again.
    fn start(context: &'a Context, ready: &Ready) -> Result<Self> {
        let mut neighbours = Self { started: Vec::new() };
        for neighbour in &context.project.stack.neighbours {
            let Some(variable) = &neighbour.throw_away.test_variable else { continue };
            let one_shot = OneShot::new(context, &ready.docker, "test")?;
            let mut arguments = one_shot.arguments();
            arguments.extend(["--publish".to_owned(), format!("127.0.0.1:0:{}", neighbour.port)]);
            let started = ThrowAway::start(context, ready, neighbour, &arguments).and_then(|one| {
                let waited = one.wait();
                neighbours.started.push((variable, one));
                waited
            });
            if let Err(error) = started {
                // The first error stays in front.
                let _ = neighbours.stop();
                return Err(error);
            }
        }
        Ok(neighbours)
    }

    /// Variable and URL of each.
    fn environment(&self) -> Result<Vec<(&'a str, String)>> {
        let one = |(variable, one): &(&'a str, ThrowAway<'a>)| {
            let (host, port) = one.published()?;
            Ok((*variable, one.url(&host, &port, one.first_database())))
        };
        self.started.iter().map(one).collect()
    }

    fn stop(&self) -> Result<()> {
        let removed: Vec<_> = self.started.iter().map(|(_, one)| one.remove()).collect();
        removed.into_iter().collect()
    }
}
