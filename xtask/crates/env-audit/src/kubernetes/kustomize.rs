//! What kustomize makes of a folder, and which files it was made from.

use std::collections::{BTreeSet, VecDeque};

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

use crate::places::{KubernetesPlace, SourceFile};
use crate::yaml::Node;
use xtask_outcome::Stop;

const FILE: &str = "kustomization.yaml";
/// The fields that leave the manifests of a folder as they are, or set what is set in them already.
const PLAIN_FIELDS: [&str; 4] = ["apiVersion", "kind", "namespace", "resources"];

/// What kubectl's own kustomize made of a folder, with the files that it was made from.
///
/// # Errors
/// [`Stop::Repository`] when the text or one of the files is not YAML, or a file that the folder lists cannot be read.
pub fn rendered(root: &Utf8Path, folder: &str, text: &str) -> Result<KubernetesPlace> {
    let nodes = Node::parse_all(text).map_err(|why| Stop::Repository(format!("the rendering of {folder} {why}")))?;
    let documents = nodes.iter().map(Node::to_json).collect();
    Ok(KubernetesPlace { folder: folder.to_owned(), documents, sources: sources(root, folder)?.into() })
}

/// Without kubectl: only a folder that lists manifests and changes nothing in them.
///
/// # Errors
/// [`Stop::Absent`] names a field that only kustomize can carry out.
pub fn read_plain(root: &Utf8Path, folder: &str) -> Result<KubernetesPlace> {
    let kustomization = kustomization(root, Utf8Path::new(folder))?;
    if let Some(field) = kustomization
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, _)| key)
        .find(|key| !PLAIN_FIELDS.contains(&key.as_str()))
    {
        return Err(Stop::Absent(format!("{folder} has `{field}`, which takes kubectl to carry out")).into());
    }
    let sources = sources(root, folder)?;
    let documents = sources.iter().flat_map(|source| &source.documents).map(Node::to_json).collect();
    Ok(KubernetesPlace { folder: folder.to_owned(), documents, sources: sources.into() })
}

/// The files of a folder and of the folders that it takes, its own first.
fn sources(root: &Utf8Path, folder: &str) -> Result<Vec<SourceFile>> {
    let mut files = Vec::new();
    let mut seen = BTreeSet::new();
    // First in, first out: a folder's own files are read before those of the folders that it takes.
    let mut waiting = VecDeque::from([Utf8PathBuf::from(folder)]);
    while let Some(folder) = waiting.pop_front() {
        if !seen.insert(folder.clone()) {
            continue;
        }
        let kustomization = kustomization(root, &folder)?;
        let listed = |key: &str| kustomization[key].as_array().cloned().unwrap_or_default();
        let mut entries: Vec<String> =
            listed("patches").iter().filter_map(|patch| patch["path"].as_str().map(ToOwned::to_owned)).collect();
        entries.extend(
            ["resources", "components"]
                .into_iter()
                .flat_map(listed)
                .filter_map(|entry| entry.as_str().map(ToOwned::to_owned)),
        );
        for entry in entries {
            let path = normal(&folder.join(&entry));
            if root.join(&path).is_dir() {
                waiting.push_back(path);
                continue;
            }
            let text = std::fs::read_to_string(root.join(&path))
                .with_context(|| format!("read {path}, which {folder} lists"))?;
            let documents = Node::parse_all(&text).map_err(|why| Stop::Repository(format!("{path} {why}")))?;
            files.push(SourceFile { file: path.into_string(), text, documents });
        }
    }
    Ok(files)
}

fn kustomization(root: &Utf8Path, folder: &Utf8Path) -> Result<Value> {
    let file = folder.join(FILE);
    let text = std::fs::read_to_string(root.join(&file)).with_context(|| format!("read {file}"))?;
    let node = Node::parse(&text).map_err(|why| Stop::Repository(format!("{file} {why}")))?;
    Ok(node.to_json())
}

/// Without `..`: `k8s/overlays/local/../../base` is `k8s/base`.
fn normal(path: &Utf8Path) -> Utf8PathBuf {
    let mut parts = Vec::new();
    for part in path.components() {
        match part.as_str() {
            ".." => drop(parts.pop()),
            "." => {}
            part => parts.push(part),
        }
    }
    parts.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> &'static Utf8Path {
        crate::repository::root()
    }

    #[test]
    fn an_overlays_own_files_come_before_those_of_its_base() {
        let files: Vec<_> =
            sources(root(), "k8s/overlays/production").unwrap().into_iter().map(|source| source.file).collect();
        let at = |file: &str| files.iter().position(|one| one == file).unwrap_or_else(|| panic!("{file}: {files:?}"));
        assert!(at("k8s/overlays/production/gateway.yaml") < at("k8s/base/gateway.yaml"));
    }

    #[test]
    fn without_kubectl_a_folder_that_changes_nothing_is_read_and_another_is_refused() {
        assert!(read_plain(root(), "k8s/base").unwrap().documents.len() > 20);
        let why = read_plain(root(), "k8s/overlays/production").unwrap_err().to_string();
        assert!(why.contains("k8s/overlays/production has `images`"), "{why}");
    }
}
