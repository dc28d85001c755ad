//! What every subcommand is given.

use xtask_process::Runner;

use crate::Project;

/// What every subcommand is given.
#[derive(Debug, Clone)]
pub struct Context {
    /// What is worked on.
    pub project: Project,
    /// What starts programs.
    pub runner: Runner,
}
