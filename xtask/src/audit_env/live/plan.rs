//! Which containers to start with which variables: a plain value.

use anyhow::Result;

use super::{Case, malformed_of};
use crate::audit_env::contract::{Kind, Variable};
use crate::audit_env::places::{Deployment, Healthcheck, ImagePlace};
use crate::audit_env::view::View;
use crate::build_images::BuiltImage;
use crate::outcome::Stop;

/// How many values of another type each variable is given, one a container.
const MALFORMED_ROUNDS: usize = 5;

/// What is to be tried with one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) service: String,
    pub(crate) image: String,
    /// The variables whose good values are known beforehand, in the contract's order.
    pub(crate) known: Vec<(String, String)>,
    /// The variables whose values have to be made for this run.
    pub(crate) made: Vec<(String, Made)>,
    /// The program's own probe.
    pub(crate) probe: Vec<String>,
    pub(crate) nonsense: Vec<(String, String)>,
    /// What to set, or not to set, in the containers that have to end by themselves.
    pub(crate) trials: Vec<Trial>,
}

/// A value that no file may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Made {
    /// The URL of a throw-away database.
    Database,
    SigningKey,
    PublicKey,
    Password,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trial {
    pub(crate) case: Case,
    /// Start from the good values, or from nothing.
    pub(crate) from_good: bool,
    /// What differs from there; `None` takes a variable away.
    pub(crate) changes: Vec<(String, Option<String>)>,
    pub(crate) nonsense: bool,
}

impl Plan {
    pub(crate) fn needs_database(&self) -> bool {
        self.made.iter().any(|(_, made)| *made == Made::Database)
    }
}

pub(crate) fn plans(view: &View<'_>, images: &[BuiltImage]) -> Result<Vec<Plan>> {
    let mut plans = Vec::new();
    for place in &view.places.images {
        let Some(built) = images.iter().find(|image| image.name == place.service) else { continue };
        plans.push(plan(view, place, &built.facts.id)?);
    }
    Ok(plans)
}

fn plan(view: &View<'_>, place: &ImagePlace, id: &str) -> Result<Plan> {
    let of_this = |deployment: &&Deployment| {
        view.own_contract(deployment).is_some_and(|contract| contract.image == place.contract.image)
    };
    let deployment = view.stacks.first().and_then(|stack| stack.deployments.iter().find(of_this));
    let (mut known, mut made) = (Vec::new(), Vec::new());
    for variable in &place.contract.variables {
        match good_value(view, deployment, variable) {
            Some(Good::Known(value)) => known.push((variable.name.clone(), value)),
            Some(Good::Made(what)) => made.push((variable.name.clone(), what)),
            None if variable.kind == Kind::Required => {
                let text = format!(
                    "the live audit knows no good value of {} for {}; next: add one to xtask/policy/env.toml, [live.samples]",
                    variable.name, place.service
                );
                return Err(Stop::Repository(text).into());
            }
            None => {}
        }
    }
    let nonsense = &view.policy.live.nonsense;
    Ok(Plan {
        service: place.service.clone(),
        image: id.to_owned(),
        known,
        made,
        probe: probe(deployment, place),
        // A name of the contract is no nonsense.
        nonsense: nonsense
            .iter()
            .filter(|(name, _)| place.contract.meaning(name).is_none())
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        trials: trials(place),
    })
}

enum Good {
    Known(String),
    Made(Made),
}

/// What the stack gives, else what the type says, else a sample, else the default. `None` leaves it unset.
fn good_value(view: &View<'_>, deployment: Option<&Deployment>, variable: &Variable) -> Option<Good> {
    if variable.secret {
        return Some(Good::Made(match &variable.value_type {
            url if url.is_url() => Made::Database,
            key if key.is_key() => Made::SigningKey,
            _ => Made::Password,
        }));
    }
    let set = deployment.and_then(|deployment| deployment.setting(&variable.name));
    let filled = set.map(|setting| setting.value.fill(&|_| None, ""));
    if let Some(filled) = filled.filter(|filled| !filled.has_unknown && !filled.text.trim().is_empty()) {
        return Some(Good::Known(filled.text));
    }
    if variable.value_type.is_key() {
        return Some(Good::Made(Made::PublicKey));
    }
    let sample = view.policy.live.samples.get(&variable.name).cloned();
    sample.or_else(|| variable.default.clone()).map(Good::Known)
}

fn probe(deployment: Option<&Deployment>, place: &ImagePlace) -> Vec<String> {
    if let Some(Healthcheck::Command(words)) = deployment.map(|deployment| &deployment.healthcheck) {
        return words.clone();
    }
    let test = place.config["Healthcheck"]["Test"].as_array().into_iter().flatten();
    test.skip(1).filter_map(|word| word.as_str().map(ToOwned::to_owned)).collect()
}

fn trials(place: &ImagePlace) -> Vec<Trial> {
    let nothing = |case, nonsense| Trial { case, from_good: false, changes: Vec::new(), nonsense };
    let mut trials = vec![nothing(Case::Nothing, false), nothing(Case::NothingButNonsense, true)];
    for variable in place.contract.variables.iter().filter(|variable| variable.kind == Kind::Required) {
        let name = &variable.name;
        let mut one = |case, value: Option<&str>| {
            let changes = vec![(name.clone(), value.map(ToOwned::to_owned))];
            trials.push(Trial { case, from_good: true, changes, nonsense: false });
        };
        one(Case::Missing(name.clone()), None);
        one(Case::Blank(name.clone()), Some(" "));
        if let Some(text) = variable.value_type.malformed().first() {
            one(Case::Malformed(name.clone()), Some(text));
        }
    }
    for number in 0..MALFORMED_ROUNDS {
        let changes: Vec<_> =
            malformed_of(place, number).into_iter().map(|(name, text)| (name, Some(text.to_owned()))).collect();
        if !changes.is_empty() {
            trials.push(Trial { case: Case::AllMalformed(number), from_good: true, changes, nonsense: false });
        }
    }
    trials
}
