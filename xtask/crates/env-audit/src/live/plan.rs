//! Which containers to start with which variables: a plain value.

use super::{Case, malformed_of};
use crate::contract::{Kind, Variable};
use crate::places::{Deployment, Healthcheck, ImagePlace};
use crate::view::{About, Findings, View};
use xtask_outcome::Place;

/// How many values of another type each variable is given, one a container.
const MALFORMED_ROUNDS: usize = 5;

/// What is to be tried with one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// `user`.
    pub service: String,
    /// The id of its image.
    pub image: String,
    /// The variables whose good values are known beforehand, in the contract's order.
    pub known: Vec<(String, String)>,
    /// The variables whose values have to be made for this run.
    pub made: Vec<(String, Made)>,
    /// The names of all its variables.
    pub variables: Vec<String>,
    /// The program's own probe.
    pub probe: Vec<String>,
    /// What libraries read, and a value that would disturb them.
    pub nonsense: Vec<(String, String)>,
    /// What to set, or not to set, in the containers that have to end by themselves.
    pub trials: Vec<Trial>,
}

/// A value that no file may hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Made {
    /// The URL of a throw-away neighbour, by what it begins with.
    Neighbour(String),
    /// The private one of a new pair of keys.
    SigningKey,
    /// The public one of that pair.
    PublicKey,
    /// A random text.
    Password,
}

/// A container that has to end by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// What it shows.
    pub case: Case,
    /// Start from the good values, or from nothing.
    pub from_good: bool,
    /// What differs from there; `None` takes a variable away.
    pub changes: Vec<(String, Option<String>)>,
    /// Whether it is also given the nonsense.
    pub nonsense: bool,
}

impl Plan {
    /// The neighbours that it needs, by what their URLs begin with.
    pub fn neighbours(&self) -> impl Iterator<Item = &str> {
        self.made
            .iter()
            .filter_map(|(_, made)| if let Made::Neighbour(scheme) = made { Some(scheme.as_str()) } else { None })
    }
}

/// A plan for every image, and a finding for every required variable of which no good value is known.
pub(crate) fn plans(view: &View<'_>, findings: &mut Findings) -> Vec<Plan> {
    view.places.images.iter().filter_map(|place| plan(view, place, findings)).collect()
}

fn plan(view: &View<'_>, place: &ImagePlace, findings: &mut Findings) -> Option<Plan> {
    let of_this = |deployment: &&Deployment| {
        view.own_contract(deployment).is_some_and(|contract| contract.image == place.contract.image)
    };
    let stack = view.stacks.first();
    let deployment = stack.and_then(|stack| stack.deployments.iter().find(of_this));
    let (mut known, mut made, mut is_complete) = (Vec::new(), Vec::new(), true);
    for variable in &place.contract.variables {
        match good_value(view, deployment, variable) {
            Some(Good::Known(value)) => known.push((variable.name.clone(), value)),
            Some(Good::Made(what)) => made.push((variable.name.clone(), what)),
            None if variable.kind == Kind::Required => {
                is_complete = false;
                no_sample(place, deployment, variable, findings);
            }
            None => {}
        }
    }
    let nonsense = &view.policy.live.nonsense;
    is_complete.then(|| Plan {
        service: place.service.clone(),
        image: place.id.clone(),
        known,
        made,
        variables: place.contract.variables.iter().map(|variable| variable.name.clone()).collect(),
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

/// The container cannot be started, since nobody says what to give it.
fn no_sample(place: &ImagePlace, deployment: Option<&Deployment>, variable: &Variable, findings: &mut Findings) {
    let (service, name) = (&place.service, &variable.name);
    let at = deployment.and_then(|deployment| deployment.place.clone());
    let about =
        About { place: &at.unwrap_or_else(|| Place::new(format!("image of {service}"))), service, variable: name };
    let next = format!(
        "set {name} for {service} in the Compose file; if it is not to be set there, give the live audit a value in xtask/policy/env.toml, [live.samples]"
    );
    let message = format!("{service} requires {name}, and no value of it is known, so the image could not be tried");
    findings.add("no-sample", &about, message, next);
}

enum Good {
    Known(String),
    Made(Made),
}

/// What the stack gives, else what the type says, else a sample, else the default. `None` leaves it unset.
fn good_value(view: &View<'_>, deployment: Option<&Deployment>, variable: &Variable) -> Option<Good> {
    let set = deployment.and_then(|deployment| deployment.setting(&variable.name));
    let filled = set.map(|setting| setting.value.fill(&|_| None, ""));
    let schemes = &view.policy.interface.schemes;
    if variable.value_type.is_url() {
        let text = filled.as_ref().map(|filled| filled.text.as_str()).unwrap_or_default();
        let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_owned()).filter(|one| schemes.contains(one));
        let scheme = scheme.or_else(|| schemes.first().filter(|_| variable.secret).cloned());
        if let Some(scheme) = scheme {
            return Some(Good::Made(Made::Neighbour(scheme)));
        }
    }
    if variable.secret {
        return Some(Good::Made(if variable.value_type.is_key() { Made::SigningKey } else { Made::Password }));
    }
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
    let required = || place.contract.variables.iter().filter(|variable| variable.kind == Kind::Required);
    let mut trials = Vec::new();
    // What requires nothing is right to start without any variable, as it does with the documented ones.
    if required().next().is_some() {
        trials.extend([nothing(Case::Nothing, false), nothing(Case::NothingButNonsense, true)]);
    }
    for variable in required() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutations::repository;
    use crate::places::Places;

    /// Case Q09: a finding for the one variable, first with where it is to be set, and the other images are tried.
    #[test]
    fn a_variable_without_a_sample_is_a_finding_and_the_other_images_are_tried() {
        let (mut places, policy) = (repository(), crate::repository::policy());
        let services = &mut places.compose[0].rendered["services"];
        services["order"]["environment"].as_object_mut().unwrap().remove("PRODUCT_URL");
        let view = View::new(&places, &policy);
        let mut findings = Findings::default();
        let plans = plans(&view, &mut findings);
        let planned: Vec<_> = plans.iter().map(|plan| plan.service.as_str()).collect();
        assert_eq!(planned, ["gateway", "product", "user"]);
        let told: Vec<_> = findings.found.iter().map(|found| found.finding.to_string()).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("[no-sample]: order requires PRODUCT_URL"), "{told:?}");
        assert!(told[0].contains("next: set PRODUCT_URL for order in the Compose file"), "{told:?}");
    }

    /// Case Q09.
    #[test]
    fn a_service_without_required_variables_is_not_tried_without_them() {
        let mut places = repository();
        let trials_of =
            |places: &Places| trials(&places.images[0]).into_iter().map(|trial| trial.case).collect::<Vec<_>>();
        assert!(trials_of(&places).contains(&Case::Nothing));
        places.images[0].contract.variables.retain(|variable| variable.kind != Kind::Required);
        let left = trials_of(&places);
        assert!(!left.is_empty() && left.iter().all(|case| matches!(case, Case::AllMalformed(_))), "{left:?}");
    }
}
