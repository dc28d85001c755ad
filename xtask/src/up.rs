//! `cargo xtask up` and `down`: the stack for a person to play with, apart from every test's.

use anyhow::Result;
use clap::Args;
use xtask_engine::{docker, ready};
use xtask_image_build::Build;
use xtask_outcome::Outcome;
use xtask_workspace::Context;

/// Build what changed and start the stack on http://127.0.0.1:8080; secrets are made into .env on first use.
#[derive(Debug, Args)]
pub(crate) struct Up {}

/// Stop this checkout's stack; works without .env, whatever it was started with.
#[derive(Debug, Args)]
pub(crate) struct Down {
    /// Delete the databases, too.
    #[arg(long)]
    volumes: bool,
}

impl Up {
    pub(crate) fn run(&self, context: &Context, outcome: &mut Outcome) -> Result<()> {
        let ready = ready(context)?;
        let Some(images) = outcome.step("build-images", |outcome| Build::default().run(context, &ready, outcome))?
        else {
            return Ok(());
        };
        xtask_stack::up(context, &ready, &images, outcome)
    }
}

impl Down {
    pub(crate) fn run(&self, context: &Context, outcome: &mut Outcome) -> Result<()> {
        xtask_stack::down(context, &docker(context)?, self.volumes, outcome)
    }
}
