//! `images.lock.json`: what was shipped, and what that rests on. Deployments take the digests from it.

use std::collections::BTreeMap;

use anyhow::Result;
use camino::Utf8Path;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::plan::ImagePush;
use super::registry::Registry;
use super::sbom::LockedSbom;
use super::standing::Digest;
use super::verified::{Verified, VerifiedDatabase};
use xtask_outcome::{Checked, Stop, Unchecked};

/// At the root of the repository; ignored by git (docs/decisions/0010-shipping.md).
pub const FILE: &str = "images.lock.json";
/// The version of the lock's form; it changes when a field changes its meaning or goes.
const SCHEMA: u32 = 2;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lock {
    schema: u32,
    version: String,
    /// The commit that was verified and pushed.
    pub(super) revision: String,
    /// The day of the `verify`.
    pub(super) verified: String,
    registry: String,
    /// Who built: a URI, the workflow where there is one.
    pub(super) builder: String,
    pub(super) images: BTreeMap<String, LockedImage>,
    pub(super) bases: BTreeMap<String, LockedBase>,
    pub(super) engine: String,
    pub(super) tools: BTreeMap<String, Value>,
    pub(super) database: Option<VerifiedDatabase>,
    /// What `verify` looked at, with counts.
    pub(super) checked: Vec<Checked>,
    /// What `verify` could not check; empty but for `--allow-incomplete`.
    pub(super) unchecked: Vec<Unchecked>,
    /// Whether signatures, SBOMs and provenance statements were pushed beside the images.
    pub(super) signed: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LockedImage {
    pub(super) package: String,
    /// What to deploy: `registry.example/team/shop-cart@sha256:…`.
    pub(super) reference: String,
    /// The commit's first, which never moves.
    pub(super) tags: Vec<String>,
    /// The image's id in the engine that verified it. It is no digest and cannot be pulled.
    pub(super) id: String,
    /// The newest commit that touched the image's inputs.
    pub(super) revision: String,
    /// The SHA-256 of everything that it was built from.
    pub(super) inputs: String,
    /// `null` when there is none.
    pub(super) sbom: Option<LockedSbom>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LockedBase {
    pub(super) reference: String,
    pub(super) id: String,
    /// `null` for a base that was made on the machine that built: no registry has it.
    pub(super) digest: Option<String>,
    made_here: bool,
}

/// What stands beside a verified image or base and is only known at the push.
pub(super) struct Beside {
    /// By image name.
    pub(super) sboms: BTreeMap<String, LockedSbom>,
    /// By base name.
    pub(super) base_digests: BTreeMap<String, String>,
    pub(super) builder: String,
    pub(super) signed: bool,
}

impl Lock {
    pub(super) fn of(
        verified: Verified,
        version: &str,
        registry: &Registry,
        pushed: &[(ImagePush, Digest)],
        beside: Beside,
    ) -> Self {
        let mut images = BTreeMap::new();
        for (image, (push, digest)) in verified.images.into_iter().zip(pushed) {
            let locked = LockedImage {
                package: image.package,
                reference: format!("{}@{}", push.repository, digest.0),
                tags: [std::slice::from_ref(&push.tags.revision), &push.tags.moving].concat(),
                id: image.id,
                revision: image.revision,
                inputs: image.inputs,
                sbom: beside.sboms.get(&image.name).cloned(),
            };
            images.insert(image.name, locked);
        }
        let base = |(name, base): (String, super::verified::VerifiedBase)| {
            let digest = beside.base_digests.get(&name).cloned();
            let locked = LockedBase { reference: base.reference, id: base.id, digest, made_here: base.made_here };
            (name, locked)
        };
        Self {
            schema: SCHEMA,
            version: version.to_owned(),
            revision: verified.head,
            verified: verified.date,
            registry: registry.to_string(),
            builder: beside.builder,
            images,
            bases: verified.bases.into_iter().map(base).collect(),
            engine: verified.engine,
            tools: verified.tools,
            database: verified.database,
            checked: verified.checked,
            unchecked: verified.unchecked,
            signed: beside.signed,
        }
    }

    /// # Errors
    /// [`Stop::Absent`] when there is none, [`Stop::Usage`] for one that is not this version's.
    pub(super) fn read(file: &Utf8Path) -> Result<Self> {
        let text = std::fs::read_to_string(file)
            .map_err(|error| Stop::Absent(format!("read the lock {file}: {error}; next: pass the lock of the push")))?;
        let lock: Self = serde_json::from_str(&text)
            .map_err(|error| Stop::Usage(format!("{file} is not a lock of this version of xtask: {error}")))?;
        if lock.schema == SCHEMA {
            Ok(lock)
        } else {
            let text = format!("{file} has schema {}, this version of xtask reads {SCHEMA}", lock.schema);
            Err(Stop::Usage(text).into())
        }
    }
}

impl LockedImage {
    /// The digest of the image's manifest or index.
    pub(super) fn digest(&self) -> &str {
        self.reference.split_once('@').map_or("", |(_, digest)| digest)
    }
}
