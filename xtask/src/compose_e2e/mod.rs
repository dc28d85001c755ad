//! `cargo xtask compose-e2e`: the stack on the images that were just built, the journey through it, and always down again.

mod client;
mod deployment;
mod faults;
mod hardening;
mod measure;
mod run;

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context as _, Result};
use camino::Utf8PathBuf;
use clap::Args;
use serde_json::{Value, json};
use xshell::{Shell, cmd};

use self::client::Client;
use self::faults::Bench;
pub(crate) use self::run::Run;
use crate::build_images::{BuildImages, BuiltImage};
use crate::context::Context;
use crate::outcome::{Outcome, Stop};
use crate::setup::{self, Ready};
use crate::stack::readiness::{self, ContainerState};
use crate::stack::{Stack, secrets};

const READY_LIMIT_SECONDS: u64 = 120;
/// How much of each container's log goes on the screen after a failure.
const EVIDENCE_LOG_LINES: &str = "30";
const QUERY_LIMIT_SECONDS: u64 = 60;

/// Bring the stack up on the hardened images, assert the hardening, run the end-to-end journey, and tear it down.
#[derive(Debug, Args)]
pub(crate) struct ComposeE2e {
    /// Leave the stack running, and say how to reach it and how to end it.
    #[arg(long)]
    keep: bool,
    /// Break the stack on purpose under a load, every fault (4 minutes) or one by its name.
    #[arg(long, value_name = "FAULT", num_args = 0..=1, require_equals = true, default_missing_value = faults::ALL)]
    faults: Option<String>,
    /// Make this run's figures the baseline of this machine, in docs/testing/baseline.json.
    #[arg(long)]
    record: bool,
    /// Write the figures and what became worse into docs/testing/.
    #[arg(long)]
    write: bool,
    /// Walk the journey through a deployment that is there already, such as http://127.0.0.1:8080; starts nothing.
    #[arg(long, value_name = "URL", conflicts_with_all = ["keep", "faults", "record", "write"])]
    base_url: Option<String>,
    /// With --base-url beyond loopback: the whole journey, which makes users, a product and an order.
    #[arg(long, requires = "base_url")]
    allow_writes: bool,
    /// With --base-url: an env file with ADMIN_PASSWORD and JWT_SIGNING_KEY of the deployment; by default .env.
    #[arg(long, value_name = "FILE", requires = "base_url")]
    secrets: Option<Utf8PathBuf>,
}

impl ComposeE2e {
    /// What `verify` runs.
    pub(crate) fn whole() -> Self {
        Self {
            keep: false,
            faults: None,
            record: false,
            write: false,
            base_url: None,
            allow_writes: false,
            secrets: None,
        }
    }

    pub(crate) fn run(&self, context: &Context) -> Result<Outcome> {
        if let Some(name) = &self.faults {
            faults::select(name)?;
        }
        if let Some(url) = &self.base_url {
            return deployment::test(context, url, self.allow_writes, self.secrets.as_ref());
        }
        let ready = setup::ready(context)?;
        let (_, images) = BuildImages::all().build(context, &ready)?;
        self.test(context, &ready, &images)
    }

    /// Tests the given images. The first error stays in front, whatever the tear-down says.
    pub(crate) fn test(&self, context: &Context, ready: &Ready, images: &[BuiltImage]) -> Result<Outcome> {
        self.test_file(context, ready, images, None)
    }

    /// As [`ComposeE2e::test`], of another stack than `compose.yaml`: the text of its file, which the run keeps.
    pub(crate) fn test_file(
        &self,
        context: &Context,
        ready: &Ready,
        images: &[BuiltImage],
        text: Option<&str>,
    ) -> Result<Outcome> {
        let faults = if self.faults.is_some() { ", faults (up to 4 minutes)" } else { "" };
        eprintln!("compose-e2e: stack up (10 s), hardening, journey (a few seconds){faults}, stack down");
        let client = Client::compile(context)?;
        Run::remove_leftovers(context, &ready.docker)?;
        let run = Run::begin(context)?;
        secrets::write_env_file(context, ready, images, &run.env_file())?;
        let mut stack = Stack::new(context, ready, run.project.clone(), run.env_file(), images)?;
        if let Some(text) = text {
            std::fs::write(run.stack_file(), text).context("write the stack's file")?;
            stack.set_file(run.stack_file());
        }
        // A free port, so two runs, or a developer's own stack, do not meet. The engine picks it, and picks another one when
        // the container starts again: where that is part of the test, the port is picked here.
        let port = if self.faults.is_some() { free_port()? } else { 0 };
        stack.set("GATEWAY_PORT", &port.to_string());
        context.runner.interrupt().on_second(Some(run.manual_removal()));
        let bench = Bench { stack: &stack, ready, images, client: &client, run: &run };
        let result = self.drive(&bench);
        if let Err(error) = &result {
            eprintln!("compose-e2e: failed: {error:#}");
            show_evidence(&stack, ready);
        }
        let file = run.logs_file(context);
        let logs = match stack.save_logs(&file) {
            Ok(()) => file.strip_prefix(&context.project.root).unwrap_or(&file).to_string(),
            Err(error) => {
                eprintln!("compose-e2e: the logs could not be kept: {error:#}");
                format!("not kept: {error:#}")
            }
        };
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
            outcome.evidence("logs", logs);
            return Ok(outcome);
        }
        let down = stack.down(true).and_then(|()| run.end(context, &ready.docker));
        context.runner.interrupt().on_second(None);
        if let (Err(_), Err(down)) = (&result, &down) {
            eprintln!("compose-e2e: the tear-down failed as well: {down:#}");
        }
        let mut outcome = result?;
        down?;
        outcome.evidence("logs", logs);
        Ok(outcome)
    }

    fn drive(&self, bench: &Bench<'_>) -> Result<Outcome> {
        let Bench { stack, ready, images, client, run } = bench;
        let mut outcome = Outcome::default();
        stack.up()?;
        let start_up = readiness::wait_until_ready(stack, READY_LIMIT_SECONDS)?;
        let containers = stack.state()?;
        check_identities(&containers, images)?;
        hardening::check(stack, ready, &mut outcome)?;
        let services: Vec<_> =
            containers.iter().filter(|c| images.iter().any(|image| image.name == c.service)).cloned().collect();
        let mut figures = measure::resident(stack.context, ready, &services, measure::IDLE)?;
        let steps = client.journey(stack.context, &stack.gateway_url()?, Some(&run.env_file()))?;
        // A service that fell over during the journey and came back is still a failure.
        for container in stack.state()? {
            if let readiness::Verdict::Failed(why) = readiness::judge(&container) {
                return Err(Stop::Repository(why).into());
            }
        }
        figures.extend(measure::resident(stack.context, ready, &services, measure::PEAK)?);
        self.measure(bench, &services, &steps, figures, &mut outcome)?;
        if let Some(name) = &self.faults {
            bench.run(name, &mut outcome)?;
        }
        outcome.checked("containers started", containers.len());
        outcome.checked("requests sent", steps.len());
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

    /// The figures that need the stack for themselves, then the report of all.
    fn measure(
        &self,
        bench: &Bench<'_>,
        services: &[ContainerState],
        steps: &[Value],
        mut figures: measure::Figures,
        outcome: &mut Outcome,
    ) -> Result<()> {
        let names: Vec<_> = services.iter().map(|container| container.service.clone()).collect();
        let (started, unreachable) = measure::start_ups(bench.stack, bench.ready, &names)?;
        if !unreachable.is_empty() {
            let text = format!("off for {} because their addresses are not reached from here", unreachable.join(", "));
            outcome.evidence("start_up", text);
        }
        figures.extend(started);
        figures.extend(measure::journey(steps));
        figures.extend(measure::image_sizes(bench.images));
        measure::report(bench.stack.context, bench.ready, &figures, self.record, self.write, outcome)
    }
}

/// A port that nobody listens on now. Should somebody take it before the stack does, `up` says so.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
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
