//! What every program of the shop shares: contract and configuration, HTTP start-up, problems, logs, health.
//!
//! A service describes itself in one [`Service`] value and hands it to [`run`]; everything between the command line
//! and the service's own answers lives here. The order of the modules below is the order in which a start passes them.
//! What only the services with an API and a database need is in `mini-kit-api`.

mod address;
mod command;
mod failure;
mod identity;
mod run;

pub mod client;
pub mod config;
pub mod contract;
pub mod secret;
pub mod types;

pub mod health;
pub mod logs;
pub mod metrics;
pub mod problem;
pub mod request_id;
pub mod server;
pub mod shutdown;
pub mod trace_context;

pub use command::Command;
pub use contract::{Contract, Field, Loader, Value, Values};
pub use failure::Failure;
pub use identity::{Build, Identity};
pub use problem::Problem;
pub use run::{Service, Start, run};
