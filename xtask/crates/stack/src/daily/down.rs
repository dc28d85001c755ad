//! Takes this checkout's stack down by its label: no env file, no image and no Compose are needed for that.

use anyhow::Result;
use xtask_engine::Tool;
use xtask_outcome::Outcome;
use xtask_workspace::Context;

use super::own::{self, Own};

/// Stops and removes the containers and networks, whatever profile they were started with; with `volumes` the data, too.
///
/// # Errors
/// [`xtask_outcome::Stop::Absent`] when the project is another checkout's, [`xtask_outcome::Stop::Broken`] when the engine
/// refuses.
pub fn down(context: &Context, docker: &Tool, volumes: bool, outcome: &mut Outcome) -> Result<()> {
    let own = Own::take(context, docker)?;
    let found = own.leftovers(context, docker)?;
    let kept = if volumes { Vec::new() } else { found.volumes.clone() };
    let found = if volumes { found } else { found.without_volumes() };
    if found.is_empty() {
        outcome.note(format!("no stack of this checkout is up ({})", own.project));
    }
    found.stop(context, docker)?;
    found.remove(context, docker)?;
    outcome.evidence("project", own.project.as_str());
    outcome.checked("containers removed", found.containers.len());
    if volumes {
        outcome.checked("volumes removed", found.volumes.len());
    }
    if !kept.is_empty() {
        outcome.note(format!("the databases stay ({}); `cargo xtask down --volumes` deletes them", kept.join(", ")));
    }
    Ok(())
}

/// Says that this checkout's stack is there, for a command that leaves it alone.
///
/// # Errors
/// When the engine does not answer.
pub fn tell_of(context: &Context, docker: &Tool, outcome: &mut Outcome) -> Result<()> {
    let project = own::project(context, docker)?;
    let containers = own::containers(context, docker, &project).unwrap_or_default().len();
    if containers > 0 {
        let text =
            format!("the stack of `up` is left alone ({project}, {containers} containers); next: `cargo xtask down`");
        outcome.note(text);
    }
    Ok(())
}
