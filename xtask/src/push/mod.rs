//! `cargo xtask push REGISTRY`: ships exactly the images that the last `verify` found ready, and locks their digests.

mod lock;
mod plan;
mod registry;
mod remote;
pub(crate) mod tree;
pub(crate) mod verified;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::Value;

use self::lock::{Beside, Lock};
use self::plan::ImagePush;
use self::registry::{Registry, Tags};
use self::remote::Remote;
use self::tree::Tree;
use self::verified::Verified;
use crate::context::Context;
use crate::engine;
use crate::outcome::{Outcome, Stop};
use crate::setup;
use crate::setup::tools::{Tool, Toolbox};

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
    pub(crate) fn run(&self, context: &Context) -> Result<Outcome> {
        let registry = Registry::parse(&self.registry)?;
        let verified = Verified::load(&context.project)?;
        plan::admit(&verified, &Tree::read(context)?, self.allow_incomplete)?;
        let (branch, git_tags) = tree::names(context)?;
        let tags = Tags::of(&verified.head, &context.project.version, &git_tags, branch.as_deref());
        let images = ImagePush::of_all(&verified, &registry, &tags);
        let docker = setup::docker(context)?;
        all_there(context, &docker, &images)?;
        let mut outcome = Outcome::default();
        if self.dry_run {
            let steps = plan::describe(&images).into_iter().map(|step| serde_json::json!({ "push": step }));
            outcome.evidence("plan", steps.collect::<Value>());
            outcome.checked("images planned, none pushed", images.len());
            return Ok(outcome);
        }
        eprintln!("push: {} images to {registry}; seconds, minutes on a slow line", images.len());
        let buildx = Toolbox::new(&context.project, &context.runner)?.find_or_fetch("buildx")?;
        let remote = Remote::new(context, &docker, &buildx, &registry)?;
        let digests = remote.push(&images)?;
        let pushed: Vec<_> = images.into_iter().zip(digests).collect();
        let beside = beside(context, &remote, &verified)?;
        let lock = Lock::of(verified, &context.project.version, &registry, &pushed, &beside);
        let text = serde_json::to_string_pretty(&lock)? + "\n";
        // Written once, when everything is in the registry: a push that failed before leaves the lock of the one before it.
        verified::put(&context.project.root.join(lock::FILE), &text)
            .context("the images are pushed, the lock is not")?;
        outcome.checked("images pushed and read back", pushed.len());
        outcome.evidence("lock", lock::FILE);
        outcome.evidence("images", pushed.iter().map(|(push, digest)| evidence(push, &digest.0)).collect::<Value>());
        Ok(outcome)
    }
}

/// # Errors
/// [`Stop::Missing`] names every verified image that is no longer in the engine: it is not built again, since that would
/// be another image.
fn all_there(context: &Context, docker: &Tool, images: &[ImagePush]) -> Result<()> {
    let ids: Vec<_> = images.iter().map(|image| image.id.clone()).collect();
    let found = engine::inspect(&context.runner, docker, &ids)?;
    let gone = images.iter().filter(|image| found[&image.id].is_none());
    let gone: Vec<_> = gone.map(|image| format!("{} ({})", image.name, image.id)).collect();
    if gone.is_empty() {
        return Ok(());
    }
    let text = format!("refused: no longer in the engine: {}; next: `cargo xtask verify`", gone.join(", "));
    Err(Stop::Missing(text).into())
}

fn beside(context: &Context, remote: &Remote<'_>, verified: &Verified) -> Result<Beside> {
    let project = &context.project;
    let mut bills_of_materials = BTreeMap::new();
    for image in &verified.images {
        let file = verified::bill_of_materials(project, &image.id);
        if file.is_file() {
            let path = file.strip_prefix(&project.root).unwrap_or(&file).to_string();
            bills_of_materials.insert(image.name.clone(), path);
        }
    }
    let mut base_digests = BTreeMap::new();
    for (name, base) in verified.bases.iter().filter(|(_, base)| !base.made_here) {
        base_digests.extend(remote.base_digest(&base.id)?.map(|digest| (name.clone(), digest)));
    }
    Ok(Beside { bills_of_materials, base_digests })
}

fn evidence(push: &ImagePush, digest: &str) -> Value {
    serde_json::json!({ "name": push.name, "id": push.id, "reference": format!("{}@{digest}", push.repository) })
}
