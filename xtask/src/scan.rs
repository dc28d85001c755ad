//! `cargo xtask scan`: may these images ship?

use anyhow::Result;
use camino::Utf8PathBuf;
use clap::Args;
use xtask_engine::{Ready, docker, kustomize};
use xtask_env_audit::Policy;
use xtask_image_build::BuiltImage;
use xtask_image_scan::{Baseline, DatabaseOptions, Scan, SecondOpinion, Subjects};
use xtask_outcome::Outcome;
use xtask_workspace::Context;

use crate::audit_env;

/// Scan the built images for vulnerabilities, secrets and misconfigurations, and judge the findings by the policy.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cargo xtask scan --db DIR      # where no registry is in reach\n  cargo xtask scan --db CRATES --db DEBIAN      # several databases\n  cargo xtask scan --second-opinion      # what syft and cargo-audit see and trivy does not\n  cargo xtask scan --baseline scan.json      # what is new since then"
)]
pub(crate) struct ScanImages {
    /// Which images (`user` or `mini-user`); all of them, and what stands beside them, when none is named.
    names: Vec<String>,
    /// Scan this image of the local engine instead; may be given several times.
    #[arg(long, value_name = "REF", conflicts_with = "names")]
    image: Vec<String>,
    #[command(flatten)]
    database: DatabaseArgs,
    /// Also let syft list the packages and cargo-audit look them up in RustSec's data: what only they see is a finding.
    #[arg(long)]
    second_opinion: bool,
    /// With --second-opinion: a clone of RustSec's advisory-db; without it cargo-audit fetches one.
    #[arg(long, value_name = "DIR", requires = "second_opinion")]
    advisories: Option<Utf8PathBuf>,
    /// Say what is new, worse and fixed since an earlier report (a scan.json).
    #[arg(long, value_name = "FILE")]
    baseline: Option<Utf8PathBuf>,
    /// Write what was seen to docs/scans/.
    #[arg(long, conflicts_with = "image")]
    write: bool,
}

/// Which database of vulnerabilities is used; `verify` takes the same.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct DatabaseArgs {
    /// Use the database in this folder (db/trivy.db and db/metadata.json in it); may be given several times, and each image is
    /// looked up in every one that has data for it. Without it one is fetched.
    #[arg(long, value_name = "DIR")]
    db: Vec<Utf8PathBuf>,
    /// Call a database older than this a finding; the policy says 7.
    #[arg(long, value_name = "N")]
    max_db_age_days: Option<u32>,
}

impl DatabaseArgs {
    fn options(&self) -> DatabaseOptions {
        DatabaseOptions { folders: self.db.clone(), max_age_days: self.max_db_age_days }
    }
}

impl ScanImages {
    pub(crate) fn run(&self, context: &Context, outcome: &mut Outcome) -> Result<()> {
        // Whoever asks for a scan alone asks for all of it.
        outcome.strict = true;
        let services = context.project.select(&self.names)?;
        let baseline = self.baseline.as_deref().map(Baseline::read).transpose()?;
        let docker = docker(context)?;
        let subjects = if self.image.is_empty() {
            Subjects::of_workspace(context, &docker, &services, self.names.is_empty())?
        } else {
            Subjects::by_reference(context, &docker, &self.image)?
        };
        let manifests = manifests(context, &subjects)?;
        let database = self.database.options();
        let second_opinion = self.second_opinion.then(|| SecondOpinion { advisories: self.advisories.clone() });
        let write = self.write;
        Scan { context, database: &database, subjects, manifests, second_opinion, baseline, write }.run(outcome)
    }
}

/// The same for images that were just built, by id; for `verify`.
pub(crate) fn check(
    context: &Context,
    ready: &Ready,
    images: &[BuiltImage],
    database: &DatabaseArgs,
    outcome: &mut Outcome,
) -> Result<()> {
    let subjects = Subjects::of_built(context, ready, images)?;
    let manifests = manifests(context, &subjects)?;
    let database = database.options();
    let scan =
        Scan { context, database: &database, subjects, manifests, second_opinion: None, baseline: None, write: false };
    scan.run(outcome)
}

/// What is deployed from each folder of manifests, when everything is scanned.
fn manifests(context: &Context, subjects: &Subjects) -> Result<Vec<(String, Result<String>)>> {
    if !subjects.is_whole() {
        return Ok(Vec::new());
    }
    let policy: Policy = audit_env::policy(context)?;
    let folders = policy.kubernetes.folders(&context.project.root);
    Ok(folders.iter().map(|folder| (folder.clone(), kustomize(context, folder))).collect())
}
