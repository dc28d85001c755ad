//! `cargo xtask test`: the test command. Formatting, lints, and every test, those against a real Postgres included.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use xshell::{Shell, cmd};

use xtask_engine::{OneShot, Ready, Toolbox, ready};
use xtask_image_scan::sources;
use xtask_outcome::{Outcome, Stop};
use xtask_process::random_hex;
use xtask_workspace::Context;

use crate::linters;

const CHECK_LIMIT_SECONDS: u64 = 1200;
/// With the engine suite, which runs every fault three times.
const CHECK_ALL_LIMIT_SECONDS: u64 = 5400;
const ENGINE_LIMIT_SECONDS: u64 = 60;
const DATABASE_LIMIT_SECONDS: u64 = 60;
const PASSWORD_BYTES: usize = 24;
const POLL_MILLISECONDS: u64 = 100;

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
        context.runner.progress().detail(&format!("format, lints, tests; 3 to 6 minutes the first time{suite}"));
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
            run(cmd!(shell, "cargo clippy --quiet --workspace --all-targets --locked -- --deny warnings"))?;
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
        let database = Database::start(context, ready)?;
        let features = if self.all { &["--features", "xtask/engine-tests"][..] } else { &[] };
        let mut tests = cmd!(shell, "cargo test --workspace --locked --no-fail-fast {features...}")
            .env("DATABASE_URL", &database.url);
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
        let stopped = database.stop();
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

/// A Postgres of its own for the tests: in memory, on a free loopback port, gone afterwards.
struct Database<'a> {
    context: &'a Context,
    ready: &'a Ready,
    shell: Shell,
    container: String,
    url: String,
}

impl<'a> Database<'a> {
    fn start(context: &'a Context, ready: &'a Ready) -> Result<Self> {
        let shell = Shell::new()?;
        let (docker, image) = (&ready.docker.program, &ready.database.id);
        // A throw-away database that only this machine reaches; the password keeps other users of the machine out.
        let password = random_hex(PASSWORD_BYTES)?;
        let one_shot = OneShot::new(context, &ready.docker, "test")?;
        let own = one_shot.arguments();
        let run = cmd!(
            shell,
            "{docker} run --detach {own...} --env POSTGRES_PASSWORD --env PGDATA=/tmp/cluster --tmpfs /tmp:mode=1777,size=1g --publish 127.0.0.1:0:5432 {image} postgres -c fsync=off -c max_connections=300"
        )
        .env("POSTGRES_PASSWORD", &password);
        let container = one_shot.read(run, ENGINE_LIMIT_SECONDS).context("start Postgres for the tests")?;
        let mut database = Self { context, ready, shell, container, url: String::new() };
        match database.wait(&password) {
            Ok(url) => {
                database.url = url;
                Ok(database)
            }
            Err(error) => {
                // The first error stays in front.
                let _ = database.stop();
                Err(error)
            }
        }
    }

    fn wait(&self, password: &str) -> Result<String> {
        let (docker, container) = (&self.ready.docker.program, &self.container);
        let runner = &self.context.runner;
        let published = runner.read(cmd!(self.shell, "{docker} port {container} 5432/tcp"), ENGINE_LIMIT_SECONDS)?;
        let address = published.lines().next().context("the engine published no port")?;
        let started = Instant::now();
        loop {
            // Over TCP: the server that only makes the cluster answers on its socket alone.
            let probe = cmd!(self.shell, "{docker} exec {container} pg_isready -h 127.0.0.1 -U postgres");
            let probed = runner.capture(probe, ENGINE_LIMIT_SECONDS)?;
            if probed.status.success() {
                return Ok(format!("postgres://postgres:{password}@{address}/postgres"));
            }
            // Without --rm the container is still there when Postgres has ended, and can say why.
            let ended = probed.stderr.contains("is not running");
            if ended || started.elapsed().as_secs() > DATABASE_LIMIT_SECONDS {
                let logs =
                    runner.capture(cmd!(self.shell, "{docker} logs --tail 20 {container}"), ENGINE_LIMIT_SECONDS)?;
                let seconds = started.elapsed().as_secs();
                let text = format!("Postgres for the tests was not ready after {seconds} s: {}", logs.tail());
                return Err(if ended { Stop::Broken(text) } else { Stop::TimedOut(text) }.into());
            }
            std::thread::sleep(std::time::Duration::from_millis(POLL_MILLISECONDS));
        }
    }

    fn stop(&self) -> Result<()> {
        let (docker, container) = (&self.ready.docker.program, &self.container);
        let remove = cmd!(self.shell, "{docker} rm --force --volumes {container}");
        self.context.runner.for_clean_up().read(remove, ENGINE_LIMIT_SECONDS).map(drop)
    }
}
