//! `cargo xtask bench`: figures beside their alternative, measured in one run and written only when told to.

use anyhow::Result;
use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use xtask_bench::{Choice, build_times, edit_loop, image_sizes, proxy_beside_nginx};
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
    /// How long an edit of one service takes to show in the running stack, with each profile; about 10 minutes.
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
            What::Images => image_sizes(context, self.write, outcome),
            What::Loop => edit_loop(context, self.write, outcome),
            What::Build { quick } => build_times(context, self.write, *quick, outcome),
            What::Gateway { seconds, programs } => {
                let choice = Choice { seconds: *seconds, programs, write: self.write };
                proxy_beside_nginx(context, &choice, outcome)
            }
        }
    }
}
