//! What each reader makes of a text, in the words of the real program: for `tests/differential.rs`, which asks both.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::dockerfile::Dockerfile;
use crate::env_file::EnvFile;
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
