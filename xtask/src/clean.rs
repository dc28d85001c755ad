//! `cargo xtask clean`: removes what xtask made, and only that.

use anyhow::Result;
use clap::Args;
use xshell::{Shell, cmd};

use crate::audit_env;
use crate::compose_e2e::Run;
use crate::context::Context;
use crate::outcome::Outcome;
use crate::setup::{self, bases};

const REMOVE_LIMIT_SECONDS: u64 = 120;

/// Remove the stacks that interrupted or kept runs left; with --all also the bases and what was fetched and compiled.
#[derive(Debug, Args)]
pub(crate) struct Clean {
    /// Remove the home-made base images and everything under target/xtask, too.
    #[arg(long)]
    all: bool,
}

impl Clean {
    pub(crate) fn run(&self, context: &Context) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        let docker = setup::docker(context)?;
        outcome.checked("stacks removed", Run::remove_all(context, &docker)?);
        audit_env::live::remove_leftovers(context, &docker)?;
        if self.all {
            let shell = Shell::new()?;
            let mut removed = 0;
            for base in bases::policy()?.into_values() {
                let (docker, local) = (&docker.program, &base.local);
                let captured =
                    context.runner.capture(cmd!(shell, "{docker} image rm {local}"), REMOVE_LIMIT_SECONDS)?;
                removed += usize::from(captured.status.success());
            }
            outcome.checked("bases removed", removed);
            shell.remove_path(context.project.out())?;
            shell.create_dir(context.project.out())?;
        }
        Ok(outcome)
    }
}
