//! `policy/stack.toml`: what the engine has to know of this workspace's services and of what stands beside them.

mod faults;
mod neighbour;
mod secrets;

use std::collections::{BTreeMap, BTreeSet};

pub use self::faults::{Abuse, Action, ClusterAction, ClusterFault, ClusterPolicy, Fault, Ledger, Load, Target};
pub use self::neighbour::{Neighbour, ThrowAwayPolicy, filled};
pub use self::secrets::{Generated, Rotation, Secrets};
use serde::Deserialize;
use xtask_outcome::Stop;

/// The stack as data.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct StackPolicy {
    /// The Compose project of `up`, and the beginning of the names of everything that is started in the engine.
    pub project: String,
    /// What people may leave out of a package's name.
    pub image_prefix: String,
    /// The Compose file, relative to the root.
    pub file: String,
    /// The one service that the host reaches.
    pub entrance: Entrance,
    /// What every service answers besides its own routes.
    pub probe: Probe,
    /// What stands beside the services and is not built here.
    #[serde(default, rename = "neighbour")]
    pub neighbours: Vec<Neighbour>,
    /// What is made for a stack on this machine.
    #[serde(default)]
    pub secrets: Secrets,
    /// The program that walks the journey and makes the load. Without one the journey is a request for readiness at the
    /// entrance, and there is no load.
    pub client: Option<Client>,
    /// The load during a fault.
    pub load: Option<Load>,
    /// What `compose-e2e --compare` puts on both stacks; without it their load is not compared.
    pub comparison: Option<Comparison>,
    /// What `compose-e2e --faults` can do.
    #[serde(default, rename = "fault")]
    pub faults: Vec<Fault>,
    /// What `kubernetes-e2e --context` does to a cluster.
    #[serde(default)]
    pub cluster: ClusterPolicy,
}

/// The one service that the host reaches.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entrance {
    /// The Compose service.
    pub service: String,
    /// The port that it listens on in its container.
    pub port: u16,
    /// The variable of the Compose file that publishes it.
    pub variable: String,
    /// A path that answers anybody, to try a running stack with.
    #[serde(default)]
    pub example: String,
}

/// What every service answers besides its own routes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Probe {
    /// The port in its container.
    pub port: u16,
    /// The path that answers 200 while it runs.
    pub alive: String,
    /// The path that answers 200 while it would serve.
    pub ready: String,
    /// What a program ends with that refuses its environment.
    pub bad_environment_exit_code: i64,
}

/// The program that walks the journey and makes the load. docs/adopting.md describes what it prints.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Client {
    /// Its package in this workspace.
    pub package: String,
    /// The arguments of the whole journey. `{url}` is the entrance, `{secrets}` the env file.
    pub journey: Vec<String>,
    /// The arguments of the part of it that changes nothing, and needs no secret.
    pub read_only: Vec<String>,
    /// The services that the journey sends nothing to, and does not have to.
    #[serde(default)]
    pub passes_by: Vec<String>,
}

/// The load of a comparison of image sets, made by the client. docs/adopting.md describes what it prints.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// Its arguments once for each stack: `{url}` is the entrance, `{secrets}` the env file, `{state}` a file that it may write.
    pub prepare: Vec<String>,
    /// Its arguments in each round, `{milliseconds}` long.
    pub load: Vec<String>,
    /// For how long its answers count.
    pub milliseconds: u64,
    /// Variables of services, by service: what is limited by client would otherwise be all that a load of one client shows.
    #[serde(default)]
    pub environment: BTreeMap<String, BTreeMap<String, String>>,
}

impl StackPolicy {
    /// Reads the file's text; `file` is its path for messages.
    ///
    /// # Errors
    /// [`Stop::Repository`] with what is wrong.
    pub fn parse(file: &str, text: &str) -> Result<Self, Stop> {
        let policy: Self = toml::from_str(text).map_err(|error| Stop::Repository(format!("{file}: {error}")))?;
        let mut names = BTreeSet::new();
        for fault in &policy.faults {
            if !names.insert(fault.name.as_str()) {
                return Err(Stop::Repository(format!("{file}: there are two faults named {}", fault.name)));
            }
        }
        policy.check().map_err(|what| Stop::Repository(format!("{file}: {what}")))?;
        Ok(policy)
    }

    /// What no type says.
    fn check(&self) -> Result<(), String> {
        let mut services = BTreeSet::new();
        for neighbour in &self.neighbours {
            if let Some(twice) = neighbour.serves.keys().find(|service| !services.insert(service.as_str())) {
                return Err(format!("the service {twice} is two neighbours"));
            }
        }
        if self.load.is_none() && !(self.faults.is_empty() && self.cluster.faults.is_empty()) {
            return Err("there are faults and no [load] to hold them against".to_owned());
        }
        if self.comparison.is_some() && self.client.is_none() {
            return Err("there is a [comparison] and no [client] that makes its load".to_owned());
        }
        let is_watched = |fault: &&Fault| !matches!(fault.action, Action::Abuse(_)) || fault.beside.is_some();
        if let Some(fault) = self.faults.iter().find(|fault| !is_watched(fault)) {
            return Err(format!("nobody asks beside the abusers of {}: it needs `beside`", fault.name));
        }
        if self.load.is_some() && self.client.is_none() {
            return Err("there is a [load] and no [client] that makes it".to_owned());
        }
        Ok(())
    }

    /// The neighbour that a Compose service is.
    pub fn neighbour_of(&self, service: &str) -> Option<&Neighbour> {
        self.neighbours.iter().find(|neighbour| neighbour.serves.contains_key(service))
    }

    /// The neighbour that URLs of this scheme lead to.
    pub fn neighbour_by_scheme(&self, scheme: &str) -> Option<&Neighbour> {
        self.neighbours.iter().find(|neighbour| neighbour.scheme() == scheme)
    }

    /// Compose service of a neighbour → the services that may reach it.
    pub fn serves(&self) -> BTreeMap<String, Vec<String>> {
        self.neighbours.iter().flat_map(|neighbour| neighbour.serves.clone()).collect()
    }

    /// The load that the faults are held against.
    ///
    /// # Errors
    /// [`Stop::Absent`] where nothing makes one.
    pub fn load(&self) -> Result<&Load, Stop> {
        let text = "refused: policy/stack.toml has no [load], so there is nothing to hold a fault against; next: docs/adopting.md";
        self.load.as_ref().ok_or_else(|| Stop::Absent(text.to_owned()))
    }

    /// The short name of a package: what people type.
    pub fn short_name<'a>(&self, package: &'a str) -> &'a str {
        package.strip_prefix(self.image_prefix.as_str()).filter(|rest| !rest.is_empty()).unwrap_or(package)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = include_str!("../../../../policy/stack.toml");

    #[test]
    fn the_policy_of_this_repository_parses_and_a_key_that_nobody_knows_is_an_error() {
        let policy = StackPolicy::parse("stack.toml", TEXT).unwrap();
        assert!(policy.faults.iter().all(|fault| !fault.allowed.contains(&500) && !fault.promise.is_empty()));
        let tables = TEXT.lines().filter(|line| line.starts_with('[')).collect::<BTreeSet<_>>();
        assert!(tables.len() > 10, "{tables:?}");
        let mut texts = vec![format!("more = 1\n{TEXT}")];
        // Those of free names take every key.
        let free = ["[neighbour.serves]", "[secrets.random]", "[comparison.environment.gateway]"];
        let closed = tables.into_iter().filter(|table| !free.contains(table));
        texts.extend(closed.map(|table| TEXT.replacen(&format!("{table}\n"), &format!("{table}\nmore = 1\n"), 1)));
        for text in texts {
            let error = StackPolicy::parse("stack.toml", &text).unwrap_err().to_string();
            assert!(error.starts_with("stack.toml: ") && error.contains("unknown field"), "{error}");
        }
    }

    #[test]
    fn two_faults_of_one_name_are_an_error() {
        let text = TEXT.replacen("name = \"order-killed\"", "name = \"user-killed\"", 1);
        assert!(StackPolicy::parse("f", &text).unwrap_err().to_string().contains("two faults named user-killed"));
    }

    #[test]
    fn abusers_beside_whom_nobody_asks_are_an_error() {
        let text = TEXT.replace("beside = \"watch\"\n", "");
        assert!(
            StackPolicy::parse("f", &text).unwrap_err().to_string().contains("half-open-clients: it needs `beside`")
        );
    }

    #[test]
    fn a_package_without_the_prefix_keeps_its_name() {
        let policy = StackPolicy::parse("f", TEXT).unwrap();
        assert_eq!(
            (policy.short_name("mini-user"), policy.short_name("other"), policy.short_name("mini-")),
            ("user", "other", "mini-")
        );
    }
}
