//! `cargo xtask new-service`: a service that compiles, starts and is tested, in every place that has to know it.

use anyhow::Result;
use clap::Args;
use serde_json::Value;
use xshell::{Shell, cmd};
use xtask_outcome::Outcome;
use xtask_scaffold::{Change, Names, Plan, Written};
use xtask_workspace::Context;

const CARGO_LIMIT_SECONDS: u64 = 120;

/// Make a new service: crate, Dockerfile, Compose, Kubernetes, policy, route and journey step.
///
/// It has a database of its own and one route, compiles and passes its tests at once. All files are written, or none. What they are
/// made from is in xtask/templates/new-service; docs/adding-a-service.md says what to do next.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cargo xtask new-service cart\n  cargo xtask new-service mailer --no-database --dry-run"
)]
pub(crate) struct NewService {
    /// Its name: lower-case letters, digits and hyphens.
    name: String,
    /// Without a database of its own.
    #[arg(long)]
    no_database: bool,
    /// Only list the files that would be made and edited.
    #[arg(long)]
    dry_run: bool,
}

impl NewService {
    pub(crate) fn run(&self, context: &Context, outcome: &mut Outcome) -> Result<()> {
        let names = Names::new(&context.project, &self.name)?;
        let plan = Plan::new(&context.project, &names, !self.no_database)?;
        let files = |is_new: bool| -> Value {
            let of = plan.changes.iter().filter(|change| change.before.is_none() == is_new);
            of.map(|change| Value::from(change.file.as_str())).collect()
        };
        outcome.evidence("makes", files(true));
        outcome.evidence("edits", files(false));
        let what = if self.dry_run { "files planned" } else { "files written" };
        outcome.checked(what, plan.changes.len());
        for Change { file, before, .. } in &plan.changes {
            outcome.note(format!("{} {file}", if before.is_none() { "makes" } else { "edits" }));
        }
        if self.dry_run {
            outcome.note("nothing was written: --dry-run");
            return Ok(());
        }
        let root = &context.project.root;
        let mut written = Written::write(root, &plan)?;
        if let Err(error) = written.remember("Cargo.lock").and_then(|()| finish(context, &plan)) {
            written.take_back();
            return Err(error.context(format!("nothing is left of {}", names.name)));
        }
        outcome.note(format!(
            "next: `cargo test --package {0}`, then `cargo xtask audit-env --write` (the tables of the documents), then `cargo xtask verify`",
            names.package
        ));
        Ok(())
    }
}

/// The lock file knows the new member, and what was put into the middle of a line is formatted.
fn finish(context: &Context, plan: &Plan) -> Result<()> {
    let shell = Shell::new()?;
    shell.change_dir(&context.project.root);
    let runner = &context.runner;
    runner.progress().now("adds it to Cargo.lock and formats what was edited");
    // Everything that it depends on is in the lock already: no registry is asked.
    runner.read(cmd!(shell, "cargo metadata --quiet --offline --format-version 1"), CARGO_LIMIT_SECONDS)?;
    let sources: Vec<_> =
        plan.changes.iter().map(|change| &change.file).filter(|file| file.extension() == Some("rs")).collect();
    runner.read(cmd!(shell, "rustfmt --edition 2024 {sources...}"), CARGO_LIMIT_SECONDS).map(drop)
}
