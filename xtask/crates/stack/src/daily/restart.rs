//! Services stopped as a deployment stops them, and started again.

use anyhow::Result;
use xshell::{Shell, cmd};
use xtask_engine::Ready;
use xtask_outcome::Outcome;
use xtask_workspace::Context;

use super::own::{self, Own};
use super::{select, up};
use crate::{Stack, wait_until_ready};

/// What a container is given to end by itself.
const STOP_SECONDS: &str = "20";
const RESTART_LIMIT_SECONDS: u64 = 120;

/// Restarts the named services on the images that they run, and waits until the stack is ready.
///
/// # Errors
/// [`xtask_outcome::Stop::Usage`] for a service that is not there; as [`super::Up::run`] when one does not come back.
pub fn restart(context: &Context, ready: &Ready, names: &[String], outcome: &mut Outcome) -> Result<()> {
    let own = Own::take(context, &ready.docker)?;
    let (shell, docker) = (Shell::new()?, &ready.docker.program);
    let ids: Vec<_> = select(&own.containers, names)?.into_iter().map(|container| &container.id).collect();
    let count = ids.len();
    let command = cmd!(shell, "{docker} restart -t {STOP_SECONDS} {ids...}");
    context.runner.read(command, RESTART_LIMIT_SECONDS)?;
    let mut stack = Stack::new(context, ready, own.project.clone(), own::env_file(context), &[])?;
    stack.forgive(&own.containers);
    wait_until_ready(&stack, up::READY_LIMIT_SECONDS).map_err(|error| up::explain(&stack, ready, &own, error))?;
    outcome.checked("services restarted", count);
    Ok(())
}
