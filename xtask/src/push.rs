//! `cargo xtask push REGISTRY`: ships exactly the images that the last `verify` found ready.

use anyhow::Result;
use clap::Args;
use xtask_outcome::Outcome;
use xtask_workspace::Context;

/// Push the images that the last `verify` found ready, from a clean checkout, and write images.lock.json.
///
/// Credentials are those of `docker login`. Every image goes under the commit's short id first; when all are there and
/// read back, the branch and (on a commit with the git tag `v<version>`) the version follow.
#[derive(Debug, Args)]
pub(crate) struct Push {
    /// Where to: HOST[:PORT][/FOLDER], such as ghcr.io/shop.
    registry: String,
    /// Push although the last `verify` was incomplete; what it did not check is written into the lock.
    #[arg(long)]
    allow_incomplete: bool,
    /// Check everything and show what would be pushed; push nothing, write nothing.
    #[arg(long)]
    dry_run: bool,
}

impl Push {
    pub(crate) fn run(&self, context: &Context, outcome: &mut Outcome) -> Result<()> {
        let push = xtask_image_push::Push {
            registry: self.registry.clone(),
            allow_incomplete: self.allow_incomplete,
            dry_run: self.dry_run,
        };
        push.run(context, outcome)
    }
}
