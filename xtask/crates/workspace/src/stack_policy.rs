//! `policy/stack.toml`: what the engine has to know of this workspace's services and of what stands beside them.

use std::collections::BTreeSet;

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
    /// How a service is asked whether it is ready.
    pub probe: Probe,
    /// The database beside each service that has one.
    pub database: DatabasePolicy,
    /// What is made for a stack on this machine.
    pub secrets: Secrets,
    /// The program that walks the journey and makes the load.
    pub client: Client,
    /// The load during a fault.
    pub load: Load,
    /// What `compose-e2e --faults` can do.
    #[serde(rename = "fault")]
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

/// How a service is asked whether it is ready.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// The port in its container.
    pub port: u16,
    /// The path that answers 200.
    pub path: String,
}

/// The databases.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DatabasePolicy {
    /// Its entry in `policy/bases.toml`.
    pub base: String,
    /// The variable of the Compose file that names its image.
    pub image_variable: String,
    /// What stands behind a service's name in that of its database.
    pub service_suffix: String,
    /// What its log says when it has ended cleanly.
    pub clean_end: String,
    /// The longest that it may take to end.
    pub end_limit_seconds: u64,
}

/// What is made for a stack on this machine.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    /// Random texts.
    pub passwords: Vec<String>,
    /// The one of them that a person logs in with.
    pub administrator: Option<String>,
    /// A pair of keys.
    pub keys: Option<KeyPair>,
}

/// A pair of keys that a command in an image prints as `NAME=value` lines.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyPair {
    /// The short name of the image.
    pub image: String,
    /// The arguments of its entrypoint.
    pub command: Vec<String>,
    /// The variable of the private key.
    pub signing: String,
    /// The variable of the public key.
    pub public: String,
    /// The variable of the public key before the last change.
    pub previous: String,
}

/// The program that walks the journey and makes the load.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// Its package in this workspace.
    pub package: String,
}

/// The load during a fault.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Load {
    /// The kinds of requests; each must work before a fault and after it.
    pub kinds: Vec<String>,
    /// The services in the order in which they are restarted.
    pub rolling_restart: Vec<String>,
    /// Where the load's writes end up.
    pub ledger: Ledger,
}

/// Where the load's writes end up: a database, and what to ask it. `{prefix}` and `{key}` are filled in.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// The Compose service of the database.
    pub service: String,
    /// Who asks.
    pub role: String,
    /// Which database.
    pub database: String,
    /// Gives rows of idempotency key and id.
    pub rows: String,
    /// Deletes the write with a key.
    pub lose: Vec<String>,
    /// Doubles the write with a key.
    pub double: Vec<String>,
}

/// A fault with its promise.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Its name on the command line.
    pub name: String,
    /// What is done.
    #[serde(rename = "do")]
    pub action: Action,
    /// The error statuses that clients may see; 0 stands for no answer at all.
    pub allowed: Vec<u16>,
    /// What clients were promised meanwhile.
    pub promise: String,
    /// A subcommand of the client that runs beside the load. A request that it logs with status 0 is a lost one, of which
    /// there may be none.
    pub beside: Option<String>,
}

/// What `kubernetes-e2e --context` does to a cluster.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterPolicy {
    /// In the order in which it is done.
    #[serde(default, rename = "fault")]
    pub faults: Vec<ClusterFault>,
}

/// Something done to a cluster under load, with its promise.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterFault {
    /// Its name.
    pub name: String,
    /// What is done.
    #[serde(rename = "do")]
    pub action: ClusterAction,
    /// The error statuses that clients may see; 0 stands for no answer at all.
    pub allowed: Vec<u16>,
    /// What clients were promised meanwhile.
    pub promise: String,
    /// As in [`Fault`].
    pub beside: Option<String>,
}

/// What is done to a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClusterAction {
    /// Every service in turn gets new pods.
    RollOut,
    /// A pod of the service goes at once, without a word to its program.
    KillPod(String),
    /// Each database's pod is deleted in turn: it ends cleanly and in time, and its data is there afterwards.
    DeleteDatabases,
    /// Every service to so many replicas, and back.
    Scale(u32),
    /// The documented change of the token keys.
    RotateKeys,
}

/// What is done to the stack.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// SIGKILL to the container's first process; the restart policy brings it back.
    Kill(String),
    /// All processes stand still, connections stay open.
    Freeze(Target),
    /// Frozen and thawed many times: every answer comes late, none stays away.
    Slow(String),
    /// The container loses its network, and connections get no answer, not even a refusal.
    CutOff(Target),
    /// Every service in turn: stopped as a deployment stops it, started again.
    RollingRestart,
    /// The documented change of the token keys.
    RotateKeys,
    /// More requests at once than a client may send.
    Burst,
    /// Clients that send their request a byte at a time, beside the load.
    SlowClients,
    /// Clients that hang up before the answer.
    Leave,
}

/// One service, for a time.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The Compose service.
    pub service: String,
    /// For how long.
    pub seconds: u64,
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
        Ok(policy)
    }

    /// The short name of a package: what people type.
    pub fn short_name<'a>(&self, package: &'a str) -> &'a str {
        package.strip_prefix(self.image_prefix.as_str()).filter(|rest| !rest.is_empty()).unwrap_or(package)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = include_str!("../../../policy/stack.toml");

    #[test]
    fn the_policy_of_this_repository_parses_and_a_key_that_nobody_knows_is_an_error() {
        let policy = StackPolicy::parse("stack.toml", TEXT).unwrap();
        assert!(policy.faults.iter().all(|fault| !fault.allowed.contains(&500) && !fault.promise.is_empty()));
        for more in ["more = 1\n", "[entrance]\nports = 1\n"] {
            let text = if more.starts_with('[') { TEXT.replace("[entrance]\n", more) } else { format!("{more}{TEXT}") };
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
    fn a_package_without_the_prefix_keeps_its_name() {
        let policy = StackPolicy::parse("f", TEXT).unwrap();
        assert_eq!(
            (policy.short_name("mini-user"), policy.short_name("other"), policy.short_name("mini-")),
            ("user", "other", "mini-")
        );
    }
}
