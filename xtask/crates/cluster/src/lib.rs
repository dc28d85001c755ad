//! The stack on a real Kubernetes cluster: a namespace of its own, readiness, the journey, hardening, NetworkPolicies, roll-outs and
//! faults under load, and tear-down with its proof. Where there is no cluster, its containers as a Compose file.

mod bench;
mod client_pod;
mod compose_file;
mod evidence;
mod faults;
mod forward;
mod hardening;
mod images;
mod kubectl;
mod namespace;
mod network;
mod overlay;
mod probe;
mod run;
mod secrets;
mod survey;
mod wait;
mod workload;

pub use self::compose_file::{ComposeFile, compose_file};
pub use self::images::Source;
pub use self::run::{ClusterTest, Target};
