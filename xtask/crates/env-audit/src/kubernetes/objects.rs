//! The objects of a rendering: lists flattened, every kind that starts pods, and where each thing stands in its source.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as STANDARD;
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
    /// As the object has it; kustomize writes it into every one.
    pub(crate) namespace: Option<&'a str>,
    pub(crate) labels: &'a Value,
    pub(crate) pod: &'a Value,
    /// The path from the object to the pod's `spec`.
    path: &'static [&'static str],
}

const NOTHING: Value = Value::Null;

/// An init container that Kubernetes keeps running beside the others.
pub(crate) fn is_sidecar(container: &Value) -> bool {
    container["restartPolicy"] == "Always"
}

impl<'a> Objects<'a> {
    pub(crate) fn new(place: &'a KubernetesPlace) -> Self {
        let mut all = Vec::new();
        for document in &place.documents {
            flatten(document, &mut all);
        }
        Self { folder: &place.folder, all, sources: &place.sources }
    }

    /// Others have kinds of the same names: a NetworkPolicy of Calico, a Job of Volcano.
    pub(crate) fn of_kind(&self, kind: &str) -> impl Iterator<Item = &'a Value> {
        self.all.iter().copied().filter(move |object| object["kind"] == kind && is_own(object))
    }

    pub(crate) fn get(&self, kind: &str, name: &str) -> Option<&'a Value> {
        self.of_kind(kind).find(|object| object["metadata"]["name"] == name)
    }

    /// The object of that name which a pod of a namespace may take.
    pub(crate) fn get_beside(&self, kind: &str, name: &str, namespace: Option<&str>) -> Option<&'a Value> {
        let is_here = |object: &&Value| object["metadata"]["namespace"].as_str() == namespace;
        self.of_kind(kind).filter(is_here).find(|object| object["metadata"]["name"] == name)
    }

    /// Whether an object of another kind is there for a Secret or a ConfigMap of this name to be made of: a sealed one, a certificate, one
    /// that an operator fetches from a store. Its keys are then not known.
    pub(crate) fn is_made_by_another(&self, name: &str, namespace: Option<&str>) -> bool {
        let templates = self.pod_templates();
        let mut beside = templates.iter().filter(|template| template.namespace == namespace);
        let is_named = |(_, container): (bool, &Value)| named(container).iter().any(|known| known == name);
        // A program that is told the name may make it.
        if beside.any(|template| template.containers().any(is_named)) {
            return true;
        }
        self.of_operators(namespace).any(|object| {
            let spec = &object["spec"];
            let names = [&object["metadata"]["name"], &spec["secretName"], &spec["target"]["name"]];
            names.into_iter().any(|one| one == name)
        })
    }

    /// The objects of a namespace that Kubernetes itself does not know.
    pub(crate) fn of_operators(&self, namespace: Option<&str>) -> impl Iterator<Item = &'a Value> {
        let beside = self.all.iter().copied().filter(move |one| one["metadata"]["namespace"].as_str() == namespace);
        beside.filter(|object| !is_own(object))
    }

    /// What Knative and others call a Service: they make one of that name.
    pub(crate) fn services_of_operators(&self) -> impl Iterator<Item = &'a Value> {
        self.all.iter().copied().filter(|object| object["kind"] == "Service" && !is_own(object))
    }

    /// Whether Kubernetes sets a variable of this name by itself: one for each Service of the namespace, where links are on, and those
    /// of the API server in any case.
    pub(crate) fn is_service_variable(&self, name: &str, template: &PodTemplate<'_>) -> bool {
        let is_on = template.pod["enableServiceLinks"].as_bool().unwrap_or(true);
        let beside =
            self.of_kind("Service").filter(|one| is_on && one["metadata"]["namespace"].as_str() == template.namespace);
        let names = beside.filter_map(|one| one["metadata"]["name"].as_str()).chain(["kubernetes"]);
        names.into_iter().any(|service| is_link(service, name))
    }

    /// Whether a file that the rendering was made from writes a part of an object down.
    pub(crate) fn is_written(&self, template: &PodTemplate<'_>, path: &[&str]) -> bool {
        self.sources.iter().any(|source| {
            let is_patch = source.is_patch_of(&template.kind, &template.name);
            let documents = source.documents.iter().flat_map(within_list);
            documents
                .filter(|one| is_patch || is_object(one, &template.kind, &template.name))
                .any(|one| one.deepest(path).0 == path.len())
        })
    }

    /// Where a part of an object stands: in the file that has the most of the path, an overlay's before its base's.
    pub(crate) fn place(&self, kind: &str, name: &str, path: &[&str]) -> Place {
        let mut best = (0, Place::new(self.folder));
        for source in self.sources {
            let is_patch = source.is_patch_of(kind, name);
            for document in source.documents.iter().flat_map(within_list) {
                if !is_patch && !is_object(document, kind, name) {
                    continue;
                }
                let (depth, line) = document.deepest(path);
                // A list of operations has no part of the path.
                if depth + 1 > best.0 && (depth > 0 || !is_patch) {
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

    /// Where the value of a variable stands: where its name does, unless no file has a value there. Then a patch that names no object
    /// (JSON 6902) brought it, and the first line with its text is the place.
    pub(crate) fn of_value(
        &self,
        place: Place,
        (template, container, is_init): (&PodTemplate<'_>, &str, bool),
        variable: &str,
        value: &str,
    ) -> Place {
        let list = if is_init { "initContainers" } else { "containers" };
        let path = [template.path, &[list, container, "env", variable, "value"]].concat();
        let name = &path[..path.len() - 1];
        if value.is_empty() || !self.is_written(template, name) || self.is_written(template, &path) {
            return place;
        }
        let place_in = |source: &SourceFile| {
            let line = source.text.lines().position(|line| line.contains(value))?;
            Some(Place { name: source.file.clone(), line: u32::try_from(line + 1).ok() })
        };
        self.sources.iter().find_map(place_in).unwrap_or_else(|| Place::new(self.folder))
    }

    pub(crate) fn of_volume(&self, template: &PodTemplate<'_>, volume: &str) -> Place {
        self.place(&template.kind, &template.name, &[template.path, &["volumes", volume]].concat())
    }

    /// What the files of a container's manifest say of its security and the rendering does not have: a patch took it away.
    pub(crate) fn lost(&self, template: &PodTemplate<'_>, container: &Value, is_init: bool) -> Vec<&'static str> {
        let list = if is_init { "initContainers" } else { "containers" };
        let name = container["name"].as_str().unwrap_or_default();
        let keys = ["runAsNonRoot", "runAsUser", "readOnlyRootFilesystem"].into_iter();
        let is_lost = |key: &&str| {
            let ends: [&[&str]; 2] = [&[list, name, "securityContext", key], &["securityContext", key]];
            let is_written = || ends.into_iter().any(|end| self.is_written(template, &[template.path, end].concat()));
            [container, template.pod].into_iter().all(|one| one["securityContext"][key].is_null()) && is_written()
        };
        keys.filter(is_lost).collect()
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
                namespace: object["metadata"]["namespace"].as_str(),
                labels: &metadata["metadata"]["labels"],
                pod: &metadata["spec"],
                path,
            })
        };
        self.all.iter().filter(|object| is_own(object)).filter_map(template).collect()
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
        let plain = |value: &Value| value.as_str().map(|text| text.as_bytes().to_owned());
        let encoded = |value: &Value| {
            // Long ones stand in lines.
            let text: String = value.as_str()?.split_whitespace().collect();
            Some(STANDARD.decode(&text).unwrap_or(text.into_bytes()))
        };
        let has_values = |secret: &&Value| {
            let values = |key: &str| secret[key].as_object().into_iter().flatten().map(|(_, value)| value);
            let mut all = values("data").filter_map(encoded).chain(values("stringData").filter_map(plain));
            all.any(|value| is_in_clear(&String::from_utf8_lossy(&value)))
        };
        let place = |secret: &Value| {
            let name = secret["metadata"]["name"].as_str().unwrap_or_default();
            (name.to_owned(), self.place("Secret", name, &["stringData"]))
        };
        self.of_kind("Secret").filter(has_values).map(place).collect()
    }
}

/// Whether an object belongs to Kubernetes itself, by the group of its version.
fn is_own(object: &Value) -> bool {
    const GROUP_ENDS: [&str; 2] = [".k8s.io", "apps"];
    let group = object["apiVersion"].as_str().and_then(|version| version.split_once('/'));
    group.is_none_or(|(group, _)| !group.contains('.') || GROUP_ENDS.iter().any(|end| group.ends_with(end)))
}

/// A value of a Secret that somebody could use: something is there, it is not encrypted by SOPS, and it is more than a mark for where it
/// has to go.
fn is_in_clear(value: &str) -> bool {
    let is_mark = ["<", "${", "$(", "{{"].iter().any(|start| value.trim().starts_with(start));
    !value.is_empty() && !value.contains("ENC[AES256_GCM,") && !is_mark
}

/// The names that a container is told in its arguments and variables as those of ConfigMaps and Secrets: `--configmap=NAMESPACE/NAME`.
pub(super) fn named(container: &Value) -> Vec<String> {
    let is_about = |label: &str| {
        let label = label.to_ascii_lowercase();
        ["config", "secret", "cert"].iter().any(|word| label.contains(word))
    };
    let arguments: Vec<_> = ["command", "args"].iter().flat_map(|key| list(&container[key])).collect();
    let arguments = arguments.iter().filter_map(|one| one.as_str()).scan("", |before, argument| {
        let pair = argument.split_once('=').unwrap_or((*before, argument));
        *before = argument;
        Some(pair)
    });
    let variable = |entry: &'_ Value| Some((entry["name"].as_str()?.to_owned(), entry["value"].as_str()?.to_owned()));
    let variables = list(&container["env"]).filter_map(variable);
    let pairs = arguments.map(|(label, value)| (label.to_owned(), value.to_owned())).chain(variables);
    let name = |value: &str| value.rsplit('/').next().unwrap_or_default().to_owned();
    pairs.filter(|(label, _)| is_about(label)).map(|(_, value)| name(&value)).collect()
}

/// Whether a variable has the form of those that Kubernetes makes for a Service.
pub(crate) fn is_link(service: &str, variable: &str) -> bool {
    let prefix = service.to_ascii_uppercase().replace('-', "_");
    let Some(rest) = variable.strip_prefix(&prefix) else { return false };
    matches!(rest, "_SERVICE_HOST" | "_PORT") || rest.starts_with("_SERVICE_PORT") || rest.starts_with("_PORT_")
}

fn is_object(document: &Node, kind: &str, name: &str) -> bool {
    let own = document.get("metadata").and_then(|data| data.get("name")).and_then(Node::text);
    document.get("kind").and_then(Node::text) == Some(kind) && own == Some(name)
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
    /// Each container, and whether it stands among `initContainers`.
    pub(crate) fn containers(&self) -> impl Iterator<Item = (bool, &'a Value)> {
        let init = list(&self.pod["initContainers"]).map(|container| (true, container));
        init.chain(list(&self.pod["containers"]).map(|container| (false, container)))
    }

    /// What runs as long as the pod does: the containers, and the sidecars among `initContainers`.
    pub(crate) fn running(&self) -> impl Iterator<Item = &'a Value> {
        self.containers()
            .filter(|(is_init, container)| !*is_init || is_sidecar(container))
            .map(|(_, container)| container)
    }

    pub(crate) fn volume(&self, name: &str) -> &'a Value {
        list(&self.pod["volumes"]).find(|volume| volume["name"] == name).unwrap_or(&NOTHING)
    }
}
