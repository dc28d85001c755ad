//! Pushes images by id and reads back what the registry then has.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde_json::Value;
use xshell::{Shell, cmd};

use super::plan::ImagePush;
use super::registry::Registry;
use super::standing::{Digest, InRegistry, Standing};
use xtask_engine::Tool;
use xtask_engine::inspect;
use xtask_outcome::Stop;
use xtask_process::{Captured, Runner};
use xtask_workspace::Context;

const PUSH_LIMIT_SECONDS: u64 = 1800;
const QUERY_LIMIT_SECONDS: u64 = 120;
const MANIFEST_FORMAT: &str = "{{json .Manifest}}";
const IMAGE_FORMAT: &str = "{{json .Image}}";
const DIGESTS_FORMAT: &str = "{{json .RepoDigests}}";

/// Talks to the engine and, through buildx, to the registry; both with the credentials that `docker login` keeps.
pub(super) struct Remote<'a> {
    context: &'a Context,
    docker: &'a Tool,
    buildx: &'a Tool,
    shell: Shell,
    host: &'a str,
}

impl<'a> Remote<'a> {
    pub(super) fn new(
        context: &'a Context,
        docker: &'a Tool,
        buildx: &'a Tool,
        registry: &'a Registry,
    ) -> Result<Self> {
        Ok(Self { context, docker, buildx, shell: Shell::new()?, host: &registry.host })
    }

    /// Pushes all images by their revision and proves each. One that the registry has already is taken as it is.
    ///
    /// # Errors
    /// The first failure. What was pushed before it stays, and no tag that moves names it.
    pub(super) fn push(&self, images: &[ImagePush], standing: &[Standing]) -> Result<Vec<Digest>> {
        self.refuse_taken_names(images)?;
        let push = |(image, standing): (&ImagePush, &Standing)| {
            let reference = image.by_revision();
            if let Some(there) = &standing.revision {
                let text = format!("{reference} is in the registry already, the same image");
                self.context.runner.progress().detail(&text);
                return Ok(there.digest.clone());
            }
            // The images before it took their time: another push of the same commit may have been faster.
            self.refuse_meanwhile(image, &reference, None)?;
            self.push_as(image, &reference)
        };
        images.iter().zip(standing).map(push).collect()
    }

    /// Moves the tags of a branch or version to the images, when all of them are in the registry.
    ///
    /// # Errors
    /// The first failure; [`Stop::Broken`] when another push moved a tag since it was looked at.
    pub(super) fn move_tags(
        &self,
        images: &[ImagePush],
        standing: &[Standing],
        digests: &[Digest],
        tags: &[String],
    ) -> Result<()> {
        for ((image, standing), digest) in images.iter().zip(standing).zip(digests) {
            // A registry knows no "only if it is still there": what another push did to the commit's tag is seen here at the latest.
            self.refuse_meanwhile(image, &image.by_revision(), Some(digest))?;
            for tag in tags {
                let reference = image.tagged(tag);
                self.refuse_meanwhile(image, &reference, standing.moving.get(tag).map(|there| &there.digest))?;
                let now = self.push_as(image, &reference)?;
                if now != *digest {
                    let text = format!("{reference} is {} in the registry, expected {}", now.0, digest.0);
                    return Err(Stop::Broken(text).into());
                }
            }
        }
        Ok(())
    }

    /// What the registry has under the tags of one image before anything is pushed.
    ///
    /// # Errors
    /// [`Stop::Broken`] when the registry does not answer.
    pub(super) fn standing(&self, image: &ImagePush) -> Result<Standing> {
        let revision = self.look_up(&image.repository, &image.by_revision())?;
        let mut moving = BTreeMap::new();
        for tag in &image.tags.moving {
            moving.extend(self.look_up(&image.repository, &image.tagged(tag))?.map(|there| (tag.clone(), there)));
        }
        Ok(Standing { revision, moving })
    }

    /// What a reference stands for in the registry; `None` when there is nothing.
    ///
    /// # Errors
    /// [`Stop::Broken`] when the registry does not answer.
    pub(super) fn look_up(&self, repository: &str, reference: &str) -> Result<Option<InRegistry>> {
        let captured = self.imagetools(reference, &["--format", MANIFEST_FORMAT])?;
        if !captured.status.success() {
            if is_not_found(reference, &captured.stderr) {
                return Ok(None);
            }
            let text = format!(
                "ask the registry for {reference}: {}; next: `docker login {}` if it asks for credentials",
                captured.tail(),
                self.host
            );
            return Err(Stop::Broken(text).into());
        }
        let manifest = json_of(reference, &captured.stdout)?;
        let digest = text_at(&manifest, "/digest").unwrap_or_default();
        let pinned = format!("{repository}@{digest}");
        let content = self.inspect(&pinned, &["--raw"])?;
        let image = self.inspect(&pinned, &["--format", IMAGE_FORMAT])?;
        let id = text_at(&content, "/config/digest").unwrap_or_else(|| digest.clone());
        Ok(Some(InRegistry { digest: Digest(digest), id, revision: revision_label(&image) }))
    }

    /// Refuses to overwrite what another push has put there since this one looked.
    fn refuse_meanwhile(&self, image: &ImagePush, reference: &str, expected: Option<&Digest>) -> Result<()> {
        match self.look_up(&image.repository, reference)? {
            Some(there) if expected != Some(&there.digest) && !there.is(&image.id) => Err(Stop::Broken(format!(
                "{reference} has become {} since this push looked at it: another push is under way; no lock was written; next: run this one again when the other has ended",
                there.id
            ))
            .into()),
            _ => Ok(()),
        }
    }

    /// A name that stands for another image on this machine is somebody's: it is not taken from it.
    fn refuse_taken_names(&self, images: &[ImagePush]) -> Result<()> {
        let names = |image: &ImagePush| [vec![image.by_revision()], image.moving()].concat();
        let all: Vec<_> = images.iter().flat_map(names).collect();
        let found = inspect(&self.context.runner, self.docker, &all)?;
        for image in images {
            for reference in names(image) {
                if let Some(other) = found[&reference].as_ref().filter(|other| other.id != image.id) {
                    let text = format!(
                        "refused: {reference} stands for {} on this machine, and {} would take its place; next: `docker image rm {reference}`",
                        other.id, image.id
                    );
                    return Err(Stop::Absent(text).into());
                }
            }
        }
        Ok(())
    }

    /// Pushes one image under one name. The name stands in the local engine only meanwhile.
    fn push_as(&self, image: &ImagePush, reference: &str) -> Result<Digest> {
        let (docker, id) = (&self.docker.program, &image.id);
        let named = self.names(&self.context.runner, id)?.iter().any(|name| name == reference);
        if !named {
            let tag = cmd!(self.shell, "{docker} image tag {id} {reference}");
            self.context.runner.read(tag, QUERY_LIMIT_SECONDS)?;
        }
        self.context.runner.progress().now(&format!("pushes {} as {reference}", image.name));
        let push = cmd!(self.shell, "{docker} image push {reference}");
        let pushed = self.context.runner.read(push, PUSH_LIMIT_SECONDS).with_context(|| {
            format!(
                "push of {reference} (no lock was written; next: `docker login {}` if it asks for credentials)",
                self.host
            )
        });
        let digest = pushed.and_then(|_| self.read_back(image, reference));
        let removed = if !named { self.remove_name(id, reference) } else { Ok(()) };
        // The first error stays in front.
        let digest = digest?;
        removed?;
        Ok(digest)
    }

    /// Asks the registry what the reference stands for, and proves that it is the image that was verified.
    fn read_back(&self, image: &ImagePush, reference: &str) -> Result<Digest> {
        let found = self.look_up(&image.repository, reference).context("read back what was pushed")?;
        match found {
            Some(found) if found.is(&image.id) => Ok(found.digest),
            found => {
                let found = found.map_or_else(|| "nothing".to_owned(), |found| found.id);
                let text = format!(
                    "the registry has {found} as {reference}, expected the image {}; no lock was written",
                    image.id
                );
                Err(Stop::Broken(text).into())
            }
        }
    }

    fn inspect(&self, reference: &str, how: &[&str]) -> Result<Value> {
        let captured = self.imagetools(reference, how)?;
        if !captured.status.success() {
            let text = format!("ask the registry for {reference}: {}", captured.tail());
            return Err(Stop::Broken(text).into());
        }
        json_of(reference, &captured.stdout)
    }

    fn imagetools(&self, reference: &str, how: &[&str]) -> Result<Captured> {
        let (buildx, plugin) = (&self.buildx.program, &self.buildx.arguments);
        let inspect = cmd!(self.shell, "{buildx} {plugin...} imagetools inspect {how...} {reference}");
        self.context.runner.capture(inspect, QUERY_LIMIT_SECONDS)
    }

    /// Takes the name away again, unless it is the image's only one: then the image would go with it.
    fn remove_name(&self, id: &str, reference: &str) -> Result<()> {
        let (docker, runner) = (&self.docker.program, self.context.runner.for_clean_up());
        if !self.names(&runner, id)?.iter().any(|name| name != reference) {
            let text = format!("push: {reference} stays on this machine, as the only name of {id}");
            self.context.runner.progress().say(&text);
            return Ok(());
        }
        runner.read(cmd!(self.shell, "{docker} image rm {reference}"), QUERY_LIMIT_SECONDS).map(drop)
    }

    /// All names of an image in the local engine.
    fn names(&self, runner: &Runner, id: &str) -> Result<Vec<String>> {
        let found = inspect(runner, self.docker, &[id.to_owned()])?;
        Ok(found.into_values().flatten().flat_map(|image| image.tags).collect())
    }

    /// The digest by which a registry has a base; `None` for one that none has, or that is gone.
    pub(super) fn base_digest(&self, id: &str) -> Result<Option<String>> {
        let docker = &self.docker.program;
        let inspect = cmd!(self.shell, "{docker} image inspect --format {DIGESTS_FORMAT} {id}");
        let captured = self.context.runner.capture(inspect, QUERY_LIMIT_SECONDS)?;
        let digests: Vec<String> = serde_json::from_str(&captured.stdout).unwrap_or_default();
        Ok(digests.first().and_then(|digest| digest.split_once('@')).map(|(_, digest)| digest.to_owned()))
    }
}

/// The words of containerd's resolver for a 404, which is what buildx prints: the reference, maybe written out, and no more. A helper
/// or a host that is "not found" is another matter.
fn is_not_found(reference: &str, stderr: &str) -> bool {
    let (_, tag) = reference.rsplit_once([':', '/']).unwrap_or_default();
    stderr.trim_end().ends_with(&format!("{tag}: not found"))
}

fn json_of(reference: &str, text: &str) -> Result<Value> {
    serde_json::from_str(text)
        .map_err(|error| Stop::Broken(format!("buildx imagetools prints no JSON for {reference}: {error}")).into())
}

/// The label in an image's configuration, or in the first one of an index, whose configurations stand under their platforms.
fn revision_label(image: &Value) -> Option<String> {
    let label = |config: &Value| text_at(config, "/config/Labels/org.opencontainers.image.revision");
    label(image).or_else(|| image.as_object()?.values().find_map(label))
}

fn text_at(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer).and_then(Value::as_str).map(ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_tag_that_is_not_there_is_not_found() {
        let reference = "registry.example:5000/shop/cart:0123456789ab";
        assert!(is_not_found(reference, "ERROR: registry.example:5000/shop/cart:0123456789ab: not found\n"));
        for other in [
            "ERROR: error getting credentials: helper not found",
            "ERROR: unexpected status from HEAD request to https://registry.example/v2/: 404 Not Found",
            "ERROR: failed to do request: dial tcp: lookup registry.example: host not found",
            "ERROR: registry.example:5000/shop/cart:main: not found",
            "",
        ] {
            assert!(!is_not_found(reference, other), "{other}");
        }
    }
}
