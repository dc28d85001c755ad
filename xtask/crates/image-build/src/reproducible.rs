//! `--verify-reproducible`: the same inputs, built twice with nothing in common but the builder, must give the same image.
//!
//! Each build has a folder, cache mounts and file copies of its own, takes no step from the cache, and starts a minute after
//! the one before, so that a path, a leftover or a clock that gets into an image shows.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::json;
use xshell::{Shell, cmd};

use super::difference::difference;
use super::image::Images;
use super::inputs::Git;
use super::plan::{BuildPlan, Strategy};
use super::saved_image::SavedImage;
use super::{bake, copy_ca_file, host, inputs, staging};
use xtask_engine::Ready;
use xtask_engine::Toolbox;
use xtask_outcome::{Finding, Outcome, Place, Stop};
use xtask_workspace::Context;
use xtask_workspace::Project;

/// Folder names of different length, one with a blank: a path that gets into a program shows.
const FOLDERS: [&str; 2] = ["one", "the other one"];
/// Between the starts of the two builds: file and image times have a resolution of a second at best.
const APART_SECONDS: u64 = 60;
const POLL_MILLISECONDS: u64 = 200;
const ENGINE_LIMIT_SECONDS: u64 = 120;
const LAYERS_FORMAT: &str = "{{json .RootFS.Layers}}";
const CACHE_MOUNT: &str = "--mount=type=cache,id=";

/// One image of one of the two builds.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Made {
    id: String,
    /// The digests of the uncompressed layers.
    layers: String,
}

/// Builds what is planned twice and compares; the images that people use stay as they are.
pub(super) fn verify(
    context: &Context,
    ready: &Ready,
    git: &Git,
    plan: &BuildPlan,
    outcome: &mut Outcome,
) -> Result<()> {
    let folder = context.project.out().join(format!("reproducible-{}", std::process::id()));
    let images = Images::new(context, &ready.docker);
    let plans = FOLDERS.map(|name| copied(plan, &folder.join(name), name));
    let result =
        build_and_compare(context, ready, &images, &inputs::of_all(&context.project, git), &plans, &folder, outcome);
    let cleaned = clean_up(context, ready, &plans, &folder);
    result?;
    cleaned
}

fn build_and_compare(
    context: &Context,
    ready: &Ready,
    images: &Images<'_>,
    files: &BTreeSet<Utf8PathBuf>,
    plans: &[BuildPlan; 2],
    folder: &Utf8Path,
    outcome: &mut Outcome,
) -> Result<()> {
    let mut started: Option<Instant> = None;
    let mut builds = Vec::new();
    for (plan, name) in plans.iter().zip(FOLDERS) {
        wait_until_apart(context, started)?;
        started = Some(Instant::now());
        let count = plan.images.len();
        context
            .runner
            .progress()
            .now(&format!("builds {count} images in a folder of their own, nothing from the cache"));
        builds.push(build(context, ready, images, files, plan, &folder.join(name))?);
    }
    let whole = plans[0].fixed_times;
    let mut compared = Vec::new();
    for (index, image) in plans[0].images.iter().enumerate() {
        let (one, other) = (&builds[0][&image.name], &builds[1][&image.name]);
        let same = one.layers == other.layers && (!whole || one.id == other.id);
        compared.push(json!({ "name": image.name, "layers": one.layers, "id": one.id, "repeats": same }));
        if !same {
            let tags = [&plans[0].images[index].tag, &plans[1].images[index].tag];
            let what = name_difference(context, ready, tags, folder)?;
            outcome.findings.push(finding(&image.package, plans[0].strategy, &what));
        }
    }
    let what = if whole { "images built twice, ids compared" } else { "images built twice, layers compared" };
    outcome.checked(what, compared.len());
    outcome.evidence("reproducible", compared);
    Ok(())
}

/// The plan for one of the builds: the same images under tags of their own, from a copy of the inputs.
fn copied(plan: &BuildPlan, root: &Utf8Path, name: &str) -> BuildPlan {
    let mut plan = plan.clone();
    let short = name.replace(' ', "-");
    for image in &mut plan.images {
        image.tag = format!("xtask-reproducible:{}-{short}-{}", image.name, std::process::id());
        let inside = image.dockerfile.strip_prefix(&plan.inputs).unwrap_or(&image.dockerfile);
        image.dockerfile = root.join(inside);
    }
    plan.context = match plan.strategy {
        Strategy::Container => root.to_owned(),
        Strategy::Host | Strategy::Dev => root.join("target/xtask/programs"),
    };
    plan.inputs = root.to_owned();
    plan.no_cache = true;
    plan.pull = false;
    // A statement of when the image was built is part of the image's id on an engine that keeps one.
    plan.provenance = false;
    plan
}

fn build(
    context: &Context,
    ready: &Ready,
    images: &Images<'_>,
    files: &BTreeSet<Utf8PathBuf>,
    plan: &BuildPlan,
    root: &Utf8Path,
) -> Result<BTreeMap<String, Made>> {
    let copy = Context {
        project: Project { root: root.to_owned(), target: root.join("target"), ..context.project.clone() },
        runner: context.runner.clone(),
    };
    stage_copy(&context.project, files, plan, root)?;
    let plan = BuildPlan { ca_file: copy_ca_file(&copy)?, ..plan.clone() };
    if plan.strategy != Strategy::Container {
        host::compile(&copy, &Toolbox::new(&context.project, &context.runner)?, files, &plan)?;
    }
    bake(&copy, ready, &plan)?;
    let mut made = BTreeMap::new();
    for image in &plan.images {
        let id = images.id(&image.tag)?;
        let id = id.ok_or_else(|| Stop::Broken(format!("{} was built and is not in the engine", image.tag)))?;
        let layers = layers(context, ready, &id)?;
        made.insert(image.name.clone(), Made { id, layers });
    }
    Ok(made)
}

fn layers(context: &Context, ready: &Ready, id: &str) -> Result<String> {
    let (shell, docker) = (Shell::new()?, &ready.docker.program);
    context.runner.read(cmd!(shell, "{docker} image inspect --format {LAYERS_FORMAT} {id}"), ENGINE_LIMIT_SECONDS)
}

/// Copies the inputs, and gives the Dockerfiles cache mounts that nobody has filled.
fn stage_copy(project: &Project, files: &BTreeSet<Utf8PathBuf>, plan: &BuildPlan, root: &Utf8Path) -> Result<()> {
    staging::stage(project, files, root).context("copy the inputs of the build")?;
    let prefix = format!("reproducible-{}-{}-", std::process::id(), root.file_name().unwrap_or_default().len());
    for image in &plan.images {
        let text = std::fs::read_to_string(&image.dockerfile).with_context(|| format!("read {}", image.dockerfile))?;
        staging::put(&image.dockerfile, fresh_cache_mounts(&text, &prefix).as_bytes(), 0o644)?;
    }
    Ok(())
}

fn fresh_cache_mounts(dockerfile: &str, prefix: &str) -> String {
    dockerfile.replace(CACHE_MOUNT, &format!("{CACHE_MOUNT}{prefix}"))
}

fn wait_until_apart(context: &Context, started: Option<Instant>) -> Result<()> {
    let apart = Duration::from_secs(APART_SECONDS);
    while started.is_some_and(|started| started.elapsed() < apart) {
        context.runner.interrupt().check()?;
        thread::sleep(Duration::from_millis(POLL_MILLISECONDS));
    }
    Ok(())
}

/// Saves both images and names the first thing in which they differ.
fn name_difference(context: &Context, ready: &Ready, tags: [&String; 2], folder: &Utf8Path) -> Result<String> {
    let (shell, docker) = (Shell::new()?, &ready.docker.program);
    let mut archives = Vec::new();
    for (tag, name) in tags.into_iter().zip(FOLDERS) {
        let file = folder.join(format!("{name}.tar"));
        context.runner.read(cmd!(shell, "{docker} image save --output {file} {tag}"), ENGINE_LIMIT_SECONDS)?;
        archives.push(SavedImage::read(&file)?);
    }
    let text = difference(&archives[0], &archives[1]);
    Ok(text.unwrap_or_else(|| "their ids differ and nothing in the saved images does".to_owned()))
}

fn finding(package: &str, strategy: Strategy, what: &str) -> Finding {
    Finding {
        rule: "not-reproducible",
        place: Place::new(package),
        message: format!("two builds of the same inputs ({}) differ: {what}", strategy.name()),
        next_step: "keep paths, times and random order out of that file; docs/decisions/0011-reproducible-images.md says what is done so far"
            .to_owned(),
    }
}

fn clean_up(context: &Context, ready: &Ready, plans: &[BuildPlan; 2], folder: &Utf8Path) -> Result<()> {
    let (shell, docker) = (Shell::new()?, &ready.docker.program);
    let runner = context.runner.for_clean_up();
    for tag in plans.iter().flat_map(|plan| plan.images.iter().map(|image| &image.tag)) {
        // A build that failed has made none of them.
        runner.capture(cmd!(shell, "{docker} image rm {tag}"), ENGINE_LIMIT_SECONDS)?;
    }
    let folder: Utf8PathBuf = folder.to_owned();
    shell.remove_path(&folder).with_context(|| format!("remove {folder}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::plan;

    #[test]
    fn the_two_builds_share_no_folder_no_tag_and_no_cache() {
        let original = plan();
        let [one, other] = FOLDERS.map(|name| copied(&original, &Utf8Path::new("/w").join(name), name));
        assert_ne!(one.context, other.context);
        assert_ne!(one.images[0].tag, other.images[0].tag);
        assert_eq!(other.images[0].dockerfile, "/w/the other one/services/user/Dockerfile");
        for plan in [&one, &other] {
            assert!(plan.no_cache && !plan.provenance && !plan.pull);
            assert_ne!(plan.images[0].tag, original.images[0].tag, "the image that people use stays");
            assert_eq!(plan.images[0].revision, original.images[0].revision);
        }
    }

    #[test]
    fn every_cache_mount_of_every_dockerfile_becomes_a_new_one() {
        let project = Project::load(env!("CARGO_MANIFEST_DIR")).unwrap();
        for image in &project.images {
            let text = std::fs::read_to_string(project.root.join(&image.folder).join("Dockerfile")).unwrap();
            let mounts = text.matches("--mount=type=cache").count();
            let fresh = fresh_cache_mounts(&text, "new-");
            assert!(mounts > 0, "{}", image.package);
            assert_eq!(fresh.matches("--mount=type=cache,id=new-").count(), mounts, "{}", image.package);
        }
    }
}
