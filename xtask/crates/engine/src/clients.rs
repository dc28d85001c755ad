//! The machine's own package clients.

use anyhow::Result;
use which::which_in;
use xtask_outcome::Stop;
use xtask_workspace::Project;

/// # Errors
/// [`Stop::Absent`] with the name of the first client that is not on PATH.
pub(crate) fn need_on_path(project: &Project, programs: &[&str]) -> Result<()> {
    for program in programs {
        if which_in(program, Some(&project.environment.path), &project.root).is_err() {
            return Err(Stop::Absent(format!("{program} is not on PATH")).into());
        }
    }
    Ok(())
}
