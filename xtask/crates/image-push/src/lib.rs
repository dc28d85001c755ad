//! Ships exactly the images that the last `verify` found ready, locks their digests, signs them, and proves later that a registry
//! still holds them.

mod lock;
mod plan;
mod proof;
mod provenance;
mod pull;
mod registry;
mod remote;
mod sbom;
mod signing;
mod standing;
mod tree;
mod verified;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use camino::Utf8PathBuf;
use serde_json::Value;
use xshell::Shell;
use xtask_engine::{Tool, Toolbox, docker, inspect};
use xtask_outcome::{Outcome, Stop};
use xtask_process::{RunFolder, put};
use xtask_workspace::Context;

pub use self::lock::FILE as LOCK_FILE;
use self::lock::{Beside, Lock};
use self::plan::{ImagePush, Move};
use self::proof::Subject;
pub use self::pull::of_lock;
use self::registry::{Registry, Tags};
use self::remote::Remote;
use self::signing::{Attestation, Cosign};
pub use self::signing::{Signer, Trusted};
use self::standing::{Digest, Standing};
pub use self::tree::Tree;
pub use self::verified::{Verified, forget, made_on_the_host};

/// Who built, where no workflow says so.
const LOCAL_BUILDER: &str = "urn:xtask:local";

/// One push.
#[derive(Debug, Clone)]
pub struct Push {
    /// Where to: `HOST[:PORT][/FOLDER]`.
    pub registry: String,
    /// Push although the last `verify` was incomplete.
    pub allow_incomplete: bool,
    /// Sign the images, and attach SBOM and provenance.
    pub sign: Option<Signer>,
    /// Push nothing, write nothing.
    pub dry_run: bool,
}

impl Push {
    /// Pushes by commit, reads back, signs, moves the branch's tag, and writes the lock last: a push that fails half-way
    /// leaves nothing that looks finished.
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
        let count = images.len();
        context.runner.progress().now(&format!("pushes {count} images to {registry}; seconds, minutes on a slow line"));
        let toolbox = Toolbox::new(&context.project, &context.runner)?;
        let buildx = toolbox.find_or_fetch("buildx")?;
        let cosign = self.sign.as_ref().map(|_| toolbox.find_or_fetch("cosign")).transpose()?;
        let remote = Remote::new(context, &docker, &buildx, &registry)?;
        let standing = images.iter().map(|image| remote.standing(image)).collect::<Result<Vec<_>>>()?;
        plan::refuse_other_images(&images, &standing)?;
        let moves = forward(context, &verified.head, &tags, &images, &standing, outcome)?;

        let digests = remote.push(&images, &standing)?;
        let pushed: Vec<_> = images.iter().cloned().zip(digests.iter().cloned()).collect();
        let beside = beside(context, &remote, &verified, self.sign.is_some())?;
        let lock = Lock::of(verified, &context.project.version, &registry, &pushed, beside);
        if let (Some(signer), Some(cosign)) = (&self.sign, &cosign) {
            sign(context, cosign, signer, &registry, &lock, outcome)?;
            if !outcome.findings.is_empty() {
                return Ok(());
            }
        }
        remote.move_tags(&images, &standing, &digests, &moves)?;
        let text = serde_json::to_string_pretty(&lock)? + "\n";
        // Written once, when everything is in the registry: a push that failed before leaves the lock of the one before it.
        put(&context.project.root.join(lock::FILE), &text).context("the images are pushed, the lock is not")?;
        outcome.checked("images pushed and read back", pushed.len());
        outcome.evidence("lock", lock::FILE);
        outcome.evidence("images", pushed.iter().map(|(push, digest)| evidence(push, digest)).collect::<Value>());
        Ok(())
    }
}

/// Proof of what an earlier push left in a registry.
#[derive(Debug, Clone)]
pub struct VerifyPushed {
    /// Where to look: `HOST[:PORT][/FOLDER]`, the one that was pushed to or a copy of it.
    pub registry: String,
    /// The lock of that push.
    pub lock: Utf8PathBuf,
    /// Whose signatures count; without it they are not checked.
    pub trusted: Option<Trusted>,
}

impl VerifyPushed {
    /// Holds the registry against the lock. Nothing is pulled, and nothing of the local engine is used.
    ///
    /// # Errors
    /// When there is no lock, or the registry does not answer.
    pub fn run(&self, context: &Context, outcome: &mut Outcome) -> Result<()> {
        let registry = Registry::parse(&self.registry)?;
        let lock = Lock::read(&self.lock)?;
        let toolbox = Toolbox::new(&context.project, &context.runner)?;
        let (docker, buildx) = (docker(context)?, toolbox.find_or_fetch("buildx")?);
        let remote = Remote::new(context, &docker, &buildx, &registry)?;
        let subjects = subjects(&lock, &registry);
        let mut there = Vec::new();
        for subject in subjects {
            context.runner.progress().now(&subject.reference());
            if proof::of_tags(&remote, &subject, outcome)? {
                there.push(subject);
            }
        }
        outcome.checked("images found by the lock's digests", there.len());
        let Some(trusted) = &self.trusted else {
            let reason = "no --key, and no --identity with --issuer";
            outcome.unchecked("signatures, SBOMs and provenance", reason);
            return Ok(());
        };
        let tool = toolbox.find_or_fetch("cosign")?;
        with_cosign(context, &tool, &registry, |cosign| {
            there.iter().try_for_each(|subject| proof::of_signatures(cosign, trusted, &lock, subject, outcome))
        })?;
        outcome.checked("images whose signature, SBOM and provenance were checked", there.len());
        Ok(())
    }
}

fn subjects<'a>(lock: &'a Lock, registry: &Registry) -> Vec<Subject<'a>> {
    let subject = |(name, image): (&'a String, &'a lock::LockedImage)| Subject {
        name,
        image,
        repository: registry.repository(&image.package),
    };
    lock.images.iter().map(subject).collect()
}

/// Signs every image by digest, attaches its statements, and reads them back where the public half of the key is at hand.
fn sign(
    context: &Context,
    tool: &Tool,
    signer: &Signer,
    registry: &Registry,
    lock: &Lock,
    outcome: &mut Outcome,
) -> Result<()> {
    with_cosign(context, tool, registry, |cosign| {
        let trusted = cosign.public_half(signer)?;
        for subject in subjects(lock, registry) {
            let reference = subject.reference();
            context.runner.progress().now(&format!("signs {reference}"));
            cosign.sign(signer, &reference)?;
            let statement = cosign.folder.join("provenance.json");
            put(&statement, provenance::predicate(lock, subject.image).to_string())?;
            cosign.attest(signer, Attestation::Provenance, &statement, &reference)?;
            if let Some(sbom) = &subject.image.sbom {
                cosign.attest(signer, Attestation::Sbom, &context.project.root.join(&sbom.file), &reference)?;
            }
            match &trusted {
                Some(trusted) => proof::of_signatures(cosign, trusted, lock, &subject, outcome)?,
                None => outcome.unchecked(
                    format!("signature of {}", subject.name),
                    "signed keyless: `cargo xtask verify-pushed` with --identity and --issuer reads it back",
                ),
            }
        }
        outcome.checked("images signed", lock.images.len());
        Ok(())
    })
}

/// cosign with a folder for its files, which goes whatever comes of it.
fn with_cosign<T>(
    context: &Context,
    tool: &Tool,
    registry: &Registry,
    work: impl FnOnce(&Cosign<'_>) -> Result<T>,
) -> Result<T> {
    let folder = RunFolder::begin(&context.project.out(), "signing")?;
    let shell = Shell::new()?;
    shell.change_dir(&context.project.root);
    let (runner, http) = (&context.runner, registry.is_loopback());
    let worked = work(&Cosign { runner, tool, shell, http, folder: folder.path.clone() });
    let ended = folder.end();
    // The first error stays in front.
    let worked = worked?;
    ended.map(|()| worked)
}

/// The tags that move to this push. One that would move back stays, and a note says so.
fn forward(
    context: &Context,
    head: &str,
    tags: &Tags,
    images: &[ImagePush],
    standing: &[Standing],
    outcome: &mut Outcome,
) -> Result<Vec<String>> {
    let mut moves = Vec::new();
    for tag in &tags.moving {
        let is_ancestor = |commit: &str| tree::is_ancestor(context, commit, head);
        match plan::move_of(tag, images, standing, is_ancestor)? {
            Move::Forward(text) => {
                outcome.note(text);
                moves.push(tag.clone());
            }
            Move::Stays(text) => outcome.note(text),
        }
    }
    Ok(moves)
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

fn beside(context: &Context, remote: &Remote<'_>, verified: &Verified, signed: bool) -> Result<Beside> {
    let project = &context.project;
    let sbom = |image: &verified::VerifiedImage| Some((image.name.clone(), sbom::locked(project, &image.id)?));
    let mut base_digests = BTreeMap::new();
    for (name, base) in verified.bases.iter().filter(|(_, base)| !base.made_here) {
        base_digests.extend(remote.base_digest(&base.id)?.map(|digest| (name.clone(), digest)));
    }
    let workflow = project.environment.github_workflow.as_ref();
    Ok(Beside {
        sboms: verified.images.iter().filter_map(sbom).collect(),
        base_digests,
        builder: workflow.map_or_else(|| LOCAL_BUILDER.to_owned(), |workflow| format!("https://github.com/{workflow}")),
        signed,
    })
}

fn evidence(push: &ImagePush, digest: &Digest) -> Value {
    serde_json::json!({ "name": push.name, "id": push.id, "reference": format!("{}@{}", push.repository, digest.0) })
}
