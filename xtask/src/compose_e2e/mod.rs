//! `cargo xtask compose-e2e`: the stack on the images that were just built, the journey through it, and always down again.

mod run;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::{Value, json};
use xshell::{Shell, cmd};

pub(crate) use self::run::Run;
use crate::build_images::{BuildImages, BuiltImage};
use crate::context::Context;
use crate::outcome::{Outcome, Stop};
use crate::setup::{self, Ready};
use crate::stack::readiness::{self, ContainerState};
use crate::stack::{Stack, secrets};

const READY_LIMIT_SECONDS: u64 = 120;
const JOURNEY_LIMIT_SECONDS: u64 = 120;
const COMPILE_LIMIT_SECONDS: u64 = 900;
/// How much of each container's log goes on the screen after a failure.
const EVIDENCE_LOG_LINES: &str = "30";
const QUERY_LIMIT_SECONDS: u64 = 60;

/// Bring the stack up on the hardened images, run the end-to-end journey, and tear it down.
#[derive(Debug, Args)]
pub(crate) struct ComposeE2e {
    /// Leave the stack running, and say how to reach it and how to end it.
    #[arg(long)]
    keep: bool,
}

impl ComposeE2e {
    /// What `verify` runs.
    pub(crate) fn whole() -> Self {
        Self { keep: false }
    }

    pub(crate) fn run(&self, context: &Context) -> Result<Outcome> {
        let ready = setup::ready(context)?;
        let (_, images) = BuildImages::all().build(context, &ready)?;
        self.test(context, &ready, &images)
    }

    /// Tests the given images. The first error stays in front, whatever the tear-down says.
    pub(crate) fn test(&self, context: &Context, ready: &Ready, images: &[BuiltImage]) -> Result<Outcome> {
        eprintln!("compose-e2e: stack up (10 s), journey (a few seconds), stack down");
        compile_journey(context)?;
        Run::remove_leftovers(context, &ready.docker)?;
        let run = Run::begin(context)?;
        secrets::write_env_file(context, ready, images, &run.env_file())?;
        let mut stack = Stack::new(context, ready, run.project.clone(), run.env_file(), images)?;
        // The engine picks a free port, so two runs, or a developer's own stack, do not meet.
        stack.set("GATEWAY_PORT", "0");
        context.runner.interrupt().on_second(Some(run.manual_removal()));
        let result = drive(&stack, ready, images, &run);
        if let Err(error) = &result {
            eprintln!("compose-e2e: failed: {error:#}");
            show_evidence(&stack, ready);
        }
        let logs = run.logs_file(context);
        if let Err(error) = stack.save_logs(&logs) {
            eprintln!("compose-e2e: the logs could not be kept: {error:#}");
        }
        if self.keep && context.runner.interrupt().check().is_ok() {
            let text = format!(
                "{} is left running on {}; end it with: {}",
                run.project,
                stack.gateway_url()?,
                run.manual_removal()
            );
            run.keep();
            context.runner.interrupt().on_second(None);
            let mut outcome = result?;
            outcome.evidence("kept", text);
            return Ok(outcome);
        }
        let down = stack.down(true).and_then(|()| run.end(context, &ready.docker));
        context.runner.interrupt().on_second(None);
        if let (Err(_), Err(down)) = (&result, &down) {
            eprintln!("compose-e2e: the tear-down failed as well: {down:#}");
        }
        let mut outcome = result?;
        down?;
        outcome.evidence("logs", logs.strip_prefix(&context.project.root).unwrap_or(&logs).as_str());
        Ok(outcome)
    }
}

/// Compiled before anything is started, so that a compile error leaves nothing to clean up.
fn compile_journey(context: &Context) -> Result<()> {
    let shell = Shell::new()?;
    shell.change_dir(&context.project.root);
    context
        .runner
        .run(cmd!(shell, "cargo build --quiet --locked --package mini-e2e"), COMPILE_LIMIT_SECONDS)
        .context("compile the journey")
}

fn drive(stack: &Stack<'_>, ready: &Ready, images: &[BuiltImage], run: &Run) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    stack.up()?;
    let start_up = readiness::wait_until_ready(stack, READY_LIMIT_SECONDS)?;
    let containers = stack.state()?;
    check_identities(&containers, images)?;
    let steps = walk(stack, run)?;
    let requests = steps.len();
    // A service that fell over during the journey and came back is still a failure.
    for container in stack.state()? {
        if let readiness::Verdict::Failed(why) = readiness::judge(&container) {
            return Err(Stop::Repository(why).into());
        }
    }
    outcome.checked("containers started", containers.len());
    outcome.checked("requests sent", requests);
    outcome.evidence("project", run.project.as_str());
    outcome.evidence(
        "containers",
        containers.iter().map(|c| json!({ "service": c.service, "image": c.image })).collect::<Value>(),
    );
    let seconds = |(service, seconds): &(String, f64)| json!({ "service": service, "seconds": (seconds * 100.0).round() / 100.0 });
    outcome.evidence("ready_after", start_up.iter().map(seconds).collect::<Value>());
    outcome.evidence("journey", steps);
    outcome.evidence.extend(ready.evidence());
    Ok(outcome)
}

/// Each container must run the image that was built, not one that a tag stood for earlier.
fn check_identities(containers: &[ContainerState], images: &[BuiltImage]) -> Result<()> {
    for image in images {
        let Some(container) = containers.iter().find(|container| container.service == image.name) else {
            return Err(Stop::Repository(format!("compose.yaml starts no service {}", image.name)).into());
        };
        if container.image != image.facts.id {
            let text = format!("{} runs image {}, expected {}", image.name, container.image, image.facts.id);
            return Err(Stop::Repository(text).into());
        }
    }
    Ok(())
}

/// Runs the journey and gives its steps, one JSON object per request.
fn walk(stack: &Stack<'_>, run: &Run) -> Result<Vec<Value>> {
    let shell = Shell::new()?;
    shell.change_dir(&stack.context.project.root);
    let url = stack.gateway_url()?;
    let env_file = run.env_file();
    // The administrator's password reaches the journey by file, as a secret should.
    let command = cmd!(shell, "cargo run --quiet --locked --package mini-e2e -- --base-url {url} --secrets {env_file}");
    let captured =
        stack.context.runner.capture_lines(command, JOURNEY_LIMIT_SECONDS, |line| eprintln!("journey: {line}"))?;
    let steps = captured.stdout.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>();
    let steps = steps.map_err(|error| Stop::Repository(format!("the journey printed no JSON: {error}")))?;
    if !captured.status.success() {
        return Err(Stop::Repository(format!("the journey failed: {}", captured.tail())).into());
    }
    if steps.is_empty() {
        return Err(Stop::Repository("the journey sent no request".to_owned()).into());
    }
    Ok(steps)
}

/// What a person needs to see why it failed: each container's state, and the end of its log.
fn show_evidence(stack: &Stack<'_>, ready: &Ready) {
    let Ok(containers) = stack.state() else { return };
    let Ok(shell) = Shell::new() else { return };
    let runner = stack.context.runner.for_clean_up();
    for container in containers {
        let health = if container.health.is_empty() { "no healthcheck" } else { &container.health };
        eprintln!(
            "--- {}: {}, exit code {}, {} restarts, {health} {}",
            container.service, container.status, container.exit_code, container.restarts, container.health_output
        );
        let (docker, id) = (&ready.docker.program, &container.id);
        if let Ok(log) =
            runner.capture(cmd!(shell, "{docker} logs --tail {EVIDENCE_LOG_LINES} {id}"), QUERY_LIMIT_SECONDS)
        {
            eprint!("{}{}", log.stdout, log.stderr);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build_images::image::ImageFacts;

    fn built() -> BuiltImage {
        let facts = ImageFacts {
            id: "sha256:new".into(),
            size_bytes: 1,
            files: vec![],
            config: Value::Null,
            history: vec![],
            version_line: String::new(),
            contract: Value::Null,
        };
        BuiltImage { name: "user".into(), package: "mini-user".into(), facts }
    }

    #[test]
    fn a_container_of_an_older_image_is_named_with_both_ids() {
        let container = ContainerState { service: "user".into(), image: "sha256:old".into(), ..Default::default() };
        let error = check_identities(&[container], &[built()]).unwrap_err().to_string();
        assert_eq!(error, "user runs image sha256:old, expected sha256:new");
    }

    #[test]
    fn an_image_that_no_service_runs_is_a_failure() {
        assert!(check_identities(&[], &[built()]).is_err());
    }
}
