//! The environment that the kubelet makes: `envFrom` in its order, then `env` in its order with `$(NAME)` in it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::objects::{Objects, PodTemplate};
use super::{Problem, Secrets, list, text};
use crate::nearest::hint;
use crate::places::Setting;
use crate::template::Template;
use xtask_outcome::Place;

#[derive(Debug, Default)]
pub(crate) struct Environment {
    pub(crate) settings: Vec<Setting>,
    pub(crate) overridden: Vec<Setting>,
    pub(crate) parts: BTreeSet<String>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) config_keys: BTreeSet<(String, String)>,
    pub(crate) secret_keys: BTreeSet<(String, String)>,
    /// A source of all its keys is missing, which is one of the problems.
    pub(crate) has_unread_source: bool,
}

/// Kubernetes puts this ConfigMap into every namespace.
const ROOT_CERTIFICATES: &str = "kube-root-ca.crt";
const REFUSED: &str = "refused-value";

/// A ConfigMap or a Secret, as a container names it.
#[derive(Clone, Copy)]
struct Source<'a> {
    kind: &'static str,
    name: &'a str,
    is_optional: bool,
}

struct Reader<'a> {
    objects: &'a Objects<'a>,
    template: &'a PodTemplate<'a>,
    container: &'a str,
    is_init: bool,
    secrets: &'a Secrets,
    made: Environment,
}

impl Environment {
    pub(crate) fn of(
        objects: &Objects<'_>,
        template: &PodTemplate<'_>,
        (is_init, container): (bool, &Value),
        secrets: &Secrets,
    ) -> Self {
        let name = container["name"].as_str().unwrap_or_default();
        let mut reader = Reader { objects, template, container: name, is_init, secrets, made: Self::default() };
        for entry in list(&container["envFrom"]) {
            reader.env_from(entry);
        }
        for entry in list(&container["env"]) {
            reader.env(entry);
        }
        let made = &mut reader.made;
        if made.settings.iter().any(|setting| setting.is_judged) {
            // What one that is wrong would be made of stands there for that.
            let taken = made.settings.iter().filter(|one| one.path == "env" && one.value.only_reference().is_some());
            made.parts.extend(taken.map(|setting| setting.name.clone()));
        }
        reader.made
    }
}

impl Environment {
    /// What the volumes of a pod take: a pod whose source or key is missing does not start.
    pub(crate) fn of_volumes(objects: &Objects<'_>, template: &PodTemplate<'_>, secrets: &Secrets) -> Self {
        let mut reader = Reader { objects, template, container: "", is_init: false, secrets, made: Self::default() };
        for volume in list(&template.pod["volumes"]) {
            let name = volume["name"].as_str().unwrap_or_default();
            for part in list(&volume["projected"]["sources"]).chain([volume]) {
                for (kind, reference) in [("ConfigMap", &part["configMap"]), ("Secret", &part["secret"])] {
                    if reference.is_object() {
                        reader.volume(name, kind, reference);
                    }
                }
            }
        }
        reader.made
    }
}

impl Reader<'_> {
    fn volume(&mut self, volume: &str, kind: &'static str, reference: &Value) {
        let name = reference["secretName"].as_str().or(reference["name"].as_str()).unwrap_or_default();
        let source = Source { kind, name, is_optional: reference["optional"].as_bool().unwrap_or_default() };
        let place = self.objects.of_volume(self.template, volume);
        let Some(keys) = self.keys(source) else {
            if name != ROOT_CERTIFICATES && !self.is_made_by_another(source) {
                self.missing_source(source, place, &format!("volume {volume}"));
            }
            return;
        };
        let listed = reference["items"].as_array().map(|items| {
            items.iter().filter_map(|item| item["key"].as_str()).map(ToOwned::to_owned).collect::<Vec<_>>()
        });
        let taken = if kind == "Secret" { &mut self.made.secret_keys } else { &mut self.made.config_keys };
        taken.extend(listed.as_ref().unwrap_or(&keys).iter().map(|key| (name.to_owned(), key.clone())));
        for key in listed.iter().flatten().filter(|key| !source.is_optional && !keys.contains(key)) {
            self.missing_key(&format!("the volume {volume}"), source, key, &keys, place.clone());
        }
    }

    fn missing_key(&mut self, taker: &str, source: Source<'_>, key: &str, keys: &[String], place: Place) {
        let hint = hint(key, keys.iter().map(String::as_str));
        let message = format!(
            "{taker} of {} takes the key {key} of the {} {}, which has none{hint}",
            self.template.name, source.kind, source.name
        );
        self.problem("missing-key", place, taker, message, "correct the key, or add it");
    }

    fn at(&self, path: &[&str]) -> Place {
        self.objects.of_container(self.template, self.container, self.is_init, path)
    }

    fn problem(&mut self, rule: &'static str, place: Place, variable: &str, message: String, next_step: &'static str) {
        let (service, variable) = (self.template.name.clone(), variable.to_owned());
        self.made.problems.push(Problem { rule, place, service, variable, message, next_step, cause: None });
    }

    fn set(&mut self, name: &str, value: Template, place: Place, path: &str) {
        self.put(name, value, place, path, false);
    }

    /// Sets a variable to something that nobody knows, since what is wrong with it is a finding already.
    fn set_judged(&mut self, name: &str, place: Place, path: &str) {
        self.put(name, Template::of_source(format!("$({name})"), true), place, path, true);
    }

    fn put(&mut self, name: &str, value: Template, place: Place, path: &str, is_judged: bool) {
        if let Some(at) = self.made.settings.iter().position(|earlier| earlier.name == name) {
            let lost = self.made.settings.remove(at);
            self.made.overridden.push(lost);
        }
        let (name, path) = (name.to_owned(), path.to_owned());
        let (bare, garbled, is_local, is_hidden) = (false, false, false, false);
        self.made.settings.push(Setting { name, value, bare, place, path, garbled, is_local, is_judged, is_hidden });
    }

    /// Every key of a source, with a prefix. What is no name is left out by Kubernetes up to 1.33, with an event.
    fn env_from(&mut self, entry: &Value) {
        let prefix = entry["prefix"].as_str().unwrap_or_default();
        let place = self.at(&["envFrom"]);
        let (kind, reference) = match (&entry["configMapRef"], &entry["secretRef"]) {
            (Value::Null, Value::Null) => {
                let message =
                    format!("an entry of envFrom of {} names neither a ConfigMap nor a Secret", self.template.name);
                self.problem(REFUSED, place, "", message, "name one of the two, or delete the entry");
                return;
            }
            (Value::Null, reference) => ("Secret", reference),
            (reference, Value::Null) => ("ConfigMap", reference),
            _ => {
                let message = format!("an entry of envFrom of {} names a ConfigMap and a Secret", self.template.name);
                self.problem(REFUSED, place, "", message, "make it two entries");
                return;
            }
        };
        let is_optional = reference["optional"].as_bool().unwrap_or_default();
        let source = Source { kind, name: reference["name"].as_str().unwrap_or_default(), is_optional };
        let Some(keys) = self.keys(source) else {
            let is_made = self.is_made_by_another(source);
            self.made.has_unread_source |= !is_optional || is_made;
            if !is_made {
                self.missing_source(source, place, "");
            }
            return;
        };
        for key in keys {
            let name = format!("{prefix}{key}");
            let there = match kind {
                "ConfigMap" => self.objects.place(kind, source.name, &["data", &key]),
                _ => place.clone(),
            };
            let Some(value) = self.value_of(source, &key) else { continue };
            if !is_name(&name) {
                let message = format!(
                    "the key {key} of the {kind} {} gives `{name}`, which is not a valid variable name",
                    source.name
                );
                self.problem("invalid-name", there, &name, message, "rename the key");
                continue;
            }
            self.set(&name, value, there, "envFrom");
        }
    }

    fn env(&mut self, entry: &Value) {
        let Some(name) = entry["name"].as_str() else {
            let (place, of) = (self.at(&["env"]), &self.template.name);
            let message =
                format!("an entry of env of {of} has no name, or one that is not text, which the API server refuses");
            self.problem(REFUSED, place, "", message, "give it a name, in quotes");
            return;
        };
        let place = self.at(&["env", name]);
        if !is_name(name) {
            let message = format!("`{name}` is not a valid variable name");
            self.problem("invalid-name", place.clone(), name, message, "rename it");
        }
        if self.made.settings.iter().any(|earlier| earlier.name == name && earlier.path == "env") {
            let message = format!("{name} of {} stands in `env` twice, and the last one counts", self.template.name);
            self.problem("repeated-variable", place.clone(), name, message, "delete one of the two");
        }
        if self.is_refused(entry, name, &place) {
            self.set_judged(name, place, "env");
            return;
        }
        let from = &entry["valueFrom"];
        let written = text(&entry["value"]).unwrap_or_default();
        if from.is_object() {
            let known = [("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")];
            let Some((reference, kind)) = known.into_iter().find(|(key, _)| from[key].is_object()) else {
                // The pod's own address, its name, a limit: always there.
                self.set(name, Template::of_source(format!("pod.{name}"), true), place, "env");
                return;
            };
            let reference = &from[reference];
            let is_optional = reference["optional"].as_bool().unwrap_or_default();
            let source = Source { kind, name: reference["name"].as_str().unwrap_or_default(), is_optional };
            let key = reference["key"].as_str().unwrap_or_default();
            self.one_key(name, source, key, place);
            return;
        }
        let place = self.objects.of_value(place, (self.template, self.container, self.is_init), name, &written);
        match self.expand(&written, name, &place) {
            Some(value) => self.set(name, value, place, "env"),
            None => self.set_judged(name, place, "env"),
        }
    }

    /// What the API server takes for no variable (case Q02).
    fn is_refused(&mut self, entry: &Value, name: &str, place: &Place) -> bool {
        let of = format!("{name} of {}", self.template.name);
        let (value, from) = (&entry["value"], &entry["valueFrom"]);
        let sources = from.as_object().map_or(0, |from| from.values().filter(|source| !source.is_null()).count());
        let kind = match value {
            Value::Number(_) => "a number",
            Value::Bool(_) => "a boolean",
            Value::Array(_) | Value::Object(_) => "a list or a mapping",
            Value::Null | Value::String(_) => "",
        };
        let (message, next_step) = if !kind.is_empty() {
            (format!("{of} is {kind}, and the API server takes only text"), "put the value in quotes")
        } else if !from.is_null() && !value.as_str().unwrap_or_default().is_empty() {
            (format!("{of} has a value and a valueFrom, which the API server refuses"), "delete one of the two")
        } else if !from.is_null() && sources != 1 {
            (format!("{of} has a valueFrom with {sources} sources, and the API server takes one"), "name one source")
        } else {
            return false;
        };
        self.problem(REFUSED, place.clone(), name, message, next_step);
        true
    }

    fn one_key(&mut self, name: &str, source: Source<'_>, key: &str, place: Place) {
        let Some(keys) = self.keys(source) else {
            if self.is_made_by_another(source) {
                let value = Template::of_source(format!("{}.{key}", source.name), !source.is_optional);
                self.set(name, value, place, "env");
            } else if !source.is_optional {
                self.missing_source(source, place.clone(), name);
                self.set_judged(name, place, "env");
            }
            return;
        };
        match self.value_of(source, key) {
            Some(value) => self.set(name, value, place, "env"),
            None if source.is_optional => {}
            None => {
                self.missing_key(name, source, key, &keys, place.clone());
                self.set_judged(name, place, "env");
            }
        }
    }

    fn is_made_by_another(&self, source: Source<'_>) -> bool {
        self.objects.is_made_by_another(source.name, self.template.namespace)
    }

    fn missing_source(&mut self, source: Source<'_>, place: Place, variable: &str) {
        if source.is_optional {
            return;
        }
        let names: Vec<&str> = match source.kind {
            "Secret" => self.secrets.keys().map(String::as_str).collect(),
            _ => self.objects.of_kind("ConfigMap").filter_map(|map| map["metadata"]["name"].as_str()).collect(),
        };
        let hint = hint(source.name, names);
        let there = match self.objects.get(source.kind, source.name) {
            Some(object) => {
                let namespace = object["metadata"]["namespace"].as_str().unwrap_or("whatever is the current one");
                format!("is not in the namespace of the pod, but in {namespace}")
            }
            None => "is not in the manifests".to_owned(),
        };
        let message = format!("the {} {} {there}{hint}, and it is taken by", source.kind, source.name);
        let next_step = match source.kind {
            "Secret" => {
                "correct the name, or write the Secret's keys down in xtask/policy/env.toml, [kubernetes.secrets]"
            }
            _ => "correct the name, add the ConfigMap, or accept it as an [[exception]] when a program makes it",
        };
        self.problem("missing-source", place, variable, message, next_step);
        // Whoever else takes from it is told in the same finding.
        if let Some(problem) = self.made.problems.last_mut() {
            problem.cause = Some(format!("{} {}", source.kind, source.name));
        }
    }

    /// The keys of a source, if it is known.
    fn keys(&self, source: Source<'_>) -> Option<Vec<String>> {
        if source.kind == "Secret"
            && let Some(keys) = self.secrets.get(source.name)
        {
            return Some(keys.keys().cloned().collect());
        }
        let object = self.objects.get_beside(source.kind, source.name, self.template.namespace)?;
        let maps = ["data", "stringData", "binaryData"].into_iter().filter_map(|key| object[key].as_object());
        Some(maps.flat_map(|map| map.keys().cloned()).collect::<BTreeSet<_>>().into_iter().collect())
    }

    fn value_of(&mut self, source: Source<'_>, key: &str) -> Option<Template> {
        let pair = (source.name.to_owned(), key.to_owned());
        if source.kind == "Secret" {
            let is_there = self.keys(source)?.iter().any(|known| known == key);
            self.made.secret_keys.insert(pair);
            // Never its value, also where one is written down.
            return is_there.then(|| Template::of_source(format!("{}.{key}", source.name), !source.is_optional));
        }
        let value = &self.objects.get_beside("ConfigMap", source.name, self.template.namespace)?["data"][key];
        let value = if value.is_null() { None } else { Some(text(value).unwrap_or_default()) }?;
        self.made.config_keys.insert(pair);
        Some(Template::of_text(value))
    }

    /// `$(NAME)` of what is set already, or of what Kubernetes sets for a Service; anything else stays as it is, and `None` says that
    /// this was found. `$$` is one `$`.
    fn expand(&mut self, written: &str, variable: &str, place: &Place) -> Option<Template> {
        let mut value = Template::of_text("");
        let mut rest = written;
        let mut is_resolved = true;
        while let Some(at) = rest.find('$') {
            value.append(Template::of_text(&rest[..at]));
            rest = &rest[at + 1..];
            // Values can double from entry to entry.
            if value.is_too_long() {
                let message = format!("{variable} of {} is longer than any variable can be", self.template.name);
                self.problem(REFUSED, place.clone(), variable, message, "take fewer variables in its value");
                return None;
            }
            if let Some(after) = rest.strip_prefix('$') {
                value.append(Template::of_text("$"));
                rest = after;
                continue;
            }
            let Some((name, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) else {
                value.append(Template::of_text("$"));
                continue;
            };
            rest = after;
            if let Some(setting) = self.made.settings.iter().find(|setting| setting.name == name) {
                is_resolved &= !setting.is_judged;
                value.append(setting.value.clone());
                self.made.parts.insert(name.to_owned());
                continue;
            }
            if self.objects.is_service_variable(name, self.template) {
                value.append(Template::of_source(name.to_owned(), true));
                continue;
            }
            is_resolved = false;
            // What a missing source would have given is not known.
            if !self.made.has_unread_source {
                let message = format!(
                    "{variable} of {} has `$({name})` in it, which nothing before it sets, so it stays as it is written",
                    self.template.name
                );
                let next_step = "set it above, or correct the name";
                self.problem("unresolved-reference", place.clone(), variable, message, next_step);
            }
        }
        value.append(Template::of_text(rest));
        is_resolved.then_some(value)
    }
}

/// What every version of Kubernetes takes for the name of a variable.
fn is_name(name: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(is_letter)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Cluster;
    use crate::places::{KubernetesPlace, SourceFile};
    use crate::yaml::Node;

    fn cluster(source: &str) -> Cluster {
        let nodes = Node::parse_all(source).unwrap();
        let documents = nodes.iter().map(Node::to_json).collect();
        let sources =
            [SourceFile { file: "k8s/x.yaml".into(), text: source.to_owned(), documents: nodes, targets: Vec::new() }]
                .into();
        let secrets = [("key".to_owned(), [("SEED".to_owned(), "SEED".to_owned())].into())].into();
        Cluster::read(&KubernetesPlace { folder: "k8s".into(), documents, sources, ..Default::default() }, &secrets)
    }

    fn environment(cluster: &Cluster, name: &str) -> Vec<String> {
        let deployment = cluster.stack.deployments.iter().find(|one| one.name == name).unwrap();
        let value = |name: &str| Some(format!("<{name}>"));
        deployment
            .settings
            .iter()
            .map(|one| format!("{}={} {}", one.name, one.value.fill(&value, "").text, one.place))
            .collect()
    }

    fn rules(cluster: &Cluster) -> Vec<(&str, &str)> {
        cluster.problems.iter().map(|one| (one.rule, one.variable.as_str())).collect()
    }

    const MAPS: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\ndata:\n  DATABASE_URL: from-a\n---\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: { name: b }\ndata:\n  DATABASE_URL: from-b\n  log-level: x\n  1ABC: y\n---\n";

    /// Case I02: sources in their order, the prefix, `env` last.
    #[test]
    fn the_last_source_wins_and_env_beats_them_all() {
        let pod = "kind: Pod\nmetadata: { name: p }\nspec:\n  containers:\n  - name: c\n    envFrom:\n    - prefix: USER_\n      configMapRef: { name: a }\n    - configMapRef: { name: a }\n    - configMapRef: { name: b }\n";
        let read = cluster(&format!("{MAPS}{pod}"));
        assert_eq!(
            environment(&read, "p"),
            ["USER_DATABASE_URL=from-a k8s/x.yaml:5", "DATABASE_URL=from-b k8s/x.yaml:12", "log-level=x k8s/x.yaml:13"]
        );
        assert_eq!(rules(&read), [("invalid-name", "1ABC")]);
        assert_eq!(read.stack.deployments[0].overridden[0].place.to_string(), "k8s/x.yaml:5");
        let read = cluster(&format!("{MAPS}{pod}    env:\n    - name: DATABASE_URL\n      value: from-env\n"));
        assert!(
            environment(&read, "p").contains(&"DATABASE_URL=from-env k8s/x.yaml:27".to_owned()),
            "{:?}",
            environment(&read, "p")
        );
    }

    /// Case I02: `$(VAR)` knows what stands above it, and nothing else.
    #[test]
    fn a_reference_to_a_later_entry_stays_as_it_is() {
        let env = json!([
            { "name": "EARLY", "value": "$(LATE)/$(SEED)" },
            { "name": "SEED", "valueFrom": { "secretKeyRef": { "name": "key", "key": "SEED" } } },
            { "name": "LATE", "value": "a$(SEED)b$$(SEED)$x$(" },
        ]);
        let read = cluster(&json!({ "kind": "Pod", "metadata": { "name": "p" }, "spec": { "containers": [{ "name": "c", "env": env }] } }).to_string());
        let told: Vec<_> =
            environment(&read, "p").iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
        assert_eq!(told, ["EARLY=<$(EARLY)>", "SEED=<key.SEED>", "LATE=a<key.SEED>b$(SEED)$x$("]);
        assert_eq!(rules(&read), [("unresolved-reference", "EARLY"), ("unresolved-reference", "EARLY")]);
        assert!(read.stack.deployments[0].setting("EARLY").unwrap().is_judged);
        assert!(read.stack.deployments[0].parts.contains("SEED"));
    }

    /// Case Q10: each value is twice the one before.
    #[test]
    fn values_that_double_have_a_limit() {
        let double = |at: usize| json!({ "name": format!("A{at}"), "value": format!("$(A{0})$(A{0})x", at - 1) });
        let mut env = vec![json!({ "name": "A0", "value": "xxxxxxxx" })];
        env.extend((1..60).map(double));
        let read = cluster(&json!({ "kind": "Pod", "metadata": { "name": "p" }, "spec": { "containers": [{ "name": "c", "env": env }] } }).to_string());
        assert!(rules(&read).contains(&("refused-value", "A15")), "{:?}", rules(&read));
    }

    /// Case I02: what must exist and does not, and what may be missing.
    #[test]
    fn a_missing_source_or_key_is_a_problem_unless_it_is_optional() {
        let of = |optional: bool| {
            let env = json!([
                { "name": "A", "valueFrom": { "secretKeyRef": { "name": "key", "key": "SED", "optional": optional } } },
                { "name": "B", "valueFrom": { "configMapKeyRef": { "name": "none", "key": "x", "optional": optional } } },
                { "name": "C", "valueFrom": { "fieldRef": { "fieldPath": "status.podIP" } } },
            ]);
            let from = json!([{ "secretRef": { "name": "keys", "optional": optional } }, { "secretRef": { "name": "key", "optional": optional } }]);
            cluster(&json!({ "kind": "Pod", "metadata": { "name": "p" }, "spec": { "containers": [{ "name": "c", "env": env, "envFrom": from }] } }).to_string())
        };
        let read = of(false);
        assert_eq!(rules(&read), [("missing-source", ""), ("missing-key", "A"), ("missing-source", "")]);
        assert!(
            read.problems[0].message.contains("did you mean key?")
                && read.problems[1].message.contains("did you mean SEED?")
        );
        let read = of(true);
        assert!(rules(&read).is_empty());
        let seed = read.stack.deployments[0].setting("SEED").unwrap();
        assert!(!seed.value.fill(&|_| None, "").has_unknown, "a key that may be missing is not known to be there");
    }

    /// Case I02: every kind that starts pods, within a List too, and each container for itself.
    #[test]
    fn every_kind_of_workload_is_read_and_an_init_container_is_one_of_its_own() {
        let container = |name: &str| json!({ "name": name, "env": [{ "name": "A", "value": name }] });
        let pod = |name: &str| json!({ "containers": [container(name)], "initContainers": [{ "name": "first", "env": [{ "name": "B", "value": "1" }] }] });
        let of = |kind: &str| json!({ "kind": kind, "metadata": { "name": kind }, "spec": { "template": { "spec": pod(kind) } } });
        let items = json!([of("Deployment"), of("StatefulSet"), of("DaemonSet"), of("Job"),
            { "kind": "CronJob", "metadata": { "name": "CronJob" }, "spec": { "jobTemplate": { "spec": { "template": { "spec": pod("CronJob") } } } } },
            { "kind": "Pod", "metadata": { "name": "Pod" }, "spec": pod("Pod") }]);
        let read = cluster(&json!({ "kind": "List", "items": items }).to_string());
        for kind in ["Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod"] {
            assert_eq!(environment(&read, kind).len(), 1, "{kind}");
            assert!(environment(&read, kind)[0].starts_with(&format!("A={kind} k8s/x.yaml:1")), "{kind}");
            assert!(environment(&read, &format!("{kind}/first"))[0].starts_with("B=1 "), "{kind}");
        }
    }
}
