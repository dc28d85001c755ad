//! `cargo xtask compose-e2e`: the stack on the images that were just built, the journey through it, and always down again.

use anyhow::Result;
use camino::Utf8PathBuf;
use clap::Args;
use xtask_engine::ready;
use xtask_image_build::Build;
use xtask_outcome::Outcome;
use xtask_stack::{ALL_FAULTS, StackTest, select_faults, test_deployment};
use xtask_workspace::Context;

use crate::compare::Compare;

/// Bring the stack up on the hardened images, assert the hardening, run the end-to-end journey, and tear it down.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cargo xtask compose-e2e\n  cargo xtask compose-e2e --faults=user-killed --keep\n  cargo xtask compose-e2e --soak 10\n  cargo xtask compose-e2e --base-url http://127.0.0.1:8080\n  cargo xtask compose-e2e --compare HEAD~1              # is this checkout slower than its last commit?\n  cargo xtask compose-e2e --compare :before --rounds 12 # than images that were tagged so"
)]
pub(crate) struct ComposeE2e {
    /// Leave the stack running, and say how to reach it and how to end it.
    #[arg(long, conflicts_with = "compare")]
    keep: bool,
    /// Break the stack on purpose under a load, every fault (4 minutes) or one by its name.
    #[arg(long, value_name = "FAULT", num_args = 0..=1, require_equals = true, default_missing_value = ALL_FAULTS, conflicts_with = "compare")]
    faults: Option<String>,
    /// Keep the stack under load for so many minutes: every service is restarted again and again in the first half, and its memory
    /// has to stay level in the second.
    #[arg(long, value_name = "MINUTES", conflicts_with = "compare", value_parser = clap::value_parser!(u64).range(2..=120))]
    soak: Option<u64>,
    /// Make this run's figures the baseline of this machine, in docs/testing/baseline.json.
    #[arg(long, conflicts_with = "compare")]
    record: bool,
    /// Write the figures and what became worse into docs/testing/.
    #[arg(long, conflicts_with = "compare")]
    write: bool,
    /// Walk the journey through a deployment that is there already, such as http://127.0.0.1:8080; starts nothing.
    #[arg(long, value_name = "URL", conflicts_with_all = ["keep", "faults", "soak", "record", "write", "compare"])]
    base_url: Option<String>,
    /// With --base-url beyond loopback: the whole journey, which makes users, a product and an order.
    #[arg(long, requires = "base_url")]
    allow_writes: bool,
    /// With --base-url: an env file with ADMIN_PASSWORD and JWT_SIGNING_KEY of the deployment; by default .env.
    #[arg(long, value_name = "FILE", requires = "base_url")]
    secrets: Option<Utf8PathBuf>,
    #[command(flatten)]
    compare: Compare,
}

impl ComposeE2e {
    pub(crate) fn run(&self, context: &Context, outcome: &mut Outcome) -> Result<()> {
        if let Some(name) = &self.faults {
            select_faults(&context.project.stack.faults, name)?;
        }
        if let Some(url) = &self.base_url {
            return test_deployment(context, url, self.allow_writes, self.secrets.as_ref(), outcome);
        }
        let builds = !self.compare.is_asked_for() || self.compare.needs_own(context)?;
        let ready = ready(context)?;
        if !builds {
            return self.compare.run(context, &ready, &[], outcome);
        }
        let Some(images) = outcome.step("build-images", |outcome| Build::default().run(context, &ready, outcome))?
        else {
            return Ok(());
        };
        if self.compare.is_asked_for() {
            return self.compare.run(context, &ready, &images, outcome);
        }
        let test = StackTest {
            keep: self.keep,
            faults: self.faults.clone(),
            soak: self.soak,
            record: self.record,
            write: self.write,
            keep_start_ups: false,
            file: None,
        };
        test.run(context, &ready, &images, outcome)
    }
}
