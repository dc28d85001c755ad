//! Holds the contract of each image against every place that sets or documents a variable, and against what its containers did.
//!
//! It reads texts that it is given and starts no program: who renders Compose files and manifests, inspects images and starts
//! containers hands over what came of it.

mod audit;
#[cfg(test)]
mod cases;
#[cfg(test)]
mod cases_kubernetes;
#[cfg(test)]
mod cases_manifests;
mod compose;
mod compose_files;
mod contract;
mod dockerfile;
mod env_file;
mod example;
mod files;
pub mod kubernetes;
pub mod live;
mod matrix;
#[cfg(test)]
mod mutations;
mod nearest;
pub mod places;
mod policy;
pub mod readers;
#[cfg(test)]
mod repository;
mod rules;
mod tables;
pub mod template;
mod value_type;
mod view;
mod yaml;

pub use self::audit::{Audit, Selection};
pub use self::compose::{take_scalars, variables_without_default, variables_without_default_in, with_defaults};
pub use self::compose_files::extended_files;
pub use self::contract::Contract;
pub use self::files::{DOCUMENT, EXAMPLE};
pub use self::matrix::Matrix;
pub use self::places::Places;
pub use self::policy::{Interface, KubernetesPolicy, Policy};
