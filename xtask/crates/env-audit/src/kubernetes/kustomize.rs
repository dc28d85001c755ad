//! What kustomize makes of a folder, and which files it was made from.

use std::collections::{BTreeSet, VecDeque};

use anyhow::Result;
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

use crate::files::normal;
use crate::places::{KubernetesPlace, SourceFile, unreadable};
use crate::yaml::{Node, decoded};
use xtask_outcome::{Finding, Stop};

/// The names that kustomize knows, of which a folder has one.
const FILES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];
/// The fields that leave the manifests of a folder as they are, or set what is set in them already.
const PLAIN_FIELDS: [&str; 4] = ["apiVersion", "kind", "namespace", "resources"];

/// Whether each of the folders is one that kustomize takes.
///
/// # Errors
/// [`Stop::Usage`] names the first that is not, and those in the policy.
pub fn all_there(root: &Utf8Path, folders: &[String], known: &[String]) -> Result<(), Stop> {
    let is_one = |folder: &&String| FILES.iter().any(|file| root.join(folder).join(file).is_file());
    match folders.iter().find(|folder| !is_one(folder)) {
        None => Ok(()),
        Some(folder) => Err(Stop::Usage(format!(
            "there is no overlay `{folder}`: it has no {}; the overlays are {}",
            FILES[0],
            known.join(", ")
        ))),
    }
}

/// What kubectl's own kustomize made of a folder, for those who start what it says.
///
/// # Errors
/// [`Stop::Repository`] when a file cannot be read.
pub fn rendered(root: &Utf8Path, folder: &str, text: &str) -> Result<KubernetesPlace> {
    let place = place(root, folder, text);
    match place.problems.first() {
        Some(problem) => Err(Stop::Repository(problem.message.clone()).into()),
        None => Ok(place),
    }
}

/// What kubectl's own kustomize made of a folder, with the files that it was made from. A file that cannot be read is one of the
/// place's problems.
pub fn place(root: &Utf8Path, folder: &str, text: &str) -> KubernetesPlace {
    let mut problems = Vec::new();
    let nodes = Node::parse_all(text).unwrap_or_else(|why| {
        problems.push(unreadable(folder, &format!("as kustomize renders it {why}")));
        Vec::new()
    });
    let documents = nodes.iter().map(Node::to_json).collect();
    let mut copied = BTreeSet::new();
    let sources = sources(root, folder, &mut problems, &mut copied).into();
    KubernetesPlace { folder: folder.to_owned(), documents, sources, problems, copied }
}

/// Without kubectl: only a folder that lists manifests and changes nothing in them.
///
/// # Errors
/// [`Stop::Absent`] names a field that only kustomize can carry out.
pub fn read_plain(root: &Utf8Path, folder: &str) -> Result<KubernetesPlace> {
    let mut problems = Vec::new();
    let kustomization = kustomization(root, Utf8Path::new(folder), &mut problems).unwrap_or_default();
    let is_carried_out = |key: &&String| !PLAIN_FIELDS.contains(&key.as_str());
    if let Some(field) = kustomization.as_object().into_iter().flatten().map(|(key, _)| key).find(is_carried_out) {
        return Err(Stop::Absent(format!("{folder} has `{field}`, which takes kubectl to carry out")).into());
    }
    problems.clear();
    // What would copy is one of the fields that only kustomize carries out.
    let mut copied = BTreeSet::new();
    let sources = sources(root, folder, &mut problems, &mut copied);
    let documents = sources.iter().flat_map(|source| &source.documents).map(Node::to_json).collect();
    Ok(KubernetesPlace { folder: folder.to_owned(), documents, sources: sources.into(), problems, copied })
}

/// The files of a folder and of the folders that it takes, its own first.
fn sources(
    root: &Utf8Path,
    folder: &str,
    problems: &mut Vec<Finding>,
    copied: &mut BTreeSet<String>,
) -> Vec<SourceFile> {
    let mut files = Vec::new();
    let mut seen = BTreeSet::new();
    // First in, first out: a folder's own files are read before those of the folders that it takes.
    let mut waiting = VecDeque::from([Utf8PathBuf::from(folder)]);
    while let Some(folder) = waiting.pop_front() {
        if !seen.insert(folder.clone()) {
            continue;
        }
        let Some(kustomization) = kustomization(root, &folder, problems) else { continue };
        copied.extend(sources_of_copies(&kustomization));
        for entry in entries(&kustomization) {
            let path = normal(&folder.join(&entry));
            if root.join(&path).is_dir() {
                waiting.push_back(path);
            } else if seen.insert(path.clone()) && !is_remote(&entry) {
                let mut read = source(root, path, problems);
                read.iter_mut().for_each(|read| read.targets = targets(&kustomization, &entry));
                // A file of replacements.
                let documents = read.iter().flat_map(|read| &read.documents).map(Node::to_json);
                copied.extend(documents.flat_map(|document| {
                    let list = if document.is_array() { document } else { Value::from(vec![document]) };
                    sources_of_copies(&serde_json::json!({ "replacements": list }))
                }));
                files.extend(read);
            }
        }
    }
    files
}

/// What a kustomization lists as files or folders.
pub(crate) fn entries(kustomization: &Value) -> Vec<String> {
    let listed = |key: &str| kustomization[key].as_array().cloned().unwrap_or_default();
    let path = |entry: &Value| entry["path"].as_str().or(entry.as_str()).map(ToOwned::to_owned);
    let patches = ["patches", "patchesStrategicMerge", "patchesJson6902", "replacements", "transformers"]
        .into_iter()
        .flat_map(listed);
    // A patch may also be written out in its place.
    let patches = patches.filter_map(|entry| path(&entry)).filter(|entry| !entry.contains('\n'));
    let more = ["resources", "components", "bases"].into_iter().flat_map(listed);
    patches.chain(more.filter_map(|entry| path(&entry))).collect()
}

/// The kinds and names that the patch in a file is for.
fn targets(kustomization: &Value, file: &str) -> Vec<(Option<String>, Option<String>)> {
    let patches = kustomization["patches"].as_array().into_iter().flatten();
    let targets = patches.filter(|patch| patch["path"] == file && patch["target"].is_object());
    let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
    targets.map(|patch| (text(&patch["target"]["kind"]), text(&patch["target"]["name"]))).collect()
}

/// The ConfigMaps that `vars` and `replacements` take values from.
fn sources_of_copies(kustomization: &Value) -> Vec<String> {
    let listed = |key: &str| kustomization[key].as_array().cloned().unwrap_or_default();
    let vars = listed("vars").into_iter().map(|one| one["objref"].clone());
    let replacements = listed("replacements").into_iter().map(|one| one["source"].clone());
    let maps = vars.chain(replacements).filter(|source| source["kind"] == "ConfigMap");
    maps.filter_map(|source| source["name"].as_str().map(ToOwned::to_owned)).collect()
}

/// Fetched by kustomize, and not part of the repository.
fn is_remote(entry: &str) -> bool {
    entry.contains("://") || entry.contains("?ref=") || entry.starts_with("github.com/") || entry.starts_with("git@")
}

fn source(root: &Utf8Path, path: Utf8PathBuf, problems: &mut Vec<Finding>) -> Option<SourceFile> {
    let read = std::fs::read(root.join(&path)).map_err(|error| format!("cannot be read ({error})"));
    let read = read.and_then(|bytes| {
        let text = decoded(&bytes);
        Node::parse_all(&text).map(|documents| (text, documents))
    });
    match read {
        Ok((text, documents)) => Some(SourceFile { file: path.into_string(), text, documents, targets: Vec::new() }),
        Err(why) => {
            problems.push(unreadable(path.as_str(), &why));
            None
        }
    }
}

fn kustomization(root: &Utf8Path, folder: &Utf8Path, problems: &mut Vec<Finding>) -> Option<Value> {
    let file = FILES.iter().map(|name| folder.join(name)).find(|file| root.join(file).is_file());
    let Some(file) = file else {
        problems.push(unreadable(folder.as_str(), &format!("has none of {}", FILES.join(", "))));
        return None;
    };
    source(root, file, problems).map(|source| source.documents.first().map(Node::to_json).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> &'static Utf8Path {
        crate::repository::root()
    }

    #[test]
    fn an_overlays_own_files_come_before_those_of_its_base() {
        let files: Vec<_> = sources(root(), "k8s/overlays/production", &mut Vec::new(), &mut BTreeSet::new())
            .into_iter()
            .map(|source| source.file)
            .collect();
        let at = |file: &str| files.iter().position(|one| one == file).unwrap_or_else(|| panic!("{file}: {files:?}"));
        assert!(at("k8s/overlays/production/gateway.yaml") < at("k8s/base/gateway.yaml"));
    }

    #[test]
    fn without_kubectl_a_folder_that_changes_nothing_is_read_and_another_is_refused() {
        assert!(read_plain(root(), "k8s/base").unwrap().documents.len() > 20);
        let why = read_plain(root(), "k8s/overlays/production").unwrap_err().to_string();
        assert!(why.contains("k8s/overlays/production has `images`"), "{why}");
    }

    /// A patch of operations names no object, and the object's own file has another source for the variable.
    #[test]
    fn a_value_that_operations_bring_stands_in_their_file() {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        let write = |file: &str, text: &str| std::fs::write(root.join(file), text).unwrap();
        write("kustomization.yaml", "resources: [d.yaml]\npatches: [{ path: p.yaml, target: { kind: Deployment } }]\n");
        let container = |variables: &str| {
            format!(
                "kind: Deployment\nmetadata: {{ name: d }}\nspec:\n  template:\n    spec:\n      containers:\n      - name: c\n        env:\n{variables}"
            )
        };
        let own = "        - { name: A, value: here }\n";
        write(
            "d.yaml",
            &container(&format!(
                "{own}        - {{ name: P, valueFrom: {{ secretKeyRef: {{ name: s, key: k }} }} }}\n"
            )),
        );
        write(
            "p.yaml",
            "- op: replace\n  path: /spec/template/spec/containers/0/env/1\n  value: { name: P, value: hunter2 }\n",
        );
        let place = place(root, "", &container(&format!("{own}        - {{ name: P, value: hunter2 }}\n")));
        let read = super::super::Cluster::read(
            &place,
            &crate::policy::Policy::parse("p", crate::readers::EMPTY_POLICY).unwrap().kubernetes.secrets,
        );
        let settings = read.stack.deployments[0].settings.iter();
        let places: Vec<_> = settings.map(|one| format!("{} {}", one.name, one.place)).collect();
        assert_eq!(places, ["A d.yaml:9", "P p.yaml:3"]);
    }

    /// The name of a patch with a target is anybody's, as that of a patch for every Deployment is.
    #[test]
    fn what_a_patch_with_a_target_brings_stands_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        let write = |file: &str, text: &str| std::fs::write(root.join(file), text).unwrap();
        write("kustomization.yaml", "resources: [d.yaml]\npatches: [{ path: p.yaml, target: { kind: Deployment } }]\n");
        let deployment = |name: &str, rest: &str| {
            format!(
                "kind: Deployment\nmetadata: {{ name: {name} }}\nspec: {{ template: {{ spec: {{ {rest}containers: [{{ name: c }}] }} }} }}\n"
            )
        };
        write("d.yaml", &deployment("d", ""));
        let volumes = "volumes: [{ name: v, secret: { secretName: gone } }],\n ";
        write("p.yaml", &deployment("any", volumes));
        let place = place(root, "", &deployment("d", volumes));
        let secrets = crate::policy::Policy::parse("p", crate::readers::EMPTY_POLICY).unwrap().kubernetes.secrets;
        let read = super::super::Cluster::read(&place, &secrets);
        let places: Vec<_> = read.problems.iter().map(|one| format!("{} {}", one.rule, one.place)).collect();
        assert_eq!(places, ["missing-source p.yaml:3"]);
    }

    /// Both forms: one replacement in a file of its own, and several.
    #[test]
    fn what_a_file_of_replacements_copies_from_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        let write = |file: &str, text: &str| std::fs::write(root.join(file), text).unwrap();
        write("kustomization.yaml", "replacements: [{ path: one.yaml }, { path: many.yaml }]\n");
        write("one.yaml", "source: { kind: ConfigMap, name: a, fieldPath: data.x }\ntargets: []\n");
        write("many.yaml", "- source: { kind: Secret, name: b }\n- source: { kind: ConfigMap, name: c }\n");
        let place = place(root, "", "kind: A\n");
        assert_eq!(place.copied.iter().collect::<Vec<_>>(), ["a", "c"]);
        assert!(place.problems.is_empty(), "{:?}", place.problems);
    }

    /// Case Q12, and case Q06: one file that cannot be read is one finding, and the others are read.
    #[test]
    fn every_name_of_a_kustomization_is_known_and_an_unreadable_file_stops_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        let write = |file: &str, text: &str| std::fs::write(root.join(file), text).unwrap();
        for name in FILES {
            std::fs::create_dir(root.join(name.to_lowercase())).unwrap();
            let folder = name.to_lowercase();
            let text = "resources: [a.yaml, b.yaml, c.yaml, https://example.com/x.yaml]\npatches:\n- patch: |-\n    kind: A\n    metadata: {}\n";
            write(&format!("{folder}/{name}"), text);
            write(&format!("{folder}/a.yaml"), "kind: A\nt: [\n\"x\"\n]\n");
            write(&format!("{folder}/b.yaml"), "kind: [\n");
            let place = place(root, &folder, "kind: A\n");
            assert_eq!((place.documents.len(), place.sources.len()), (1, 1), "{name}");
            let told: Vec<_> = place.problems.iter().map(ToString::to_string).collect();
            assert!(told[0].starts_with(&format!("{folder}/b.yaml [unreadable-file]")), "{told:?}");
            assert!(told[1].starts_with(&format!("{folder}/c.yaml [unreadable-file]")) && told.len() == 2, "{told:?}");
        }
        let place = place(root, "nowhere", "a: [\n");
        assert_eq!(place.problems.len(), 2);
    }
}
