//! The test of the stack: up on the images that were just built, its hardening, the journey, figures, faults, and always down.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::thread;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use xtask_engine::Ready;
use xtask_image_build::BuiltImage;
use xtask_outcome::{Finding, Outcome, Place, Stop};
use xtask_workspace::Context;

use crate::client::Client;
use crate::faults::{Bench, need_container};
use crate::readiness::{self, ContainerState};
use crate::run::{Run, remove_runs};
use crate::{Stack, evidence, hardening, measure, secrets};

const READY_LIMIT_SECONDS: u64 = 120;

/// What is tested beside the journey, and what stays.
#[derive(Debug, Clone, Default)]
pub struct StackTest {
    /// Leave the stack running.
    pub keep: bool,
    /// Break the stack on purpose: every fault ([`crate::ALL_FAULTS`]) or one by its name.
    pub faults: Option<String>,
    /// Keep the stack under load for so many minutes, with restarts in the first half and its memory watched in the second.
    pub soak: Option<u64>,
    /// Make this run's figures the baseline of this machine.
    pub record: bool,
    /// Write the figures and what became worse into docs/testing/.
    pub write: bool,
    /// Take the start-up times of images that were measured before from that run.
    pub keep_start_ups: bool,
    /// Another stack than the workspace's own: the text of its Compose file.
    pub file: Option<String>,
}

impl StackTest {
    /// Tests the given images. Each part is a step of the outcome: one that fails stands beside what the others found, and the
    /// stack is torn down whatever happens.
    ///
    /// # Errors
    /// What keeps the stack from being begun at all, and an interrupt.
    pub fn run(&self, context: &Context, ready: &Ready, images: &[BuiltImage], outcome: &mut Outcome) -> Result<()> {
        all_startable(images)?;
        let run = Run::begin(context)?;
        // Before anything that stays is started, so that a compile error leaves nothing to clean up.
        let in_container = self.faults.as_ref().is_some_and(|name| need_container(&context.project, name));
        let client = thread::scope(|scope| {
            let compile = if in_container { Client::compile_static } else { Client::compile };
            let client = scope.spawn(move || compile(context));
            remove_runs(context, &ready.docker, false)?;
            secrets::write_env_file(context, ready, images, &run.env_file(), "")?;
            client.join().unwrap_or_else(|_| bail!("the thread that compiles the client panicked"))
        })?;
        let mut stack = Stack::new(context, ready, run.project().to_owned(), run.env_file(), images)?;
        if let Some(text) = &self.file {
            std::fs::write(run.stack_file(), text).context("write the stack's file")?;
            stack.set_file(run.stack_file());
        }
        // A free port, so two runs, or a developer's own stack, do not meet. The engine picks it, and picks another one when
        // the container starts again: where that is part of the test, the port is picked here.
        let port = if self.faults.is_some() || self.soak.is_some() { free_port()? } else { 0 };
        stack.set(&context.project.stack.entrance.variable, &port.to_string());
        context.runner.interrupt().on_second(Some("cargo xtask clean".to_owned()));
        let bench = Bench { stack: &stack, ready, images, client: &client, run: &run };
        let driven = self.drive(&bench, outcome);
        if driven.is_err() || !outcome.failures.is_empty() {
            evidence::show(&stack, ready);
        }
        keep_logs(&stack, &run, outcome);
        if self.keep && context.runner.interrupt().check().is_ok() {
            let url = stack.entrance_url().unwrap_or_else(|_| "no published port".to_owned());
            let text = format!("{} is left running on {url}; end it with: cargo xtask clean", run.project());
            outcome.evidence("kept", text.as_str());
            outcome.note(text);
            run.keep();
            context.runner.interrupt().on_second(None);
            return driven;
        }
        let down = outcome.step("down", |_| {
            stack.discard()?;
            run.end(context, &ready.docker)
        });
        context.runner.interrupt().on_second(None);
        driven.and(down.map(drop))
    }

    /// Everything between up and down. A part that needs an earlier one is not run when that one failed.
    fn drive(&self, bench: &Bench<'_>, outcome: &mut Outcome) -> Result<()> {
        let Bench { stack, ready, images, run, .. } = bench;
        outcome.evidence.extend(ready.evidence());
        outcome.evidence("project", run.project());
        let Some(containers) = outcome.step("up", |outcome| up(stack, images, outcome))? else {
            outcome.unchecked("hardening, journey and figures", "the stack did not come up");
            return Ok(());
        };
        outcome.step("hardening", |outcome| hardening::check(stack, ready, outcome))?;
        let services: Vec<_> =
            containers.iter().filter(|c| images.iter().any(|image| image.name == c.service)).cloned().collect();
        let idle =
            outcome.step("idle memory", |_| measure::resident(stack.context, ready, &services, measure::IDLE))?;
        let steps = outcome.step("journey", |outcome| journey(bench, outcome))?;
        outcome.step("figures", |outcome| {
            let (idle, steps) = (idle.unwrap_or_default(), steps.unwrap_or_default());
            self.measure(bench, &services, &steps, idle, outcome)
        })?;
        if let Some(name) = &self.faults {
            outcome.step("faults", |outcome| bench.run(name, outcome))?;
        }
        if let Some(minutes) = self.soak {
            outcome.step("soak", |outcome| bench.soak(minutes, outcome))?;
        }
        Ok(())
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
        let Bench { stack, ready, images, .. } = bench;
        figures.extend(measure::resident(stack.context, ready, services, measure::PEAK)?);
        let names: Vec<_> = services.iter().map(|container| container.service.clone()).collect();
        let keep = self.keep_start_ups && !self.record && !self.write;
        let start_ups = measure::start_ups(stack, ready, &names, keep)?;
        if !start_ups.unreachable.is_empty() {
            let names = start_ups.unreachable.join(", ");
            outcome.evidence("start_up", format!("off for {names} because their addresses are not reached from here"));
        }
        if !start_ups.kept.is_empty() {
            let names = start_ups.kept.join(", ");
            outcome.evidence("start_up_kept", format!("{names}: of an earlier run of the same image on this engine"));
        }
        figures.extend(start_ups.figures);
        figures.extend(measure::journey(steps));
        figures.extend(measure::image_sizes(images));
        measure::report(stack.context, ready, &figures, self.record, self.write, outcome)
    }
}

/// A stack without one of its services proves nothing about the others.
fn all_startable(images: &[BuiltImage]) -> Result<()> {
    let unstartable: Vec<_> =
        images.iter().filter(|image| image.facts.program.is_none()).map(|image| image.name.as_str()).collect();
    if unstartable.is_empty() {
        return Ok(());
    }
    let text = format!("the image of {} cannot be started, see the findings about it", unstartable.join(", "));
    Err(Stop::Absent(text).into())
}

fn up(stack: &Stack<'_>, images: &[BuiltImage], outcome: &mut Outcome) -> Result<Vec<ContainerState>> {
    stack.up()?;
    let start_up = readiness::wait_until_ready(stack, READY_LIMIT_SECONDS)?;
    let containers = stack.state()?;
    check_identities(&stack.context.project.stack.file, &containers, images)?;
    outcome.checked("containers started", containers.len());
    let shown = |c: &ContainerState| json!({ "service": c.service, "image": c.image });
    outcome.evidence("containers", containers.iter().map(shown).collect::<Value>());
    let seconds = |(service, seconds): &(String, f64)| json!({ "service": service, "seconds": (seconds * 100.0).round() / 100.0 });
    outcome.evidence("ready_after", start_up.iter().map(seconds).collect::<Value>());
    Ok(containers)
}

fn journey(bench: &Bench<'_>, outcome: &mut Outcome) -> Result<Vec<Value>> {
    let Bench { stack, client, run, images, .. } = bench;
    let before = last_lines(stack, images)?;
    let steps = client.journey(stack.context, &stack.entrance_url()?, Some(&run.env_file()))?;
    if let Some(policy) = &stack.context.project.stack.client {
        outcome.findings.extend(not_walked(&policy.passes_by, &before, &last_lines(stack, images)?));
        outcome.checked("services that the journey has to reach", before.len());
    }
    // A service that fell over during the journey and came back is still a failure.
    for container in stack.state()? {
        if let readiness::Verdict::Failed(why) | readiness::Verdict::Unhealthy(why) = readiness::judge(&container) {
            return Err(Stop::Repository(why).into());
        }
    }
    outcome.checked("requests sent", steps.len());
    outcome.evidence("steps", steps.clone());
    Ok(steps)
}

/// The last line, with its time, of the log of each service that is built here.
fn last_lines(stack: &Stack<'_>, images: &[BuiltImage]) -> Result<BTreeMap<String, String>> {
    let is_own = |container: &&ContainerState| images.iter().any(|image| image.name == container.service);
    let containers = stack.state()?;
    containers.iter().filter(is_own).map(|one| Ok((one.service.clone(), stack.last_line(one)?))).collect()
}

/// The services that said nothing while the journey went on: nothing of it came to them. One that never says a word cannot be told.
fn not_walked(
    passes_by: &[String],
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) -> Vec<Finding> {
    let silent = before.iter().filter(|(service, line)| !line.is_empty() && after.get(*service) == Some(*line));
    let finding = |service: &String| Finding {
        rule: "service-not-walked",
        place: Place::new(format!("journey past {service}")),
        message: format!("the journey sends nothing to {service}: it has no route, or the journey has no step for it"),
        next_step: "give it a route and the journey a step, or name it in `passes-by` of policy/stack.toml".to_owned(),
    };
    silent.map(|(service, _)| service).filter(|service| !passes_by.contains(service)).map(finding).collect()
}

/// All logs into a file; that this fails is said, and is no failure of the stack.
fn keep_logs(stack: &Stack<'_>, run: &Run, outcome: &mut Outcome) {
    let context = stack.context;
    let file = run.logs_file(context);
    let kept = match stack.save_logs(&file) {
        Ok(()) => file.strip_prefix(&context.project.root).unwrap_or(&file).to_string(),
        Err(error) => {
            context.runner.progress().say(&format!("compose-e2e: the logs could not be kept: {error:#}"));
            format!("not kept: {error:#}")
        }
    };
    outcome.evidence("logs", kept);
}

/// A port that nobody listens on now. Should somebody take it before the stack does, `up` says so.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Each container must run the image that was built, not one that a tag stood for earlier.
fn check_identities(file: &str, containers: &[ContainerState], images: &[BuiltImage]) -> Result<()> {
    for image in images {
        let Some(container) = containers.iter().find(|container| container.service == image.name) else {
            return Err(Stop::Repository(format!("{file} starts no service {}", image.name)).into());
        };
        if container.image != image.facts.id {
            let text = format!("{} runs image {}, expected {}", image.name, container.image, image.facts.id);
            return Err(Stop::Repository(text).into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_the_journey_does_not_reach_is_found() {
        let lines = |lines: [&str; 3]| {
            ["cart", "mailer", "mute"]
                .map(str::to_owned)
                .into_iter()
                .zip(lines.map(str::to_owned))
                .collect::<BTreeMap<_, _>>()
        };
        let before = lines(["10:00 listening", "10:00 listening", ""]);
        let found = |passes_by: &[String], after| {
            not_walked(passes_by, &before, &lines(after)).into_iter().map(|one| one.place.name).collect::<Vec<_>>()
        };
        assert_eq!(found(&[], ["10:01 request", "10:00 listening", ""]), ["journey past mailer"]);
        assert_eq!(found(&["mailer".to_owned()], ["10:01 request", "10:00 listening", ""]), [""; 0]);
        assert_eq!(found(&[], ["10:01 request", "10:01 request", ""]), [""; 0]);
    }
    use xtask_image_build::{ImageFacts, ProgramFacts, Strategy};

    fn built() -> BuiltImage {
        let facts = ImageFacts {
            id: "sha256:new".into(),
            size_bytes: 1,
            files: vec![],
            config: Value::Null,
            history: vec![],
            program_faults: vec![],
            program: Some(ProgramFacts { version_line: String::new(), contract: Value::Null }),
        };
        BuiltImage {
            name: "user".into(),
            package: "mini-user".into(),
            strategy: Strategy::Container,
            facts,
            inputs: String::new(),
        }
    }

    #[test]
    fn a_container_of_an_older_image_is_named_with_both_ids() {
        let container = ContainerState { service: "user".into(), image: "sha256:old".into(), ..Default::default() };
        let error = check_identities("compose.yaml", &[container], &[built()]).unwrap_err().to_string();
        assert_eq!(error, "user runs image sha256:old, expected sha256:new");
    }

    #[test]
    fn an_image_that_no_service_runs_is_a_failure() {
        assert!(check_identities("compose.yaml", &[], &[built()]).is_err());
    }

    #[test]
    fn an_image_that_cannot_be_started_is_named_before_anything_starts() {
        let mut image = built();
        all_startable(&[image.clone()]).unwrap();
        image.facts.program = None;
        let error = all_startable(&[image]).unwrap_err();
        assert!(Stop::is_absent(&error) && error.to_string().contains("image of user"), "{error}");
    }
}
