//! What every command that needs the engine works with, and everything that is missing for it, at once.

use std::thread::{self, ScopedJoinHandle};

use anyhow::{Result, anyhow};
use serde_json::{Map, Value, json};
use xshell::{Shell, cmd};
use xtask_outcome::Stop;
use xtask_workspace::Context;

use crate::{Base, Bases, Tool, Toolbox};

/// What the main job needs; cargo-auditable and mmdebstrap are fetched by whoever turns out to need them.
const DOCKER: &str = "docker";
const PLUGINS: [&str; 2] = ["buildx", "compose"];
const ENGINE_LIMIT_SECONDS: u64 = 30;
const SERVER_FORMAT: &str = "{{.Server.Version}}";

/// Programs, engine and bases that are there.
#[derive(Debug, Clone)]
pub struct Ready {
    /// The client.
    pub docker: Tool,
    /// The builder's client.
    pub buildx: Tool,
    /// Compose.
    pub compose: Tool,
    /// What images are compiled in.
    pub builder: Base,
    /// What stands beside the services, by its name in the policies.
    pub neighbours: Vec<(String, Base)>,
    /// The engine's version.
    pub engine: String,
}

impl Ready {
    /// How many tools and bases there are, for a report.
    pub fn counts(&self) -> [(&'static str, usize); 2] {
        [("tools", 1 + PLUGINS.len()), ("bases", 1 + self.neighbours.len())]
    }

    /// An image with a shell, bash and the usual small programs, in which what the shipped images cannot do is done.
    pub fn shell(&self) -> &Base {
        &self.builder
    }

    /// The image of a neighbour.
    ///
    /// # Errors
    /// [`Stop::Repository`] when no policy has it.
    pub fn neighbour(&self, name: &str) -> Result<&Base, Stop> {
        let found = self.neighbours.iter().find(|(known, _)| known == name).map(|(_, base)| base);
        found.ok_or_else(|| Stop::Repository(format!("policy/stack.toml has no [[neighbour]] with the base {name}")))
    }

    /// The bases by what they are for.
    pub fn bases(&self) -> impl Iterator<Item = (&str, &Base)> {
        let beside = self.neighbours.iter().map(|(name, base)| (name.as_str(), base));
        std::iter::once(("builder", &self.builder)).chain(beside)
    }

    /// Versions and origins, for every report.
    pub fn evidence(&self) -> Map<String, Value> {
        let base = |base: &Base| json!({ "reference": base.reference, "id": base.id, "made_here": base.local });
        let value = json!({
            "engine": self.engine,
            "tools": { "docker": self.docker.evidence(), "buildx": self.buildx.evidence(), "compose": self.compose.evidence() },
            "bases": self.bases().map(|(name, one)| (name.to_owned(), base(one))).collect::<Map<_, _>>(),
        });
        value.as_object().cloned().unwrap_or_default()
    }
}

/// Everything the main job needs, made where it can be.
///
/// # Errors
/// [`Stop::Absent`] lists all that is missing, each with its next step; [`Stop::Broken`] when something there does not work.
pub fn ready(context: &Context) -> Result<Ready> {
    survey(context, true)
}

/// The docker client alone, for commands that only clean up.
///
/// # Errors
/// [`Stop::Absent`] when it is not there.
pub fn docker(context: &Context) -> Result<Tool> {
    Toolbox::new(&context.project, &context.runner)?.find("docker")
}

/// As [`ready`]; without `change` nothing is fetched or made.
///
/// # Errors
/// As [`ready`].
pub fn survey(context: &Context, change: bool) -> Result<Ready> {
    let progress = context.runner.progress();
    progress.now("finding tools");
    let toolbox = Toolbox::new(&context.project, &context.runner)?;
    let mut missing = Missing::default();
    let find = |name: &str| if change { toolbox.find_or_fetch(name) } else { toolbox.find(name) };
    let docker = missing.note(find(DOCKER));
    progress.now("checking the Docker engine and the base images");
    let mut found = look(context, &toolbox, docker.as_ref())?;
    if change {
        // One download after the other, each with its own lines on the screen.
        for (name, plugin) in PLUGINS.into_iter().zip(&mut found.plugins) {
            context.runner.interrupt().check()?;
            if plugin.is_err() {
                *plugin = toolbox.find_or_fetch(name);
            }
        }
    }
    let [buildx, compose] = found.plugins.map(|plugin| missing.note(plugin));
    let engine = found.engine.and_then(|engine| missing.note(engine));
    let mut all = Vec::new();
    // Without an engine there is nothing to say about its images.
    if let (Some(_), Some(bases)) = (&engine, found.bases) {
        let (mut bases, looked_for) = bases?;
        for (name, base) in looked_for {
            context.runner.interrupt().check()?;
            let base = if change && base.is_err() { bases.find_or_make(&name) } else { base };
            all.extend(missing.note(base).map(|base| (name, base)));
        }
    }
    match (docker, buildx, compose, engine, missing.texts.is_empty()) {
        (Some(docker), Some(buildx), Some(compose), Some(engine), true) => {
            let (_, builder) = all.remove(0);
            Ok(Ready { docker, buildx, compose, builder, neighbours: all, engine })
        }
        _ => Err(missing.stop().into()),
    }
}

/// The bases that are wanted, each with what was found, and what finds and makes them.
type LookedFor<'a> = (Bases<'a>, Vec<(String, Result<Base>)>);

/// What is there of everything beside the client, without which there is nothing to ask of the engine.
struct Looked<'a> {
    plugins: [Result<Tool>; 2],
    engine: Option<Result<String>>,
    bases: Option<Result<LookedFor<'a>>>,
}

/// Looks for all of it at the same time: each question starts a program, and none needs another one's answer.
fn look<'a>(context: &'a Context, toolbox: &'a Toolbox<'a>, docker: Option<&Tool>) -> Result<Looked<'a>> {
    let policy = Bases::policy(&context.project)?;
    let (builder, _) = Bases::builder(&policy)?;
    let beside = context.project.stack.neighbours.iter().map(|neighbour| neighbour.base.as_str());
    let names: Vec<_> = std::iter::once(builder).chain(beside).collect();
    let bases = || -> Result<LookedFor<'a>> {
        let bases = Bases::new(&context.project, &context.runner, toolbox)?;
        let found = thread::scope(|scope| {
            let threads: Vec<_> = names.iter().map(|name| scope.spawn(|| bases.find(name))).collect();
            let found = threads.into_iter().map(joined);
            names.iter().map(ToString::to_string).zip(found).collect()
        });
        Ok((bases, found))
    };
    Ok(thread::scope(|scope| {
        let engine = docker.map(|docker| scope.spawn(move || engine(context, docker)));
        let bases = docker.map(|_| scope.spawn(bases));
        let plugins = PLUGINS.map(|name| scope.spawn(move || toolbox.find(name)));
        Looked { plugins: plugins.map(joined), engine: engine.map(joined), bases: bases.map(joined) }
    }))
}

fn joined<T>(thread: ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|_| Err(anyhow!("a thread that looked for tools panicked")))
}

/// Everything that is missing or does not work.
#[derive(Debug, Default)]
struct Missing {
    texts: Vec<String>,
    is_broken: bool,
}

impl Missing {
    fn note<T>(&mut self, result: Result<T>) -> Option<T> {
        result
            .map_err(|error| {
                self.is_broken |= !Stop::is_absent(&error);
                self.texts.push(format!("{error:#}"));
            })
            .ok()
    }

    fn stop(&self) -> Stop {
        let text = format!("{} missing:\n  - {}", self.texts.len(), self.texts.join("\n  - "));
        if self.is_broken { Stop::Broken(text) } else { Stop::Absent(text) }
    }
}

fn engine(context: &Context, docker: &Tool) -> Result<String> {
    let shell = Shell::new()?;
    let docker = &docker.program;
    let asked = cmd!(shell, "{docker} version --format {SERVER_FORMAT}");
    let captured = context.runner.capture(asked, ENGINE_LIMIT_SECONDS)?;
    if captured.status.success() {
        return Ok(captured.stdout.trim().to_owned());
    }
    let why = captured.tail();
    Err(Stop::Absent(format!("the docker engine does not answer ({why}); next: {}", next_step(&why))).into())
}

fn next_step(why: &str) -> &'static str {
    if why.contains("permission denied") {
        "let your user talk to it: `sudo usermod -aG docker \"$USER\"`, then log in again"
    } else if why.contains("DOCKER_HOST") || why.contains("context") && why.contains("not found") {
        "correct DOCKER_HOST or `docker context use`"
    } else {
        "start it (`sudo systemctl start docker`, or Docker Desktop), and see `docker info`"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_step_fits_why_the_engine_does_not_answer() {
        let denied =
            "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock";
        assert!(next_step(denied).contains("usermod"));
        let down = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?";
        assert!(next_step(down).contains("start"));
    }

    #[test]
    fn something_that_does_not_work_is_not_called_missing_alone() {
        let mut missing = Missing::default();
        missing.note(Err::<(), _>(Stop::Absent("a; next: install it".into()).into()));
        assert!(matches!(missing.stop(), Stop::Absent(text) if text == "1 missing:\n  - a; next: install it"));
        missing.note(Err::<(), _>(Stop::Broken("b".into()).into()));
        assert!(matches!(missing.stop(), Stop::Broken(_)));
    }
}
