//! `cargo xtask build-images`: plan, build with one bake, and prove what came out.

pub(crate) mod archive;
mod bake;
mod budget;
mod cache;
mod conformance;
mod difference;
mod failure;
mod fingerprint;
mod host;
pub(crate) mod image;
mod inputs;
mod ledger;
#[cfg(test)]
mod oracle;
mod plan;
mod program;
mod progress;
mod reproducible;
mod screen;
mod staging;

use std::collections::{BTreeMap, BTreeSet};
use std::thread;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::{Value, json};

use self::bake::bake;
use self::cache::Cache;
use self::fingerprint::{Built, Fingerprint, Records};
use self::image::{ImageFacts, Images, check_identity};
use self::ledger::{Builder, demand};
use self::plan::{BuildPlan, ImagePlan, Strategy};
use crate::context::Context;
use crate::engine::{self, Inspected};
use crate::outcome::{Outcome, Stop};
use crate::setup::tools::Toolbox;
use crate::setup::{self, Ready, bases};

/// Build the images of the services, tagged mini-<service>:local.
#[derive(Debug, Args)]
pub(crate) struct BuildImages {
    /// Which images (`user` or `mini-user`); all of them when none is named.
    names: Vec<String>,
    /// Where the programs are compiled.
    #[arg(long, value_enum, default_value_t = Strategy::Container)]
    strategy: Strategy,
    /// Ask the registry for newer base images. A base that was made on this machine is left alone, and the output says so.
    #[arg(long)]
    pull: bool,
    /// Build every step again.
    #[arg(long)]
    no_cache: bool,
    /// Keep layers between machines, one scope per image: a repository in a registry, `type=local,dir=DIR` or `type=gha`.
    #[arg(long, value_name = "REF")]
    cache: Option<Cache>,
    /// Read layers from --cache and write none: for jobs that are not trusted with it.
    #[arg(long, requires = "cache")]
    cache_read_only: bool,
    /// Build for another platform than the builder's own, such as linux/arm64, where the builder can.
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
    /// Build everything twice, from nothing and in different folders, and compare; takes two full builds, changes no image.
    #[arg(long, conflicts_with_all = ["pull", "no_cache", "cache", "explain", "dry_run"])]
    verify_reproducible: bool,
    /// Say for each image why it is built, naming the inputs that changed, or that nothing did.
    #[arg(long)]
    explain: bool,
    /// Show what would be built and the bake file; build nothing.
    #[arg(long)]
    dry_run: bool,
}

/// What the engine has of each reference.
type Here = BTreeMap<String, Option<Inspected>>;

/// An image that was built and proved.
#[derive(Debug, Clone)]
pub(crate) struct BuiltImage {
    pub(crate) name: String,
    pub(crate) package: String,
    pub(crate) facts: ImageFacts,
}

impl BuildImages {
    /// What `verify`, `up` and `compose-e2e` build: everything, as it ships.
    pub(crate) fn all() -> Self {
        Self {
            names: Vec::new(),
            strategy: Strategy::Container,
            pull: false,
            no_cache: false,
            cache: None,
            cache_read_only: false,
            platform: None,
            verify_reproducible: false,
            explain: false,
            dry_run: false,
        }
    }

    pub(crate) fn run(&self, context: &Context) -> Result<Outcome> {
        inputs::check_context(&context.project)?;
        context.project.select(&self.names)?;
        let ready = setup::ready(context)?;
        let (outcome, _) = self.build(context, &ready)?;
        Ok(outcome)
    }

    /// Builds and proves the images; the ids in the result are what later steps use.
    pub(crate) fn build(&self, context: &Context, ready: &Ready) -> Result<(Outcome, Vec<BuiltImage>)> {
        inputs::check_context(&context.project)?;
        let mut outcome = Outcome::default();
        let mut plan = self.plan(context, ready, &mut outcome)?;
        if self.cache.is_some() || self.platform.is_some() || self.dry_run || self.verify_reproducible {
            self.use_builder(context, ready, &mut plan, &mut outcome)?;
        }
        if self.dry_run {
            outcome.evidence("plan", plan.describe());
            outcome.evidence("bake_file", serde_json::to_string(&plan.bake_file())?);
            outcome.checked("images planned, none built", plan.images.len());
            return Ok((outcome, Vec::new()));
        }
        if self.verify_reproducible {
            reproducible::verify(context, ready, &plan, &mut outcome)?;
            outcome.evidence("strategy", self.strategy.name());
            outcome.evidence.extend(ready.evidence());
            return Ok((outcome, Vec::new()));
        }
        let built = self.build_changed(context, ready, plan, &mut outcome)?;
        let (images, records) = (Images::new(context, &ready.docker), Records::new(&context.project, self.strategy));
        let before = |image: &BuiltImage| images.kept(&records.last(&image.name)?.previous?);
        conformance::judge(context, &built, before, &mut outcome)?;
        outcome.checked("images proved", built.len());
        outcome.evidence("strategy", self.strategy.name());
        outcome.evidence("images", evidence(&built));
        outcome.evidence.extend(ready.evidence());
        Ok((outcome, built))
    }

    /// Builds the images whose inputs changed since their last build, and takes the others as they are.
    fn build_changed(
        &self,
        context: &Context,
        ready: &Ready,
        mut plan: BuildPlan,
        outcome: &mut Outcome,
    ) -> Result<Vec<BuiltImage>> {
        let images = Images::new(context, &ready.docker);
        let records = Records::new(&context.project, plan.strategy);
        // Taken before the build: an edit during it makes the next build see a change, never miss one.
        let fingerprints = fingerprints(context, ready, &plan)?;
        let last: BTreeMap<_, _> = plan.images.iter().map(|image| (&image.name, records.last(&image.name))).collect();
        let ids = last.values().flatten().map(|built| built.id.clone());
        let references: Vec<_> = ids.chain(plan.images.iter().map(|image| image.tag.clone())).collect();
        let here = engine::inspect(&context.runner, &ready.docker, &references)?;
        let mut built = Vec::new();
        let mut reasons = BTreeMap::new();
        for image in &plan.images {
            let last = last[&image.name].as_ref();
            let reason = self.reason(&here, last, &fingerprints[&image.name]);
            if let (None, Some(last)) = (&reason, last) {
                if here[&image.tag].as_ref().is_none_or(|tagged| tagged.id != last.id) {
                    images.tag(&last.id, &image.tag)?;
                }
                built.push(proved(&images, image, &last.id)?);
            }
            reasons.insert(image.name.clone(), reason);
        }
        plan.images.retain(|image| reasons[&image.name].is_some());
        for line in plan.describe() {
            eprintln!("build: {line}");
        }
        if self.explain {
            let explain = |(name, reason): (&String, &Option<String>)| json!({ "name": name, "build": reason.as_deref().unwrap_or("no: nothing changed since the last one") });
            outcome.evidence("explain", reasons.iter().map(explain).collect::<Value>());
        }
        if !plan.images.is_empty() {
            self.use_builder(context, ready, &mut plan, outcome)?;
            stage(context)?;
            if plan.strategy == Strategy::Host {
                let toolbox = Toolbox::new(&context.project, &context.runner)?;
                host::compile(context, &toolbox, &plan.images)?;
            }
            let said = bake(context, ready, &plan)?;
            for image in prove(&images, &plan, &said)? {
                let record =
                    Built::after(records.last(&image.name), fingerprints[&image.name].clone(), image.facts.id.clone());
                records.store(&image.name, &record)?;
                built.push(image);
            }
        }
        built.sort_by(|a, b| a.name.cmp(&b.name));
        outcome.checked("images built anew", plan.images.len());
        Ok(built)
    }

    /// Why an image has to be built; `None` when the last one is still right.
    fn reason(&self, here: &Here, last: Option<&Built>, now: &Fingerprint) -> Option<String> {
        let Some(last) = last else { return Some("never built here".to_owned()) };
        let changed = last.fingerprint.differences(now);
        if !changed.is_empty() {
            return Some(format!("changed: {}", changed.join(", ")));
        }
        if self.no_cache || self.pull {
            return Some("asked for by --no-cache or --pull".to_owned());
        }
        here[&last.id].is_none().then(|| format!("{} is gone from the engine", last.id))
    }

    fn plan(&self, context: &Context, ready: &Ready, outcome: &mut Outcome) -> Result<BuildPlan> {
        let project = &context.project;
        let mut images = Vec::new();
        for image in project.select(&self.names)? {
            images.push(ImagePlan {
                name: image.name().to_owned(),
                package: image.package.clone(),
                tag: image.tag(),
                dockerfile: project.out().join("context").join(&image.folder).join("Dockerfile"),
                revision: inputs::revision(project, &context.runner, image)?,
            });
        }
        let argument = bases::policy()?["rust"].build_argument.clone().context("the rust base has a build argument")?;
        let pull = self.pull && !ready.rust.local;
        if self.pull && ready.rust.local {
            outcome.evidence(
                "pull",
                format!("off: {} was made on this machine, no registry has it", ready.rust.reference),
            );
        }
        Ok(BuildPlan {
            strategy: self.strategy,
            context: match self.strategy {
                Strategy::Container => project.out().join("context"),
                Strategy::Host => project.out().join("programs"),
            },
            inputs: project.out().join("context"),
            images,
            base: (argument, ready.rust.reference.clone()),
            version: project.version.clone(),
            ca_file: copy_ca_file(context)?,
            proxies: project.environment.proxies.clone(),
            pull,
            no_cache: self.no_cache,
            cache: self.cache.clone(),
            cache_read_only: self.cache_read_only,
            platform: self.platform.clone(),
            provenance: false,
            fixed_times: false,
        })
    }

    /// Fits the plan to what the builder can do. What was asked for by flag and cannot be done ends it here.
    fn use_builder(&self, context: &Context, ready: &Ready, plan: &mut BuildPlan, outcome: &mut Outcome) -> Result<()> {
        if outcome.evidence.contains_key("builder") {
            return Ok(());
        }
        let builder = Builder::ask(context, ready)?;
        if let Some(cache) = &self.cache {
            demand("--cache", builder.cache().and_then(|()| cache.open(context.project.environment.actions_cache)))?;
        }
        if let Some(platform) = &self.platform {
            demand("--platform", builder.platform(platform))?;
        }
        plan.provenance = builder.provenance().is_ok();
        plan.fixed_times = builder.fixed_times().is_ok();
        outcome.evidence("builder", builder.evidence(plan));
        Ok(())
    }
}

/// Gives the builder its own copy of every input of every image, Dockerfiles included.
fn stage(context: &Context) -> Result<()> {
    let project = &context.project;
    let paths: BTreeSet<_> = project.images.iter().flat_map(|image| inputs::input_paths(project, image)).collect();
    staging::stage(&project.root, &paths, &project.out().join("context")).context("stage the inputs of the build")
}

fn fingerprints(context: &Context, ready: &Ready, plan: &BuildPlan) -> Result<BTreeMap<String, Fingerprint>> {
    let compiler = match plan.strategy {
        Strategy::Container => ready.rust.id.clone(),
        Strategy::Host => host::compiler(context)?,
    };
    let mut fingerprints = BTreeMap::new();
    for image in &plan.images {
        let package = context.project.select(std::slice::from_ref(&image.name))?[0];
        fingerprints.insert(image.name.clone(), Fingerprint::of(&context.project, package, plan, image, &compiler)?);
    }
    Ok(fingerprints)
}

/// The authority that the host trusts, copied into the project's folder: bake asks before it reads anything outside.
pub(crate) fn copy_ca_file(context: &Context) -> Result<Option<camino::Utf8PathBuf>> {
    let Some(source) = &context.project.environment.ca_file else { return Ok(None) };
    let copy = context.project.out().join("ca.pem");
    let content = std::fs::read(source).with_context(|| format!("read the certificate bundle {source}"))?;
    staging::put(&copy, &content, 0o644)?;
    Ok(Some(copy))
}

/// Every tag must be in the local engine, be what the builder made, and hold the program that the plan means.
fn prove(images: &Images<'_>, plan: &BuildPlan, said: &BTreeMap<String, String>) -> Result<Vec<BuiltImage>> {
    thread::scope(|scope| {
        let look = |image| scope.spawn(move || prove_one(images, image, said));
        let threads: Vec<_> = plan.images.iter().map(look).collect();
        threads.into_iter().map(image::joined).collect()
    })
}

fn prove_one(images: &Images<'_>, image: &ImagePlan, said: &BTreeMap<String, String>) -> Result<BuiltImage> {
    let Some(tagged) = images.id(&image.tag)? else {
        let text = format!(
            "{} was built but is not in the local engine; next: use a builder that loads its result (`docker buildx use default`)",
            image.tag
        );
        return Err(Stop::Missing(text).into());
    };
    let made = said.get(&image.name).with_context(|| format!("buildx says nothing of the target {}", image.name))?;
    // An engine with the containerd store calls an image by its index, which the builder's metadata may not name.
    let id = images.id(made)?.unwrap_or_else(|| tagged.clone());
    if id != tagged {
        eprintln!("build: another build has moved {} to {tagged} meanwhile; this one goes on with {id}", image.tag);
    }
    proved(images, image, &id)
}

fn proved(images: &Images<'_>, image: &ImagePlan, id: &str) -> Result<BuiltImage> {
    let facts = images.facts(&image.package, id)?;
    check_identity(image, &facts)?;
    Ok(BuiltImage { name: image.name.clone(), package: image.package.clone(), facts })
}

pub(crate) fn evidence(images: &[BuiltImage]) -> Value {
    let one = |image: &BuiltImage| {
        json!({
            "name": image.name,
            "id": image.facts.id,
            "bytes": image.facts.size_bytes,
            "program": image.facts.version_line,
        })
    };
    images.iter().map(one).collect()
}
