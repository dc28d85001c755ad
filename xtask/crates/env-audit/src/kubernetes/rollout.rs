//! What a rendering says beside its pods: who is scaled, whose replicas never go all at once, where data is kept.

use serde_json::Value;

use super::list;
use super::network::selects;
use super::objects::{Objects, PodTemplate};
use xtask_outcome::Place;

/// The workloads of a rendering, and the claims.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rollout {
    /// The Deployments.
    pub(crate) workloads: Vec<Workload>,
    pub(crate) claims: Vec<Claim>,
}

#[derive(Debug, Clone)]
pub(crate) struct Workload {
    pub(crate) name: String,
    pub(crate) place: Place,
    /// The images of its containers.
    pub(crate) images: Vec<String>,
    pub(crate) has_autoscaler: bool,
    pub(crate) has_budget: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Claim {
    /// That of the workload it belongs to, or its own.
    pub(crate) owner: String,
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) has_class: bool,
}

impl Rollout {
    pub(crate) fn of(objects: &Objects<'_>, templates: &[PodTemplate<'_>]) -> Self {
        let workload = |template: &PodTemplate<'_>| Workload {
            name: template.name.clone(),
            place: objects.place(&template.kind, &template.name, &["spec"]),
            images: template.running().filter_map(|one| one["image"].as_str().map(ToOwned::to_owned)).collect(),
            has_autoscaler: objects.of_kind("HorizontalPodAutoscaler").any(|scaler| {
                let target = &scaler["spec"]["scaleTargetRef"];
                target["kind"] == template.kind.as_str() && target["name"] == template.name.as_str()
            }),
            has_budget: objects.of_kind("PodDisruptionBudget").any(|budget| {
                budget["spec"]["selector"].is_object() && selects(&budget["spec"]["selector"], template.labels)
            }),
        };
        let workloads = templates.iter().filter(|template| template.kind == "Deployment").map(workload).collect();
        Self { workloads, claims: claims(objects) }
    }
}

fn claims(objects: &Objects<'_>) -> Vec<Claim> {
    let mut claims = Vec::new();
    let has_class = |spec: &Value| spec["storageClassName"].as_str().is_some_and(|name| !name.is_empty());
    let name_of = |object: &Value| object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    for claim in objects.of_kind("PersistentVolumeClaim") {
        let name = name_of(claim);
        let place = objects.place("PersistentVolumeClaim", &name, &["spec"]);
        claims.push(Claim { owner: name.clone(), name, place, has_class: has_class(&claim["spec"]) });
    }
    for set in objects.of_kind("StatefulSet") {
        let owner = name_of(set);
        for claim in list(&set["spec"]["volumeClaimTemplates"]) {
            let place = objects.place("StatefulSet", &owner, &["spec", "volumeClaimTemplates"]);
            let (owner, name) = (owner.clone(), name_of(claim));
            claims.push(Claim { owner, name, place, has_class: has_class(&claim["spec"]) });
        }
    }
    claims
}
