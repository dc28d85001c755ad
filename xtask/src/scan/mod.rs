//! `cargo xtask scan`: may these images ship? A verdict over vulnerabilities, secrets and misconfigurations that says what it
//! covers, by which database, and what it could not see.

mod bolt;
mod configuration;
mod coverage;
mod database;
mod delta;
mod document;
mod images;
mod item;
mod judge;
mod policy;
mod report;
mod resolution;
mod sarif;
pub(crate) mod sources;
mod trivy;
mod work;

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;

use self::configuration::Configurations;
use self::database::Databases;
use self::delta::Baseline;
use self::images::{Beside, Image};
use self::judge::{Judge, Verdict};
use self::policy::{Owner, Policy};
use self::trivy::{Subject, Trivy};
use self::work::{CONFIGURATION, LOCK_UNIT, Seen};
use crate::audit_env;
use crate::audit_env::kubernetes::kustomize;
use crate::build_images::BuiltImage;
use crate::context::Context;
use crate::exception::Date;
use crate::outcome::{Outcome, Stop};
use crate::setup::tools::Toolbox;
use crate::setup::{self, Ready};
use crate::version::Version;

/// Scan the built images for vulnerabilities, secrets and misconfigurations, and judge the findings by the policy.
#[derive(Debug, Args)]
pub(crate) struct Scan {
    /// Which images (`user` or `mini-user`); all of them, and what stands beside them, when none is named.
    names: Vec<String>,
    /// Scan this image of the local engine instead; may be given several times.
    #[arg(long, value_name = "REF", conflicts_with = "names")]
    image: Vec<String>,
    #[command(flatten)]
    database: DatabaseOptions,
    /// Say what is new, worse and fixed since an earlier report (a scan.json).
    #[arg(long, value_name = "FILE")]
    baseline: Option<Utf8PathBuf>,
    /// Write what was seen to docs/scans/.
    #[arg(long)]
    write: bool,
}

/// Which database of vulnerabilities is used; `verify` takes the same.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct DatabaseOptions {
    /// Use the database in this folder (db/trivy.db and db/metadata.json in it); without it one is fetched.
    #[arg(long, value_name = "DIR")]
    pub(crate) db: Option<Utf8PathBuf>,
    /// Call a database older than this a finding; the policy says 7.
    #[arg(long, value_name = "N")]
    pub(crate) max_db_age_days: Option<u32>,
}

impl Scan {
    pub(crate) fn run(&self, context: &Context) -> Result<Outcome> {
        let services = context.project.select(&self.names)?;
        let baseline = self.baseline.as_deref().map(Baseline::read).transpose()?;
        let docker = setup::docker(context)?;
        let whole = self.names.is_empty() && self.image.is_empty();
        let (images, beside) = if self.image.is_empty() {
            images::of_workspace(context, &docker, &services, whole)?
        } else {
            (images::by_reference(context, &docker, &self.image)?, Vec::new())
        };
        let scan = Run { context, options: &self.database, images, beside, whole, baseline, write: self.write };
        let mut outcome = scan.run()?;
        // Whoever asks for a scan alone asks for all of it.
        outcome.strict = true;
        Ok(outcome)
    }
}

/// The same for images that were just built, by id; for `verify`.
pub(crate) fn check(
    context: &Context,
    ready: &Ready,
    images: &[BuiltImage],
    options: &DatabaseOptions,
) -> Result<Outcome> {
    let (images, beside) = images::of_built(context, &ready.docker, images, &ready.postgres)?;
    Run { context, options, images, beside, whole: true, baseline: None, write: false }.run()
}

/// One scan, from the images to the outcome.
struct Run<'a> {
    context: &'a Context,
    options: &'a DatabaseOptions,
    /// What was asked for; each is there.
    images: Vec<Image>,
    /// Images of others that run beside; one may be missing, and says why.
    beside: Vec<Beside>,
    /// Everything of this workspace: then what Cargo.lock has besides is looked at, too.
    whole: bool,
    baseline: Option<Baseline>,
    write: bool,
}

impl Run<'_> {
    fn run(self) -> Result<Outcome> {
        let context = self.context;
        let today = Date::today();
        let policy_text = std::fs::read_to_string(context.project.root.join(policy::FILE))
            .map_err(|error| Stop::Repository(format!("{} cannot be read: {error}", policy::FILE)))?;
        let policy = Policy::parse(&policy_text)?;
        let trivy = Toolbox::new(&context.project, &context.runner)?.find_or_fetch("trivy")?;
        let trivy_version = Version::find(&trivy.version).map_or_else(|| trivy.version.clone(), |v| v.to_string());
        let databases = Databases::new(context, today)?;
        let database = match &self.options.db {
            Some(folder) => Ok(databases.copied(folder)?),
            None => databases.fetched(&trivy, &policy.database)?,
        };
        let trivy = Trivy::new(context, trivy, database.as_ref().ok())?;
        let seen = self.look(&trivy)?;

        let database = database.as_ref();
        let verdict =
            Verdict { today, trivy_version, database: database.ok().cloned(), units: Vec::new(), items: Vec::new() };
        let exceptions = policy.exceptions(&policy_text, today);
        let mut judge = Judge { policy: &policy, exceptions, seen: &seen, verdict, outcome: Outcome::default() };
        judge.images(&self.images, &self.beside);
        judge.configurations();
        judge.lock(&context.project.root, &self.images);
        judge.database(database, self.options.max_db_age_days.unwrap_or(policy.database.max_age_days));
        judge.exceptions(self.whole);
        let Judge { verdict, mut outcome, .. } = judge;
        outcome.evidence("trivy", trivy.evidence());
        self.tell(&trivy, &seen, &verdict, &mut outcome)?;
        Ok(outcome)
    }

    /// Lets trivy look at everything, several things at once, while cargo is asked what the images are built from.
    fn look(&self, trivy: &Trivy<'_>) -> Result<Seen> {
        let mut configurations = Configurations::default();
        for image in self.images.iter().chain(self.beside.iter().filter_map(|image| image.as_ref().ok())) {
            configurations.add_image(&image.name, &image.config);
        }
        for package in self.images.iter().filter_map(|image| image.package.as_deref()) {
            if let Some(known) = self.context.project.images.iter().find(|known| known.package == package) {
                configurations.add_dockerfile(&self.context.project.root, &known.folder.join("Dockerfile"))?;
            }
        }
        if self.whole {
            let policy = audit_env::policy::Policy::load()?.kubernetes;
            for folder in policy.folders(&self.context.project.root) {
                configurations.add_manifests(folder, kustomize::render_text(self.context, folder));
            }
        }
        let folder = work::Folder::new(self.context)?;
        let mut subjects = Vec::new();
        // The large ones first, so that none of them is left alone at the end.
        for image in self.beside.iter().filter_map(|image| image.as_ref().ok()).chain(&self.images) {
            subjects.push((image.name.clone(), Subject::Image { id: image.id.clone() }));
        }
        subjects.insert(0, (CONFIGURATION.to_owned(), configurations.stage(&folder.path.join("configuration"))?));
        if self.whole && trivy.has_database() {
            subjects.push((LOCK_UNIT.to_owned(), work::stage_lock(self.context, &folder.path.join("lock"))?));
        }
        let architectures: BTreeSet<_> = self
            .images
            .iter()
            .filter(|image| image.package.is_some())
            .filter_map(|image| resolution::triple(&image.architecture))
            .collect();
        eprintln!(
            "scan: {} with trivy, in parallel; seconds, half a minute for a large image",
            self.names().join(", ")
        );
        work::look(self.context, trivy, &subjects, configurations, &architectures)
    }

    fn names(&self) -> Vec<&str> {
        let beside = self.beside.iter().filter_map(|image| image.as_ref().ok());
        self.images.iter().chain(beside).map(|image| image.name.as_str()).collect()
    }

    /// The report, and the files beside it.
    fn tell(&self, trivy: &Trivy<'_>, seen: &Seen, verdict: &Verdict, outcome: &mut Outcome) -> Result<()> {
        let root = &self.context.project.root;
        let reports = self.context.project.out().join("reports");
        std::fs::create_dir_all(&reports).with_context(|| format!("make the folder {reports}"))?;
        let lock = std::fs::read_to_string(root.join(LOCK_UNIT)).unwrap_or_default();
        let dockerfile_of = |unit: &str| {
            let image = self.context.project.images.iter().find(|image| image.name() == unit);
            let named = unit.ends_with("Dockerfile").then(|| unit.to_owned());
            image.map(|image| image.folder.join("Dockerfile").to_string()).or(named)
        };
        let sarif = sarif::document(&verdict.items, &lock, dockerfile_of);
        put(&reports.join("scan.sarif"), &serde_json::to_string_pretty(&sarif)?)?;
        for unit in verdict.units.iter().filter(|unit| !unit.id.is_empty()) {
            if let Some(Ok(scanned)) = seen.scanned.get(&unit.name)
                && scanned.failure.is_none()
            {
                let name = unit.name.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-', "_");
                let (list, to) = (trivy.bill_of_materials(scanned)?, reports.join(format!("scan-{name}.cdx.json")));
                std::fs::copy(list, &to).with_context(|| format!("write {to}"))?;
            }
        }
        if self.write {
            let folder = root.join("docs/scans");
            let mut written = 0;
            std::fs::create_dir_all(&folder)?;
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
        let covered: serde_json::Map<_, _> =
            verdict.units.iter().map(|unit| (unit.name.clone(), unit.evidence())).collect();
        outcome.evidence("covered", covered);
        outcome.evidence("found", serde_json::to_value(&verdict.items)?);
        Ok(())
    }
}

/// Renamed into place, so that a reader never sees half a file.
fn put(path: &Utf8Path, text: &str) -> Result<()> {
    let staged = Utf8PathBuf::from(format!("{path}.{}", std::process::id()));
    std::fs::write(&staged, text).with_context(|| format!("write {staged}"))?;
    std::fs::rename(&staged, path).with_context(|| format!("put {path} in its place"))
}
