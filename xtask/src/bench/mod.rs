//! `cargo xtask bench`: figures beside their alternative, measured in one run and written only when told to.

mod build;
mod edits;
mod images;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use xtask_outcome::Outcome;
use xtask_workspace::Context;

/// Measure figures beside their alternative.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cargo xtask bench images\n  cargo xtask bench build --quick")]
pub(crate) struct Bench {
    #[command(subcommand)]
    what: What,
    /// Write the result into docs/.
    #[arg(long, global = true)]
    write: bool,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The sizes of the images, beside a naive single-stage build of the same program on the same base.
    Images,
    /// From an edit of one service to the answer of the running stack, with each profile; about 10 minutes.
    Loop,
    /// The times of builds, beside plain cargo, a cached bake, cargo-chef Dockerfiles and a naive one; about 25 minutes.
    Build {
        /// Leave out cargo-chef's and the naive builds, which take more than half of the time.
        #[arg(long)]
        quick: bool,
    },
}

impl Bench {
    pub(crate) fn run(&self, context: &Context, outcome: &mut Outcome) -> Result<()> {
        match self.what {
            What::Images => images::measure(context, self.write, outcome),
            What::Loop => edits::measure(context, self.write, outcome),
            What::Build { quick } => build::measure(context, self.write, quick, outcome),
        }
    }
}

const DOCUMENT: &str = "docs/benchmarks.md";
/// The headings of its parts, in their order; each is written by another benchmark.
const BUILDS: &str = "# Build times";
const LOOP: &str = "## From an edit to the answer";

/// Replaces one part of the document and leaves the other.
fn write_part(context: &Context, heading: &str, text: &str, outcome: &mut Outcome) -> Result<()> {
    let file = context.project.root.join(DOCUMENT);
    let before = std::fs::read_to_string(&file).unwrap_or_default();
    std::fs::write(&file, with_part(&before, heading, text)).with_context(|| format!("write {file}"))?;
    outcome.evidence("written", DOCUMENT);
    Ok(())
}

fn with_part(document: &str, heading: &str, text: &str) -> String {
    let (builds, edits) = document.split_once(LOOP).unwrap_or((document, ""));
    let part = format!("{heading}\n\n{}\n", text.trim());
    match heading {
        LOOP => format!("{}\n\n{part}", builds.trim_end()),
        _ if edits.is_empty() => part,
        _ => format!("{part}\n{LOOP}{edits}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_benchmark_replaces_its_own_part_alone() {
        let builds = with_part("", BUILDS, "old builds");
        let both = with_part(&builds, LOOP, "edits\n");
        assert_eq!(both, "# Build times\n\nold builds\n\n## From an edit to the answer\n\nedits\n");
        let newer = with_part(&both, BUILDS, "builds");
        assert_eq!(newer, "# Build times\n\nbuilds\n\n## From an edit to the answer\n\nedits\n");
        assert_eq!(with_part(&newer, LOOP, "edits"), newer);
    }
}
