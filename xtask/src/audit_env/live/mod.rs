//! The live audit: what an image does with its variables, and what it does without them.
//!
//! What containers did is a fact of the image id and is kept by it; what that means is judged anew every time.

mod judge;
mod observe;
mod plan;
mod run;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use anyhow::{Context as _, Result};
use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use serde_json::json;

pub(crate) use self::run::remove_leftovers;
use super::places::ImagePlace;
use super::view::{Findings, View};
use crate::build_images::BuiltImage;
use crate::context::Context;
use crate::outcome::Outcome;
use crate::setup::Ready;

/// Changes when the audit asks for more than before.
const VERSION: u32 = 1;

/// One container that was started, and what it was started to show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Case {
    /// Exactly the documented variables: it starts.
    Documented,
    /// The same, and what libraries read set to nonsense: it starts and logs the same.
    Nonsense,
    /// A required variable is not there.
    Missing(String),
    /// A required variable is there and blank.
    Blank(String),
    /// A required variable has a value of another type.
    Malformed(String),
    /// No variable at all: all required ones are named.
    Nothing,
    /// The same, with the nonsense.
    NothingButNonsense,
    /// Every variable of a checkable type has a value of another type: all are named. The number picks the values.
    AllMalformed(usize),
}

/// What a container did. No value of a variable is in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Observation {
    pub(crate) case: Case,
    /// `None` for one that ran until it was ready.
    pub(crate) exit_code: Option<i64>,
    /// From start to end, or to the first passed probe.
    pub(crate) seconds: f64,
    pub(crate) named_missing: Vec<String>,
    pub(crate) named_malformed: Vec<String>,
    /// The variables whose values stood in what it printed.
    pub(crate) leaked: Vec<String>,
    /// Its log without times and numbers, each kind of line once.
    pub(crate) log: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    /// What else than the image decided about the containers.
    inputs: u64,
    observations: Vec<Observation>,
}

/// Audits the images that were not audited yet and judges all.
pub(crate) fn check(
    context: &Context,
    ready: &Ready,
    view: &View<'_>,
    images: &[BuiltImage],
    is_selected: &dyn Fn(&str) -> bool,
    findings: &mut Findings,
    outcome: &mut Outcome,
) -> Result<()> {
    remove_leftovers(context, &ready.docker)?;
    let plans = plan::plans(view, images)?;
    let inputs = inputs(view, &plans, ready);
    let mut new = Vec::new();
    let mut known = Vec::new();
    for plan in plans.iter().filter(|plan| is_selected(&plan.service)) {
        match read(&store(context, &plan.image), inputs) {
            Some(observations) => known.push((plan.service.clone(), observations)),
            None => new.push(plan.service.clone()),
        }
    }
    let (skipped, started) = (known.len(), std::time::Instant::now());
    if !new.is_empty() {
        for (service, observations) in run::run(context, ready, &plans, &new)? {
            let plan = plans.iter().find(|plan| plan.service == service).context("an image has a plan")?;
            let image = place(view, &service)?;
            let record = Record { inputs, observations };
            let mut seen = Findings::default();
            judge::judge(image, &record.observations, &mut seen);
            // What gave a finding is tried again next time: a busy machine can make a container late.
            if seen.found.is_empty() {
                let file = store(context, &plan.image);
                std::fs::create_dir_all(file.parent().context("a record lies in a folder")?)?;
                std::fs::write(&file, serde_json::to_vec_pretty(&record)?).with_context(|| format!("write {file}"))?;
            }
            known.push((service, record.observations));
        }
    }
    let seconds_tried = (started.elapsed().as_secs_f64() * 10.0).round() / 10.0;
    known.sort_by(|a, b| a.0.cmp(&b.0));
    let mut containers = 0;
    for (service, observations) in &known {
        judge::judge(place(view, service)?, observations, findings);
        containers += observations.len();
    }
    outcome.checked("containers tried", containers);
    let seconds = |case: &Case| {
        let of = |observations: &Vec<Observation>| {
            observations.iter().find(|o| o.case == *case).map(|o| (o.seconds * 100.0).round() / 100.0)
        };
        known
            .iter()
            .filter_map(|(service, list)| Some((service.clone(), json!(of(list)?))))
            .collect::<serde_json::Map<_, _>>()
    };
    outcome.evidence(
        "live",
        json!({
            "images_tried_now": new,
            "images_known_from_earlier": skipped,
            "seconds": seconds_tried,
            "ready_after_seconds": seconds(&Case::Documented),
        }),
    );
    Ok(())
}

fn place<'a>(view: &View<'a>, service: &str) -> Result<&'a ImagePlace> {
    view.places.images.iter().find(|image| image.service == service).context("an image has a place")
}

fn store(context: &Context, id: &str) -> Utf8PathBuf {
    context.project.out().join("audit/live").join(format!("{}.json", id.trim_start_matches("sha256:")))
}

fn read(file: &Utf8PathBuf, inputs: u64) -> Option<Vec<Observation>> {
    let record: Record = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    (record.inputs == inputs && !record.observations.is_empty()).then_some(record.observations)
}

fn inputs(view: &View<'_>, plans: &[plan::Plan], ready: &Ready) -> u64 {
    let mut hasher = DefaultHasher::new();
    (VERSION, &ready.postgres.id).hash(&mut hasher);
    view.policy.live.hash(&mut hasher);
    for plan in plans {
        // The names and the values from the repository; secrets differ from run to run and decide nothing.
        (&plan.service, &plan.known, &plan.probe).hash(&mut hasher);
    }
    hasher.finish()
}

/// The places that judge and plan share.
fn malformed_of(image: &ImagePlace, number: usize) -> Vec<(String, &'static str)> {
    let malformed = |variable: &super::contract::Variable| {
        variable.value_type.malformed().get(number).map(|text| (variable.name.clone(), *text))
    };
    image.contract.variables.iter().filter_map(malformed).collect()
}
