//! One of the two stacks of a comparison, from its fresh volumes to its tear-down.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};
use xtask_engine::Ready;
use xtask_image_build::ImageSet;
use xtask_outcome::Stop;
use xtask_workspace::{Comparison, Context, filled};

use super::report::Part;
use crate::client::Client;
use crate::measure::{self, IDLE, PEAK};
use crate::readiness::{ContainerState, wait_until_ready};
use crate::run::Run;
use crate::{Stack, evidence, secrets};

const READY_LIMIT_SECONDS: u64 = 120;
const PREPARE_LIMIT_SECONDS: u64 = 60;
/// Beyond its own length.
const LOAD_LIMIT_SECONDS: u64 = 60;
/// Longer than a comparison: the engine's own rounds of healthchecks would be work on both sides that nobody asked for.
const HEALTHCHECK_INTERVAL: &str = "24h";
/// Processor time of a container for each request of the load.
pub(super) const CPU: &str = "cpu-us";
/// The same from the start of a process until it is ready.
const START_CPU: &str = "start-cpu-ms";
const PER_SECOND: &str = "requests-per-second";
const JOURNEY: &str = "journey-ms";
const SIZE: &str = "image-bytes";
/// What the load as a whole is called behind the kind of its figures.
const LOAD: &str = "load";
/// All containers of the set's images together: what each of them does at random, they do less so together.
const SERVICES: &str = "(services)";

/// What was measured of one side in one round.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Measured {
    /// By kind and whose, such as `start-ms/cart`.
    pub(super) figures: BTreeMap<String, f64>,
    pub(super) requests: u64,
    pub(super) failed: u64,
}

/// What the client prints of a load.
#[derive(Debug, Deserialize)]
struct Load {
    requests: u64,
    failed: u64,
    warm_up_requests: u64,
    seconds: f64,
    p50_us: f64,
    p95_us: f64,
    p99_us: f64,
}

/// A stack of one image set.
pub(super) struct Side<'a> {
    context: &'a Context,
    ready: &'a Ready,
    client: &'a Client,
    part: Part,
    set: &'a ImageSet,
    stack: Stack<'a>,
    run: Run,
}

impl<'a> Side<'a> {
    /// Nothing is started yet.
    pub(super) fn begin(
        context: &'a Context,
        ready: &'a Ready,
        client: &'a Client,
        part: Part,
        set: &'a ImageSet,
    ) -> Result<Self> {
        let run = Run::begin(context)?;
        let mut stack = Stack::new(context, ready, run.project().to_owned(), run.env_file(), &set.images)?;
        // A port of the engine's choice: the two stacks, and a developer's own, do not meet.
        stack.set(&context.project.stack.entrance.variable, "0");
        Ok(Self { context, ready, client, part, set, stack, run })
    }

    /// Brings it up on fresh volumes.
    pub(super) fn up(&mut self) -> Result<()> {
        self.bring_up().with_context(|| format!("{} ({})", self.set.name, self.part.word()))
    }

    fn bring_up(&mut self) -> Result<()> {
        let Self { context, ready, client, set, .. } = *self;
        secrets::write_env_file(context, ready, &set.images, &self.run.env_file(), "")?;
        let more = additions(&self.stack.model()?, context.project.stack.comparison.as_ref());
        std::fs::write(self.run.more_file(), more.to_string()).context("write what a comparison adds to the stack")?;
        self.stack.add_file(self.run.more_file());
        self.stack.up()?;
        wait_until_ready(&self.stack, READY_LIMIT_SECONDS)?;
        let Some(comparison) = &context.project.stack.comparison else { return Ok(()) };
        let arguments = self.filled(&comparison.prepare, comparison)?;
        client.read(context, &arguments, PREPARE_LIMIT_SECONDS).map(drop)
    }

    /// Measures everything once, beginning with fresh processes.
    pub(super) fn measure(&mut self) -> Result<Measured> {
        self.measure_all().with_context(|| format!("{} ({})", self.set.name, self.part.word()))
    }

    fn measure_all(&self) -> Result<Measured> {
        let Self { context, ready, client, set, stack, .. } = self;
        let names: Vec<_> = set.images.iter().map(|image| image.name.clone()).collect();
        let mut figures = measure::start_ups_together(stack, ready, &names)?;
        let containers = stack.state()?;
        let at_start = containers.iter().filter(|one| names.contains(&one.service));
        let at_start = at_start.filter_map(|one| Some((&one.service, measure::used_nanoseconds(one)?)));
        let at_start: Vec<_> = at_start
            .map(|(service, nanoseconds)| (format!("{START_CPU}/{service}"), nanoseconds as f64 / 1e6))
            .collect();
        let services: Vec<_> = containers.iter().filter(|one| names.contains(&one.service)).cloned().collect();
        figures.extend(measure::resident(context, ready, &services, IDLE)?);
        let url = stack.entrance_url()?;
        let steps = client.journey(context, &url, Some(&self.run.env_file()))?;
        let mut measured = match &context.project.stack.comparison {
            Some(comparison) => self.under_load(comparison, &containers)?,
            None => Measured::default(),
        };
        figures.extend(measure::resident(context, ready, &services, PEAK)?);
        let journey: f64 = steps.iter().filter_map(|step| step["ms"].as_f64()).sum();
        measured.requests += steps.len() as u64;
        measured.figures.insert(format!("{JOURNEY}/whole"), journey);
        measured.figures.extend(at_start);
        measured.figures.extend(figures.into_iter().map(|(name, value)| (name, value as f64)));
        let size =
            |image: &xtask_image_build::BuiltImage| (format!("{SIZE}/{}", image.name), image.facts.size_bytes as f64);
        measured.figures.extend(set.images.iter().map(size));
        Ok(measured)
    }

    /// The load, and what it took of the processor.
    fn under_load(&self, comparison: &Comparison, containers: &[ContainerState]) -> Result<Measured> {
        let limit = LOAD_LIMIT_SECONDS + comparison.milliseconds / 1000;
        let arguments = self.filled(&comparison.load, comparison)?;
        let used =
            |container: &ContainerState| Some((container.service.clone(), measure::used_nanoseconds(container)?));
        let before: BTreeMap<_, _> = containers.iter().filter_map(used).collect();
        let printed = self.client.read(self.context, &arguments, limit)?;
        let after: BTreeMap<_, _> = containers.iter().filter_map(used).collect();
        let load: Load = serde_json::from_str(printed.trim()).map_err(|error| {
            Stop::Repository(format!("the client's load printed something else than it should: {error}"))
        })?;
        if load.requests == 0 || load.seconds <= 0.0 {
            bail!(Stop::Repository(format!(
                "no request of the load was answered as it should be, {} failed",
                load.failed
            )));
        }
        let mut figures = BTreeMap::from([
            (format!("{PER_SECOND}/{LOAD}"), load.requests as f64 / load.seconds),
            (format!("p50-us/{LOAD}"), load.p50_us),
            (format!("p95-us/{LOAD}"), load.p95_us),
            (format!("p99-us/{LOAD}"), load.p99_us),
        ]);
        let requests = load.requests + load.failed + load.warm_up_requests;
        let mut of_services = 0.0;
        for (service, after) in after {
            if let Some(before) = before.get(&service) {
                let micros = after.saturating_sub(*before) as f64 / 1000.0 / requests as f64;
                if self.set.images.iter().any(|image| image.name == service) {
                    of_services += micros;
                }
                figures.insert(format!("{CPU}/{service}"), micros);
            }
        }
        if of_services > 0.0 {
            figures.insert(format!("{CPU}/{SERVICES}"), of_services);
        }
        Ok(Measured { figures, requests, failed: load.failed })
    }

    fn filled(&self, words: &[String], comparison: &Comparison) -> Result<Vec<String>> {
        let (url, secrets, state) = (self.stack.entrance_url()?, self.run.env_file(), self.run.state_file());
        let milliseconds = comparison.milliseconds.to_string();
        let values = [
            ("url", url.as_str()),
            ("secrets", secrets.as_str()),
            ("state", state.as_str()),
            ("milliseconds", milliseconds.as_str()),
        ];
        Ok(filled(words, &values))
    }

    /// What a person needs to see when something failed; all logs stay in a file.
    pub(super) fn show_evidence(&self) {
        evidence::show(&self.stack, self.ready);
        let file = self.run.logs_file(self.context);
        let text = match self.stack.save_logs(&file) {
            Ok(()) => format!("{} ({}): all logs are in {file}", self.set.name, self.part.word()),
            Err(error) => format!("the logs of {} could not be kept: {error:#}", self.set.name),
        };
        self.context.runner.progress().say(&text);
    }

    pub(super) fn down(&mut self) -> Result<()> {
        self.stack.discard()
    }

    /// Proves that nothing is left.
    pub(super) fn end(self) -> Result<()> {
        self.run.end(self.context, &self.ready.docker)
    }
}

/// What a comparison adds to the Compose file: variables by the policy, and healthchecks that do not run meanwhile.
fn additions(model: &Value, comparison: Option<&Comparison>) -> Value {
    let services = model["services"].as_object();
    let addition = |(name, service): (&String, &Value)| {
        let mut added = serde_json::Map::new();
        if service.get("healthcheck").is_some() {
            added.insert("healthcheck".to_owned(), json!({ "interval": HEALTHCHECK_INTERVAL }));
        }
        if let Some(variables) = comparison.and_then(|comparison| comparison.environment.get(name)) {
            added.insert("environment".to_owned(), json!(variables));
        }
        (!added.is_empty()).then(|| (name.clone(), Value::Object(added)))
    };
    let services: serde_json::Map<_, _> = services.into_iter().flatten().filter_map(addition).collect();
    json!({ "services": services })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_there_gets_an_addition() {
        let model = json!({ "services": { "door": { "healthcheck": { "interval": "5s" } }, "cart": {} } });
        let variables = BTreeMap::from([("LIMIT".to_owned(), "9".to_owned())]);
        let comparison = Comparison {
            prepare: vec![],
            load: vec![],
            milliseconds: 1,
            environment: [("cart".to_owned(), variables.clone()), ("gone".to_owned(), variables)].into(),
        };
        let added = additions(&model, Some(&comparison));
        let expected = json!({ "services": {
            "door": { "healthcheck": { "interval": "24h" } }, "cart": { "environment": { "LIMIT": "9" } },
        } });
        assert_eq!(added, expected);
        assert_eq!(additions(&json!({}), None), json!({ "services": {} }));
    }
}
