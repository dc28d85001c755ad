//! `cargo xtask bench`: figures beside their alternative, measured in one run and written only when told to.

mod build;
mod edits;
mod gateway;
mod images;

use anyhow::{Context as _, Result};
use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use xtask_outcome::Outcome;
use xtask_workspace::Context;

/// Measure figures beside their alternative.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cargo xtask bench images\n  cargo xtask bench build --quick\n  cargo xtask bench gateway --seconds 5\n  cargo xtask bench gateway --program OLD --program NEW   # two builds in the same rounds"
)]
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
    /// Requests a second, latency, processor time and memory of the gateway beside nginx; about 2 minutes.
    Gateway {
        /// How long each of the four cases takes, in seconds.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=300))]
        seconds: u64,
        /// Measure this build of the gateway, instead of the one in its image; repeatable.
        #[arg(long = "program", value_name = "FILE")]
        programs: Vec<Utf8PathBuf>,
    },
}

impl Bench {
    pub(crate) fn run(&self, context: &Context, outcome: &mut Outcome) -> Result<()> {
        match &self.what {
            What::Images => images::measure(context, self.write, outcome),
            What::Loop => edits::measure(context, self.write, outcome),
            What::Build { quick } => build::measure(context, self.write, *quick, outcome),
            What::Gateway { seconds, programs } => {
                let choice = gateway::Choice { seconds: *seconds, programs, write: self.write };
                gateway::measure(context, &choice, outcome)
            }
        }
    }
}

const DOCUMENT: &str = "docs/benchmarks.md";
/// The headings of its parts, in their order; each is written by another benchmark.
const BUILDS: &str = "# Build times";
const LOOP: &str = "## From an edit to the answer";
const GATEWAY: &str = "## The gateway beside nginx";
const PARTS: [&str; 3] = [BUILDS, LOOP, GATEWAY];

/// Replaces one part of the document and leaves the others.
fn write_part(context: &Context, heading: &str, text: &str, outcome: &mut Outcome) -> Result<()> {
    let file = context.project.root.join(DOCUMENT);
    let before = std::fs::read_to_string(&file).unwrap_or_default();
    std::fs::write(&file, with_part(&before, heading, text)).with_context(|| format!("write {file}"))?;
    outcome.evidence("written", DOCUMENT);
    Ok(())
}

fn with_part(document: &str, heading: &str, text: &str) -> String {
    let part_of = |wanted: &str| {
        if wanted == heading {
            return Some(format!("{heading}\n\n{}\n", text.trim()));
        }
        let (_, rest) = document.split_once(wanted)?;
        let end = PARTS.iter().filter_map(|next| rest.find(next)).min().unwrap_or(rest.len());
        Some(format!("{wanted}\n\n{}\n", rest[..end].trim()))
    };
    PARTS.into_iter().filter_map(part_of).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_benchmark_replaces_its_own_part_alone() {
        let builds = with_part("", BUILDS, "old builds");
        let both = with_part(&builds, GATEWAY, "ratios\n");
        assert_eq!(both, "# Build times\n\nold builds\n\n## The gateway beside nginx\n\nratios\n");
        let all = with_part(&with_part(&both, LOOP, "edits"), BUILDS, "builds");
        let expected = "# Build times\n\nbuilds\n\n## From an edit to the answer\n\nedits\n\n## The gateway beside nginx\n\nratios\n";
        assert_eq!(all, expected);
        for (heading, text) in [(BUILDS, "builds"), (LOOP, "edits"), (GATEWAY, "ratios")] {
            assert_eq!(with_part(&all, heading, text), all);
        }
    }
}
