//! `cargo xtask bench`: figures beside their alternative, measured in one run and written only when told to.

mod build;
mod images;

use anyhow::Result;
use clap::{Args, Subcommand};
use xtask_outcome::Outcome;
use xtask_workspace::Context;

/// Measure figures beside their alternative.
#[derive(Debug, Args)]
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
            What::Build { quick } => build::measure(context, self.write, quick, outcome),
        }
    }
}
