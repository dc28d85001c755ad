//! `cargo xtask adopt`: what this workspace lacks, all at once.

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use xshell::{Shell, cmd};
use xtask_outcome::{Finding, Outcome, Place};
use xtask_process::put;
use xtask_scaffold::{Lack, NEVER_COMMITTED, lacks};
use xtask_workspace::Context;

const DOCUMENT: &str = "docs/adopting.md";
const GIT_LIMIT_SECONDS: u64 = 60;

/// List everything that this workspace lacks, with what to add where.
///
/// It changes nothing: the text to add to each file is written below target/xtask/adopt, under the file's own path. What only a built
/// program shows is asked by `build-images`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cargo xtask adopt\n  cargo run --package xtask -- adopt      # before there is an alias"
)]
pub(crate) struct Adopt {}

impl Adopt {
    pub(crate) fn run(&self, context: &Context, outcome: &mut Outcome) -> Result<()> {
        let found = lacks(&context.project, &committable(context)?)?;
        let folder = context.project.out().join("adopt");
        let _ = std::fs::remove_dir_all(&folder);
        let shown = |lack: &Lack| json!({ "file": lack.file, "message": lack.message, "add": lack.text, "section": lack.section });
        outcome.evidence("lacks", found.iter().map(shown).collect::<Value>());
        outcome.checked("images looked at", context.project.images.len());
        for lack in &found {
            let mut next_step = format!("{DOCUMENT}, {}", lack.section);
            if !lack.text.is_empty() {
                let file = folder.join(&lack.file);
                let before = std::fs::read_to_string(&file).unwrap_or_default();
                put(&file, before + &lack.text)?;
                let file = context.project.from_root(&file);
                next_step = format!("add what is in {file} ({next_step})");
            }
            outcome.findings.push(Finding {
                rule: "not-adopted",
                place: Place::new(lack.file.to_string()),
                message: lack.message.clone(),
                next_step,
            });
        }
        if found.is_empty() {
            outcome.note("nothing is missing; next: `cargo xtask setup`, then `cargo xtask verify`");
        }
        Ok(())
    }
}

/// What git would add of that which must stay out of every commit. Without git nothing is committed.
fn committable(context: &Context) -> Result<Vec<&'static str>> {
    const NOT_IGNORED: i32 = 1;
    let shell = Shell::new()?;
    shell.change_dir(&context.project.root);
    let mut found = Vec::new();
    for path in NEVER_COMMITTED {
        let asked = context.runner.capture(cmd!(shell, "git check-ignore --quiet -- {path}"), GIT_LIMIT_SECONDS)?;
        if asked.status.code() == Some(NOT_IGNORED) {
            found.push(path);
        }
    }
    Ok(found)
}
