//! `cargo xtask bench`: figures beside their alternative, measured in one run and written only when told to.

mod build;
mod images;

use anyhow::Result;
use clap::{Args, Subcommand};
use xshell::{Shell, cmd};

use crate::context::Context;
use crate::outcome::Outcome;

const QUERY_LIMIT_SECONDS: u64 = 60;

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
    pub(crate) fn run(&self, context: &Context) -> Result<Outcome> {
        match self.what {
            What::Images => images::measure(context, self.write),
            What::Build { quick } => build::measure(context, self.write, quick),
        }
    }
}

fn today(context: &Context) -> Result<String> {
    let shell = Shell::new()?;
    context.runner.read(cmd!(shell, "date --utc +%F"), QUERY_LIMIT_SECONDS)
}
