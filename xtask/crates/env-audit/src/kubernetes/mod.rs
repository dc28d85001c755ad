//! Rendered manifests as deployments: what the kubelet would give each container, and who may reach whom.

mod environment;
pub mod kustomize;
mod network;
mod objects;
mod rollout;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use self::environment::Environment;
pub(crate) use self::objects::is_link;
use self::objects::{Objects, PodTemplate, is_sidecar};
pub(crate) use self::rollout::Rollout;
use super::compose::Stack;
use super::places::{Deployment, Healthcheck, KubernetesPlace, MountedSecret};
use super::template::Template;
use xtask_outcome::Place;

/// The Secrets that are made outside the manifests, with their keys.
pub type Secrets = BTreeMap<String, BTreeMap<String, String>>;

/// What the manifests of one folder say.
#[derive(Debug, Clone, Default)]
pub struct Cluster {
    /// One deployment a container, in the order of `containers`.
    pub(crate) stack: Arc<Stack>,
    pub(crate) containers: Vec<Container>,
    pub(crate) services: Vec<Service>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) rollout: Rollout,
    /// Each key of each ConfigMap.
    pub(crate) config_keys: Vec<ConfigKey>,
    /// Each key of a Secret that a container takes.
    pub secret_keys: BTreeSet<(String, String)>,
}

/// What a container is beside its variables.
#[derive(Debug, Clone, Default)]
pub struct Container {
    pub(crate) place: Place,
    /// It runs before the others and ends; a sidecar among `initContainers` does not.
    pub is_init: bool,
    pub(crate) run_as_non_root: bool,
    /// Parts of its security context that only the rendering lacks.
    pub(crate) lost: Vec<&'static str>,
    /// The user of its security context.
    pub run_as_user: Option<i64>,
    /// The group of its security context.
    pub run_as_group: Option<i64>,
    pub(crate) service_links: bool,
    /// How long it may take to end.
    pub grace_seconds: u64,
    /// What it runs instead of its image's entrypoint.
    pub command: Option<Vec<String>>,
    /// What it runs instead of its image's command.
    pub args: Option<Vec<String>>,
    /// Whether something is run in it right after its start.
    pub has_post_start: bool,
    /// Paths of what is mounted and cannot be written: ConfigMaps, Secrets and the like, each with its volume's name.
    pub fixed: BTreeMap<String, String>,
    /// What is run in it before it is told to end.
    pub pre_stop: Option<Vec<String>>,
    /// The ports that it names.
    pub ports: Vec<u64>,
    /// Its own name, where its pod has several.
    pub(crate) title: Option<String>,
    pub(crate) probes: BTreeMap<&'static str, Value>,
    /// Memory by path, with its size; what else may be written keeps its data.
    pub memory: BTreeMap<String, String>,
    /// What it may use at most: `memory`, `cpu`.
    pub limits: BTreeMap<String, String>,
    /// The policies let it ask a name server.
    pub resolves_names: bool,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
    pub(crate) place: Place,
    /// Somebody else makes what stands behind it: it has no selector, or an operator makes its pods.
    pub(crate) is_outside: bool,
    /// Why no pod stands behind it, where that is wrong, and what to do.
    pub(crate) unselected: Option<(String, &'static str)>,
    pub(crate) ports: Vec<ServicePort>,
}

/// One port of a Service and what it leads to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ServicePort {
    pub(crate) port: u64,
    /// The port under which whoever knows the Service's name asks: the pods' own, where it has no address.
    pub(crate) reached: u64,
    /// The container's place among `containers`; `None` where nothing listens.
    pub(crate) container: Option<usize>,
    /// A number that no container names. It works when the program listens there, whatever the manifest says.
    pub(crate) unnamed: Option<u64>,
}

/// Something that Kubernetes would refuse, leave out, or take for something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub(crate) rule: &'static str,
    pub(crate) place: Place,
    pub(crate) service: String,
    pub(crate) variable: String,
    pub(crate) message: String,
    pub(crate) next_step: &'static str,
    /// What is missing; all who miss it are told in one finding.
    pub(crate) cause: Option<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct ConfigKey {
    pub(crate) map: String,
    pub(crate) key: String,
    /// What it is set to, where that is a text.
    pub(crate) value: String,
    pub(crate) place: Place,
    pub(crate) is_taken: bool,
    /// Some container takes some key that the map has.
    pub(crate) is_map_taken: bool,
}

pub(crate) const PROBES: [&str; 3] = ["startupProbe", "readinessProbe", "livenessProbe"];
/// What Kubernetes waits when a pod does not say.
const DEFAULT_GRACE_SECONDS: u64 = 30;

impl Cluster {
    /// `known_secrets` are the keys of the Secrets that somebody makes outside the manifests.
    pub fn read(place: &KubernetesPlace, known_secrets: &Secrets) -> Self {
        let objects = Objects::new(place);
        let stack = Stack { file: place.folder.clone(), ..Stack::default() };
        let mut cluster = Self { stack: Arc::new(stack), ..Self::default() };
        let mut taken = BTreeSet::new();
        let mut named = BTreeSet::new();
        let templates = objects.pod_templates();
        for template in &templates {
            let mut volumes = Environment::of_volumes(&objects, template, known_secrets);
            taken.append(&mut volumes.config_keys);
            cluster.secret_keys.append(&mut volumes.secret_keys);
            volumes.problems.into_iter().for_each(|problem| cluster.add(problem));
            for (is_init, container) in template.containers() {
                let environment = Environment::of(&objects, template, (is_init, container), known_secrets);
                taken.extend(environment.config_keys.iter().cloned());
                named.extend(objects::named(container));
                cluster.secret_keys.extend(environment.secret_keys.iter().cloned());
                for problem in &environment.problems {
                    cluster.add(problem.clone());
                }
                cluster.containers.push(read_container(&objects, template, container, is_init));
                Arc::make_mut(&mut cluster.stack).deployments.push(deployment(
                    place,
                    &objects,
                    template,
                    container,
                    is_init,
                    environment,
                ));
            }
        }
        cluster.rollout = Rollout::of(&objects, &templates);
        cluster.services = network::services(&objects, &templates);
        network::connect(&objects, &templates, &mut cluster);
        for (map, key) in objects.config_keys() {
            // One that a program is told the name of is read from the API server, and kustomize copies from others.
            let is_read = named.contains(&map) || place.copied.iter().any(|copied| map.contains(copied));
            let is_taken = is_read || taken.contains(&(map.clone(), key.clone()));
            let place = objects.place("ConfigMap", &map, &["data", &key]);
            // Like the variables themselves (case Q02), and with the same words.
            let value = &objects.get("ConfigMap", &map).map_or(Value::Null, |map| map["data"][&key].clone());
            if !value.is_string() && !value.is_null() {
                let message = format!("{key} of the ConfigMap {map} is not text, and the API server takes only text");
                let (rule, next_step, cause) = ("refused-value", "put the value in quotes", None);
                let (place, service, variable) = (place.clone(), map.clone(), key.clone());
                cluster.problems.push(Problem { rule, place, service, variable, message, next_step, cause });
            }
            // A key that may be missing, and is, takes nothing of it.
            let has = |key: &String| objects.get("ConfigMap", &map).is_some_and(|map| !map["data"][key].is_null());
            let is_map_taken = is_read || taken.iter().any(|(known, key)| *known == map && has(key));
            let value = text(value).unwrap_or_default();
            cluster.config_keys.push(ConfigKey { map, key, value, place, is_taken, is_map_taken });
        }
        for (name, place) in objects.written_secrets() {
            let message = format!("the Secret {name} stands in the manifests with its values");
            let next_step = "delete it and replace the secret: whoever has the text has it";
            let (service, variable) = (String::new(), name);
            cluster.problems.push(Problem {
                rule: "secret-literal",
                place,
                service,
                variable,
                message,
                next_step,
                cause: None,
            });
        }
        cluster
    }

    /// Takes a problem; one of a cause that is known already only adds who has it, too.
    fn add(&mut self, problem: Problem) {
        let who = |problem: &Problem| match problem.variable.as_str() {
            "" => problem.service.clone(),
            variable => format!("{} ({variable})", problem.service),
        };
        let is_same = |known: &&mut Problem| known.cause.is_some() && known.cause == problem.cause;
        match self.problems.iter_mut().find(is_same) {
            Some(known) => known.message += &format!(", {} in {}", who(&problem), problem.place),
            None if problem.cause.is_some() => {
                let message = format!("{} {}", problem.message, who(&problem));
                // What is about several services and variables is about none of them.
                self.problems.push(Problem { message, service: String::new(), variable: String::new(), ..problem });
            }
            None => self.problems.push(problem),
        }
    }

    /// Whether a source of this kind is missing.
    pub(crate) fn misses(&self, kind: &str) -> bool {
        self.problems.iter().any(|problem| problem.cause.as_ref().is_some_and(|cause| cause.starts_with(kind)))
    }

    /// Each container with its deployment, in the manifests' order.
    pub fn pairs(&self) -> impl Iterator<Item = (&Container, &Deployment)> {
        self.containers.iter().zip(&self.stack.deployments)
    }
}

fn deployment(
    place: &KubernetesPlace,
    objects: &Objects<'_>,
    template: &PodTemplate<'_>,
    container: &Value,
    is_init: bool,
    environment: Environment,
) -> Deployment {
    let name = container["name"].as_str().unwrap_or_default();
    let is_main = !is_init && template.pod["containers"][0]["name"] == container["name"];
    let readiness = exec_words(&container["readinessProbe"]);
    Deployment {
        // The first container goes by its workload's name; a Service may give it another.
        name: if is_main { template.name.clone() } else { format!("{}/{name}", template.name) },
        file: place.folder.clone(),
        place: Some(objects.of_container(template, name, is_init, &[])),
        image: Template::of_text(container["image"].as_str().unwrap_or_default()),
        settings: environment.settings,
        overridden: environment.overridden,
        parts: environment.parts,
        has_unread_source: environment.has_unread_source,
        mounted: mounted_secrets(template, container),
        healthcheck: readiness.map(Healthcheck::Command).unwrap_or_default(),
        healthcheck_place: Some(objects.of_container(template, name, is_init, &["readinessProbe"])),
        read_only: container["securityContext"]["readOnlyRootFilesystem"].as_bool().unwrap_or_default(),
        writable: writable(template, container).map(|(path, _)| path).collect(),
        ..Deployment::default()
    }
}

fn read_container(objects: &Objects<'_>, template: &PodTemplate<'_>, container: &Value, is_init: bool) -> Container {
    let name = container["name"].as_str().unwrap_or_default();
    // What a container says wins over what its pod says.
    let security = |key: &str| {
        let own = &container["securityContext"][key];
        if own.is_null() { &template.pod["securityContext"][key] } else { own }
    };
    let memory = |(path, volume): (String, &Value)| {
        let size = text(&volume["emptyDir"]["sizeLimit"]).unwrap_or_default();
        volume["emptyDir"].is_object().then_some((path, size))
    };
    let limits = container["resources"]["limits"].as_object().into_iter().flatten();
    Container {
        place: objects.of_container(template, name, is_init, &[]),
        is_init: is_init && !is_sidecar(container),
        lost: objects.lost(template, container, is_init),
        run_as_non_root: security("runAsNonRoot").as_bool().unwrap_or_default(),
        run_as_user: security("runAsUser").as_i64(),
        run_as_group: security("runAsGroup").as_i64(),
        service_links: template.pod["enableServiceLinks"].as_bool().unwrap_or(true),
        grace_seconds: template.pod["terminationGracePeriodSeconds"].as_u64().unwrap_or(DEFAULT_GRACE_SECONDS),
        command: words(&container["command"]),
        args: words(&container["args"]),
        has_post_start: container["lifecycle"]["postStart"].is_object(),
        fixed: fixed(template, container),
        pre_stop: exec_words(&container["lifecycle"]["preStop"]),
        title: (template.containers().count() > 1).then(|| format!("{}/{name}", template.name)),
        ports: list(&container["ports"]).filter_map(|port| port["containerPort"].as_u64()).collect(),
        probes: PROBES
            .into_iter()
            .filter(|probe| container[probe].is_object())
            .map(|probe| (probe, container[probe].clone()))
            .collect(),
        memory: writable(template, container).filter_map(memory).collect(),
        limits: limits.map(|(name, value)| (name.clone(), text(value).unwrap_or_default())).collect(),
        resolves_names: true,
    }
}

/// The paths that a container may write to, each with its volume; a claim of a StatefulSet has none.
fn writable<'a>(template: &'a PodTemplate<'_>, container: &'a Value) -> impl Iterator<Item = (String, &'a Value)> {
    list(&container["volumeMounts"]).filter_map(|mount| {
        let volume = template.volume(mount["name"].as_str()?);
        (!is_fixed(mount, volume)).then_some((mount["mountPath"].as_str()?.to_owned(), volume))
    })
}

/// The paths that a container may only read, each with its volume's name.
fn fixed(template: &PodTemplate<'_>, container: &Value) -> BTreeMap<String, String> {
    let mounts = list(&container["volumeMounts"]);
    let of = |mount: &Value| Some((mount["mountPath"].as_str()?.to_owned(), mount["name"].as_str()?.to_owned()));
    mounts
        .filter(|mount| is_fixed(mount, template.volume(mount["name"].as_str().unwrap_or_default())))
        .filter_map(of)
        .collect()
}

fn is_fixed(mount: &Value, volume: &Value) -> bool {
    let is_made = ["configMap", "secret", "projected", "downwardAPI"].iter().any(|kind| volume[kind].is_object());
    is_made || mount["readOnly"].as_bool().unwrap_or_default()
}

/// Secrets that are mounted as files, by path.
fn mounted_secrets(template: &PodTemplate<'_>, container: &Value) -> BTreeMap<String, MountedSecret> {
    let mut mounted = BTreeMap::new();
    for mount in list(&container["volumeMounts"]) {
        let (Some(volume), Some(path)) = (mount["name"].as_str(), mount["mountPath"].as_str()) else { continue };
        let secret = &template.volume(volume)["secret"];
        for item in list(&secret["items"]) {
            let file = format!("{path}/{}", item["path"].as_str().unwrap_or_default());
            let source = secret["secretName"].as_str().unwrap_or_default().to_owned();
            // A file that no file of this machine stands for: there is nothing more to look at.
            mounted.insert(file.clone(), MountedSecret { source, file: Some(file) });
        }
    }
    mounted
}

/// The command of an `exec` probe.
pub fn exec_words(probe: &Value) -> Option<Vec<String>> {
    words(&probe["exec"]["command"])
}

fn words(list: &Value) -> Option<Vec<String>> {
    Some(list.as_array()?.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect())
}

pub(super) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A scalar as text; YAML takes `80` and `true` for more than text.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}
