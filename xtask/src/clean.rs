//! `cargo xtask clean`: removes what xtask made, and only that.

use anyhow::Result;
use clap::Args;
use xshell::{Shell, cmd};

use xtask_engine::{Bases, docker, remove_one_shots};
use xtask_image_build::remove_revisions;
use xtask_outcome::Outcome;
use xtask_stack::{down, remove_runs, tell_of};
use xtask_workspace::Context;

const REMOVE_LIMIT_SECONDS: u64 = 120;

/// Remove the stacks that interrupted or kept runs left; with --all also the stack of `up` (its databases stay), the bases and
/// what was fetched and compiled.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cargo xtask clean\n  cargo xtask clean --all      # the home-made bases and target/xtask, too"
)]
pub(crate) struct Clean {
    /// Remove the stack of `up` but for its databases, the home-made base images and everything under target/xtask, too.
    #[arg(long)]
    all: bool,
}

impl Clean {
    pub(crate) fn run(&self, context: &Context, outcome: &mut Outcome) -> Result<()> {
        let docker = docker(context)?;
        outcome.checked("stacks removed", remove_runs(context, &docker, true)?);
        xtask_env_trial::remove_leftovers(context, &docker)?;
        remove_revisions(context, &docker)?;
        outcome.checked("containers removed", remove_one_shots(context, &docker)?);
        if !self.all {
            tell_of(context, &docker, outcome)?;
        } else {
            down(context, &docker, false, outcome)?;
            let shell = Shell::new()?;
            let mut removed = 0;
            for base in Bases::policy(&context.project)?.into_values() {
                let (docker, local) = (&docker.program, &base.local);
                let captured =
                    context.runner.capture(cmd!(shell, "{docker} image rm {local}"), REMOVE_LIMIT_SECONDS)?;
                removed += usize::from(captured.status.success());
            }
            outcome.checked("bases removed", removed);
            shell.remove_path(context.project.out())?;
            shell.create_dir(context.project.out())?;
        }
        Ok(())
    }
}
