//! Compose and Kubernetes start the same thing: variables, image, user, healthcheck, what may be written.

use std::collections::BTreeSet;

use crate::kubernetes::{Cluster, Container};
use crate::places::{Deployment, Healthcheck};
use crate::view::{About, Findings, View};
use xtask_image_config::ImageUser;
use xtask_outcome::Place;

pub(super) fn check(view: &View<'_>, findings: &mut Findings) {
    // An override file beside it is a developer's own.
    let Some(compose) = view.stacks.first().filter(|_| !view.places.compose.is_empty() && !view.places.is_stack_unread)
    else {
        return;
    };
    for cluster in &view.clusters {
        for composed in &compose.deployments {
            let Some((container, deployment)) = cluster.pairs().find(|(_, one)| one.answers_to(&composed.name)) else {
                let place = Place::new(&cluster.stack.file);
                let about = About { place: &place, service: &composed.name, variable: "" };
                let message = format!("Compose starts {}, and nothing here does", composed.name);
                findings.add(
                    "different-stack",
                    &about,
                    message,
                    "add the workload and its Service, or correct the name",
                );
                continue;
            };
            variables(view, cluster, composed, deployment, findings);
            the_rest(view, composed, container, deployment, findings);
        }
        for (container, deployment) in cluster.pairs().filter(|(container, _)| !container.is_init) {
            if !compose.deployments.iter().any(|composed| deployment.answers_to(&composed.name)) {
                let about = About { place: &container.place, service: &deployment.name, variable: "" };
                let message = format!("{} is not a service in the Compose file", deployment.name);
                findings.add("different-stack", &about, message, "add it there, or correct the name of its Service");
            }
        }
    }
}

fn variables(
    view: &View<'_>,
    cluster: &Cluster,
    composed: &Deployment,
    deployment: &Deployment,
    findings: &mut Findings,
) {
    let names = |one: &Deployment| -> BTreeSet<String> {
        one.settings.iter().filter(|setting| !setting.is_hidden).map(|setting| setting.name.clone()).collect()
    };
    let service = &deployment.name;
    let place = deployment.place.clone().unwrap_or_else(|| Place::new(&deployment.file));
    for name in names(composed).union(&names(deployment)).filter(|name| !deployment.parts.contains(*name)) {
        let is_own = view.policy.kubernetes.is_own(&cluster.stack.file, service, name);
        let here = deployment.setting(name);
        let about = About { place: here.map_or(&place, |setting| &setting.place), service, variable: name };
        match (composed.setting(name), here) {
            (Some(there), Some(here)) if there.is_judged || here.is_judged => {}
            (Some(there), Some(here)) if findings.has(&there.place, name) || findings.has(&here.place, name) => {}
            (Some(there), Some(here)) => {
                let (one, other) = (there.value.fill(&|_| None, ""), here.value.fill(&|_| None, ""));
                if one.has_unknown != other.has_unknown {
                    let message = format!(
                        "{name} of {service} must be given in one of Compose and Kubernetes and need not in the other"
                    );
                    findings.add("different-setting", &about, message, "make the two agree");
                } else if !one.has_unknown && one.text != other.text {
                    let message = format!("{name} of {service} is another one than in the Compose file");
                    findings.add("different-setting", &about, message, "make the two agree");
                }
            }
            _ if here.is_none() && deployment.has_unread_source => {}
            (Some(_), None) => {
                let message = format!("the Compose file sets {name} of {service}, and nothing here does");
                findings.add("different-setting", &about, message, "set it here as well");
            }
            (None, Some(_)) if !is_own && !composed.has_unread_source => {
                let message = format!("{name} of {service} is set here and not in the Compose file");
                findings.add(
                    "different-setting",
                    &about,
                    message,
                    "set it there as well, or allow it in xtask/policy/env.toml, [[kubernetes.own]]",
                );
            }
            _ => {}
        }
    }
    for own in view
        .policy
        .kubernetes
        .own
        .iter()
        .filter(|own| view.policy.kubernetes.is_own(&cluster.stack.file, service, &own.variable))
    {
        if deployment.setting(&own.variable).is_none() && !deployment.has_unread_source {
            let about = About { place: &place, service, variable: &own.variable };
            let message = format!("{} of {service} is to be set here", own.variable);
            findings.add(
                "different-setting",
                &about,
                message,
                "set it, or delete it from xtask/policy/env.toml, [[kubernetes.own]]",
            );
        }
    }
}

fn the_rest(
    view: &View<'_>,
    composed: &Deployment,
    container: &Container,
    deployment: &Deployment,
    findings: &mut Findings,
) {
    let name = &deployment.name;
    let differs = |what: &str, variable: &'static str, findings: &mut Findings| {
        let about = About { place: &container.place, service: name, variable };
        let message = format!("{name} has {what} than in the Compose file");
        findings.add("different-stack", &about, message, "make the two agree");
    };
    let whole = |one: &Deployment| one.image.fill(&|_| None, "").text;
    let last = |one: &Deployment| one.repository().rsplit('/').next().unwrap_or_default().to_owned();
    // Our own images come from a registry in one and from the engine in the other; those of others are the very same.
    let is_same_image = match view.own_contract(composed) {
        Some(_) => last(composed) == last(deployment),
        None => whole(composed) == whole(deployment),
    };
    if !is_same_image {
        differs("another image", "image", findings);
    }
    if let Some(ImageUser::Number { uid, .. }) = composed.user.as_deref().map(ImageUser::parse)
        && container.run_as_user.is_some_and(|user| user != i64::from(uid))
    {
        differs("another user", "securityContext", findings);
    }
    if let Some(image) = view.places.images.iter().find(|image| Some(&image.contract) == view.own_contract(deployment))
        && let ImageUser::Number { uid, .. } = ImageUser::parse(image.config["User"].as_str().unwrap_or_default())
        && container.run_as_user.is_some_and(|user| user != i64::from(uid))
    {
        let about = About { place: &container.place, service: name, variable: "securityContext" };
        findings.add(
            "different-stack",
            &about,
            format!("{name} runs as another user than its image says"),
            "make the two agree",
        );
    }
    let is_command = |one: &Deployment| matches!(one.healthcheck, Healthcheck::Command(_));
    if is_command(composed) && is_command(deployment) && composed.healthcheck != deployment.healthcheck {
        differs("another question in its readinessProbe", "readinessProbe", findings);
    }
    if composed.writable != deployment.writable {
        differs("other places to write to", "volumeMounts", findings);
    }
}
