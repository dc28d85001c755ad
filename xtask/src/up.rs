//! `cargo xtask up` and `down`: the stack for a person to play with, apart from every test's.

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};

use xtask_engine::ready;
use xtask_image_build::{Build, evidence};
use xtask_outcome::Outcome;
use xtask_stack::{Stack, wait_until_ready, write_env_file};
use xtask_workspace::Context;

const READY_LIMIT_SECONDS: u64 = 120;

/// Build what changed and start the stack on http://127.0.0.1:8080; secrets are made into .env on first use.
#[derive(Debug, Args)]
pub(crate) struct Up {}

/// Stop the stack that `up` started.
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
        let env_file = context.project.root.join(".env");
        if !env_file.exists() {
            eprintln!("up: making secrets into .env");
            write_env_file(context, &ready, &images, &env_file)?;
        }
        let stack = Stack::new(context, &ready, context.project.stack.project.clone(), env_file, &images)?;
        stack.up()?;
        let seconds = wait_until_ready(&stack, READY_LIMIT_SECONDS)?;
        outcome.checked("services ready", seconds.len());
        outcome.evidence("images", evidence(&images));
        outcome.note(format!("the stack answers on {}", stack.entrance_url()?));
        outcome.evidence(
            "ready_after",
            seconds.iter().map(|(name, s)| json!({ "service": name, "seconds": s })).collect::<Value>(),
        );
        Ok(())
    }
}

impl Down {
    pub(crate) fn run(&self, context: &Context, outcome: &mut Outcome) -> Result<()> {
        let ready = ready(context)?;
        let env_file = context.project.root.join(".env");
        if !env_file.exists() {
            outcome.note("there is no .env, so `up` has not run in this checkout");
            return Ok(());
        }
        let stack = Stack::new(context, &ready, context.project.stack.project.clone(), env_file, &[])?;
        let before = stack.state()?.len();
        stack.down(self.volumes)?;
        outcome.checked("containers removed", before);
        Ok(())
    }
}
