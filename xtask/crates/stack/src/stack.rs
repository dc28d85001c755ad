//! The Compose stack: one struct owns the file, the project name, the environment and the images, and its few verbs.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use camino::Utf8PathBuf;
use serde_json::Value;
use xshell::{Cmd, Shell, cmd};

use crate::prober::Prober;
use crate::readiness::{self, ContainerState};
use crate::secrets;
use xtask_engine::{Ready, Tool};
use xtask_image_build::BuiltImage;
use xtask_outcome::Stop;
use xtask_workspace::Context;

const UP_LIMIT_SECONDS: u64 = 180;
const DOWN_LIMIT_SECONDS: u64 = 90;
const QUERY_LIMIT_SECONDS: u64 = 60;
/// What Compose itself waits for a container to end before it kills it; the services end faster.
const STOP_TIMEOUT_SECONDS: u64 = 20;

/// A stack of the Compose file, or of one like it, under one project name.
#[derive(Debug)]
pub(crate) struct Stack<'a> {
    /// Where it is tested.
    pub(crate) context: &'a Context,
    ready: &'a Ready,
    /// The Compose project's name.
    pub(crate) project: String,
    env_file: Utf8PathBuf,
    file: Utf8PathBuf,
    /// Files whose content is added to it, in their order.
    more: Vec<Utf8PathBuf>,
    /// `SHOP_CART_IMAGE=sha256:…`: exactly the images that were built, whatever a tag says by now.
    variables: Vec<(String, String)>,
    /// The engine's count of restarts of the containers that were there before, by their ids.
    baseline: BTreeMap<String, i64>,
    shell: Shell,
}

impl<'a> Stack<'a> {
    /// # Errors
    /// When this process's folder is gone.
    pub(crate) fn new(
        context: &'a Context,
        ready: &'a Ready,
        project: String,
        env_file: Utf8PathBuf,
        images: &[BuiltImage],
    ) -> Result<Self> {
        let shell = Shell::new()?;
        shell.change_dir(&context.project.root);
        let image = |image: &BuiltImage| (image_variable(&image.package), image.facts.id.clone());
        let mut variables: Vec<_> = images.iter().map(image).collect();
        let policy = &context.project.stack;
        for neighbour in &policy.neighbours {
            variables.push((neighbour.image_variable.clone(), ready.neighbour(&neighbour.base)?.reference.clone()));
        }
        let file = context.project.root.join(&policy.file);
        Ok(Self {
            context,
            ready,
            project,
            env_file,
            file,
            more: Vec::new(),
            variables,
            baseline: BTreeMap::new(),
            shell,
        })
    }

    /// Takes another Compose file.
    pub(crate) fn set_file(&mut self, file: Utf8PathBuf) {
        self.file = file;
    }

    /// Adds what another Compose file says.
    pub(crate) fn add_file(&mut self, file: Utf8PathBuf) {
        self.more.push(file);
    }

    /// Sets a variable that `compose.yaml` interpolates.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// What these containers went through so far is over: only what happens from here on counts.
    pub(crate) fn forgive(&mut self, before: &[ContainerState]) {
        self.baseline = before.iter().map(|container| (container.id.clone(), container.restarts)).collect();
    }

    fn compose(&self, arguments: &[&str]) -> Cmd<'_> {
        let (compose, plugin) = (&self.ready.compose.program, &self.ready.compose.arguments);
        let (project, env_file, file) = (&self.project, &self.env_file, &self.file);
        let more = self.more.iter().flat_map(|file| ["--file", file.as_str()]);
        let mut command = cmd!(
            self.shell,
            "{compose} {plugin...} --project-name {project} --env-file {env_file} --file {file} {more...} {arguments...}"
        )
        .env_clear();
        for (name, value) in &self.context.project.environment.engine {
            command = command.env(name, value);
        }
        for (name, value) in &self.variables {
            command = command.env(name, value);
        }
        command
    }

    /// Creates and starts what is not running as it should; never builds, never pulls.
    pub(crate) fn up(&self) -> Result<()> {
        self.context.runner.progress().now("creates and starts the containers");
        let arguments = ["up", "--detach", "--no-build", "--quiet-pull", "--remove-orphans"];
        let captured = self.context.runner.capture(self.compose(&arguments), UP_LIMIT_SECONDS)?;
        if captured.status.success() {
            return Ok(());
        }
        Err(Stop::Repository(format!("compose up failed: {}", captured.tail())).into())
    }

    /// The state of every container of the project, also of those that have ended.
    pub(crate) fn state(&self) -> Result<Vec<ContainerState>> {
        let bad = self.context.project.stack.probe.bad_environment_exit_code;
        let mut containers: Vec<_> = self.inspect()?.iter().map(|one| readiness::container_state(one, bad)).collect();
        for container in &mut containers {
            container.restarts -= self.baseline.get(&container.id).copied().unwrap_or_default();
        }
        Ok(containers)
    }

    /// The state of one service's container.
    pub(crate) fn container(&self, service: &str) -> Result<ContainerState> {
        let found = self.state()?.into_iter().find(|container| container.service == service);
        found.with_context(|| format!("the stack has no service {service}"))
    }

    /// What the engine says of every container of the project, also of those that have ended.
    pub(crate) fn inspect(&self) -> Result<Vec<Value>> {
        inspect(self.context, &self.ready.docker, &self.project)
    }

    /// The Compose file as Compose would start it. It holds secrets: not for showing.
    pub(crate) fn model(&self) -> Result<Value> {
        let config = self.compose(&["config", "--format", "json"]);
        let captured = self.context.runner.capture(config, QUERY_LIMIT_SECONDS)?;
        if !captured.status.success() {
            return Err(Stop::Repository(format!("compose config failed: {}", captured.tail())).into());
        }
        serde_json::from_str(&captured.stdout).context("read what compose config printed")
    }

    /// compose.yaml as Compose reads it, without the values of variables.
    pub(crate) fn promises(&self) -> Result<Value> {
        let config = self.compose(&["config", "--no-interpolate", "--format", "json"]);
        let text = self.context.runner.read(config, QUERY_LIMIT_SECONDS)?;
        serde_json::from_str(&text).context("read what compose config printed")
    }

    /// What runs a container's own healthcheck now, instead of waiting for the engine's next round; for threads, since a stack
    /// itself belongs to one.
    pub(crate) fn prober(&self) -> Prober<'_> {
        Prober { runner: &self.context.runner, docker: &self.ready.docker }
    }

    /// The last line of a container's log, with its time; empty when it has said nothing.
    pub(crate) fn last_line(&self, container: &ContainerState) -> Result<String> {
        let (docker, id) = (&self.ready.docker.program, &container.id);
        let log = cmd!(self.shell, "{docker} logs --timestamps --tail 1 {id}");
        let captured = self.context.runner.capture(log, QUERY_LIMIT_SECONDS)?;
        Ok([captured.stdout.trim(), captured.stderr.trim()].concat())
    }

    /// Stops a service as a deployment does and starts it again.
    pub(crate) fn restart(&self, service: &str) -> Result<()> {
        let timeout = STOP_TIMEOUT_SECONDS.to_string();
        let restart = self.compose(&["restart", "--timeout", &timeout, service]);
        self.context.runner.read(restart, UP_LIMIT_SECONDS).map(drop)
    }

    /// Changes the token keys as docs/deployment.md says: first those who verify learn the new key beside the old one, then
    /// one signs with it.
    pub(crate) fn rotate_keys(&self, images: &[BuiltImage]) -> Result<()> {
        for step in secrets::rotation(self.context, self.ready, images, &self.env_file)? {
            secrets::overwrite(&self.env_file, &step)?;
            self.up()?;
        }
        Ok(())
    }

    /// `http://127.0.0.1:PORT` of the entrance, wherever the engine published it.
    pub(crate) fn entrance_url(&self) -> Result<String> {
        let entrance = &self.context.project.stack.entrance;
        let port = entrance.port.to_string();
        let published =
            self.context.runner.read(self.compose(&["port", &entrance.service, &port]), QUERY_LIMIT_SECONDS)?;
        Ok(format!("http://{}", published.trim()))
    }

    /// All logs of all containers, into a file.
    pub(crate) fn save_logs(&self, file: &Utf8PathBuf) -> Result<()> {
        let logs = self.compose(&["logs", "--no-color", "--timestamps"]);
        let captured = self.context.runner.for_clean_up().capture(logs, QUERY_LIMIT_SECONDS)?;
        // Written here and not by Compose, which ends with 0 on a full disk, too.
        std::fs::write(file, captured.stdout + &captured.stderr).with_context(|| format!("write {file}"))?;
        ensure!(captured.status.success(), "compose logs ended with {}", captured.status);
        Ok(())
    }

    /// Removes the stack with its volumes at once: nobody waits for databases to close files that are deleted next.
    pub(crate) fn discard(&self) -> Result<()> {
        self.context.runner.progress().now("ends the containers and removes them with their volumes");
        // Some may have ended by themselves; the removal below has the last word.
        self.context.runner.for_clean_up().capture(self.compose(&["kill"]), DOWN_LIMIT_SECONDS)?;
        let arguments = ["down", "--remove-orphans", "--volumes", "--timeout", "0"];
        let captured = self.context.runner.for_clean_up().capture(self.compose(&arguments), DOWN_LIMIT_SECONDS)?;
        if captured.status.success() {
            return Ok(());
        }
        Err(Stop::Broken(format!("compose down failed: {}", captured.tail())).into())
    }
}

/// What the engine says of every container of a Compose project, also of those that have ended.
pub(crate) fn inspect(context: &Context, docker: &Tool, project: &str) -> Result<Vec<Value>> {
    let (shell, docker) = (Shell::new()?, &docker.program);
    let label = format!("label=com.docker.compose.project={project}");
    let list = cmd!(shell, "{docker} ps --all --quiet --no-trunc --filter {label}");
    let ids = context.runner.read(list, QUERY_LIMIT_SECONDS)?;
    let ids: Vec<_> = ids.lines().collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let captured = context.runner.capture(cmd!(shell, "{docker} inspect {ids...}"), QUERY_LIMIT_SECONDS)?;
    // One that has gone since the list was made is left out of the answer, and is no fault.
    let gone = || captured.stderr.lines().all(|line| line.to_lowercase().contains("no such object"));
    if !captured.status.success() && !gone() {
        return Err(Stop::Broken(format!("docker inspect failed: {}", captured.tail())).into());
    }
    readiness::parse_inspect(&captured.stdout)
}

/// `shop-cart` → `SHOP_CART_IMAGE`, the variable in the Compose file.
pub fn image_variable(package: &str) -> String {
    format!("{}_IMAGE", package.to_uppercase().replace('-', "_"))
}
