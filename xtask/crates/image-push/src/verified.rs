//! What the last `verify` found ready to ship: `target/xtask/verified.json`, written by `verify` and read by `push`.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::sbom;
use super::tree::Tree;
use xtask_engine::Base;
use xtask_engine::Ready;
use xtask_image_build::{BuiltImage, Strategy};
use xtask_outcome::{Checked, Date, Outcome, Stop, Unchecked};
use xtask_process::put;
use xtask_workspace::Project;

const FILE: &str = "verified.json";
const SCHEMA: u32 = 2;
const REVISION_LABEL: &str = "/Labels/org.opencontainers.image.revision";

/// The record of a `verify` without findings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verified {
    pub(super) schema: u32,
    /// `YYYY-MM-DD`, UTC.
    pub(super) date: String,
    /// The commit that was checked out.
    pub(super) head: String,
    /// What differed from it; empty for a clean checkout.
    pub(super) changes: Vec<String>,
    pub(super) images: Vec<VerifiedImage>,
    pub(super) bases: BTreeMap<String, VerifiedBase>,
    /// Version and origin of each tool.
    pub(super) tools: BTreeMap<String, Value>,
    pub(super) engine: String,
    /// `None`: there was none, and `unchecked` says so.
    pub(super) database: Option<VerifiedDatabase>,
    /// What `verify` looked at, with counts.
    pub(super) checked: Vec<Checked>,
    pub(super) unchecked: Vec<Unchecked>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VerifiedImage {
    pub(super) name: String,
    pub(super) package: String,
    pub(super) id: String,
    /// The newest commit that touched the image's inputs.
    pub(super) revision: String,
    /// The SHA-256 of everything that it was built from.
    pub(super) inputs: String,
    /// How it was built; only `container` ships.
    pub(super) strategy: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VerifiedBase {
    pub(super) reference: String,
    pub(super) id: String,
    /// No registry has it.
    pub(super) made_here: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VerifiedDatabase {
    pub(super) updated: String,
    /// Names the database's content.
    pub(super) key: String,
}

impl Verified {
    /// From the parts of a `verify` that ended without findings.
    pub fn of(tree: Tree, images: &[BuiltImage], ready: &Ready, outcome: &Outcome) -> Self {
        let image = |image: &BuiltImage| VerifiedImage {
            name: image.name.clone(),
            package: image.package.clone(),
            id: image.facts.id.clone(),
            revision: image.facts.config.pointer(REVISION_LABEL).and_then(Value::as_str).unwrap_or_default().to_owned(),
            inputs: image.inputs.clone(),
            strategy: image.strategy.name().to_owned(),
        };
        let base = |base: &Base| VerifiedBase {
            reference: base.reference.clone(),
            id: base.id.clone(),
            made_here: base.local,
        };
        let scan = outcome.evidence.get("scan");
        let database = scan.and_then(|scan| scan.get("database")).map(|database| VerifiedDatabase {
            updated: database["updated"].as_str().unwrap_or_default().to_owned(),
            key: database["key"].as_str().unwrap_or_default().to_owned(),
        });
        let mut tools: BTreeMap<_, _> =
            [("docker", &ready.docker), ("buildx", &ready.buildx), ("compose", &ready.compose)]
                .map(|(name, tool)| (name.to_owned(), tool.evidence()))
                .into();
        if let Some(trivy) = scan.and_then(|scan| scan.get("trivy")) {
            tools.insert("trivy".to_owned(), trivy.clone());
        }
        Self {
            schema: SCHEMA,
            date: Date::today().to_string(),
            head: tree.head,
            changes: tree.changes,
            images: images.iter().map(image).collect(),
            bases: ready.bases().map(|(name, one)| (name.to_owned(), base(one))).collect(),
            tools,
            engine: ready.engine.clone(),
            database,
            checked: outcome.checked.clone(),
            unchecked: outcome.unchecked.clone(),
        }
    }

    /// Keeps the record, and each image's SBOM by the image's id. One that this run's scan did not make
    /// counts as not checked.
    pub fn store(mut self, project: &Project) -> Result<()> {
        for image in &self.images {
            if !sbom::keep(project, &image.name, &image.id)? {
                let reason = format!("the scan made none for {}", image.id);
                self.unchecked.push(Unchecked { what: format!("SBOM of {}", image.name), reason });
            }
        }
        put(&project.out().join(FILE), &serde_json::to_string_pretty(&self)?)
    }

    /// # Errors
    /// [`Stop::Absent`] when no `verify` ended without findings since the last one began.
    pub(super) fn load(project: &Project) -> Result<Self> {
        let again = "next: `cargo xtask verify`";
        let file = project.out().join(FILE);
        let text = std::fs::read_to_string(&file).map_err(|_| {
            Stop::Absent(format!("refused: the last `verify` did not end without findings, or there was none; {again}"))
        })?;
        let verified: Self = serde_json::from_str(&text).map_err(|error| {
            Stop::Absent(format!("refused: {} cannot be read ({error}); {again}", project.from_root(&file)))
        })?;
        if verified.schema != SCHEMA || verified.images.is_empty() {
            let text = format!("refused: {} is of another version of xtask; {again}", project.from_root(&file));
            return Err(Stop::Absent(text).into());
        }
        Ok(verified)
    }
}

/// The images that do not ship because this machine's own compiler made them, by name.
pub fn made_on_the_host(images: &[BuiltImage]) -> Vec<&str> {
    images.iter().filter(|image| image.strategy != Strategy::Container).map(|image| image.name.as_str()).collect()
}

/// What an earlier `verify` found no longer counts: a new one has begun.
pub fn forget(project: &Project) -> Result<()> {
    match std::fs::remove_file(project.out().join(FILE)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).context("forget the last verify"),
        _ => Ok(()),
    }
}
