//! What this workspace is: its root, its image packages, its environment and its stack, each read once.

mod context;
mod environment;
mod project;
mod stack_policy;

pub use self::context::Context;
pub use self::environment::Environment;
pub use self::project::{ImagePackage, Member, Project};
pub use self::stack_policy::{
    Abuse, Action, Client, ClusterAction, ClusterFault, ClusterPolicy, Comparison, Entrance, Fault, Generated, Ledger,
    Load, Neighbour, Probe, Rotation, Secrets, StackPolicy, Target, ThrowAwayPolicy, filled,
};
