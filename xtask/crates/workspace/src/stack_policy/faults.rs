//! What is done to a stack under load, and what clients are promised meanwhile.

use serde::Deserialize;
use xtask_outcome::Stop;

use super::{StackPolicy, filled};

/// The load during a fault.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Load {
    /// The kinds of requests; each must work before a fault and after it.
    pub kinds: Vec<String>,
    /// What a service's memory may grow by in a minute of a soak; more, beyond doubt, is a leak.
    pub growth_limit_kib_per_minute: u32,
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
    /// Who asks, by the `query` of its neighbour.
    pub user: String,
    /// Which database.
    pub database: String,
    /// Gives rows of idempotency key and id.
    pub rows: String,
    /// Deletes the write with a key.
    pub lose: Vec<String>,
    /// Doubles the write with a key.
    pub double: Vec<String>,
}

impl Ledger {
    /// The argv that asks it in its container.
    ///
    /// # Errors
    /// [`Stop::Repository`] when its service is no neighbour.
    pub fn words(&self, policy: &StackPolicy, query: &str) -> Result<Vec<String>, Stop> {
        let neighbour = policy.neighbour_of(&self.service).filter(|neighbour| !neighbour.query.is_empty());
        let text = || {
            format!(
                "policy/stack.toml: [load.ledger] asks {}, which no [[neighbour]] with a query serves",
                self.service
            )
        };
        let neighbour = neighbour.ok_or_else(|| Stop::Repository(text()))?;
        // The query comes last: what it holds in braces is its own.
        let values = [("login", self.user.as_str()), ("database", &self.database), ("query", query)];
        Ok(filled(&neighbour.query, &values))
    }
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
    /// Clients that want to keep everybody else out, from addresses of their own.
    Abuse(Abuse),
}

/// Clients that want to keep everybody else out, each in a container of its own: what limits a client by its address takes them
/// for others than the load.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Abuse {
    /// The Compose file's network on which they reach the entrance.
    pub network: String,
    /// How many there are.
    pub clients: u16,
    /// The client's subcommand with its arguments.
    pub arguments: Vec<String>,
    /// For how long they stay at least.
    pub seconds: u64,
    /// The p99 of everybody else stays below this: of each kind of request that the client beside the load logs.
    pub p99_below_ms: u64,
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
