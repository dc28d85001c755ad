//! What the engine still has of a Compose project, found by label.

use anyhow::Result;
use xshell::{Shell, cmd};
use xtask_engine::{CHECKOUT_LABEL, Tool};
use xtask_workspace::Context;

const REMOVE_LIMIT_SECONDS: u64 = 60;
/// What a container is given to end by itself; the services end faster.
const STOP_SECONDS: &str = "20";

/// What the engine still has of a Compose project, found by label.
#[derive(Debug)]
pub(crate) struct Leftovers {
    /// Ids.
    pub(crate) containers: Vec<String>,
    /// Ids.
    pub(crate) networks: Vec<String>,
    /// Names.
    pub(crate) volumes: Vec<String>,
}

impl Leftovers {
    pub(crate) fn of(context: &Context, docker: &Tool, project: &str) -> Result<Self> {
        let shell = Shell::new()?;
        let docker = &docker.program;
        let label = format!("label=com.docker.compose.project={project}");
        let runner = context.runner.for_clean_up();
        let list = |arguments: &[&str]| -> Result<Vec<String>> {
            let text =
                runner.read(cmd!(shell, "{docker} {arguments...} --quiet --filter {label}"), REMOVE_LIMIT_SECONDS)?;
            Ok(text.lines().map(ToOwned::to_owned).collect())
        };
        Ok(Self {
            containers: list(&["ps", "--all"])?,
            networks: list(&["network", "ls"])?,
            volumes: list(&["volume", "ls"])?,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.containers.is_empty() && self.networks.is_empty() && self.volumes.is_empty()
    }

    pub(crate) fn describe(&self) -> String {
        format!(
            "{} containers, {} networks, {} volumes",
            self.containers.len(),
            self.networks.len(),
            self.volumes.len()
        )
    }

    /// Lets the containers end, as a tear-down by Compose does.
    pub(crate) fn stop(&self, context: &Context, docker: &Tool) -> Result<()> {
        if self.containers.is_empty() {
            return Ok(());
        }
        let (shell, docker, ids) = (Shell::new()?, &docker.program, &self.containers);
        let stop = cmd!(shell, "{docker} stop -t {STOP_SECONDS} {ids...}");
        context.runner.for_clean_up().read(stop, REMOVE_LIMIT_SECONDS).map(drop)
    }

    /// The same without the volumes: the data stays.
    pub(crate) fn without_volumes(self) -> Self {
        Self { volumes: Vec::new(), ..self }
    }

    pub(crate) fn remove(&self, context: &Context, docker: &Tool) -> Result<()> {
        let shell = Shell::new()?;
        let docker = &docker.program;
        let runner = context.runner.for_clean_up();
        // Containers of faults stand in the project's networks and are none of its services.
        let label = format!("label={CHECKOUT_LABEL}={}", context.project.root);
        let networks = self.networks.iter().flat_map(|id| ["--filter".to_owned(), format!("network={id}")]);
        let mut containers = self.containers.clone();
        if !self.networks.is_empty() {
            let guests = cmd!(shell, "{docker} ps --all --quiet --filter {label} {networks...}");
            containers.extend(runner.read(guests, REMOVE_LIMIT_SECONDS)?.lines().map(ToOwned::to_owned));
        }
        for (what, ids) in [
            (&["rm", "--force", "--volumes"][..], &containers),
            (&["network", "rm"][..], &self.networks),
            (&["volume", "rm"][..], &self.volumes),
        ] {
            if !ids.is_empty() {
                runner.read(cmd!(shell, "{docker} {what...} {ids...}"), REMOVE_LIMIT_SECONDS)?;
            }
        }
        Ok(())
    }
}
