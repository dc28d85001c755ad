//! Brings this checkout's stack up, or leaves it as it was.

use anyhow::{Context as _, Error, Result};
use camino::Utf8PathBuf;
use serde_json::{Value, json};
use xtask_engine::Ready;
use xtask_image_build::{Build, BuiltImage, Choice};
use xtask_outcome::{Outcome, Stop};
use xtask_process::{RunFolder, put_new_secret};
use xtask_workspace::Context;

use super::own::{self, Own, PROJECT_VARIABLE};
use super::ports;
use crate::readiness::ContainerState;
use crate::{Stack, secrets, wait_until_ready};

pub(super) const READY_LIMIT_SECONDS: u64 = 120;

/// What is built for the stack; it takes the rest as it is.
#[derive(Debug, Clone)]
pub struct Up {
    /// Which services; all of them when none is named.
    pub names: Vec<String>,
    /// By which strategy those are built.
    pub strategy: Choice,
}

impl Up {
    /// Builds what changed, starts what does not run as it should, waits until it answers, and says how to reach it.
    ///
    /// # Errors
    /// [`Stop::Absent`] when it is refused, and nothing was started: a port is taken, or the secrets are gone and the databases
    /// that were made with them are not. [`Stop::Repository`] and [`Stop::TimedOut`] when a service does not come up; the stack
    /// is then left as it is, to be looked at.
    pub fn run(&self, context: &Context, ready: &Ready, outcome: &mut Outcome) -> Result<Vec<BuiltImage>> {
        let images = self.build(context, ready, outcome)?;
        let raised = raise(context, ready, &images)?;
        outcome.checked("services ready", raised.ready.len());
        outcome.evidence("project", raised.project.as_str());
        let ready_after = |(name, seconds): &(String, f64)| json!({ "service": name, "seconds": seconds });
        outcome.evidence("ready_after", raised.ready.iter().map(ready_after).collect::<Value>());
        invite(context, &raised.url, outcome);
        Ok(images)
    }

    /// Builds what is named, and what the stack needs beside it and does not run.
    pub(super) fn build(&self, context: &Context, ready: &Ready, outcome: &mut Outcome) -> Result<Vec<BuiltImage>> {
        let build = |names: Vec<String>, strategy, outcome: &mut Outcome| {
            Build { names, strategy, ..Build::default() }.run(context, ready, outcome)
        };
        // Whose stack it is comes first: nothing is built for one that is another checkout's.
        let project = own::project(context, &ready.docker)?;
        let running = own::containers(context, &ready.docker, &project)?;
        let mut images = build(self.names.clone(), self.strategy, outcome)?;
        let is_there = |name: &str| {
            images.iter().any(|image| image.name == name) || running.iter().any(|container| container.service == name)
        };
        let needed = context.project.images.iter().map(|image| image.name().to_owned());
        let missing: Vec<_> = needed.filter(|name| !is_there(name)).collect();
        if !missing.is_empty() {
            images.extend(build(missing, Choice::AsBuilt { dev: true }, outcome)?);
        }
        Ok(images)
    }
}

/// A stack that answers.
#[derive(Debug)]
pub(super) struct Raised {
    pub(super) project: String,
    pub(super) url: String,
    /// The seconds until each service was ready.
    pub(super) ready: Vec<(String, f64)>,
}

/// Brings the stack up on these images.
pub(super) fn raise(context: &Context, ready: &Ready, images: &[BuiltImage]) -> Result<Raised> {
    let own = Own::take(context, &ready.docker)?;
    make_secrets(context, ready, images, &own)?;
    let mut stack = Stack::new(context, ready, own.project.clone(), own::env_file(context), images)?;
    keep_others(&mut stack, &own.containers, images);
    stack.forgive(&own.containers);
    ports::check(&stack, &ready.docker)?;
    stack.up().map_err(|error| undo(context, ready, &own, error))?;
    let seconds = wait_until_ready(&stack, READY_LIMIT_SECONDS).map_err(|error| explain(&stack, ready, &own, error))?;
    Ok(Raised { url: stack.entrance_url()?, project: own.project, ready: seconds })
}

/// Secrets are made once, and never beside databases that were made with others.
fn make_secrets(context: &Context, ready: &Ready, images: &[BuiltImage], own: &Own) -> Result<()> {
    let file = own::env_file(context);
    if file.exists() {
        return add_secrets(context, ready, images, own, &file);
    }
    let volumes = own.leftovers(context, &ready.docker)?.volumes;
    if !volumes.is_empty() {
        let text = format!(
            "refused: there is no .env, and the databases that were made with its passwords are still here ({}): new passwords would \
             not open them; next: put that .env back, or delete the data with `cargo xtask down --volumes`",
            volumes.join(", ")
        );
        return Err(Stop::Absent(text).into());
    }
    context.runner.progress().now("writes secrets to .env");
    let name = format!(
        "# This checkout's own stack, also for `docker compose` by hand.\n{PROJECT_VARIABLE}={}\n",
        own.project
    );
    secrets::write_env_file(context, ready, images, &file, &name)
}

/// A policy that asks for more secrets than the env file has is an ordinary thing: somebody added a service.
fn add_secrets(context: &Context, ready: &Ready, images: &[BuiltImage], own: &Own, file: &Utf8PathBuf) -> Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| format!("read {file}"))?;
    let more = secrets::missing(context, ready, images, &text)?;
    if more.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = more.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let whole = format!("{text}{end}{more}");
    let folder = RunFolder::begin(&context.project.out().join("env"), "env-")?;
    let candidate = folder.path.join("env");
    let opened = put_new_secret(&candidate, &whole).and_then(|()| {
        let mut stack = Stack::new(context, ready, own.project.clone(), candidate, images)?;
        keep_others(&mut stack, &own.containers, images);
        Ok(old_data(&stack.model()?, &own.leftovers(context, &ready.docker)?.volumes, &own.project, &more))
    });
    folder.end()?;
    if let Some(volume) = opened? {
        let text = format!(
            "refused: .env has no {}, and the data that was made with it is still here ({volume}): a new one would not open it; next: put \
             the old line back into .env, or delete the data with `docker volume rm {volume}`",
            names.join(" and no ")
        );
        return Err(Stop::Absent(text).into());
    }
    context.runner.progress().say(&format!("adds {} to .env", names.join(", ")));
    secrets::overwrite(file, &whole)
}

/// A volume of a service that is told one of the new secrets, and that was there before.
fn old_data(model: &Value, volumes: &[String], project: &str, more: &str) -> Option<String> {
    let new: Vec<_> = more.lines().filter_map(|line| line.split_once('=')).map(|(_, value)| value).collect();
    let services = model["services"].as_object().into_iter().flatten().map(|(_, service)| service);
    let told = services.filter(|service| {
        let values = service["environment"].as_object().into_iter().flatten().filter_map(|(_, value)| value.as_str());
        values.into_iter().any(|value| new.iter().any(|secret| value.contains(secret)))
    });
    let mounted = told.flat_map(|service| service["volumes"].as_array().into_iter().flatten());
    let names = mounted.filter_map(|mount| mount["source"].as_str()).map(|source| {
        model["volumes"][source]["name"].as_str().map_or_else(|| format!("{project}_{source}"), str::to_owned)
    });
    names.into_iter().find(|name| volumes.contains(name))
}

/// A service that was not built now keeps the image that it runs.
fn keep_others(stack: &mut Stack<'_>, containers: &[ContainerState], images: &[BuiltImage]) {
    for package in &stack.context.project.images {
        let is_built = images.iter().any(|image| image.package == package.package);
        let container = containers.iter().find(|container| container.service == package.name());
        if let (false, Some(container)) = (is_built, container) {
            stack.set(&crate::image_variable(&package.package), &container.image);
        }
    }
}

/// Nothing stays half-way: what was not there before goes again. The data stays.
fn undo(context: &Context, ready: &Ready, own: &Own, error: Error) -> Error {
    if own.containers.is_empty() {
        let removed = own
            .leftovers(context, &ready.docker)
            .and_then(|left| left.without_volumes().remove(context, &ready.docker));
        if let Err(second) = removed {
            let text = format!("up: what was started could not be removed: {second:#}; next: cargo xtask down");
            context.runner.progress().say(&text);
        }
    }
    match Stop::of(&error).and_then(|stop| ports::explain(context, stop)) {
        Some(stop) => stop.into(),
        None => error,
    }
}

/// Shows the guilty container and the end of its log, and says where the rest is.
pub(super) fn explain(stack: &Stack<'_>, ready: &Ready, own: &Own, error: Error) -> Error {
    let Some(stop) = Stop::of(&error).filter(|stop| !matches!(stop, Stop::Interrupted(_))) else {
        return undo(stack.context, ready, own, error);
    };
    crate::evidence::show(stack, ready);
    let file = logs_file(stack.context);
    let logs = match stack.save_logs(&file) {
        Ok(()) => format!("all logs are in {}", file.strip_prefix(&stack.context.project.root).unwrap_or(&file)),
        Err(error) => format!("the logs could not be kept: {error:#}"),
    };
    stop.clone()
        .with(&format!("; {logs}; next: correct it and `cargo xtask up`, or end it with `cargo xtask down`"))
        .into()
}

fn logs_file(context: &Context) -> Utf8PathBuf {
    context.project.out().join("up.log")
}

/// What to try, where the password is, how to stop.
fn invite(context: &Context, url: &str, outcome: &mut Outcome) {
    let policy = &context.project.stack;
    outcome.note(format!("the stack answers on {url}; try: curl -s {url}{}", policy.entrance.example));
    if let Some(name) = &policy.secrets.administrator {
        outcome.note(format!("the administrator's password is {name} in .env"));
    }
    outcome.note("stop it with `cargo xtask down`; `cargo xtask down --volumes` deletes the databases, too");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Case P05, and what is like P02.
    #[test]
    fn a_new_secret_is_refused_beside_data_that_was_made_with_another() {
        let model = json!({
            "services": {
                "cart-db": { "environment": { "PASSWORD": "new" }, "volumes": [{ "type": "volume", "source": "cart-data" }] },
                "user-db": { "environment": { "PASSWORD": "old" }, "volumes": [{ "type": "volume", "source": "user-data" }] },
            },
            "volumes": { "cart-data": { "name": "shop_cart-data" }, "user-data": { "name": "shop_user-data" } },
        });
        let found = |volumes: &[&str]| {
            let volumes: Vec<_> = volumes.iter().map(|name| (*name).to_owned()).collect();
            old_data(&model, &volumes, "shop", "CART_PASSWORD=new\n")
        };
        assert_eq!(found(&["shop_user-data"]), None);
        assert_eq!(found(&["shop_user-data", "shop_cart-data"]).as_deref(), Some("shop_cart-data"));
    }
}
