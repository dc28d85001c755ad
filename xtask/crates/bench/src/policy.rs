//! `xtask/policy/bench.toml`: what of this workspace is measured.

use std::collections::BTreeMap;

use serde::Deserialize;
use xtask_outcome::Stop;
use xtask_stack::VisibleEdit;
use xtask_workspace::Project;

const FILE: &str = "bench.toml";

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Policy {
    /// The image whose service is edited, by its short name.
    pub(crate) edited: String,
    pub(crate) visible_edit: VisibleEdit,
    pub(crate) proxy: Proxy,
}

/// The program that is measured beside nginx.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Proxy {
    /// Its image, by its short name.
    pub(crate) image: String,
    pub(crate) address_variable: String,
    pub(crate) port_variable: String,
    /// Each gets the URL of the upstream.
    pub(crate) upstream_variables: Vec<String>,
    /// Paths that it hands on to the upstream.
    pub(crate) small: String,
    pub(crate) large: String,
    pub(crate) write: String,
    pub(crate) environment: BTreeMap<String, String>,
}

impl Policy {
    pub(crate) fn read(project: &Project) -> Result<Self, Stop> {
        let text = project.policy(FILE)?;
        toml::from_str(&text).map_err(|error| Stop::Repository(format!("{}: {error}", project.policy_file(FILE))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_names_images_that_there_are_and_a_source_that_has_the_words() {
        let project = Project::load(env!("CARGO_MANIFEST_DIR")).unwrap();
        let policy = Policy::read(&project).unwrap();
        let edit = &policy.visible_edit;
        let names = [policy.edited, policy.proxy.image, edit.service.clone()];
        assert!(project.select(&names).is_ok(), "{names:?}");
        let source = std::fs::read_to_string(project.root.join(&edit.file)).unwrap();
        assert!(source.contains(&format!("\"{}\"", edit.words)), "{}", edit.file);
    }
}
