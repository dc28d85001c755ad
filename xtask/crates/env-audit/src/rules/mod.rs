//! What must hold. Each file is about one kind of place; none of them ever sees a secret's value.

mod addresses;
mod agreement;
mod builds;
mod contracts;
mod deployments;
mod documents;
mod env_files;
mod healthchecks;
mod kubernetes;
mod rollout;
mod texts;

use super::view::{Findings, View};

/// One file's rules.
pub(crate) type Check = fn(&View<'_>, &mut Findings);

/// Every rule, in the order of their findings: what follows from an earlier one is no finding of a later one.
pub(crate) const ALL: [Check; 12] = [
    problems,
    contracts::check,
    deployments::check,
    addresses::check,
    healthchecks::check,
    kubernetes::check,
    rollout::check,
    agreement::check,
    builds::check,
    env_files::check,
    documents::check,
    texts::check,
];

/// The rules about the generated files alone.
#[cfg(test)]
pub(crate) const OF_GENERATED: [Check; 2] = [env_files::check, documents::check];

/// Every rule over everything that was read.
pub(crate) fn check(view: &View<'_>) -> Findings {
    let mut findings = Findings::default();
    ALL.iter().for_each(|check| check(view, &mut findings));
    findings
}

/// What the reading found.
fn problems(view: &View<'_>, findings: &mut Findings) {
    let of_manifests = view.places.kubernetes.iter().flat_map(|place| &place.problems);
    for problem in view.places.problems.iter().chain(of_manifests) {
        findings.add_known(problem);
    }
}
