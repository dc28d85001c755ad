//! The SBOM of a verified image: kept in one form, so that the file, the lock's hash and what a registry holds can be compared.

use std::fmt::Write as _;

use anyhow::Result;
use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use xtask_process::put;
use xtask_workspace::Project;

/// An SBOM in the lock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LockedSbom {
    /// CycloneDX, relative to the root of the repository.
    pub(super) file: String,
    /// Of the file's bytes, in hexadecimal.
    pub(super) sha256: String,
}

/// Keeps a scan's SBOM by the image's id. `false` when it is not about that image.
pub(super) fn keep(project: &Project, name: &str, id: &str) -> Result<bool> {
    let made = project.out().join("reports").join(format!("scan-{name}.cdx.json"));
    let text = std::fs::read_to_string(&made).unwrap_or_default();
    match serde_json::from_str::<Value>(&text) {
        Ok(sbom) if text.contains(id) => put(&file(project, id), canonical(&sbom)).map(|()| true),
        _ => Ok(false),
    }
}

/// The kept SBOM of an image, for the lock; `None` when there is none.
pub(super) fn locked(project: &Project, id: &str) -> Option<LockedSbom> {
    let path = file(project, id);
    let sbom: Value = serde_json::from_slice(&std::fs::read(&path).ok()?).ok()?;
    let file = path.strip_prefix(&project.root).unwrap_or(&path).to_string();
    Some(LockedSbom { file, sha256: sha256(&sbom) })
}

/// Of the canonical form, in hexadecimal.
pub(super) fn sha256(sbom: &Value) -> String {
    Sha256::digest(canonical(sbom)).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Without blanks, keys sorted: the same for the same content, whoever wrote it.
fn canonical(sbom: &Value) -> String {
    sbom.to_string()
}

fn file(project: &Project, id: &str) -> Utf8PathBuf {
    project.out().join("sbom").join(format!("{}.cdx.json", id.trim_start_matches("sha256:")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_sbom_has_the_same_hash_however_it_is_written() {
        let read = |text: &str| sha256(&serde_json::from_str::<Value>(text).unwrap());
        assert_eq!(read(r#"{"b": 1, "a": "<"}"#), read("{\"a\":\"\\u003c\",\n\"b\":1}"));
        assert_ne!(read(r#"{"a": 1}"#), read(r#"{"a": 2}"#));
    }
}
