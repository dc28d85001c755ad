//! `cargo xtask verify`: the main job. Every step whose inputs exist runs; one report at the end.

use anyhow::Result;
use clap::Args;

use crate::build_images::BuildImages;
use crate::compose_e2e::ComposeE2e;
use crate::context::Context;
use crate::outcome::Outcome;
use crate::setup;

/// Build the images, prove them, and test the stack end to end: the main job.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// A check that could not be made is an error (exit 3); workflows use this.
    #[arg(long)]
    strict: bool,
}

impl Verify {
    pub(crate) fn run(&self, context: &Context) -> Result<Outcome> {
        eprintln!(
            "verify: setup, build-images, compose-e2e; 5 to 8 minutes the first time, below one minute when nothing changed"
        );
        let ready = setup::ready(context)?;
        let (mut outcome, images) = BuildImages::all().build(context, &ready)?;
        outcome.strict = self.strict;
        let tested = ComposeE2e::whole().test(context, &ready, &images)?;
        outcome.findings.extend(tested.findings);
        outcome.checked.extend(tested.checked);
        outcome.unchecked.extend(tested.unchecked);
        outcome.evidence.extend(tested.evidence);
        Ok(outcome)
    }
}
