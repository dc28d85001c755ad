//! The objects of a rendering: lists flattened, every kind that starts pods, and where each thing stands in its source.

use serde_json::Value;

use super::list;
use crate::places::{KubernetesPlace, SourceFile};
use crate::yaml::{Content, Node};
use xtask_outcome::Place;

pub(crate) struct Objects<'a> {
    folder: &'a str,
    all: Vec<&'a Value>,
    sources: &'a [SourceFile],
}

/// A pod as a workload makes it.
pub(crate) struct PodTemplate<'a> {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) labels: &'a Value,
    pub(crate) pod: &'a Value,
    /// The path from the object to the pod's `spec`.
    path: &'static [&'static str],
}

const NOTHING: Value = Value::Null;

impl<'a> Objects<'a> {
    pub(crate) fn new(place: &'a KubernetesPlace) -> Self {
        let mut all = Vec::new();
        for document in &place.documents {
            flatten(document, &mut all);
        }
        Self { folder: &place.folder, all, sources: &place.sources }
    }

    pub(crate) fn of_kind(&self, kind: &str) -> impl Iterator<Item = &'a Value> {
        self.all.iter().copied().filter(move |object| object["kind"] == kind)
    }

    pub(crate) fn get(&self, kind: &str, name: &str) -> Option<&'a Value> {
        self.of_kind(kind).find(|object| object["metadata"]["name"] == name)
    }

    /// Where a part of an object stands: in the file that has the most of the path, an overlay's before its base's.
    pub(crate) fn place(&self, kind: &str, name: &str, path: &[&str]) -> Place {
        let mut best = (0, Place::new(self.folder));
        for source in self.sources {
            for document in source.documents.iter().flat_map(within_list) {
                let own = document.get("metadata").and_then(|data| data.get("name")).and_then(Node::text);
                if document.get("kind").and_then(Node::text) != Some(kind) || own != Some(name) {
                    continue;
                }
                let (depth, line) = document.deepest(path);
                if depth + 1 > best.0 {
                    best = (depth + 1, Place { name: source.file.clone(), line: line.or(Some(document.line)) });
                }
            }
        }
        best.1
    }

    pub(crate) fn of_container(
        &self,
        template: &PodTemplate<'_>,
        container: &str,
        is_init: bool,
        path: &[&str],
    ) -> Place {
        let list = if is_init { "initContainers" } else { "containers" };
        let whole = [template.path, &[list, container], path].concat();
        self.place(&template.kind, &template.name, &whole)
    }

    /// Every workload, whatever its kind.
    pub(crate) fn pod_templates(&self) -> Vec<PodTemplate<'a>> {
        let template = |object: &&'a Value| {
            let kind = object["kind"].as_str()?;
            let (path, metadata): (&'static [&'static str], _) = match kind {
                "Pod" => (&["spec"], *object),
                "CronJob" => (
                    &["spec", "jobTemplate", "spec", "template", "spec"],
                    &object["spec"]["jobTemplate"]["spec"]["template"],
                ),
                "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "ReplicationController" | "Job" => {
                    (&["spec", "template", "spec"], &object["spec"]["template"])
                }
                _ => return None,
            };
            let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            Some(PodTemplate {
                kind: kind.to_owned(),
                name,
                labels: &metadata["metadata"]["labels"],
                pod: &metadata["spec"],
                path,
            })
        };
        self.all.iter().filter_map(template).collect()
    }

    pub(crate) fn config_keys(&self) -> Vec<(String, String)> {
        let keys = |map: &'a Value| {
            let name = map["metadata"]["name"].as_str().unwrap_or_default();
            map["data"].as_object().into_iter().flatten().map(move |(key, _)| (name.to_owned(), key.clone()))
        };
        self.of_kind("ConfigMap").flat_map(keys).collect()
    }

    /// Secrets with their values, which belong into no manifest.
    pub(crate) fn written_secrets(&self) -> Vec<(String, Place)> {
        let has_values = |secret: &&Value| {
            ["data", "stringData"].iter().any(|key| secret[key].as_object().is_some_and(|map| !map.is_empty()))
        };
        let place = |secret: &Value| {
            let name = secret["metadata"]["name"].as_str().unwrap_or_default();
            (name.to_owned(), self.place("Secret", name, &["stringData"]))
        };
        self.of_kind("Secret").filter(has_values).map(place).collect()
    }
}

/// The objects of a `List`, or the document itself.
fn within_list(document: &Node) -> Vec<&Node> {
    match document.get("items").map(|items| &items.content) {
        Some(Content::List(items)) => items.iter().collect(),
        _ => vec![document],
    }
}

fn flatten<'a>(object: &'a Value, all: &mut Vec<&'a Value>) {
    match object["items"].as_array() {
        Some(items) if object["kind"].as_str().is_some_and(|kind| kind.ends_with("List")) => {
            items.iter().for_each(|item| flatten(item, all));
        }
        _ => all.push(object),
    }
}

impl<'a> PodTemplate<'a> {
    /// Each container, and whether it ends before the others start.
    pub(crate) fn containers(&self) -> impl Iterator<Item = (bool, &'a Value)> {
        let init = list(&self.pod["initContainers"]).map(|container| (true, container));
        init.chain(list(&self.pod["containers"]).map(|container| (false, container)))
    }

    pub(crate) fn volume(&self, name: &str) -> &'a Value {
        list(&self.pod["volumes"]).find(|volume| volume["name"] == name).unwrap_or(&NOTHING)
    }
}
