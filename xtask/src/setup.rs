//! `cargo xtask setup`: makes a machine ready, or says everything that is missing at once.

use anyhow::Result;
use clap::Args;
use xtask_engine::survey;
use xtask_outcome::Outcome;
use xtask_workspace::Context;

/// Make this machine ready: find or fetch docker's plugins into target/xtask/tools, pull or make the base images.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cargo xtask setup\n  cargo xtask setup --check      # change nothing")]
pub(crate) struct Setup {
    /// Change nothing; only say what is missing.
    #[arg(long)]
    check: bool,
}

impl Setup {
    pub(crate) fn run(&self, context: &Context, outcome: &mut Outcome) -> Result<()> {
        if !self.check {
            let text = "tools (about 30 MB, 10 s), then bases (up to 400 MB, 90 s), each only if it is missing";
            context.runner.progress().detail(text);
        }
        let ready = survey(context, !self.check)?;
        for (what, count) in ready.counts() {
            outcome.checked(what, count);
        }
        outcome.evidence.extend(ready.evidence());
        Ok(())
    }
}
