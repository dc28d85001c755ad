//! `xtask/policy/env.toml`.

use std::collections::BTreeMap;

use camino::Utf8Path;
use serde::Deserialize;
use toml::Spanned;

use super::contract::{Contract, Variable};
use crate::exception::{Date, Exception, Exceptions};
use crate::outcome::Stop;

const FILE: &str = "xtask/policy/env.toml";
const TEXT: &str = include_str!("../../policy/env.toml");

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Policy {
    secret_endings: Vec<String>,
    pub(crate) engine_variables: Vec<String>,
    #[serde(default, rename = "image")]
    pub(crate) images: Vec<ForeignImage>,
    pub(crate) live: LivePolicy,
    pub(crate) kubernetes: KubernetesPolicy,
    #[serde(default, rename = "exception")]
    exceptions: Vec<Spanned<Exception>>,
}

/// An image that prints no contract.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ForeignImage {
    pub(crate) repositories: Vec<String>,
    /// The scheme of a URL to it.
    pub(crate) scheme: String,
    /// The ports that it listens on.
    pub(crate) ports: Vec<u16>,
    pub(crate) login: Login,
    /// The variable that says where it keeps its data.
    #[serde(default)]
    pub(crate) data: Option<String>,
    variables: Vec<Variable>,
}

/// The names of the variables that decide who may log in.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) database: String,
}

#[derive(Debug, Clone, Deserialize, Hash)]
#[serde(deny_unknown_fields)]
pub(crate) struct LivePolicy {
    /// Good values of variables whose type does not tell one.
    pub(crate) samples: BTreeMap<String, String>,
    /// What libraries read, and a value that would disturb them.
    pub(crate) nonsense: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct KubernetesPolicy {
    /// The folders that are rendered and held to the contracts.
    pub(crate) overlays: Vec<String>,
    /// What is read where no kubectl can be had.
    pub(crate) base: String,
    /// The Secrets that somebody makes outside the manifests: each key, and the variable of `.env` with the same value.
    pub(crate) secrets: BTreeMap<String, BTreeMap<String, String>>,
    /// The least time in which an ending service behind a Service still serves.
    pub(crate) least_drain: String,
    /// What Kubernetes sets and Compose does not.
    #[serde(default)]
    pub(crate) own: Vec<OwnVariable>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OwnVariable {
    pub(crate) variable: String,
    /// The services, all when empty.
    #[serde(default)]
    pub(crate) services: Vec<String>,
    /// The folders in which it has to be, all when empty.
    #[serde(default)]
    pub(crate) overlays: Vec<String>,
    #[expect(dead_code, reason = "the reason is for the reader of the policy; it must be there")]
    pub(crate) reason: String,
}

impl KubernetesPolicy {
    /// What is to be rendered: all of it, or nothing in a checkout that has no manifests at all.
    pub(crate) fn folders(&self, root: &Utf8Path) -> &[String] {
        if root.join(&self.base).is_dir() { &self.overlays } else { &[] }
    }

    /// Whether a folder has to set a variable of a service that Compose leaves alone.
    pub(crate) fn is_own(&self, folder: &str, service: &str, variable: &str) -> bool {
        let takes = |list: &[String], one: &str| list.is_empty() || list.iter().any(|entry| entry == one);
        self.own
            .iter()
            .any(|own| own.variable == variable && takes(&own.services, service) && takes(&own.overlays, folder))
    }
}

impl Policy {
    pub(crate) fn load() -> Result<Self, Stop> {
        Self::parse(TEXT).map_err(|error| Stop::Repository(format!("{FILE}: {error}")))
    }

    fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    pub(crate) fn exceptions(&self) -> Exceptions {
        Exceptions::new(FILE, TEXT, self.exceptions.clone(), Date::today())
    }

    /// A name that is a secret by its ending alone. `NAME_FILE` is a path and none.
    pub(crate) fn sounds_secret(&self, name: &str) -> bool {
        let name = name.to_ascii_uppercase().replace(['-', '.'], "_");
        self.secret_endings
            .iter()
            .any(|ending| name.strip_suffix(ending.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('_')))
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
        let policy = Policy::load().unwrap();
        assert!(policy.images.iter().all(|image| !image.repositories.is_empty()));
        assert!(Policy::parse(&format!("more = 1\n{TEXT}")).is_err());
    }

    #[test]
    fn the_document_tells_how_every_secret_of_the_cluster_is_made() {
        let document = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/deployment.md")).unwrap();
        for (secret, keys) in Policy::load().unwrap().kubernetes.secrets {
            for (key, variable) in keys {
                let line = format!("\nsecret {secret} {key} \"${variable}\"\n");
                assert!(document.contains(&line), "{line}");
            }
        }
    }

    #[test]
    fn a_secret_is_known_by_the_end_of_its_name() {
        let policy = Policy::load().unwrap();
        for name in ["PASSWORD", "USER_DATABASE_PASSWORD", "NPM_TOKEN", "AWS_SECRET_ACCESS_KEY", "api-key"] {
            assert!(policy.sounds_secret(name), "{name}");
        }
        for name in ["TOKEN_LIFETIME", "POSTGRES_PASSWORD_FILE", "JWT_PUBLIC_KEY", "RUST_LOG", "MONKEY", "XPASSWORD"] {
            assert!(!policy.sounds_secret(name), "{name}");
        }
    }
}
