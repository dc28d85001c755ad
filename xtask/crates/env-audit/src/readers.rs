//! What each reader makes of a text, in the words of the real program: for `tests/differential.rs`, which asks both.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::compose::Stack;
use crate::dockerfile::Dockerfile;
use crate::env_file::EnvFile;
use crate::kubernetes::Cluster;
use crate::places::{ComposePlace, Healthcheck, KubernetesPlace};
use crate::template::Template;
use crate::yaml::Node;

/// Values by name.
pub type Named = BTreeMap<String, String>;

/// Names and values of an env file, as Compose gives them to a container when its own environment is empty.
///
/// # Errors
/// Why Compose would refuse the file.
pub fn env_file(bytes: &[u8]) -> Result<Named, String> {
    let file = EnvFile::parse(bytes, false);
    if file.is_refused {
        return Err(file
            .problems
            .into_iter()
            .map(|(line, why)| format!("line {line} {why}"))
            .collect::<Vec<_>>()
            .join("; "));
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

/// The variables and labels that an image of a Dockerfile has.
///
/// # Errors
/// Why BuildKit would refuse the file.
pub fn dockerfile(text: &str) -> Result<(Named, Named), String> {
    Dockerfile::parse(text).image()
}

/// What each service of a rendered stack comes to, whichever form it is written in.
pub fn stack(rendered: &Value) -> Value {
    let place = ComposePlace {
        file: String::new(),
        rendered: rendered.clone(),
        source: String::new(),
        merged_into: Vec::new(),
    };
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
            "read_only": one.read_only, "profiles": one.profiles, "user": one.user, "healthcheck": healthcheck,
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
