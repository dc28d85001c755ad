//! The provenance statement of an image, in the form of SLSA 1.0 (<https://slsa.dev/spec/v1.0/provenance>): made from the lock
//! alone, so whoever has the lock can say what the statement in the registry has to be.

use serde_json::{Value, json};

use super::lock::{Lock, LockedBase, LockedImage};

/// What `buildDefinition.buildType` names: `cargo xtask build-images`, as docs/deployment.md describes it.
const BUILD_TYPE: &str = "urn:xtask:build-images:1";

/// The predicate of the statement; its subject is the image's digest.
pub(super) fn predicate(lock: &Lock, image: &LockedImage) -> Value {
    let source = json!({ "name": "source", "digest": { "gitCommit": lock.revision } });
    let bases = lock.bases.iter().map(|(name, base)| dependency(name, base));
    json!({
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": { "package": image.package },
            "internalParameters": { "inputs": image.inputs, "revision": image.revision, "image": image.id },
            "resolvedDependencies": std::iter::once(source).chain(bases).collect::<Value>(),
        },
        "runDetails": {
            "builder": { "id": lock.builder, "version": { "engine": lock.engine } },
            "byproducts": [{
                "name": "verify",
                "uri": "urn:xtask:verify:1",
                "annotations": {
                    "date": lock.verified,
                    "checked": lock.checked,
                    "unchecked": lock.unchecked,
                    "database": lock.database,
                    "tools": lock.tools,
                },
            }],
        },
    })
}

/// A base by its digest in the registry, or by the id of the image that was made on the machine that built.
fn dependency(name: &str, base: &LockedBase) -> Value {
    let digest = base.digest.as_deref().unwrap_or(&base.id).trim_start_matches("sha256:");
    json!({ "name": name, "uri": base.reference, "digest": { "sha256": digest } })
}
