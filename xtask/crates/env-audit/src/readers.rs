//! What each reader makes of a text, in the words of the real program: for `tests/differential.rs`, which asks both.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::compose::Stack;
use crate::dockerfile::Dockerfile;
use crate::env_file::EnvFile;
use crate::kubernetes::Cluster;
use crate::kubernetes::kustomize::entries;
use crate::places::{ComposePlace, DockerfilePlace, Healthcheck, KubernetesPlace, Places};
use crate::template::Template;
use crate::yaml::Node;
use crate::{Audit, Policy, Selection};
use xtask_outcome::Outcome;

/// Values by name.
pub type Named = BTreeMap<String, String>;

/// A reader that is given any text and has to come back.
pub type Reader = fn(&str);

/// Every reader, under the name by which `fuzz/` takes it.
pub const ALL: [(&str, Reader); 9] = [
    ("env-file", |text| drop(env_file(text.as_bytes()))),
    ("raw-env-file", |text| drop(raw_env_file(text.as_bytes()))),
    ("reference", |text| drop(interpolated(text, &Named::from([("SET".to_owned(), "s".to_owned())])))),
    ("dockerfile", |text| drop(dockerfile(text))),
    ("yaml", |text| drop(yaml(text))),
    ("manifests", |text| drop(has_refused_value(text))),
    ("kustomization", |text| drop(kustomization(text))),
    ("compose", |text| yaml(text).unwrap_or_default().iter().for_each(|document| drop(stack(document, text)))),
    ("rules", rules),
];

/// Nothing is known: no contract, no exception.
pub const EMPTY_POLICY: &str = "engine-variables = []\n[kubernetes]\noverlays = []\nbase = \"-\"\nleast-drain = \"5s\"\n[kubernetes.secrets]\n[live.samples]\n[live.nonsense]\n";

/// The whole audit of a repository in which every place has the same text.
fn rules(text: &str) {
    let name = || "x".to_owned();
    let documents: Vec<_> = Node::parse_all(text).unwrap_or_default().iter().map(Node::to_json).collect();
    let rendered = documents.first().cloned().unwrap_or_default();
    let compose = ComposePlace { file: name(), rendered, source: text.to_owned(), ..ComposePlace::default() };
    let places = Places {
        dockerfiles: vec![DockerfilePlace { service: name(), file: name(), text: text.to_owned() }],
        compose: vec![compose],
        kubernetes: vec![KubernetesPlace { folder: name(), documents, ..KubernetesPlace::default() }],
        example: Some(text.as_bytes().to_vec()),
        env: Some(text.as_bytes().to_vec()),
        document: Some(text.to_owned()),
        workflows: vec![(name(), text.to_owned())],
        ..Places::default()
    };
    let Ok(policy) = Policy::parse("policy", EMPTY_POLICY) else { return };
    Audit::of_places(&places, &policy).report(&Selection::default(), false, &mut Outcome::default());
}

/// Names and values of an env file, as Compose gives them to a container when its own environment is empty.
///
/// # Errors
/// Why Compose would refuse the file.
pub fn env_file(bytes: &[u8]) -> Result<Named, String> {
    values_of(EnvFile::parse(bytes, false))
}

/// The same for a file that Compose is to read as `format: raw`.
///
/// # Errors
/// Why Compose would refuse the file.
pub fn raw_env_file(bytes: &[u8]) -> Result<Named, String> {
    values_of(EnvFile::parse(bytes, true))
}

fn values_of(file: EnvFile) -> Result<Named, String> {
    if file.is_refused {
        return Err(file
            .problems
            .into_iter()
            .map(|(line, why)| format!("line {line} {why}"))
            .collect::<Vec<_>>()
            .join("; "));
    }
    if file.needs_environment {
        return Err("asks for a variable that is not there".to_owned());
    }
    let names = file.entries.iter().map(|entry| entry.name.clone());
    Ok(names.filter_map(|name| file.value(&name).map(|value| (name, value))).collect())
}

/// A value of a Compose file with its references filled from an environment; `Ok(None)` when one that is required is not there.
///
/// # Errors
/// Why Compose would refuse it.
pub fn interpolated(text: &str, environment: &Named) -> Result<Option<String>, String> {
    let filled = Template::parse(text)?.fill(&|name| environment.get(name).cloned(), "");
    Ok((!filled.has_unknown).then_some(filled.text))
}

/// Every document of a YAML file.
///
/// # Errors
/// Why kubectl would refuse it.
pub fn yaml(text: &str) -> Result<Vec<Value>, String> {
    Ok(Node::parse_all(text)?.iter().map(Node::to_json).collect())
}

/// The files and folders that a kustomization is made of.
///
/// # Errors
/// Why kustomize would refuse the text.
pub fn kustomization(text: &str) -> Result<Vec<String>, String> {
    Ok(yaml(text)?.iter().flat_map(entries).collect())
}

/// The variables and labels that an image of a Dockerfile has.
///
/// # Errors
/// Why BuildKit would refuse the file.
pub fn dockerfile(text: &str) -> Result<(Named, Named), String> {
    Dockerfile::parse(text).image()
}

/// What Compose cannot interpolate in a rendered stack, in our words.
pub fn stack_problems(rendered: &Value) -> Vec<String> {
    let place = ComposePlace { rendered: rendered.clone(), ..ComposePlace::default() };
    let read = Stack::read(&place, &BTreeMap::new());
    let problems = read.problems.into_iter().map(|(_, what, _)| what);
    problems.filter(|what| !what.contains(" is not there, and ")).collect()
}

/// What each service of a rendered stack comes to, whichever form it is written in. `source` is the text that it was rendered from.
pub fn stack(rendered: &Value, source: &str) -> Value {
    let (rendered, source) = (rendered.clone(), source.to_owned());
    let place = ComposePlace { rendered, source, ..ComposePlace::default() };
    let read = Stack::read(&place, &BTreeMap::new());
    let service = |one: &crate::places::Deployment| {
        // A healthcheck in words for a shell is the same as one of the form CMD-SHELL.
        let healthcheck = match &one.healthcheck {
            Healthcheck::Inherited => json!(null),
            Healthcheck::Disabled => json!(false),
            Healthcheck::Shell(text) => json!(text),
            Healthcheck::Command(words) => json!(words),
        };
        let variable = |setting: &crate::places::Setting| {
            let value = (!setting.bare).then(|| setting.value.fill(&|_| None, "").text);
            (setting.name.clone(), json!(value))
        };
        let variables: Told = one.settings.iter().map(variable).collect();
        let arguments: Told = one.build_arguments.iter().map(variable).collect();
        let told = json!({
            "networks": one.networks, "names": one.aliases, "hosts": one.hosts, "writable": one.writable,
            "read_only": one.read_only, "profiles": one.profiles, "runs_as": one.user, "healthcheck": healthcheck,
            "variables": variables, "arguments": arguments,
        });
        (one.name.clone(), told)
    };
    read.deployments.iter().map(service).collect::<serde_json::Map<_, _>>().into()
}

type Told = BTreeMap<String, Value>;

/// Whether the API server would refuse a value in a manifest.
///
/// # Errors
/// Why kubectl would refuse the text itself.
pub fn has_refused_value(text: &str) -> Result<bool, String> {
    let documents = Node::parse_all(text)?.iter().map(Node::to_json).collect();
    let place = KubernetesPlace { documents, ..KubernetesPlace::default() };
    let read = Cluster::read(&place, &BTreeMap::new());
    Ok(read.problems.iter().any(|problem| problem.rule == "refused-value"))
}
