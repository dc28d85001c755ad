//! What every subcommand is given.

use crate::project::Project;
use crate::tools::Runner;

#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) project: Project,
    pub(crate) runner: Runner,
    /// Standard error is a terminal and this is no CI job: progress may redraw itself.
    pub(crate) terminal: bool,
}
