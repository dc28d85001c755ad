//! `cargo xtask up` and `down`: the stack for a person to play with, apart from every test's.

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};

use crate::build_images::{self, BuildImages};
use crate::context::Context;
use crate::outcome::Outcome;
use crate::setup;
use crate::stack::{Stack, readiness, secrets};

const READY_LIMIT_SECONDS: u64 = 120;
/// The project name that compose.yaml states; tests use names of their own.
const PROJECT: &str = "mini";

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
    pub(crate) fn run(&self, context: &Context) -> Result<Outcome> {
        let ready = setup::ready(context)?;
        let (_, images) = BuildImages::all().build(context, &ready)?;
        let env_file = context.project.root.join(".env");
        if !env_file.exists() {
            eprintln!("up: making secrets into .env");
            secrets::write_env_file(context, &ready, &images, &env_file)?;
        }
        let stack = Stack::new(context, &ready, PROJECT.to_owned(), env_file, &images)?;
        stack.up()?;
        let seconds = readiness::wait_until_ready(&stack, READY_LIMIT_SECONDS)?;
        let mut outcome = Outcome::default();
        outcome.checked("services ready", seconds.len());
        outcome.evidence("images", build_images::evidence(&images));
        outcome.evidence("url", stack.gateway_url()?);
        outcome.evidence(
            "ready_after",
            seconds.iter().map(|(name, s)| json!({ "service": name, "seconds": s })).collect::<Value>(),
        );
        Ok(outcome)
    }
}

impl Down {
    pub(crate) fn run(&self, context: &Context) -> Result<Outcome> {
        let ready = setup::ready(context)?;
        let env_file = context.project.root.join(".env");
        let mut outcome = Outcome::default();
        if !env_file.exists() {
            outcome.evidence("note", "there is no .env, so `up` has not run in this checkout");
            return Ok(outcome);
        }
        let stack = Stack::new(context, &ready, PROJECT.to_owned(), env_file, &[])?;
        let before = stack.state()?.len();
        stack.down(self.volumes)?;
        outcome.checked("containers removed", before);
        Ok(outcome)
    }
}
