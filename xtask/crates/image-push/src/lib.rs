//! Ships exactly the images that the last `verify` found ready, and locks their digests.

mod lock;
mod plan;
mod registry;
mod remote;
mod tree;
mod verified;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde_json::Value;
use xtask_engine::{Tool, Toolbox, docker, inspect};
use xtask_outcome::{Outcome, Stop};
use xtask_process::put;
use xtask_workspace::Context;

use self::lock::{Beside, Lock};
use self::plan::ImagePush;
use self::registry::{Registry, Tags};
use self::remote::Remote;
pub use self::tree::Tree;
pub use self::verified::{Verified, forget};

/// One push.
#[derive(Debug, Clone)]
pub struct Push {
    /// Where to: `HOST[:PORT][/FOLDER]`.
    pub registry: String,
    /// Push although the last `verify` was incomplete.
    pub allow_incomplete: bool,
    /// Push nothing, write nothing.
    pub dry_run: bool,
}

impl Push {
    /// Pushes, reads back, and writes the lock last.
    ///
    /// # Errors
    /// [`Stop::Absent`] when it is refused, [`Stop::Broken`] when the registry has something else than was pushed.
    pub fn run(&self, context: &Context, outcome: &mut Outcome) -> Result<()> {
        let registry = Registry::parse(&self.registry)?;
        let verified = Verified::load(&context.project)?;
        plan::admit(&verified, &Tree::read(context)?, self.allow_incomplete)?;
        let (branch, git_tags) = tree::names(context)?;
        let tags = Tags::of(&verified.head, &context.project.version, &git_tags, branch.as_deref());
        let images = ImagePush::of_all(&verified, &registry, &tags);
        let docker = docker(context)?;
        all_there(context, &docker, &images)?;
        if self.dry_run {
            plan::describe(&images).into_iter().for_each(|step| outcome.note(format!("push {step}")));
            outcome.checked("images planned, none pushed", images.len());
            return Ok(());
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
        put(&context.project.root.join(lock::FILE), &text).context("the images are pushed, the lock is not")?;
        outcome.checked("images pushed and read back", pushed.len());
        outcome.evidence("lock", lock::FILE);
        outcome.evidence("images", pushed.iter().map(|(push, digest)| evidence(push, &digest.0)).collect::<Value>());
        Ok(())
    }
}

/// # Errors
/// [`Stop::Absent`] names every verified image that is no longer in the engine: it is not built again, since that would
/// be another image.
fn all_there(context: &Context, docker: &Tool, images: &[ImagePush]) -> Result<()> {
    let ids: Vec<_> = images.iter().map(|image| image.id.clone()).collect();
    let found = inspect(&context.runner, docker, &ids)?;
    let gone = images.iter().filter(|image| found[&image.id].is_none());
    let gone: Vec<_> = gone.map(|image| format!("{} ({})", image.name, image.id)).collect();
    if gone.is_empty() {
        return Ok(());
    }
    let text = format!("refused: no longer in the engine: {}; next: `cargo xtask verify`", gone.join(", "));
    Err(Stop::Absent(text).into())
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
