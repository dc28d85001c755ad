//! `cargo xtask verify`: the main job. Every step whose inputs exist runs; one report at the end.

use anyhow::Result;
use clap::Args;
use xtask_engine::{Ready, ready};
use xtask_image_build::{Build, BuiltImage};
use xtask_image_push::{Tree, Verified, forget, made_on_the_host};
use xtask_outcome::Outcome;
use xtask_stack::StackTest;
use xtask_workspace::Context;

use crate::audit_env;
use crate::compare::Compare;
use crate::scan::{self, DatabaseArgs};

const NEXT: &str = "cargo xtask up";
const NEXT_WHEN_READY: &str = "cargo xtask push REGISTRY";

/// Build the images, scan and audit them, and test the stack end to end: the main job.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cargo xtask verify\n  cargo xtask verify --db DIR      # with a database of vulnerabilities at hand\n  cargo xtask verify --strict      # as workflows do: what was not checked is an error\n  cargo xtask verify --compare HEAD~1   # and whether it is slower than the commit before"
)]
pub(crate) struct Verify {
    /// A check that could not be made is an error (exit 3); workflows use this.
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    compare: Compare,
}

impl Verify {
    pub(crate) fn run(&self, context: &Context, outcome: &mut Outcome) -> Result<()> {
        outcome.strict = self.strict;
        if self.compare.is_asked_for() {
            self.compare.needs_own(context)?;
        }
        let text = "setup, build-images, scan, audit-env, compose-e2e; 5 to 10 minutes the first time, 15 seconds when nothing changed";
        context.runner.progress().detail(text);
        // Outside a git repository everything can be verified, and nothing shipped.
        let tree = Tree::read(context).ok();
        tree.iter().for_each(|tree| outcome.evidence("commit", tree.evidence()));
        let ready = outcome.needed_step("setup", |outcome| {
            let ready = ready(context)?;
            ready.counts().into_iter().for_each(|(what, count)| outcome.checked(what, count));
            Ok(ready)
        })?;
        // From here on it is judged again: what the last run found no longer counts.
        forget(&context.project)?;
        outcome.evidence.extend(ready.evidence());
        let Some(images) = outcome.step("build-images", |outcome| Build::default().run(context, &ready, outcome))?
        else {
            outcome.unchecked("scan, audit-env and compose-e2e", "there are no images to look at");
            return Ok(());
        };
        outcome.step("scan", |outcome| scan::check(context, &ready, &images, &self.database, outcome))?;
        let test = StackTest { keep_start_ups: true, ..StackTest::default() };
        let options = audit_env::Options::default();
        outcome.step("audit-env", |outcome| audit_env::check(context, &ready, &images, &options, outcome))?;
        outcome.step("compose-e2e", |outcome| test.run(context, &ready, &images, outcome))?;
        if self.compare.is_asked_for() {
            outcome.step("compare", |outcome| self.compare.run(context, &ready, &images, outcome))?;
        }
        if outcome.findings.is_empty() && outcome.failures.is_empty() {
            let ready_to_push = record(context, tree, &images, &ready, outcome)?;
            outcome.note(format!("ready to push: {ready_to_push}"));
            outcome.next = Some(if ready_to_push.starts_with("yes") { NEXT_WHEN_READY } else { NEXT }.to_owned());
        }
        Ok(())
    }
}

/// Keeps what was verified for `push`, and says whether that can ship it.
fn record(
    context: &Context,
    before: Option<Tree>,
    images: &[BuiltImage],
    ready: &Ready,
    outcome: &Outcome,
) -> Result<String> {
    let Some(before) = before else { return Ok("no: this is not a git repository with a commit".to_owned()) };
    if Tree::read(context)? != before {
        return Ok("no: the work tree changed during the run".to_owned());
    }
    let by_host = made_on_the_host(images);
    if !by_host.is_empty() {
        let names = by_host.join(", ");
        return Ok(format!(
            "no: {names} was compiled on this machine; next: `cargo xtask build-images`, then `cargo xtask verify`"
        ));
    }
    let verdict = match (before.changes.is_empty(), outcome.unchecked.is_empty()) {
        (false, _) => format!("no: the work tree differs from its commit ({})", before.described()),
        (true, false) => "only with --allow-incomplete".to_owned(),
        (true, true) => format!("yes: {}", before.head),
    };
    Verified::of(before, images, ready, outcome).store(&context.project)?;
    Ok(verdict)
}
