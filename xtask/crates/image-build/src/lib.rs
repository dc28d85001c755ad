//! Plans the images, builds them with one bake, and proves what came out.

mod bake;
mod budget;
mod cache;
mod conformance;
mod difference;
mod failure;
mod fingerprint;
mod host;
mod image;
mod inputs;
mod ledger;
mod native;
mod objection;
#[cfg(test)]
mod oracle;
mod plan;
mod program;
mod progress;
mod reproducible;
mod revision;
mod saved_image;
mod screen;
mod set;
mod staging;

use std::collections::BTreeMap;
use std::thread;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use xtask_engine::{Bases, Inspected, Ready, Toolbox, inspect};
use xtask_outcome::{Outcome, Stop};
use xtask_workspace::{Context, Project};

use self::bake::bake;
pub use self::cache::Cache;
use self::fingerprint::{Built, Fingerprint, Hashes, Records};
pub use self::image::{ImageFacts, ProgramFacts, file_of_image};
use self::image::{Images, other_program};
use self::inputs::Git;
pub use self::inputs::{check_layout, is_left_by_an_editor};
use self::ledger::{Builder, demand};
use self::objection::Objection;
use self::plan::{BuildPlan, ImagePlan};
pub use self::plan::{Choice, Strategy};
pub use self::revision::{commit, of_revision, remove_revisions};
pub use self::set::{ImageSet, given};

/// What to build, and how.
#[derive(Debug, Clone)]
pub struct Build {
    /// Which images (`cart` or `shop-cart`); all of them when none is named.
    pub names: Vec<String>,
    /// Where the programs are compiled.
    pub strategy: Choice,
    /// Ask the registry for newer base images.
    pub pull: bool,
    /// Build every step again.
    pub no_cache: bool,
    /// Where layers are kept between machines.
    pub cache: Option<Cache>,
    /// Read layers from the cache and write none.
    pub cache_read_only: bool,
    /// Another platform than the builder's own.
    pub platform: Option<String>,
    /// Another tag than `local`.
    pub tag: Option<String>,
    /// Build everything twice, and compare.
    pub verify_reproducible: bool,
    /// Say why each image is built.
    pub explain: bool,
    /// Build nothing.
    pub dry_run: bool,
}

/// What images are made from, as git knows it.
#[derive(Debug)]
pub struct Sources(Git);

/// What the engine has of each reference.
type Here = BTreeMap<String, Option<Inspected>>;

/// An image that was built and proved.
#[derive(Debug, Clone)]
pub struct BuiltImage {
    /// `user`.
    pub name: String,
    /// `shop-cart`.
    pub package: String,
    /// How it was built.
    pub strategy: Strategy,
    /// What it is; of one of the dev profile no more than its id and configuration.
    pub facts: ImageFacts,
    /// The SHA-256 of everything that it was built from, as `sha256:…`.
    pub inputs: String,
}

/// An image, and what came up when it was proved.
struct Proved {
    image: BuiltImage,
    objections: Vec<Objection>,
    /// It was not there before.
    is_new: bool,
}

impl Default for Build {
    /// Everything, by the strategy by which it was built last.
    fn default() -> Self {
        Self {
            names: Vec::new(),
            strategy: Choice::AsBuilt { dev: false },
            pull: false,
            no_cache: false,
            cache: None,
            cache_read_only: false,
            platform: None,
            tag: None,
            verify_reproducible: false,
            explain: false,
            dry_run: false,
        }
    }
}

impl Build {
    /// What git knows of the files that the images are made from. It needs no engine, so it can be asked meanwhile.
    ///
    /// # Errors
    /// [`Stop::Repository`] for images that cannot be built side by side, [`Stop::Usage`] for an unknown image, [`Stop::Broken`] when
    /// git refuses the checkout.
    pub fn sources(&self, context: &Context) -> Result<Sources> {
        check_layout(&context.project)?;
        context.runner.progress().now("compares the inputs with those of the last build");
        Git::ask(&context.project, &context.runner, &context.project.select(&self.names)?).map(Sources)
    }

    /// As [`Build::run_from`], with sources that are asked for here.
    ///
    /// # Errors
    /// As [`Build::sources`] and [`Build::run_from`].
    pub fn run(&self, context: &Context, ready: &Ready, outcome: &mut Outcome) -> Result<Vec<BuiltImage>> {
        self.run_from(&self.sources(context)?, context, ready, outcome)
    }

    /// Builds and proves the images; the ids in the result are what later steps use. What is wrong with an image is a finding,
    /// and the others are built and proved all the same.
    ///
    /// # Errors
    /// [`Stop::Repository`] when a program does not compile or a Dockerfile does not build, [`Stop::Usage`] for an unknown image,
    /// [`Stop::Absent`] and [`Stop::Broken`] when the builder or the engine cannot do its part.
    pub fn run_from(
        &self,
        Sources(git): &Sources,
        context: &Context,
        ready: &Ready,
        outcome: &mut Outcome,
    ) -> Result<Vec<BuiltImage>> {
        if let Some(doubt) = &git.doubt {
            context.runner.progress().say(&format!("build: {doubt}"));
            outcome.evidence("revisions", doubt.as_str());
        }
        let inputs = inputs::of_all(&context.project, git);
        for image in context.project.select(&self.names)? {
            outcome.findings.extend(inputs::judge(&context.project, git, &inputs, image));
        }
        outcome.findings.extend(conformance::stale(&context.project)?);
        inputs::refuse(&outcome.findings)?;
        outcome.evidence.extend(ready.evidence());
        let (mut built, mut objections, mut new) = (Vec::new(), BTreeMap::new(), 0);
        for (strategy, names) in self.by_strategy(context)? {
            let part = Self { names, strategy: Choice::By(strategy), ..self.clone() };
            for mut one in part.run_by(strategy, context, ready, git, outcome)? {
                objections.insert(one.image.name.clone(), std::mem::take(&mut one.objections));
                new += usize::from(one.is_new);
                built.push(one.image);
            }
        }
        if self.dry_run || self.verify_reproducible {
            return Ok(built);
        }
        built.sort_by(|a, b| a.name.cmp(&b.name));
        outcome.checked("images rebuilt", new);
        if let Choice::By(strategy) = self.strategy {
            let records = Records::new(&context.project, strategy);
            built.iter().try_for_each(|image| records.choose(&image.name))?;
        }
        let images = Images::new(context, &ready.docker);
        let before = |image: &BuiltImage| {
            images.kept(&Records::new(&context.project, image.strategy).last(&image.name)?.previous?)
        };
        let objected = |image: &BuiltImage| objections.remove(&image.name).unwrap_or_default();
        let judged: Vec<_> = built.iter().filter(|image| image.strategy != Strategy::Dev).cloned().collect();
        conformance::judge(&context.project, &judged, objected, before, outcome)?;
        outcome.checked("images proved", judged.len());
        for image in context.project.select(&self.names)?.into_iter().filter(|image| image.contract.is_some()) {
            let why = "its contract is a file, so its program is not asked; the image's label is held to the revision";
            outcome.unchecked(format!("that the program in {} is the one that was built", image.name()), why);
        }
        if matches!(self.strategy, Choice::AsBuilt { .. }) {
            outcome.note(format!("images: {}", origins(&built)));
        }
        Ok(built)
    }

    /// The images by the strategy that each is built by.
    fn by_strategy(&self, context: &Context) -> Result<BTreeMap<Strategy, Vec<String>>> {
        let mut groups: BTreeMap<Strategy, Vec<String>> = BTreeMap::new();
        for image in context.project.select(&self.names)? {
            let strategy = match (self.strategy, Records::chosen(&context.project, image.name())) {
                (Choice::By(strategy), _) => strategy,
                (Choice::AsBuilt { dev: false }, Some(Strategy::Dev)) | (Choice::AsBuilt { .. }, None) => {
                    Strategy::Container
                }
                (Choice::AsBuilt { .. }, Some(strategy)) => strategy,
            };
            groups.entry(strategy).or_default().push(image.name().to_owned());
        }
        Ok(groups)
    }

    /// Builds the images of one strategy.
    fn run_by(
        &self,
        strategy: Strategy,
        context: &Context,
        ready: &Ready,
        git: &Git,
        outcome: &mut Outcome,
    ) -> Result<Vec<Proved>> {
        let mut plan = self.plan(strategy, context, ready, git, outcome)?;
        if self.cache.is_some() || self.platform.is_some() || self.dry_run || self.verify_reproducible {
            self.use_builder(context, &Builder::ask(context, ready)?, &mut plan, outcome)?;
        }
        if self.dry_run {
            plan.describe().into_iter().for_each(|line| outcome.note(format!("plan: {line}")));
            outcome.evidence("bake_file", serde_json::to_string(&plan.bake_file())?);
            outcome.findings.extend(conformance::missing(&context.project, &plan.images)?);
            outcome.checked("images planned, none built", plan.images.len());
            return Ok(Vec::new());
        }
        if self.verify_reproducible {
            reproducible::verify(context, ready, git, &plan, outcome)?;
            return Ok(Vec::new());
        }
        self.build_changed(context, ready, git, plan, outcome)
    }

    /// Builds the images whose inputs changed since their last build, and takes the others as they are.
    fn build_changed(
        &self,
        context: &Context,
        ready: &Ready,
        git: &Git,
        mut plan: BuildPlan,
        outcome: &mut Outcome,
    ) -> Result<Vec<Proved>> {
        let images = Images::new(context, &ready.docker);
        let records = Records::new(&context.project, plan.strategy);
        // Taken before the build: an edit during it makes the next build see a change, never miss one.
        let fingerprints = fingerprints(context, ready, git, &plan)?;
        let last: BTreeMap<_, _> = plan.images.iter().map(|image| (&image.name, records.last(&image.name))).collect();
        let ids = last.values().flatten().map(|built| built.id.clone());
        let references: Vec<_> = ids.chain(plan.images.iter().map(|image| image.tag.clone())).collect();
        let here = inspect(&context.runner, &ready.docker, &references)?;
        let mut proved = Vec::new();
        let mut reasons = BTreeMap::new();
        for image in &plan.images {
            let last = last[&image.name].as_ref();
            let reason = self.reason(&here, last, &fingerprints[&image.name]);
            if let (None, Some(last)) = (&reason, last) {
                if here[&image.tag].as_ref().is_none_or(|tagged| tagged.id != last.id) {
                    images.tag(&last.id, &image.tag)?;
                }
                proved.push(prove(&images, image, plan.strategy, &last.id, &fingerprints)?);
            }
            reasons.insert(image.name.clone(), reason);
        }
        plan.images.retain(|image| reasons[&image.name].is_some());
        for line in plan.describe() {
            context.runner.progress().detail(&line);
        }
        if self.explain {
            for (name, reason) in &reasons {
                let reason = reason.as_deref().unwrap_or("not built: nothing changed since the last build");
                outcome.note(format!("{name}: {reason}"));
            }
        }
        if !plan.images.is_empty() {
            let files = inputs::of_all(&context.project, git);
            staging::stage(&context.project, &files, &plan.inputs).context("stage the inputs of the build")?;
            // The builder answers while the host compiles: only the bake has to know what it can do.
            let builder = thread::scope(|scope| {
                let builder = (!plan.builder_asked).then(|| scope.spawn(|| Builder::ask(context, ready)));
                if plan.strategy != Strategy::Container {
                    host::compile(context, &Toolbox::new(&context.project, &context.runner)?, &files, &plan)?;
                }
                builder.map(image::joined).transpose()
            })?;
            if let Some(builder) = builder {
                self.use_builder(context, &builder, &mut plan, outcome)?;
            }
            let said = bake(context, ready, &plan)?;
            context.runner.progress().now("proves what was built");
            for one in prove_all(&images, &plan, &said, &fingerprints)? {
                let name = &one.image.name;
                let id = one.image.facts.id.clone();
                records.store(name, &Built::after(records.last(name), fingerprints[name].clone(), id))?;
                proved.push(Proved { is_new: true, ..one });
            }
        }
        proved.sort_by(|a, b| a.image.name.cmp(&b.image.name));
        Ok(proved)
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

    fn plan(
        &self,
        strategy: Strategy,
        context: &Context,
        ready: &Ready,
        git: &Git,
        outcome: &mut Outcome,
    ) -> Result<BuildPlan> {
        let project = &context.project;
        let mut images = Vec::new();
        for image in project.select(&self.names)? {
            images.push(ImagePlan {
                name: image.name().to_owned(),
                package: image.package.clone(),
                tag: self.tag.as_ref().map_or_else(|| image.tag(), |tag| format!("{}:{tag}", image.package)),
                contract: image.contract.as_ref().map(|file| project.root.join(file)),
                dockerfile: project.out().join("context").join(&image.folder).join("Dockerfile"),
                revision: git.revision(image)?,
                version: image.version.clone(),
                source: image.repository.clone().or_else(|| git.origin.clone()),
            });
        }
        let policy = Bases::policy(project)?;
        let (_, argument) = Bases::builder(&policy)?;
        let pull = self.pull && !ready.builder.local;
        if self.pull && ready.builder.local {
            let reference = &ready.builder.reference;
            outcome.note(format!("--pull is off: {reference} was made on this machine, no registry has it"));
        }
        Ok(BuildPlan {
            strategy,
            context: match strategy {
                Strategy::Container => project.out().join("context"),
                Strategy::Host | Strategy::Dev => project.out().join("programs"),
            },
            inputs: project.out().join("context"),
            images,
            base: (argument.to_owned(), ready.builder.reference.clone()),
            ca_file: copy_ca_file(context)?,
            proxies: project.environment.proxies.clone(),
            pull,
            no_cache: self.no_cache,
            cache: self.cache.clone(),
            cache_read_only: self.cache_read_only,
            platform: self.platform.clone(),
            builder_asked: false,
            provenance: false,
            fixed_times: false,
        })
    }

    /// Fits the plan to what the builder can do. What was asked for by flag and cannot be done ends it here.
    fn use_builder(
        &self,
        context: &Context,
        builder: &Builder,
        plan: &mut BuildPlan,
        outcome: &mut Outcome,
    ) -> Result<()> {
        plan.builder_asked = true;
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

fn fingerprints(
    context: &Context,
    ready: &Ready,
    git: &Git,
    plan: &BuildPlan,
) -> Result<BTreeMap<String, Fingerprint>> {
    let compiler = match plan.strategy {
        Strategy::Container => ready.builder.id.clone(),
        Strategy::Host | Strategy::Dev => host::compiler(context)?,
    };
    let mut hashes = Hashes::below(&context.project.root);
    let mut fingerprints = BTreeMap::new();
    for image in &plan.images {
        let package = context.project.select(std::slice::from_ref(&image.name))?[0];
        let files = inputs::files(&context.project, git, package);
        let fingerprint = Fingerprint::of(&mut hashes, &files, plan, image, &compiler)?;
        fingerprints.insert(image.name.clone(), fingerprint);
    }
    Ok(fingerprints)
}

/// The authority that the host trusts, copied into the project's folder: bake asks before it reads anything outside.
///
/// # Errors
/// When the bundle cannot be read.
pub fn copy_ca_file(context: &Context) -> Result<Option<camino::Utf8PathBuf>> {
    let Some(source) = &context.project.environment.ca_file else { return Ok(None) };
    let copy = context.project.out().join("ca.pem");
    let content = std::fs::read(source).with_context(|| format!("read the certificate bundle {source}"))?;
    staging::put(&copy, &content, 0o644)?;
    Ok(Some(copy))
}

/// Every tag must be in the local engine, be what the builder made, and hold the program that the plan means.
fn prove_all(
    images: &Images<'_>,
    plan: &BuildPlan,
    said: &BTreeMap<String, String>,
    fingerprints: &BTreeMap<String, Fingerprint>,
) -> Result<Vec<Proved>> {
    thread::scope(|scope| {
        let look =
            |image| scope.spawn(move || prove(images, image, plan.strategy, &made(images, image, said)?, fingerprints));
        let threads: Vec<_> = plan.images.iter().map(look).collect();
        threads.into_iter().map(image::joined).collect()
    })
}

/// The id of what the builder made.
fn made(images: &Images<'_>, image: &ImagePlan, said: &BTreeMap<String, String>) -> Result<String> {
    let Some(tagged) = images.id(&image.tag)? else {
        let text = format!(
            "{} was built but is not in the local engine; next: use a builder that loads its result (`docker buildx use default`)",
            image.tag
        );
        return Err(Stop::Broken(text).into());
    };
    let made = said.get(&image.name).with_context(|| format!("buildx says nothing of the target {}", image.name))?;
    // An engine with the containerd store calls an image by its index, which the builder's metadata may not name.
    let id = images.id(made)?.unwrap_or_else(|| tagged.clone());
    if id != tagged {
        let text = format!("another build has moved {} to {tagged} meanwhile; this one goes on with {id}", image.tag);
        images.context.runner.progress().say(&text);
    }
    Ok(id)
}

/// Looks at an image without running it, then runs its program if an engine can: a program that cannot run says why.
fn prove(
    images: &Images<'_>,
    image: &ImagePlan,
    strategy: Strategy,
    id: &str,
    fingerprints: &BTreeMap<String, Fingerprint>,
) -> Result<Proved> {
    let mut objections = Vec::new();
    let facts = match strategy {
        // It is for one person's eyes, seconds after an edit.
        Strategy::Dev => ImageFacts::unseen(id),
        Strategy::Container | Strategy::Host => {
            let facts = seen(images, image, id, &mut objections)?;
            objections.extend(conformance::other_labels(image, &facts));
            facts
        }
    };
    objections.extend(facts.program.as_ref().and_then(|program| other_program(image, program)));
    let inputs = fingerprints[&image.name].digest();
    let image = BuiltImage { name: image.name.clone(), package: image.package.clone(), strategy, facts, inputs };
    Ok(Proved { image, objections, is_new: false })
}

fn seen(images: &Images<'_>, image: &ImagePlan, id: &str, objections: &mut Vec<Objection>) -> Result<ImageFacts> {
    let mut facts = images.facts(&image.package, id)?;
    if let Some(file) = &image.contract {
        // Read each time, and not kept with the image: it is no part of it.
        match image::given(file) {
            Ok(program) => facts.program = Some(program),
            Err(objection) => objections.push(objection),
        }
    } else if facts.program.is_none() && !conformance::cannot_start(&facts) {
        match images.program(&image.package, id)? {
            Ok(program) => {
                facts.program = Some(program);
                images.keep(&facts)?;
            }
            Err(objection) => objections.push(objection),
        }
    }
    Ok(facts)
}

/// Where each image was compiled, in words: `user (compiled on this machine); order (compiled in the builder container)`.
pub fn origins(images: &[BuiltImage]) -> String {
    let of = |strategy: Strategy| {
        let names: Vec<_> =
            images.iter().filter(|image| image.strategy == strategy).map(|image| image.name.as_str()).collect();
        (!names.is_empty()).then(|| format!("{} ({})", names.join(", "), strategy.compiled_where()))
    };
    Strategy::all().into_iter().filter_map(of).collect::<Vec<_>>().join("; ")
}

/// The strategy that made an image, as far as this checkout knows it.
pub fn strategy_of(project: &Project, name: &str, id: &str) -> Option<Strategy> {
    let made = |strategy: &Strategy| Records::new(project, *strategy).last(name).is_some_and(|built| built.id == id);
    Strategy::all().into_iter().find(made)
}

/// The images for a report: name, id, size, and what the program says of itself.
pub fn evidence(images: &[BuiltImage]) -> Value {
    let one = |image: &BuiltImage| {
        json!({
            "name": image.name,
            "id": image.facts.id,
            "strategy": image.strategy.name(),
            "bytes": image.facts.size_bytes,
            "program": image.facts.program.as_ref().map(|program| program.version_line.as_str()),
        })
    };
    images.iter().map(one).collect()
}
