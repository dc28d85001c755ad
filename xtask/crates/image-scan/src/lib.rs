//! May these images ship? A verdict over vulnerabilities, secrets and misconfigurations that says what it covers, by which
//! database, and what it could not see.

mod bolt;
mod configuration;
mod coverage;
mod database;
mod delta;
mod document;
mod failure;
mod images;
mod item;
mod judge;
mod policy;
mod report;
mod resolution;
mod sarif;
mod second_opinion;
pub mod sources;
mod trivy;
mod vex;
mod work;

use std::collections::BTreeSet;

use anyhow::Result;
use camino::Utf8PathBuf;
use xtask_engine::{Ready, Tool, Toolbox, Version};
use xtask_image_build::BuiltImage;
use xtask_outcome::{Date, Outcome};
use xtask_process::put;
use xtask_workspace::{Context, ImagePackage};

use self::configuration::Configurations;
use self::database::Databases;
pub use self::delta::Baseline;
use self::images::{Beside, Image};
use self::judge::{Judge, Verdict};
use self::policy::{Owner, Policy};
use self::second_opinion::SecondEye;
pub use self::second_opinion::SecondOpinion;
use self::trivy::{Subject, Trivy};
use self::work::{CONFIGURATION, LOCK_UNIT, Seen};

/// Which database of vulnerabilities is used.
#[derive(Debug, Clone, Default)]
pub struct DatabaseOptions {
    /// Folders that hold one each; without any one is fetched. Each image is looked up in every one that knows something of it.
    pub folders: Vec<Utf8PathBuf>,
    /// An older one is a finding; the policy's age when it is not given.
    pub max_age_days: Option<u32>,
}

/// What is scanned.
#[derive(Debug)]
pub struct Subjects {
    /// What was asked for; each is there.
    images: Vec<Image>,
    /// Images of others that run beside; one may be missing, and says why.
    beside: Vec<Beside>,
    /// Everything of this workspace: then what Cargo.lock has besides is looked at, too.
    whole: bool,
}

impl Subjects {
    /// The built images of these packages; with `whole` also what the stack runs beside them, and the lock file.
    ///
    /// # Errors
    /// [`xtask_outcome::Stop::Absent`] lists all built images that are not there.
    pub fn of_workspace(context: &Context, docker: &Tool, services: &[&ImagePackage], whole: bool) -> Result<Self> {
        let (images, beside) = images::of_workspace(context, docker, services, whole)?;
        Ok(Self { images, beside, whole })
    }

    /// Images by any reference in the local engine.
    ///
    /// # Errors
    /// [`xtask_outcome::Stop::Absent`] for one that is not there: nothing is pulled.
    pub fn by_reference(context: &Context, docker: &Tool, references: &[String]) -> Result<Self> {
        Ok(Self { images: images::by_reference(context, docker, references)?, beside: Vec::new(), whole: false })
    }

    /// Images that were just built, by id, and what stands beside them.
    ///
    /// # Errors
    /// [`xtask_outcome::Stop::Absent`] when one is gone meanwhile.
    pub fn of_built(context: &Context, ready: &Ready, built: &[BuiltImage]) -> Result<Self> {
        let (images, beside) = images::of_built(context, &ready.docker, built, &ready.neighbours)?;
        Ok(Self { images, beside, whole: true })
    }

    /// Whether everything of the workspace is scanned, its manifests included.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    fn names(&self) -> Vec<&str> {
        let beside = self.beside.iter().filter_map(|image| image.as_ref().ok());
        self.images.iter().chain(beside).map(|image| image.name.as_str()).collect()
    }
}

/// One scan.
#[derive(Debug)]
pub struct Scan<'a> {
    /// Where.
    pub context: &'a Context,
    /// Which database.
    pub database: &'a DatabaseOptions,
    /// What.
    pub subjects: Subjects,
    /// Kubernetes manifests by folder, as kustomize renders them, or why nobody knows.
    pub manifests: Vec<(String, Result<String>)>,
    /// Let syft and cargo-audit look, too.
    pub second_opinion: Option<SecondOpinion>,
    /// An earlier report to compare with.
    pub baseline: Option<Baseline>,
    /// Write what was seen to docs/scans/.
    pub write: bool,
}

impl Scan<'_> {
    /// Looks at everything and judges it.
    ///
    /// # Errors
    /// [`xtask_outcome::Stop::Absent`] without trivy or without the database that was asked for. One thing that trivy fails on is
    /// a failure in the outcome, and the others are judged all the same.
    pub fn run(mut self, outcome: &mut Outcome) -> Result<()> {
        let context = self.context;
        let today = Date::today();
        let policy_text = context.project.policy(policy::FILE)?;
        let policy = Policy::parse(context.project.policy_file(policy::FILE).as_str(), &policy_text)?;
        let trivy = Toolbox::new(&context.project, &context.runner)?.find_or_fetch("trivy")?;
        // Before anything is done: it was asked for, so the run is refused without it.
        let eye = self.second_opinion.as_ref().map(|asked| SecondEye::open(context, asked)).transpose()?;
        let trivy_version = Version::find(&trivy.version).map_or_else(|| trivy.version.clone(), |v| v.to_string());
        let databases = Databases::new(context, today)?;
        let databases = match self.database.folders.as_slice() {
            [] => databases.fetched(&trivy, &policy.database)?.map(|database| vec![database]),
            folders => Ok(databases.named(folders)?),
        };
        let known = databases.clone().unwrap_or_default();
        let trivy = Trivy::new(context, trivy, &known)?;
        let seen = self.look(&trivy)?;
        let beside = self.subjects.beside.iter().filter_map(|image| image.as_ref().ok());
        let images = self.subjects.images.iter().chain(beside);
        let sight = eye.map(|eye| eye.look(images, self.subjects.whole)).transpose()?;

        let verdict = Verdict { today, trivy_version, databases: known.clone(), units: Vec::new(), items: Vec::new() };
        let exceptions = policy.exceptions(&policy_text, today);
        let second_opinion = sight.is_some();
        let mut judge = Judge { policy: &policy, exceptions, seen: &seen, verdict, second_opinion, outcome };
        judge.images(&self.subjects.images, &self.subjects.beside);
        judge.configurations();
        judge.lock(&context.project.root, &self.subjects.images);
        if let Some(sight) = sight {
            judge.second_opinion(sight);
        }
        let most_days = self.database.max_age_days.unwrap_or(policy.database.max_age_days);
        judge.databases(databases.as_deref(), most_days);
        judge.exceptions(self.subjects.whole);
        let Judge { verdict, outcome, .. } = judge;
        outcome.evidence("trivy", trivy.evidence());
        self.tell(&trivy, &seen, &verdict, outcome)
    }

    /// Lets trivy look at everything, several things at once, while cargo is asked what the images are built from.
    fn look(&mut self, trivy: &Trivy<'_>) -> Result<Seen> {
        let Subjects { images, beside, whole } = &self.subjects;
        let beside = || beside.iter().filter_map(|image| image.as_ref().ok());
        let mut configurations = Configurations::default();
        for image in images.iter().chain(beside()) {
            configurations.add_image(&image.name, &image.config);
        }
        for package in images.iter().filter_map(|image| image.package.as_deref()) {
            if let Some(known) = self.context.project.images.iter().find(|known| known.package == package) {
                configurations.add_dockerfile(&self.context.project.root, &known.folder.join("Dockerfile"))?;
            }
        }
        for (folder, rendered) in self.manifests.drain(..) {
            configurations.add_manifests(&folder, rendered);
        }
        let folder = work::Folder::new(self.context)?;
        let mut subjects = Vec::new();
        // The large ones first, so that none of them is left alone at the end.
        for image in beside().chain(images) {
            subjects.push((image.name.clone(), Subject::Image { id: image.id.clone() }));
        }
        subjects.insert(0, (CONFIGURATION.to_owned(), configurations.stage(&folder.path.join("configuration"))?));
        if *whole && trivy.has_database() {
            subjects.push((LOCK_UNIT.to_owned(), work::stage_lock(self.context, &folder.path.join("lock"))?));
        }
        let architectures: BTreeSet<_> = images
            .iter()
            .filter(|image| image.package.is_some())
            .filter_map(|image| resolution::triple(&image.architecture))
            .collect();
        let names = self.subjects.names().join(", ");
        self.context.runner.progress().now(&format!("trivy looks at {names}"));
        work::look(self.context, trivy, &subjects, configurations, &architectures)
    }

    /// The report, and the files beside it.
    fn tell(&self, trivy: &Trivy<'_>, seen: &Seen, verdict: &Verdict, outcome: &mut Outcome) -> Result<()> {
        let root = &self.context.project.root;
        let reports = self.context.project.out().join("reports");
        let lock = std::fs::read_to_string(root.join(LOCK_UNIT)).unwrap_or_default();
        let dockerfile_of = |unit: &str| {
            let image = self.context.project.images.iter().find(|image| image.name() == unit);
            let named = unit.ends_with("Dockerfile").then(|| unit.to_owned());
            image.map(|image| image.folder.join("Dockerfile").to_string()).or(named)
        };
        let sarif = sarif::document(&verdict.items, &lock, dockerfile_of);
        put(&reports.join("scan.sarif"), serde_json::to_string_pretty(&sarif)?)?;
        for unit in verdict.units.iter().filter(|unit| !unit.id.is_empty()) {
            if let Some(Ok(scanned)) = seen.scanned.get(&unit.name)
                && scanned.failure.is_none()
            {
                let name = unit.name.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-', "_");
                let sbom = std::fs::read(trivy.bill_of_materials(scanned)?)?;
                put(&reports.join(format!("scan-{name}.cdx.json")), sbom)?;
                let of_unit: Vec<_> = verdict.items.iter().filter(|item| item.unit == unit.name).cloned().collect();
                let vex = reports.join(format!("scan-{name}.openvex.json"));
                match vex::document(&unit.id, &verdict.today.to_string(), &of_unit) {
                    Some(document) => put(&vex, serde_json::to_string_pretty(&document)?)?,
                    // One of an earlier run would speak for this one.
                    None if vex.exists() => std::fs::remove_file(&vex)?,
                    None => {}
                }
            }
        }
        if self.write {
            let folder = root.join("docs/scans");
            let mut written = 0;
            for unit in verdict.units.iter().filter(|unit| unit.owner != Owner::Service || !unit.id.is_empty()) {
                let name = unit.name.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
                let record = document::markdown(verdict, unit, dockerfile_of(&unit.name).as_deref());
                put(&folder.join(format!("{name}.md")), &record)?;
                written += 1;
            }
            outcome.checked("records written to docs/scans", written);
        }
        if let Some(baseline) = &self.baseline {
            let examined = |unit: &str| verdict.units.iter().any(|known| known.name == unit && known.examined);
            outcome.evidence("delta", baseline.compare(&verdict.items, examined).evidence());
        }
        outcome.table(verdict.table());
        let covered: serde_json::Map<_, _> =
            verdict.units.iter().map(|unit| (unit.name.clone(), unit.evidence())).collect();
        outcome.evidence("covered", covered);
        outcome.evidence("found", serde_json::to_value(&verdict.items)?);
        Ok(())
    }
}
