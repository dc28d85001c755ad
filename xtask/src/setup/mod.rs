//! `cargo xtask setup`: makes a machine ready, or says everything that is missing at once.

pub(crate) mod bases;
mod debian;
mod fetch;
pub(crate) mod tools;
mod versions;

use anyhow::Result;
use clap::Args;
use serde_json::{Map, Value, json};
use xshell::{Shell, cmd};

use self::bases::{Base, Bases};
use self::tools::{Tool, Toolbox};
use crate::context::Context;
use crate::outcome::{Outcome, Stop};

/// What the main job needs; cargo-auditable and mmdebstrap are fetched by whoever turns out to need them.
const TOOLS: [&str; 3] = ["docker", "buildx", "compose"];
const ENGINE_LIMIT_SECONDS: u64 = 30;
const SERVER_FORMAT: &str = "{{.Server.Version}}";

/// Make this machine ready: find or fetch docker's plugins into target/xtask/tools, pull or make the base images.
#[derive(Debug, Args)]
pub(crate) struct Setup {
    /// Change nothing; only say what is missing.
    #[arg(long)]
    pub(crate) check: bool,
}

/// What every command that needs the engine works with.
#[derive(Debug, Clone)]
pub(crate) struct Ready {
    pub(crate) docker: Tool,
    pub(crate) buildx: Tool,
    pub(crate) compose: Tool,
    pub(crate) rust: Base,
    pub(crate) postgres: Base,
    pub(crate) engine: String,
}

impl Setup {
    pub(crate) fn run(&self, context: &Context) -> Result<Outcome> {
        if !self.check {
            eprintln!("setup: tools (about 30 MB, 10 s), then bases (up to 400 MB, 90 s), each only if it is missing");
        }
        let (ready, missing) = survey(context, !self.check)?;
        if let Some(ready) = ready {
            return Ok(ready.outcome());
        }
        Err(Stop::Missing(format!("{} missing:\n  - {}", missing.len(), missing.join("\n  - "))).into())
    }
}

/// Everything the main job needs, made where it can be.
///
/// # Errors
/// [`Stop::Missing`] lists all that is missing, each with its next step.
pub(crate) fn ready(context: &Context) -> Result<Ready> {
    let (ready, missing) = survey(context, true)?;
    ready.ok_or_else(|| Stop::Missing(format!("{} missing:\n  - {}", missing.len(), missing.join("\n  - "))).into())
}

/// The docker client alone, for commands that only clean up.
pub(crate) fn docker(context: &Context) -> Result<Tool> {
    Toolbox::new(&context.project, &context.runner)?.find("docker")
}

fn survey(context: &Context, change: bool) -> Result<(Option<Ready>, Vec<String>)> {
    let toolbox = Toolbox::new(&context.project, &context.runner)?;
    let mut missing = Vec::new();
    let tools = TOOLS.map(|name| {
        let found = if change { toolbox.find_or_fetch(name) } else { toolbox.find(name) };
        note(found, &mut missing)
    });
    context.runner.interrupt().check()?;
    let [docker, buildx, compose] = tools;
    let engine = match &docker {
        Some(docker) => note(engine(context, docker), &mut missing),
        None => None,
    };
    let mut found = Vec::new();
    if engine.is_some() {
        let mut bases = Bases::new(&context.project, &context.runner, &toolbox)?;
        for name in bases.names() {
            let base = if change { bases.find_or_make(&name) } else { bases.find(&name) };
            context.runner.interrupt().check()?;
            found.push((name, note(base, &mut missing)));
        }
    }
    let base = |wanted: &str| found.iter().find(|(name, _)| name == wanted).and_then(|(_, base)| base.clone());
    let ready = match (docker, buildx, compose, engine, base("rust"), base("postgres")) {
        (Some(docker), Some(buildx), Some(compose), Some(engine), Some(rust), Some(postgres)) if missing.is_empty() => {
            Some(Ready { docker, buildx, compose, rust, postgres, engine })
        }
        _ => None,
    };
    Ok((ready, missing))
}

fn note<T>(result: Result<T>, missing: &mut Vec<String>) -> Option<T> {
    result.map_err(|error| missing.push(format!("{error:#}"))).ok()
}

fn engine(context: &Context, docker: &Tool) -> Result<String> {
    let shell = Shell::new()?;
    let docker = &docker.program;
    let captured =
        context.runner.capture(cmd!(shell, "{docker} version --format {SERVER_FORMAT}"), ENGINE_LIMIT_SECONDS)?;
    if captured.status.success() {
        return Ok(captured.stdout.trim().to_owned());
    }
    let why = captured.tail();
    Err(Stop::Missing(format!("the docker engine does not answer ({why}); next: start it, and see `docker info`"))
        .into())
}

impl Ready {
    fn outcome(&self) -> Outcome {
        let mut outcome = Outcome::default();
        outcome.checked("tools", TOOLS.len());
        outcome.checked("bases", 2);
        for (key, value) in self.evidence() {
            outcome.evidence(key, value);
        }
        outcome
    }

    /// Versions and origins, for every report.
    pub(crate) fn evidence(&self) -> Map<String, Value> {
        let base = |base: &Base| json!({ "reference": base.reference, "id": base.id, "made_here": base.local });
        let value = json!({
            "engine": self.engine,
            "tools": { "docker": self.docker.evidence(), "buildx": self.buildx.evidence(), "compose": self.compose.evidence() },
            "bases": { "rust": base(&self.rust), "postgres": base(&self.postgres) },
        });
        value.as_object().cloned().unwrap_or_default()
    }
}
