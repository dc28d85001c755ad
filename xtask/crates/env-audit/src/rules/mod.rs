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
mod texts;

use super::view::{Findings, View};

/// Every rule over everything that was read.
pub(crate) fn check(view: &View<'_>) -> Findings {
    let mut findings = Findings::default();
    let of_manifests = view.places.kubernetes.iter().flat_map(|place| &place.problems);
    for problem in view.places.problems.iter().chain(of_manifests) {
        findings.add_known(problem);
    }
    contracts::check(view, &mut findings);
    deployments::check(view, &mut findings);
    addresses::check(view, &mut findings);
    healthchecks::check(view, &mut findings);
    builds::check(view, &mut findings);
    env_files::check(view, &mut findings);
    documents::check(view, &mut findings);
    kubernetes::check(view, &mut findings);
    agreement::check(view, &mut findings);
    texts::check(view, &mut findings);
    findings
}
