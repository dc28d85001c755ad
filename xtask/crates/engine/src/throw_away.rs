//! A neighbour of the services that is started for a test and thrown away.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use xshell::{Shell, cmd};
use xtask_outcome::Stop;
use xtask_process::random_hex;
use xtask_workspace::{Context, Neighbour, filled};

use crate::{Ready, Tool};

const USER: &str = "test";
const PASSWORD_BYTES: usize = 24;
const ENGINE_LIMIT_SECONDS: u64 = 60;
const READY_LIMIT_SECONDS: u64 = 60;
const POLL_MILLISECONDS: u64 = 100;
const LOG_LINES: &str = "20";

/// One that was started. Whoever started it removes its container.
#[derive(Debug)]
pub struct ThrowAway<'a> {
    context: &'a Context,
    docker: Tool,
    neighbour: &'a Neighbour,
    /// Its container.
    pub container: String,
    password: String,
}

impl<'a> ThrowAway<'a> {
    /// Starts one, detached; `arguments` are those of `docker run` that name, label and connect it.
    ///
    /// # Errors
    /// [`Stop::Broken`] when the engine refuses.
    pub fn start(
        context: &'a Context,
        ready: &Ready,
        neighbour: &'a Neighbour,
        arguments: &[String],
    ) -> Result<ThrowAway<'a>> {
        let shell = Shell::new()?;
        let (docker, image) = (&ready.docker.program, &ready.neighbour(&neighbour.base)?.id);
        let policy = &neighbour.throw_away;
        // Only this machine reaches it; the password keeps other users of the machine out.
        let password = random_hex(PASSWORD_BYTES)?;
        let values = [("login", USER), ("password", password.as_str())];
        let mut options: Vec<_> = policy.user.iter().flat_map(|user| ["--user".to_owned(), user.clone()]).collect();
        options.extend(policy.tmpfs.iter().flat_map(|one| ["--tmpfs".to_owned(), one.clone()]));
        // Values travel in docker's own environment: an argument would show them to every user of the machine.
        options.extend(policy.environment.keys().flat_map(|name| ["--env".to_owned(), name.clone()]));
        let environment = policy
            .environment
            .iter()
            .map(|(name, value)| (name.clone(), filled(std::slice::from_ref(value), &values).concat()));
        let command = filled(&policy.command, &values);
        let start = cmd!(
            shell,
            "{docker} run --detach {arguments...} --read-only --cap-drop ALL --security-opt no-new-privileges {options...} {image} {command...}"
        )
        .envs(environment);
        let started = context.runner.capture(start, ENGINE_LIMIT_SECONDS)?;
        if !started.status.success() {
            let text = format!("{} could not be started for a test: {}", neighbour.base, started.tail());
            return Err(Stop::Broken(text).into());
        }
        let container = started.stdout.trim().to_owned();
        Ok(Self { context, docker: ready.docker.clone(), neighbour, container, password })
    }

    /// Waits until it serves.
    ///
    /// # Errors
    /// [`Stop::Broken`] when it ended, with the end of its log; [`Stop::TimedOut`] when it does not serve in time.
    pub fn wait(&self) -> Result<()> {
        let shell = Shell::new()?;
        let (docker, container, runner) = (&self.docker.program, &self.container, &self.context.runner);
        let probe = &filled(&self.neighbour.throw_away.ready, &[("login", USER), ("password", &self.password)]);
        let started = Instant::now();
        loop {
            let probed = runner.capture(cmd!(shell, "{docker} exec {container} {probe...}"), ENGINE_LIMIT_SECONDS)?;
            if probed.status.success() {
                return Ok(());
            }
            let ended = probed.stderr.contains("is not running");
            if ended || started.elapsed().as_secs() > READY_LIMIT_SECONDS {
                let log = cmd!(shell, "{docker} logs --tail {LOG_LINES} {container}");
                let (log, seconds) = (runner.capture(log, ENGINE_LIMIT_SECONDS)?, started.elapsed().as_secs());
                let text =
                    format!("{} was not ready for a test after {seconds} s: {}", self.neighbour.base, log.tail());
                return Err(if ended { Stop::Broken(text) } else { Stop::TimedOut(text) }.into());
            }
            thread::sleep(Duration::from_millis(POLL_MILLISECONDS));
        }
    }

    /// Makes databases of these names in it, where it has such a thing.
    ///
    /// # Errors
    /// [`Stop::Broken`] when it refuses.
    pub fn create(&self, databases: &[String]) -> Result<()> {
        let create = &self.neighbour.throw_away.create;
        let shell = Shell::new()?;
        let (docker, container) = (&self.docker.program, &self.container);
        for database in databases.iter().filter(|_| !create.is_empty()) {
            let words = filled(create, &[("login", USER), ("password", &self.password), ("database", database)]);
            self.context.runner.read(cmd!(shell, "{docker} exec {container} {words...}"), ENGINE_LIMIT_SECONDS)?;
        }
        Ok(())
    }

    /// Where the engine published its port on this machine.
    ///
    /// # Errors
    /// When it published none.
    pub fn published(&self) -> Result<(String, String)> {
        let shell = Shell::new()?;
        let (docker, container, port) = (&self.docker.program, &self.container, self.neighbour.port.to_string());
        let printed =
            self.context.runner.read(cmd!(shell, "{docker} port {container} {port}/tcp"), ENGINE_LIMIT_SECONDS)?;
        let address = printed.lines().next().and_then(|line| line.rsplit_once(':'));
        let (host, port) = address.context("the engine published no port")?;
        Ok((host.to_owned(), port.to_owned()))
    }

    /// How a database of it is reached under a name and a port.
    pub fn url(&self, host: &str, port: &str, database: &str) -> String {
        let password = self.password.as_str();
        let values = [("login", USER), ("password", password), ("host", host), ("port", port), ("database", database)];
        filled(std::slice::from_ref(&self.neighbour.url), &values).concat()
    }

    /// The database that is there from its start.
    pub fn first_database(&self) -> &'static str {
        USER
    }

    /// What its URLs begin with.
    pub fn scheme(&self) -> &str {
        self.neighbour.scheme()
    }

    /// The port that it listens on.
    pub fn port(&self) -> String {
        self.neighbour.port.to_string()
    }

    /// Removes it with its data.
    ///
    /// # Errors
    /// When the engine refuses.
    pub fn remove(&self) -> Result<()> {
        let shell = Shell::new()?;
        let (docker, container) = (&self.docker.program, &self.container);
        let remove = cmd!(shell, "{docker} rm --force --volumes {container}");
        self.context.runner.for_clean_up().read(remove, ENGINE_LIMIT_SECONDS).map(drop)
    }
}
