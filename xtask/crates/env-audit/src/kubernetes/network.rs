//! Who reaches whom: Services by their selectors, NetworkPolicies at both ends of a flow.

use std::sync::Arc;

use serde_json::{Value, json};

use super::objects::{Objects, PodTemplate, is_sidecar};
use super::{Cluster, Problem, Service, ServicePort, list};

const DNS_PORT: u64 = 53;
/// Set by Kubernetes on every namespace.
const NAMESPACE_LABEL: &str = "kubernetes.io/metadata.name";

/// Every Service of the manifests and what stands behind its ports.
pub(super) fn services(objects: &Objects<'_>, templates: &[PodTemplate<'_>]) -> Vec<Service> {
    let service = |object: &Value| {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let namespace = object["metadata"]["namespace"].as_str().map(ToOwned::to_owned);
        // The name of one without an address of its own gives the addresses of the pods, under whose own ports they are asked.
        let is_headless = object["spec"]["clusterIP"] == "None";
        let behind = |port: &Value| {
            let number = port["port"].as_u64()?;
            let listener = listener(templates, object, port);
            let reached = listener.number.filter(|_| is_headless).unwrap_or(number);
            Some(ServicePort { port: number, reached, container: listener.container, unnamed: listener.unnamed })
        };
        let place = objects.place("Service", &name, &["spec"]);
        let selector = &object["spec"]["selector"];
        let is_empty = !templates.iter().any(|template| is_behind(template, object));
        // The pods of an operator have the labels of what it makes them for.
        let mut made = objects.of_operators(object["metadata"]["namespace"].as_str()).flat_map(|one| {
            let spec = &one["spec"];
            [&one["metadata"]["labels"], &spec["podMetadata"]["labels"], &spec["template"]["metadata"]["labels"]]
        });
        let is_outside = !has_selector(object) || (is_empty && made.any(|labels| has_labels(labels, selector)));
        let unselected = (is_empty && !is_outside).then(|| unselected(templates, &name, object));
        let is_left_out = is_outside || unselected.is_some();
        let ports = list(&object["spec"]["ports"]).filter(|_| !is_left_out).filter_map(behind).collect();
        Service { name, namespace, place, is_outside, unselected, ports }
    };
    objects.of_kind("Service").chain(objects.services_of_operators()).map(service).collect()
}

/// What is wrong with a Service that selects nothing, and what to do.
fn unselected(templates: &[PodTemplate<'_>], name: &str, service: &Value) -> (String, &'static str) {
    let namespace = |namespace: Option<&str>| namespace.unwrap_or("whatever is the current one").to_owned();
    match templates.iter().find(|template| carries(template, &service["spec"]["selector"])) {
        Some(elsewhere) => {
            let (here, there) = (namespace(service["metadata"]["namespace"].as_str()), namespace(elsewhere.namespace));
            let message =
                format!("the Service {name} selects {}, whose namespace is {there}; its own is {here}", elsewhere.name);
            (message, "give both the same namespace")
        }
        None => (
            format!("the Service {name} selects no pod of the manifests"),
            "correct its selector, or add what it selects",
        ),
    }
}

fn target_of(port: &Value) -> &Value {
    if port["targetPort"].is_null() { &port["port"] } else { &port["targetPort"] }
}

/// A Service without a selector, or a name for something outside, is somebody else's to fill.
fn has_selector(service: &Value) -> bool {
    let selector = service["spec"]["selector"].as_object();
    selector.is_some_and(|labels| !labels.is_empty()) && service["spec"]["type"] != "ExternalName"
}

fn is_behind(template: &PodTemplate<'_>, service: &Value) -> bool {
    let namespace = service["metadata"]["namespace"].as_str();
    has_selector(service) && namespace == template.namespace && carries(template, &service["spec"]["selector"])
}

/// Whether the pods of a workload have labels, those that its controller sets included.
fn carries(template: &PodTemplate<'_>, wanted: &Value) -> bool {
    let is_set = |key: &str, value: &Value| match key {
        "statefulset.kubernetes.io/pod-name" => {
            let ordinal = value.as_str().and_then(|pod| pod.strip_prefix(template.name.as_str())?.strip_prefix('-'));
            template.kind == "StatefulSet" && ordinal.is_some_and(|text| text.parse::<u32>().is_ok())
        }
        "apps.kubernetes.io/pod-index" => template.kind == "StatefulSet",
        "batch.kubernetes.io/job-name" | "job-name" => template.kind == "Job" && *value == template.name.as_str(),
        _ => false,
    };
    let wanted = wanted.as_object().into_iter().flatten();
    wanted.into_iter().all(|(key, value)| template.labels[key] == *value || is_set(key, value))
}

/// What a port of a Service leads to.
#[derive(Default)]
struct Listener {
    /// The place among all containers.
    container: Option<usize>,
    /// The port on which it is asked.
    number: Option<u64>,
    /// A number that no container names.
    unnamed: Option<u64>,
}

/// The container behind a port: one that names it for the same protocol, else, for a number, the first of a pod. That a container names
/// its ports is for people; a number leads to whatever listens there.
fn listener(templates: &[PodTemplate<'_>], service: &Value, port: &Value) -> Listener {
    let target = target_of(port);
    let is_meant = |known: &&Value| {
        protocol(known) == protocol(port) && (known["containerPort"] == *target || known["name"] == *target)
    };
    let mut at = 0;
    let mut first = None;
    for template in templates {
        for (is_init, container) in template.containers() {
            if (!is_init || is_sidecar(container)) && is_behind(template, service) {
                if let Some(known) = list(&container["ports"]).find(is_meant) {
                    return Listener { container: Some(at), number: known["containerPort"].as_u64(), unnamed: None };
                }
                if !is_init {
                    first = first.or(Some(at));
                }
            }
            at += 1;
        }
    }
    let unnamed = target.as_u64();
    Listener { container: first.filter(|_| unnamed.is_some()), number: unnamed, unnamed }
}

fn protocol(port: &Value) -> &str {
    port["protocol"].as_str().unwrap_or("TCP")
}

/// The ports under which a pod may be reached: those that its containers name, and the numbers that Services take.
fn open_ports(objects: &Objects<'_>, template: &PodTemplate<'_>) -> Vec<Value> {
    let mut ports: Vec<_> = template.running().flat_map(|container| list(&container["ports"]).cloned()).collect();
    for service in objects.of_kind("Service").filter(|service| is_behind(template, service)) {
        for port in list(&service["spec"]["ports"]) {
            let number = target_of(port);
            if number.is_u64() && !ports.iter().any(|known| known["containerPort"] == *number) {
                ports.push(json!({ "containerPort": number, "protocol": protocol(port) }));
            }
        }
    }
    ports
}

/// Names the deployments after their Services and puts those that may talk to each other on a network of their own.
pub(super) fn connect(objects: &Objects<'_>, templates: &[PodTemplate<'_>], cluster: &mut Cluster) {
    let owner: Vec<usize> =
        templates.iter().enumerate().flat_map(|(at, template)| template.containers().map(move |_| at)).collect();
    for service in &cluster.services {
        let names = names_of(&service.name, service.namespace.as_deref());
        if service.is_outside {
            Arc::make_mut(&mut cluster.stack).outside.extend(names);
            continue;
        }
        for port in &service.ports {
            let Some(container) = port.container else { continue };
            let deployment = &mut Arc::make_mut(&mut cluster.stack).deployments[container];
            // It goes by the name of its first Service, and answers to those of all.
            if deployment.reached_on.is_none() {
                deployment.name.clone_from(&service.name);
            }
            deployment.aliases.extend(names.clone());
            deployment.reached_on.get_or_insert_default().extend(u16::try_from(port.reached));
        }
    }
    let rules = Rules { policies: objects.of_kind("NetworkPolicy").collect(), objects };
    let open: Vec<_> = templates.iter().map(|template| open_ports(objects, template)).collect();
    for (to, target) in templates.iter().enumerate() {
        for (from, source) in templates.iter().enumerate() {
            let is_open =
                |port: &Value| rules.egress(source, Some(target), port) && rules.ingress(target, Some(source), port);
            if from == to || !open[to].iter().any(is_open) {
                continue;
            }
            let network = format!("{}-to-{}", source.name, target.name);
            for (container, _) in owner.iter().enumerate().filter(|(_, template)| [from, to].contains(template)) {
                Arc::make_mut(&mut cluster.stack).deployments[container].networks.insert(network.clone());
            }
        }
    }
    ingresses(objects, (templates, &open), &owner, &rules, cluster);
    for (container, template) in owner.iter().enumerate() {
        let port = json!({ "containerPort": DNS_PORT, "protocol": "UDP" });
        cluster.containers[container].resolves_names = rules.egress(&templates[*template], None, &port);
    }
}

/// The names that the cluster's DNS has for a Service.
fn names_of(service: &str, namespace: Option<&str>) -> Vec<String> {
    let mut names = vec![service.to_owned()];
    if let Some(namespace) = namespace {
        names.extend(["", ".svc", ".svc.cluster.local"].map(|end| format!("{service}.{namespace}{end}")));
    }
    names
}

/// What an Ingress leads to must be there, and must let in whoever stands outside.
fn ingresses(
    objects: &Objects<'_>,
    (templates, open): (&[PodTemplate<'_>], &[Vec<Value>]),
    owner: &[usize],
    rules: &Rules<'_>,
    cluster: &mut Cluster,
) {
    for ingress in objects.of_kind("Ingress") {
        let name = ingress["metadata"]["name"].as_str().unwrap_or_default();
        let place = objects.place("Ingress", name, &["spec", "rules"]);
        let paths = list(&ingress["spec"]["rules"]).flat_map(|rule| list(&rule["http"]["paths"]));
        let backends = paths.map(|path| &path["backend"]).chain([&ingress["spec"]["defaultBackend"]]);
        for backend in backends.map(|backend| &backend["service"]).filter(|service| service.is_object()) {
            let service = backend["name"].as_str().unwrap_or_default();
            let object = objects.get_beside("Service", service, ingress["metadata"]["namespace"].as_str());
            let (wanted, number) = (&backend["port"]["name"], &backend["port"]["number"]);
            let is_meant = |port: &&Value| {
                (wanted.is_string() && port["name"] == *wanted) || (number.is_number() && port["port"] == *number)
            };
            let port = object.and_then(|object| list(&object["spec"]["ports"]).find(is_meant));
            // What stands behind one without a selector is somebody else's to say.
            if port.is_some() && object.is_some_and(|object| !has_selector(object)) {
                continue;
            }
            let container = port.and_then(|port| {
                let namespace = ingress["metadata"]["namespace"].as_str();
                let is_it = |one: &&Service| one.name == service && one.namespace.as_deref() == namespace;
                cluster.services.iter().find(is_it)?.ports.iter().find(|one| port["port"] == one.port)?.container
            });
            let is_open = container.is_some_and(|container| {
                let template = &templates[owner[container]];
                open[owner[container]].iter().any(|port| rules.ingress(template, None, port))
            });
            let (message, next_step) = match container {
                Some(_) if is_open => continue,
                Some(_) => (
                    format!("no NetworkPolicy lets the Ingress {name} reach {service}"),
                    "allow it from the controller's namespace",
                ),
                // That nothing stands behind the port is told of the Service.
                None if port.is_some() => continue,
                None if object.is_some() => (
                    format!("the Ingress {name} leads to {service}, which has no such port"),
                    "correct the name or the port",
                ),
                None => (
                    format!("the Ingress {name} leads to the Service {service}, which the manifests do not have"),
                    "correct the name, or add the Service",
                ),
            };
            let (service, variable, place) = (service.to_owned(), String::new(), place.clone());
            cluster.problems.push(Problem {
                rule: "unreachable-address",
                place,
                service,
                variable,
                message,
                next_step,
                cause: None,
            });
        }
    }
}

/// The labels of a namespace: those that it is given, and the one that Kubernetes sets.
fn namespace_labels(objects: &Objects<'_>, namespace: Option<&str>) -> Value {
    let object = namespace.and_then(|name| objects.get("Namespace", name));
    let mut labels = object.and_then(|object| object["metadata"]["labels"].as_object()).cloned().unwrap_or_default();
    labels.insert(NAMESPACE_LABEL.to_owned(), namespace.map_or(Value::Null, Value::from));
    labels.into()
}

struct Rules<'a> {
    policies: Vec<&'a Value>,
    objects: &'a Objects<'a>,
}

impl Rules<'_> {
    /// Whether a pod may send; `to` is a pod of the manifests or, without one, somebody outside them.
    fn egress(&self, from: &PodTemplate<'_>, to: Option<&PodTemplate<'_>>, port: &Value) -> bool {
        self.allows(from, "Egress", |rule| self.peers(&rule["to"], from, to) && ports(&rule["ports"], port))
    }

    fn ingress(&self, to: &PodTemplate<'_>, from: Option<&PodTemplate<'_>>, port: &Value) -> bool {
        self.allows(to, "Ingress", |rule| self.peers(&rule["from"], to, from) && ports(&rule["ports"], port))
    }

    /// A pod that no policy of a direction selects is open in it; otherwise one rule of one policy has to fit.
    fn allows(&self, pod: &PodTemplate<'_>, direction: &str, fits: impl Fn(&Value) -> bool) -> bool {
        let key = direction.to_ascii_lowercase();
        let is_of_direction = |policy: &&Value| match policy["policyTypes"].as_array() {
            Some(types) => types.iter().any(|one| one == direction),
            None => direction == "Ingress" || policy[&key].is_array(),
        };
        let beside = self.policies.iter().filter(|one| one["metadata"]["namespace"].as_str() == pod.namespace);
        let mut selecting = beside
            .map(|policy| &policy["spec"])
            .filter(is_of_direction)
            .filter(|policy| selects(&policy["podSelector"], pod.labels))
            .peekable();
        selecting.peek().is_none() || selecting.any(|policy| list(&policy[&key]).any(&fits))
    }

    /// Whether a rule of a policy beside `here` takes a pod.
    fn peers(&self, peers: &Value, here: &PodTemplate<'_>, pod: Option<&PodTemplate<'_>>) -> bool {
        let Some(peers) = peers.as_array().filter(|peers| !peers.is_empty()) else { return true };
        peers.iter().any(|peer| {
            let Some(pod) = pod else {
                return ["namespaceSelector", "ipBlock"].iter().any(|key| peer[key].is_object());
            };
            let is_here = match &peer["namespaceSelector"] {
                Value::Null => pod.namespace == here.namespace,
                selector => selects(selector, &namespace_labels(self.objects, pod.namespace)),
            };
            let has_pods = match &peer["podSelector"] {
                Value::Null => true,
                selector => selects(selector, pod.labels),
            };
            // Addresses say nothing about pods.
            peer["ipBlock"].is_null() && is_here && has_pods
        })
    }
}

fn ports(allowed: &Value, port: &Value) -> bool {
    let Some(allowed) = allowed.as_array().filter(|allowed| !allowed.is_empty()) else { return true };
    allowed.iter().filter(|one| protocol(one) == protocol(port)).any(|one| {
        let number = port["containerPort"].as_u64();
        let is_in_range =
            |last: u64| number.zip(one["port"].as_u64()).is_some_and(|(n, first)| (first..=last).contains(&n));
        one["port"].is_null()
            || one["port"] == port["containerPort"]
            || (!port["name"].is_null() && one["port"] == port["name"])
            || one["endPort"].as_u64().is_some_and(is_in_range)
    })
}

/// `matchLabels` and `matchExpressions`; an empty selector takes everything.
pub(super) fn selects(selector: &Value, labels: &Value) -> bool {
    let expression = |one: &Value| {
        let value = one["key"].as_str().map_or(&Value::Null, |key| &labels[key]);
        let is_listed = list(&one["values"]).any(|wanted| wanted == value);
        match one["operator"].as_str() {
            Some("In") => is_listed,
            Some("NotIn") => !is_listed,
            Some("Exists") => !value.is_null(),
            Some("DoesNotExist") => value.is_null(),
            _ => false,
        }
    };
    has_labels(labels, &selector["matchLabels"]) && list(&selector["matchExpressions"]).all(expression)
}

fn has_labels(labels: &Value, wanted: &Value) -> bool {
    wanted.as_object().into_iter().flatten().all(|(key, value)| labels[key] == *value)
}
