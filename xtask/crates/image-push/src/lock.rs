//! `images.lock.json`: what was shipped, and what that rests on. Deployments take the digests from it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::plan::ImagePush;
use super::registry::Registry;
use super::remote::Digest;
use super::verified::Verified;
use xtask_outcome::Unchecked;

/// At the root of the repository; ignored by git (docs/decisions/0010-shipping.md).
pub(super) const FILE: &str = "images.lock.json";
/// The version of the lock's form; it changes when a field changes its meaning or goes.
const SCHEMA: u32 = 1;

#[derive(Debug, Serialize)]
pub(super) struct Lock {
    schema: u32,
    version: String,
    /// The commit that was verified and pushed.
    revision: String,
    /// The day of the `verify`.
    verified: String,
    registry: String,
    images: BTreeMap<String, LockedImage>,
    bases: BTreeMap<String, LockedBase>,
    engine: String,
    tools: BTreeMap<String, Value>,
    database: Option<Value>,
    /// What `verify` could not check; empty but for `--allow-incomplete`.
    unchecked: Vec<Unchecked>,
}

#[derive(Debug, Serialize)]
struct LockedImage {
    /// What to deploy: `registry.example/shop/mini-user@sha256:…`.
    reference: String,
    tags: Vec<String>,
    /// The image's id in the engine that verified it. It is no digest and cannot be pulled.
    id: String,
    /// The newest commit that touched the image's inputs.
    revision: String,
    /// The bill of materials (CycloneDX), relative to the root; `null` when there is none.
    sbom: Option<String>,
}

#[derive(Debug, Serialize)]
struct LockedBase {
    reference: String,
    id: String,
    /// `null` for a base that was made on the machine that built: no registry has it.
    digest: Option<String>,
    made_here: bool,
}

/// What stands beside a verified image or base and is only known at the push.
pub(super) struct Beside {
    /// By image name.
    pub(super) bills_of_materials: BTreeMap<String, String>,
    /// By base name.
    pub(super) base_digests: BTreeMap<String, String>,
}

impl Lock {
    pub(super) fn of(
        verified: Verified,
        version: &str,
        registry: &Registry,
        pushed: &[(ImagePush, Digest)],
        beside: &Beside,
    ) -> Self {
        let mut images = BTreeMap::new();
        for (image, (push, digest)) in verified.images.into_iter().zip(pushed) {
            let locked = LockedImage {
                reference: format!("{}@{}", push.repository, digest.0),
                tags: [std::slice::from_ref(&push.tags.revision), &push.tags.moving].concat(),
                id: image.id,
                revision: image.revision,
                sbom: beside.bills_of_materials.get(&image.name).cloned(),
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
            images,
            bases: verified.bases.into_iter().map(base).collect(),
            engine: verified.engine,
            tools: verified.tools,
            database: verified.database.and_then(|database| serde_json::to_value(database).ok()),
            unchecked: verified.unchecked,
        }
    }
}
