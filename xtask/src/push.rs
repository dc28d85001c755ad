//! `cargo xtask push REGISTRY` ships exactly the images that the last `verify` approved; `cargo xtask verify-pushed REGISTRY` proves
//! that the registry still has them.

use anyhow::Result;
use camino::Utf8PathBuf;
use clap::Args;
use xtask_image_push::{LOCK_FILE, Signer, Trusted};
use xtask_outcome::Outcome;
use xtask_workspace::Context;

/// Push the images that the last `verify` found ready, from a clean checkout, and write images.lock.json.
///
/// Credentials are those of `docker login`. Every image goes under the commit's short id first; when all are there and
/// read back, the branch and (on a commit with the git tag `v<version>`) the version follow.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cargo xtask push ghcr.io/shop --dry-run\n  cargo xtask push ghcr.io/shop")]
pub(crate) struct Push {
    /// Where to: HOST[:PORT][/FOLDER], such as ghcr.io/shop.
    registry: String,
    /// Push although the last `verify` was incomplete; what it did not check is written into the lock.
    #[arg(long)]
    allow_incomplete: bool,
    /// Sign each image with cosign and attach its SBOM and provenance: a key file (its password in COSIGN_PASSWORD), a KMS
    /// reference such as awskms:///ALIAS, or `keyless`.
    #[arg(long, value_name = "KEY")]
    sign: Option<String>,
    /// Check everything and show what would be pushed; push nothing, write nothing.
    #[arg(long)]
    dry_run: bool,
}

impl Push {
    pub(crate) fn run(&self, context: &Context, outcome: &mut Outcome) -> Result<()> {
        let push = xtask_image_push::Push {
            registry: self.registry.clone(),
            allow_incomplete: self.allow_incomplete,
            sign: self.sign.as_deref().map(Signer::parse).transpose()?,
            dry_run: self.dry_run,
        };
        push.run(context, outcome)
    }
}

/// Prove from a registry alone that it holds what `push` shipped: digests, tags, signatures, SBOMs and provenance, against the lock.
///
/// Nothing is pulled or run. Without --key, or --identity and --issuer, signatures and statements are not checked.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cargo xtask verify-pushed ghcr.io/shop")]
pub(crate) struct VerifyPushed {
    /// Where to look: the registry that was pushed to, or a copy of it.
    registry: String,
    /// The lock that the push wrote; images.lock.json at the root when not given.
    #[arg(long, value_name = "FILE")]
    lock: Option<Utf8PathBuf>,
    /// The public key of whoever signs: a file or a KMS reference.
    #[arg(long, value_name = "KEY", conflicts_with_all = ["identity", "issuer"])]
    key: Option<String>,
    /// Of a keyless signature: the identity in its certificate, such as the workflow's URL.
    #[arg(long, requires = "issuer")]
    identity: Option<String>,
    /// Of a keyless signature: who vouches for the identity.
    #[arg(long, value_name = "URL", requires = "identity")]
    issuer: Option<String>,
    /// A check that could not be made is an error (exit 3).
    #[arg(long)]
    strict: bool,
}

impl VerifyPushed {
    pub(crate) fn run(&self, context: &Context, outcome: &mut Outcome) -> Result<()> {
        outcome.strict = self.strict;
        let identity = self.identity.clone().zip(self.issuer.clone());
        let trusted = match (&self.key, identity) {
            (Some(key), _) => Some(Trusted::Key(key.clone())),
            (None, Some((identity, issuer))) => Some(Trusted::Identity { identity, issuer }),
            (None, None) => None,
        };
        let lock = self.lock.clone().unwrap_or_else(|| context.project.root.join(LOCK_FILE));
        xtask_image_push::VerifyPushed { registry: self.registry.clone(), lock, trusted }.run(context, outcome)
    }
}
