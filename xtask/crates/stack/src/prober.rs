//! Runs the healthchecks of containers, from any thread.

use anyhow::Result;
use xshell::{Shell, cmd};
use xtask_engine::Tool;
use xtask_process::Runner;

const PROBE_LIMIT_SECONDS: u64 = 60;

/// Calls the engine's client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prober<'a> {
    pub(crate) runner: &'a Runner,
    pub(crate) docker: &'a Tool,
}

impl Prober<'_> {
    /// Whether the container passes its own healthcheck, given as argv, now; one without any does.
    pub(crate) fn passes(self, id: &str, healthcheck: &[String]) -> Result<bool> {
        if healthcheck.is_empty() {
            return Ok(true);
        }
        let (shell, docker) = (Shell::new()?, &self.docker.program);
        let captured = self.runner.capture(cmd!(shell, "{docker} exec {id} {healthcheck...}"), PROBE_LIMIT_SECONDS)?;
        Ok(captured.status.success())
    }
}
