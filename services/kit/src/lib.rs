//! What every service shares: contract and configuration, HTTP start-up, problems, logs, tokens, health.
//!
//! A service describes itself in one [`Service`] value and hands it to [`run`]; everything between the command line
//! and the service's own routes lives here. The order of the modules below is the order in which a start passes them.

mod command;
mod run;

pub mod client;

pub mod config;
pub mod contract;
pub mod secret;
pub mod types;

pub mod health;
pub mod logs;
pub mod shutdown;

pub mod conditional;
pub mod currency;
pub mod extract;
pub mod id;
pub mod page;
pub mod problem;
pub mod query;
pub mod request_id;
pub mod router;
pub mod server;
mod upload;

pub mod caller;
pub mod database;
pub mod token;

pub use contract::{Contract, Field, Loader, Value, Values};
pub use problem::Problem;
pub use run::{Build, Command, Failure, Identity, Service, Start, run};
