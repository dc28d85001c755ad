//! The live audit: what an image does with its variables, and what it does without them.
//!
//! What containers did is a fact of the image id and is kept by it; what that means is judged each time.

mod trial;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Instant;

use anyhow::Result;
use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};
use xtask_engine::Ready;
use xtask_env_audit::live::{Case, Observation, Plan};
use xtask_env_audit::{Audit, Policy, Selection};
use xtask_outcome::Outcome;
use xtask_process::put;
use xtask_workspace::Context;

pub use self::trial::remove_leftovers;

/// Changes when the audit asks for more than before.
const VERSION: u32 = 3;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    /// What else than the image decided about the containers.
    inputs: u64,
    observations: Vec<Observation>,
}

/// Tries the images that were not tried yet and judges all.
///
/// # Errors
/// When the engine fails. What a container did wrong is a finding.
pub fn check(
    context: &Context,
    ready: &Ready,
    policy: &Policy,
    audit: &mut Audit<'_>,
    selection: &Selection,
    outcome: &mut Outcome,
) -> Result<()> {
    trial::remove_leftovers(context, &ready.docker)?;
    let plans = audit.plans();
    let inputs = inputs(policy, &plans, ready);
    let (mut known, mut new) = (BTreeMap::new(), Vec::new());
    for plan in plans.iter().filter(|plan| selection.contains(&plan.service)) {
        match read(&store(context, &plan.image), inputs) {
            Some(observations) => drop(known.insert(plan.service.clone(), observations)),
            None => new.push(plan.service.clone()),
        }
    }
    let (skipped, started) = (known.len(), Instant::now());
    if !new.is_empty() {
        for (service, observations) in trial::run(context, ready, &plans, &new)? {
            // What gave a finding is tried again next time: a busy machine can make a container late.
            if audit.is_fine(&service, &observations)
                && let Some(plan) = plans.iter().find(|plan| plan.service == service)
            {
                let record = Record { inputs, observations: observations.clone() };
                put(&store(context, &plan.image), serde_json::to_vec_pretty(&record)?)?;
            }
            known.insert(service, observations);
        }
    }
    let seconds_tried = (started.elapsed().as_secs_f64() * 10.0).round() / 10.0;
    for (service, observations) in &known {
        audit.observed(service, observations);
    }
    outcome.checked("containers tried", known.values().map(Vec::len).sum());
    let ready_after = |observations: &[Observation]| {
        let documented = observations.iter().find(|seen| seen.case == Case::Documented);
        documented.map(|seen| (seen.seconds * 100.0).round() / 100.0)
    };
    let ready_after: Map<_, _> =
        known.iter().filter_map(|(service, list)| Some((service.clone(), json!(ready_after(list)?)))).collect();
    outcome.evidence("images_tried_now", new);
    outcome.evidence("images_known_from_earlier", skipped);
    outcome.evidence("seconds", seconds_tried);
    outcome.evidence("ready_after_seconds", ready_after);
    Ok(())
}

fn store(context: &Context, id: &str) -> Utf8PathBuf {
    context.project.out().join("audit/live").join(format!("{}.json", id.trim_start_matches("sha256:")))
}

fn read(file: &Utf8PathBuf, inputs: u64) -> Option<Vec<Observation>> {
    let record: Record = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    (record.inputs == inputs && !record.observations.is_empty()).then_some(record.observations)
}

fn inputs(policy: &Policy, plans: &[Plan], ready: &Ready) -> u64 {
    let mut hasher = DefaultHasher::new();
    (VERSION, ready.neighbours.iter().map(|(_, base)| &base.id).collect::<Vec<_>>()).hash(&mut hasher);
    policy.live.hash(&mut hasher);
    for plan in plans {
        // The names and the values from the repository; secrets differ from run to run and decide nothing.
        (&plan.service, &plan.known, &plan.variables, &plan.probe).hash(&mut hasher);
    }
    hasher.finish()
}
