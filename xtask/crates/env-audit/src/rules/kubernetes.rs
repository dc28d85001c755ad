//! What the manifests say on their own: sources that exist, users that are provably not root, probes, Services.

use std::collections::BTreeMap;

use super::addresses::listening;
use super::texts::is_written_out;
use crate::kubernetes::{Cluster, Container, exec_words, is_link};
use crate::places::{Deployment, ImagePlace};
use crate::policy::Interface;
use crate::value_type::milliseconds;
use crate::view::{About, Findings, View};
use crate::yaml::Node;
use xtask_image_config::{ImageGroup, ImageUser};
use xtask_outcome::Place;

/// Below it only root may listen.
const FIRST_FREE_PORT: u64 = 1024;
const PORT: &str = "PORT";
const DRAIN: &str = "DRAIN_DELAY";
const SHUTDOWN: &str = "SHUTDOWN_TIMEOUT";

pub(super) fn check(view: &View<'_>, findings: &mut Findings) {
    users_of_images(view, findings);
    files(view, findings);
    for cluster in &view.clusters {
        for problem in &cluster.problems {
            let about = About { place: &problem.place, service: &problem.service, variable: &problem.variable };
            findings.add(problem.rule, &about, problem.message.clone(), problem.next_step);
        }
        config_maps(view, cluster, findings);
        secrets(view, cluster, findings);
        services(view, cluster, findings);
        for (container, deployment) in cluster.pairs() {
            let subject = Subject { view, container, deployment, image: image_of(view, deployment) };
            subject.user(findings);
            subject.service_links(cluster, findings);
            subject.data(findings);
            subject.end(findings);
            if subject.image.is_some() && !container.is_init {
                subject.probes(findings);
                subject.drain(findings);
                subject.port(findings);
            }
        }
    }
}

/// Case I03: the built image's user, whatever line of which Dockerfile set it.
fn users_of_images(view: &View<'_>, findings: &mut Findings) {
    for image in view.places.images.iter().filter(|image| image.is_built()) {
        let place = Place::new(format!("image of {}", image.service));
        let about = About { place: &place, service: &image.service, variable: "USER" };
        let service = &image.service;
        match ImageUser::parse(image.config["User"].as_str().unwrap_or_default()) {
            ImageUser::Root => {
                findings.add("root-user", &about, format!("the image of {service} runs as root"), "set a numeric USER");
            }
            ImageUser::Name | ImageUser::Odd => {
                let message =
                    format!("the image of {service} names its user, which Kubernetes cannot prove not to be root");
                findings.add("named-user", &about, message, "write the user as a number");
            }
            ImageUser::Number { group: ImageGroup::Root, .. } => {
                findings.notes.push(format!("the image of {service} runs in root's group"));
            }
            ImageUser::Number { .. } => {}
        }
    }
}

/// Built-in kinds that live in a namespace. What else there is may belong to the whole cluster.
const NAMESPACED: [&str; 20] = [
    "ConfigMap",
    "CronJob",
    "DaemonSet",
    "Deployment",
    "HorizontalPodAutoscaler",
    "Ingress",
    "Job",
    "LimitRange",
    "NetworkPolicy",
    "PersistentVolumeClaim",
    "Pod",
    "PodDisruptionBudget",
    "ReplicaSet",
    "ResourceQuota",
    "Role",
    "RoleBinding",
    "Secret",
    "Service",
    "ServiceAccount",
    "StatefulSet",
];

/// A namespace is made before everything else, so its file is applied by itself, without the kustomization that gives the others
/// their namespace.
fn files(view: &View<'_>, findings: &mut Findings) {
    let sources: BTreeMap<_, _> = view
        .places
        .kubernetes
        .iter()
        .flat_map(|place| place.sources.iter())
        .map(|source| (source.file.as_str(), &source.documents))
        .collect();
    let kind = |document: &Node| document.get("kind").and_then(Node::text).unwrap_or_default().to_owned();
    for (file, documents) in sources {
        if !documents.iter().any(|document| kind(document) == "Namespace") {
            continue;
        }
        for document in documents.iter().filter(|document| NAMESPACED.contains(&kind(document).as_str())) {
            let metadata = document.get("metadata");
            if metadata.and_then(|metadata| metadata.get("namespace")).is_some() {
                continue;
            }
            let name = metadata.and_then(|metadata| metadata.get("name")).and_then(Node::text).unwrap_or_default();
            let (kind, place) = (kind(document), Place::new(file));
            let message =
                format!("applied by itself, {file} makes the {kind} {name} in whatever namespace is the current one");
            let about = About { place: &place, service: name, variable: "" };
            findings.add("loose-object", &about, message, "move it into a file of its own");
        }
    }
}

/// A secret is no matter for a ConfigMap, and what no container takes has no effect.
fn config_maps(view: &View<'_>, cluster: &Cluster, findings: &mut Findings) {
    for one in &cluster.config_keys {
        let (map, key) = (&one.map, &one.key);
        let about = About { place: &one.place, service: map, variable: key };
        // A document of several lines is no secret because of its name.
        if view.is_secret(key) && is_written_out(&one.value) && !one.value.trim().contains('\n') {
            let message = format!("{key} is a secret and stands in the ConfigMap {map}");
            findings.add(
                "secret-in-config-map",
                &about,
                message,
                "delete it, replace the secret, and take it from a Secret",
            );
        }
        if !one.is_taken && one.is_map_taken && !cluster.misses("ConfigMap") {
            let message = format!("no container takes {key} of the ConfigMap {map} as a variable or a file");
            findings.add("unused-key", &about, message, "take it, or delete it");
        }
    }
    let unused = cluster.config_keys.iter().filter(|one| !one.is_map_taken && !cluster.misses("ConfigMap"));
    let unused: BTreeMap<_, _> = unused.map(|one| (one.map.as_str(), &one.place.name)).collect();
    for (map, file) in unused {
        let place = Place::new(file);
        let about = About { place: &place, service: map, variable: "" };
        let message = format!("no container takes anything that the ConfigMap {map} has, as a variable or a file");
        findings.add(
            "unused-key",
            &about,
            message,
            "take it, or delete it, unless a program reads it from the API server",
        );
    }
}

/// What the policy says of Secrets must be what the containers take.
fn secrets(view: &View<'_>, cluster: &Cluster, findings: &mut Findings) {
    // A Secret that is missing may be one of these under another name.
    if cluster.misses("Secret") {
        return;
    }
    let place = Place::new("xtask/policy/env.toml");
    for (secret, keys) in &view.policy.kubernetes.secrets {
        for key in keys.keys().filter(|key| !cluster.secret_keys.contains(&(secret.clone(), (*key).clone()))) {
            let about = About { place: &place, service: secret, variable: key };
            let message = format!("{key} of the Secret {secret} is taken by nothing in {}", cluster.stack.file);
            findings.add("unused-key", &about, message, "take it, or delete it from the policy");
        }
    }
}

fn services(view: &View<'_>, cluster: &Cluster, findings: &mut Findings) {
    for service in &cluster.services {
        let about = About { place: &service.place, service: &service.name, variable: "" };
        if let Some((message, next_step)) = &service.unselected {
            findings.add("unreachable-address", &about, message, *next_step);
        }
        for port in &service.ports {
            let number = port.port;
            let Some(container) = port.container else {
                let message =
                    format!("port {number} of the Service {} leads to no container of the manifests", service.name);
                findings.add("unreachable-address", &about, message, "correct its targetPort");
                continue;
            };
            // A number that no container names works where the program listens on it.
            let deployment = &cluster.stack.deployments[container];
            let (_, listens) = listening(view, deployment);
            let is_wrong =
                |target: &u64| !listens.is_empty() && !listens.iter().any(|known| u64::from(*known) == *target);
            if let Some(target) = port.unnamed.filter(is_wrong) {
                let listens = listens.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
                let message = format!(
                    "port {number} of the Service {} leads to {target}, and {} listens on {listens}",
                    service.name, deployment.name
                );
                findings.add("unreachable-address", &about, message, "correct its targetPort");
            }
        }
    }
}

fn image_of<'a>(view: &'a View<'_>, deployment: &Deployment) -> Option<&'a ImagePlace> {
    let contract = view.own_contract(deployment)?;
    view.places.images.iter().find(|image| image.contract == *contract)
}

struct Subject<'a> {
    view: &'a View<'a>,
    container: &'a Container,
    deployment: &'a Deployment,
    /// One of our own.
    image: Option<&'a ImagePlace>,
}

impl Subject<'_> {
    fn about(&self, variable: &'static str) -> About<'_> {
        About { place: &self.container.place, service: &self.deployment.name, variable }
    }

    fn user(&self, findings: &mut Findings) {
        let name = &self.deployment.name;
        let title = self.container.title.as_ref().unwrap_or(name);
        let folder = Place::new(&self.deployment.file);
        let about = |key: &str| match self.container.lost.contains(&key) {
            true => About { place: &folder, service: name, variable: "securityContext" },
            false => self.about("securityContext"),
        };
        let is_kept_from_root = self.container.run_as_non_root;
        match self.container.run_as_user {
            Some(0) => {
                findings.add("root-user", &about(""), format!("{title} runs as user 0"), "set another runAsUser");
            }
            Some(user) if !is_kept_from_root => {
                let message = format!("only runAsUser, {user}, keeps {title} from root");
                findings.add("root-user", &about("runAsNonRoot"), message, "set runAsNonRoot: true");
            }
            None if !is_kept_from_root => {
                let message = format!("{title} may run as root");
                findings.add("root-user", &about("runAsNonRoot"), message, "set runAsNonRoot: true");
            }
            // Without it the image decides; ours do, of others nobody knows.
            None if self.image.is_none() => {
                let message =
                    format!("{title} leaves its user to an image that may name it, which runAsNonRoot refuses");
                findings.add("named-user", &about("runAsUser"), message, "set runAsUser to a number");
            }
            _ => {}
        }
        if !self.deployment.read_only {
            findings.add(
                "writable-root",
                &about("readOnlyRootFilesystem"),
                format!("the root of {title} can be written"),
                "set readOnlyRootFilesystem: true",
            );
        }
    }

    /// Case I04: for each Service of the namespace a container gets variables that nobody wrote.
    fn service_links(&self, cluster: &Cluster, findings: &mut Findings) {
        let Some(contract) = self.view.contract(self.deployment).filter(|_| self.container.service_links) else {
            return;
        };
        let names = contract.names();
        for service in &cluster.services {
            for name in names.iter().filter(|name| is_link(&service.name, name)) {
                let about = About { place: &self.container.place, service: &self.deployment.name, variable: name };
                let message = format!(
                    "the Service {} gives {name} of {} an address of its own",
                    service.name, self.deployment.name
                );
                findings.add("service-link", &about, message, "set enableServiceLinks: false");
            }
        }
    }

    /// A restart must not depend on others, a place behind a Service must.
    fn probes(&self, findings: &mut Findings) {
        let name = &self.deployment.name;
        for (probe, is_ready) in
            [("startupProbe", None), ("readinessProbe", Some(true)), ("livenessProbe", Some(false))]
        {
            let about = self.about(probe);
            let Some(value) = self.container.probes.get(probe) else {
                findings.add(
                    "no-healthcheck",
                    &about,
                    format!("{name} has no {probe}"),
                    "ask the program's own healthcheck",
                );
                continue;
            };
            if self.image.is_some_and(|image| !image.is_built()) && exec_words(value).is_some() {
                continue;
            }
            let Interface { alive, ready, .. } = &self.view.policy.interface;
            let asks_ready = match (exec_words(value), value["httpGet"]["path"].as_str()) {
                (Some(words), _) => self.own_healthcheck(&words),
                (None, Some(path)) if path == ready => Some(true),
                (None, Some(path)) if path == alive => Some(false),
                _ => None,
            };
            let Some(asks_ready) = asks_ready else {
                let message = format!("the {probe} of {name} asks for something that the program does not answer");
                findings.add("wrong-probe", &about, message, format!("ask its own healthcheck, or {alive} or {ready}"));
                continue;
            };
            if is_ready.is_some_and(|wanted| wanted != asks_ready) {
                let message = match asks_ready {
                    true => format!("the {probe} of {name} restarts it when a thing that it needs is away"),
                    false => format!("the {probe} of {name} sends requests to a pod that cannot serve them yet"),
                };
                let next = if asks_ready { "ask whether it is alive" } else { "ask whether it is ready: --ready" };
                findings.add("wrong-probe", &about, message, next);
            }
        }
    }

    /// `Some(true)` for the image's own healthcheck with `--ready`, `Some(false)` without.
    fn own_healthcheck(&self, words: &[String]) -> Option<bool> {
        let test = self.image?.config["Healthcheck"]["Test"].as_array()?;
        let own: Vec<_> = test.iter().skip(1).filter_map(|word| word.as_str()).collect();
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let rest = words.strip_prefix(own.as_slice())?;
        match rest {
            [] => Some(false),
            ["--ready"] => Some(true),
            _ => None,
        }
    }

    /// The time before the kill must hold the drain and the requests under way.
    fn drain(&self, findings: &mut Findings) {
        let time = |name: &str| milliseconds(&self.effective(name)?).ok();
        let (Some(drain), Some(shutdown)) = (time(DRAIN), time(SHUTDOWN)) else { return };
        // A source that is missing may set them.
        if self.deployment.has_unread_source {
            return;
        }
        let (name, grace) = (&self.deployment.name, self.container.grace_seconds);
        if drain + shutdown >= grace * 1000 {
            let message = format!("{name} may take {DRAIN} and {SHUTDOWN} to end, and is killed after {grace} s");
            findings.add("short-grace", &self.about(DRAIN), message, "raise terminationGracePeriodSeconds");
        }
        let least = &self.view.policy.kubernetes.least_drain;
        if self.deployment.reached_on.is_some() && milliseconds(least).is_ok_and(|least| drain < least) {
            let message = format!("{name} stops serving before every node has heard that it ends");
            findings.add("short-drain", &self.about(DRAIN), message, format!("set {DRAIN} to {least} or more"));
        }
    }

    fn port(&self, findings: &mut Findings) {
        let Some(listens) = self.effective(PORT).and_then(|port| port.parse::<u64>().ok()) else { return };
        let name = &self.deployment.name;
        if listens < FIRST_FREE_PORT {
            let message = format!("{name} is to listen on {listens}, which takes root");
            findings.add("privileged-port", &self.about(PORT), message, "listen on 1024 or above; a Service maps it");
        }
        // To name its ports is up to the container; what a Service takes is another rule's business.
        if !self.container.ports.is_empty() && !self.container.ports.contains(&listens) {
            let listed = self.container.ports.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
            let message = format!("{name} listens on {listens}, and its containerPort says {listed}");
            findings.add("different-port", &self.about("containerPort"), message, "make the two agree");
        }
        let exposed = self.image.and_then(|image| image.config["ExposedPorts"].as_object());
        if exposed.is_some_and(|ports| !ports.contains_key(&format!("{listens}/tcp"))) {
            let message = format!("{name} listens on {listens}, which its image does not expose");
            findings.add("different-port", &self.about(PORT), message, "make the two agree");
        }
    }

    /// What somebody else's program keeps must lie below something that is kept, and not at its root: that belongs to root.
    fn data(&self, findings: &mut Findings) {
        let Some((image, _)) = self.view.foreign_image(self.deployment) else { return };
        let Some(setting) = image.data.as_deref().and_then(|name| self.deployment.setting(name)) else { return };
        let path = setting.value.literal().unwrap_or_default();
        let kept = self.deployment.writable.iter().filter(|place| !self.container.memory.contains_key(*place));
        if !kept.into_iter().any(|place| path.strip_prefix(place.as_str()).is_some_and(|rest| rest.starts_with('/'))) {
            let (name, variable) = (&self.deployment.name, &setting.name);
            let about = About { place: &setting.place, service: name, variable };
            let message = format!("{variable} of {name} is not a folder on a volume that keeps its data");
            findings.add("unkept-data", &about, message, "name a folder below a volume's mountPath");
        }
    }

    /// Where SIGTERM alone does not end somebody else's program in time, the kubelet has to ask it in its own words first.
    fn end(&self, findings: &mut Findings) {
        let Some((image, _)) = self.view.foreign_image(self.deployment) else { return };
        if image.stop.is_empty() || self.container.pre_stop.as_ref() == Some(&image.stop) {
            return;
        }
        let (name, about) = (&self.deployment.name, self.about("lifecycle"));
        let message = format!("{name} waits for its clients when it is to end, until it is killed");
        let words = image.stop.join(", ");
        findings.add("slow-end", &about, message, format!("add lifecycle.preStop.exec.command: [{words}]"));
    }

    /// What the program gets, or takes without it.
    fn effective(&self, name: &str) -> Option<String> {
        let set = self.deployment.setting(name).and_then(|setting| setting.value.literal());
        let contract = self.view.own_contract(self.deployment)?;
        let set = set.filter(|text| !text.trim().is_empty());
        set.or_else(|| contract.variable(name).and_then(|variable| variable.default.clone()))
    }
}
