//! What goes to production (case Q12): images from a registry, replicas like those of the neighbours, data that is kept somewhere.

use crate::contract::Contract;
use crate::kubernetes::Cluster;
use crate::kubernetes::Rollout;
use crate::view::{About, Findings, View};

pub(super) fn check(view: &View<'_>, findings: &mut Findings) {
    for cluster in &view.clusters {
        let is_rolled_out = images(view, cluster, findings);
        alike(view, &cluster.rollout, findings);
        if is_rolled_out {
            claims(view, cluster, findings);
        }
    }
}

/// Where one of our own images comes from a registry, all do. Gives whether one does.
fn images(view: &View<'_>, cluster: &Cluster, findings: &mut Findings) -> bool {
    let own: Vec<_> = cluster.pairs().filter(|(_, one)| view.own_contract(one).is_some()).collect();
    let (mapped, others): (Vec<_>, Vec<_>) = own.into_iter().partition(|(_, one)| has_registry(&one.repository()));
    for (container, deployment) in others.iter().filter(|_| !mapped.is_empty()) {
        let name = &deployment.name;
        let about = About { place: &container.place, service: name, variable: "image" };
        let folder = &cluster.stack.file;
        let message =
            format!("{folder} renders the image of {name} without a registry, and those of its neighbours with one");
        findings.add("unmapped-image", &about, message, format!("add it to `images` in {folder}"));
    }
    !mapped.is_empty()
}

/// `registry.example/…`, `localhost:5000/…`.
fn has_registry(repository: &str) -> bool {
    let first = repository.split_once('/').map(|(first, _)| first);
    first.is_some_and(|first| first.contains(['.', ':']) || first == "localhost")
}

/// What more than half of the neighbours have, each has.
fn alike(view: &View<'_>, rollout: &Rollout, findings: &mut Findings) {
    let is_own = |image: &String| {
        let name = image.split('@').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
        let name = name.split(':').next().unwrap_or_default();
        view.places.images.iter().any(|one| matches!(&one.contract, Contract { image, .. } if image == name))
    };
    let own: Vec<_> = rollout.workloads.iter().filter(|one| one.images.iter().any(is_own)).collect();
    for workload in &own {
        let neighbours = own.len() - 1;
        for (what, has, with) in [
            ("HorizontalPodAutoscaler", workload.has_autoscaler, own.iter().filter(|one| one.has_autoscaler).count()),
            ("PodDisruptionBudget", workload.has_budget, own.iter().filter(|one| one.has_budget).count()),
        ] {
            if !has && 2 * with > neighbours {
                let name = &workload.name;
                let about = About { place: &workload.place, service: name, variable: what };
                let message = format!("{name} has no {what}, and {with} of its {neighbours} neighbours have one");
                findings.add(
                    "unlike-neighbours",
                    &about,
                    message,
                    format!("give {name} one, or take it from the others"),
                );
            }
        }
    }
}

/// Without a class a claim waits for ever in a cluster that has no default one.
fn claims(view: &View<'_>, cluster: &Cluster, findings: &mut Findings) {
    let claims = &cluster.rollout.claims;
    let is_named_elsewhere = claims.iter().any(|claim| claim.has_class);
    for claim in claims.iter().filter(|claim| !claim.has_class) {
        if view.policy.kubernetes.default_storage_class && !is_named_elsewhere {
            continue;
        }
        let about = About { place: &claim.place, service: &claim.owner, variable: "storageClassName" };
        let message = format!("the claim {} of {} names no storage class", claim.name, claim.owner);
        let next =
            "name one, or say in xtask/policy/env.toml that every cluster has a default: default-storage-class = true";
        findings.add("no-storage-class", &about, message, next);
    }
}
