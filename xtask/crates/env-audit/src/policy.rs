//! `xtask/policy/env.toml`.

use std::collections::BTreeMap;

use camino::Utf8Path;
use serde::Deserialize;
use toml::Spanned;

use crate::contract::{Contract, Variable};
use xtask_outcome::Stop;
use xtask_outcome::{Date, Exception, Exceptions};

/// What the audit holds the places to.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Policy {
    pub(crate) engine_variables: Vec<String>,
    #[serde(default, rename = "image")]
    pub(crate) images: Vec<ForeignImage>,
    /// How images are tried.
    pub live: LivePolicy,
    /// How manifests are held to the contracts.
    pub kubernetes: KubernetesPolicy,
    #[serde(default, rename = "exception")]
    exceptions: Vec<Spanned<Exception>>,
    /// What the programs answer, and what stands beside them.
    #[serde(skip)]
    pub(crate) interface: Interface,
    /// Where it was read from, for the places of findings about exceptions.
    #[serde(skip)]
    file: String,
    #[serde(skip)]
    text: String,
}

/// What every program of the workspace answers, and what stands beside them: it is the stack's policy that says so.
#[derive(Debug, Clone, Default)]
pub struct Interface {
    /// The path that answers while a program runs.
    pub alive: String,
    /// The path that answers while it would serve.
    pub ready: String,
    /// What it ends with when it refuses its environment.
    pub bad_environment_exit_code: i64,
    /// What URLs to neighbours begin with; the first is meant where nothing says which.
    pub schemes: Vec<String>,
}

/// An image that prints no contract.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ForeignImage {
    pub repositories: Vec<String>,
    /// The scheme of a URL to it.
    pub scheme: String,
    /// The ports that it listens on.
    pub ports: Vec<u16>,
    pub login: Login,
    /// The variable that says where it keeps its data.
    #[serde(default)]
    pub data: Option<String>,
    /// The program that asks it whether it is ready, which has to be given an address: without one it asks over a socket, where
    /// the server of the first start answers too early.
    #[serde(default)]
    pub ready: Option<ReadyProgram>,
    /// What ends it at once and cleanly, where SIGTERM alone does not.
    #[serde(default)]
    pub stop: Vec<String>,
    variables: Vec<Variable>,
}

/// A program that asks whether something is ready.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReadyProgram {
    pub program: String,
    /// The options that give it an address.
    pub address: Vec<String>,
}

/// The names of the variables that decide who may log in.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Login {
    pub user: String,
    pub password: String,
    pub database: String,
}

#[derive(Debug, Clone, Deserialize, Hash)]
#[serde(deny_unknown_fields)]
pub struct LivePolicy {
    /// Good values of variables whose type does not tell one.
    pub samples: BTreeMap<String, String>,
    /// What libraries read, and a value that would disturb them.
    pub nonsense: BTreeMap<String, String>,
}

/// How the manifests are held to the contracts.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct KubernetesPolicy {
    /// The folders that are rendered and held to the contracts.
    pub overlays: Vec<String>,
    /// What is read where no kubectl can be had.
    pub base: String,
    /// The Secrets that somebody makes outside the manifests: each key, and the variable of `.env` with the same value.
    pub secrets: BTreeMap<String, BTreeMap<String, String>>,
    /// The least time in which an ending service behind a Service still serves.
    pub least_drain: String,
    /// Every cluster that these are rolled out to has a default storage class.
    #[serde(default)]
    pub default_storage_class: bool,
    /// What Kubernetes sets and Compose does not.
    #[serde(default)]
    pub own: Vec<OwnVariable>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnVariable {
    pub variable: String,
    /// The services, all when empty.
    #[serde(default)]
    pub services: Vec<String>,
    /// The folders in which it has to be, all when empty.
    #[serde(default)]
    pub overlays: Vec<String>,
    /// For the reader of the policy; it must be there.
    pub reason: String,
}

impl KubernetesPolicy {
    /// What is to be rendered: all of it, or nothing in a checkout that has no manifests at all.
    pub fn folders(&self, root: &Utf8Path) -> &[String] {
        if root.join(&self.base).is_dir() { &self.overlays } else { &[] }
    }

    /// Whether a folder has to set a variable of a service that Compose leaves alone.
    pub fn is_own(&self, folder: &str, service: &str, variable: &str) -> bool {
        let takes = |list: &[String], one: &str| list.is_empty() || list.iter().any(|entry| entry == one);
        self.own
            .iter()
            .any(|own| own.variable == variable && takes(&own.services, service) && takes(&own.overlays, folder))
    }
}

impl Policy {
    /// Reads the policy's text; `file` is its path for messages.
    ///
    /// # Errors
    /// [`Stop::Repository`] for a key that nobody knows.
    pub fn parse(file: &str, text: &str) -> Result<Self, Stop> {
        let policy: Self = toml::from_str(text).map_err(|error| Stop::Repository(format!("{file}: {error}")))?;
        Ok(Self { file: file.to_owned(), text: text.to_owned(), ..policy })
    }

    /// The same policy for programs with this interface.
    #[must_use]
    pub fn with(self, interface: Interface) -> Self {
        Self { interface, ..self }
    }

    pub(crate) fn exceptions(&self) -> Exceptions {
        Exceptions::new(&self.file, &self.text, self.exceptions.clone(), Date::today())
    }
}

impl ForeignImage {
    pub(crate) fn contract(&self) -> Contract {
        let image = self.repositories.first().cloned().unwrap_or_default();
        Contract { image, variables: self.variables.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_parses_and_knows_no_other_keys() {
        let policy = crate::repository::policy();
        assert!(policy.images.iter().all(|image| !image.repositories.is_empty()));
        assert!(Policy::parse("env.toml", &format!("more = 1\n{}", policy.text)).is_err());
    }

    #[test]
    fn the_document_asks_for_the_default_storage_class_that_the_policy_takes_for_granted() {
        let document = std::fs::read_to_string(crate::repository::root().join("docs/kubernetes.md")).unwrap();
        let is_asked_for = document.contains("`kubectl get storageclass`");
        assert_eq!(crate::repository::policy().kubernetes.default_storage_class, is_asked_for);
    }

    #[test]
    fn the_document_tells_how_every_secret_of_the_cluster_is_made() {
        let document = std::fs::read_to_string(crate::repository::root().join("docs/kubernetes.md")).unwrap();
        for (secret, keys) in crate::repository::policy().kubernetes.secrets {
            for (key, variable) in keys {
                let line = format!("\nsecret {secret} {key} \"${variable}\"\n");
                assert!(document.contains(&line), "{line}");
            }
        }
    }
}
