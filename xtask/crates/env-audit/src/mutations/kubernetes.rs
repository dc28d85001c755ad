//! The mutants of the manifests: every variable in every ConfigMap and container, and what stands beside the variables.

use serde_json::{Value, json};

use super::{Mutants, other_values};

/// Kubernetes takes `optional` for the object as a whole, and that is in the same manifests.
const OPTIONAL: &str = "an optional ConfigMap that is there is taken like any other";

/// Whoever asks for it gets the address of the pod, and asks on the pod's own port.
const HEADLESS: &str = "the port of a Service without an address is asked for by nobody";

/// What no rule can find, by the end of its description, and why.
pub(super) const SURVIVORS: [(&str, &str); 15] = [
    ("change the port of the Service gateway", "the Ingress takes the port by its name, and nobody else asks for it"),
    ("change the port of the Service order-db", HEADLESS),
    ("change the port of the Service product-db", HEADLESS),
    ("change the port of the Service user-db", HEADLESS),
    ("make optional envFrom 0 of gateway", OPTIONAL),
    ("make optional envFrom 0 of order", OPTIONAL),
    ("make optional envFrom 0 of order-db", OPTIONAL),
    ("make optional envFrom 0 of product", OPTIONAL),
    ("make optional envFrom 0 of product-db", OPTIONAL),
    ("make optional envFrom 0 of user", OPTIONAL),
    ("make optional envFrom 0 of user-db", OPTIONAL),
    ("make optional envFrom 1 of gateway", OPTIONAL),
    ("make optional envFrom 1 of order", OPTIONAL),
    ("make optional envFrom 1 of product", OPTIONAL),
    ("make optional envFrom 1 of user", OPTIONAL),
];

pub(super) fn mutate(mutants: &mut Mutants<'_>) {
    let documents = mutants.original.kubernetes[0].documents.clone();
    for (at, document) in documents.iter().enumerate() {
        let name = document["metadata"]["name"].as_str().unwrap();
        match document["kind"].as_str().unwrap() {
            "ConfigMap" => config_map(mutants, at, name, &document["data"]),
            "Deployment" | "StatefulSet" => {
                let container = &document["spec"]["template"]["spec"]["containers"][0];
                environment(mutants, at, name, container);
                sources(mutants, at, name, container);
                workload(mutants, at, name);
            }
            "Service" => service(mutants, at, name),
            "NetworkPolicy" => policy(mutants, at, name, &document["spec"]),
            _ => {}
        }
    }
}

fn change(mutants: &mut Mutants<'_>, at: usize, what: &str, change: impl FnOnce(&mut Value)) {
    mutants.add(format!("kubernetes: {what}"), |places| change(&mut places.kubernetes[0].documents[at]));
}

fn container(document: &mut Value) -> &mut Value {
    &mut document["spec"]["template"]["spec"]["containers"][0]
}

fn config_map(mutants: &mut Mutants<'_>, at: usize, map: &str, data: &Value) {
    for (key, value) in data.as_object().unwrap() {
        let text = value.as_str().unwrap();
        let mut set = |what: &str, new: Option<(String, String)>| {
            change(mutants, at, &format!("{what} {key} in the ConfigMap {map}"), |document| {
                let data = document["data"].as_object_mut().unwrap();
                data.remove(key);
                data.extend(new.map(|(key, value)| (key, value.into())));
            });
        };
        set("delete", None);
        set("rename", Some((format!("{key}_X"), text.to_owned())));
        for (number, other) in other_values(text).into_iter().enumerate() {
            set(&format!("change the value ({number}) of"), Some((key.clone(), other)));
        }
    }
    for (key, value) in
        [("ADMIN_PASSWORD", "hunter2hunter2"), ("JWT_SIGNING_KEY", "x"), ("UNHEARD_OF", "1"), ("1ABC", "1")]
    {
        change(mutants, at, &format!("add {key} to the ConfigMap {map}"), |document| {
            document["data"][key] = value.into();
        });
    }
}

fn environment(mutants: &mut Mutants<'_>, at: usize, name: &str, of: &Value) {
    let entries = of["env"].as_array().cloned().unwrap_or_default();
    for (index, entry) in entries.iter().enumerate() {
        let variable = entry["name"].as_str().unwrap();
        let mut set = |what: &str, edit: &dyn Fn(&mut Vec<Value>)| {
            change(mutants, at, &format!("{what} {variable} of {name}"), |document| {
                edit(container(document)["env"].as_array_mut().unwrap());
            });
        };
        set("delete", &|list| drop(list.remove(index)));
        set("rename", &|list| list[index]["name"] = format!("{variable}_X").into());
        set("write out", &|list| list[index] = json!({ "name": variable, "value": "hunter2hunter2" }));
        set("repeat", &|list| list.push(json!({ "name": variable, "value": "other" })));
        if let Some(text) = entry["value"].as_str() {
            set("move to the front", &|list| list[..=index].rotate_right(1));
            for (number, other) in other_values(text).into_iter().enumerate() {
                set(&format!("change the value ({number}) of"), &|list| list[index]["value"] = other.clone().into());
            }
            let renamed = text.replace("$(", "$(X");
            set("change the reference in", &|list| list[index]["value"] = renamed.clone().into());
            let braces = text.replace("$(", "${").replace(')', "}");
            set("change the brackets in", &|list| list[index]["value"] = braces.clone().into());
            continue;
        }
        let reference = &entry["valueFrom"]["secretKeyRef"];
        let (secret, key) = (reference["name"].as_str().unwrap(), reference["key"].as_str().unwrap());
        let other = if secret == "token-signing-key" { "administrator" } else { "token-signing-key" };
        let another = if secret == "user-db" { "order-db" } else { "user-db" };
        for (what, field, value) in [
            ("misspell the Secret of", "name", format!("{secret}x").into()),
            ("take another Secret for", "name", other.into()),
            ("take another database's Secret for", "name", another.into()),
            ("misspell the key of", "key", format!("{key}_X").into()),
            ("make optional", "optional", Value::Bool(true)),
        ] {
            if reference[field] == value {
                continue;
            }
            set(what, &|list| list[index]["valueFrom"]["secretKeyRef"][field] = Value::clone(&value));
        }
        set("take from a ConfigMap", &|list| {
            list[index]["valueFrom"] = json!({ "configMapKeyRef": { "name": secret, "key": key } });
        });
    }
}

fn sources(mutants: &mut Mutants<'_>, at: usize, name: &str, of: &Value) {
    for index in 0..of["envFrom"].as_array().map_or(0, Vec::len) {
        let mut set = |what: &str, edit: &dyn Fn(&mut Vec<Value>)| {
            change(mutants, at, &format!("{what} envFrom {index} of {name}"), |document| {
                edit(container(document)["envFrom"].as_array_mut().unwrap());
            });
        };
        set("delete", &|list| drop(list.remove(index)));
        set("prefix", &|list| list[index]["prefix"] = "X_".into());
        set("misspell", &|list| list[index]["configMapRef"]["name"] = "nowhere".into());
        set("take a Secret as", &|list| list[index] = json!({ "secretRef": { "name": "token-signing-key" } }));
        set("make optional", &|list| list[index]["configMapRef"]["optional"] = true.into());
    }
}

fn workload(mutants: &mut Mutants<'_>, at: usize, name: &str) {
    let mut set = |what: &str, edit: &dyn Fn(&mut Value)| {
        change(mutants, at, &format!("{what} of {name}"), |document| edit(&mut document["spec"]["template"]["spec"]));
    };
    set("delete runAsNonRoot", &|pod| drop(pod["securityContext"].as_object_mut().unwrap().remove("runAsNonRoot")));
    set("change runAsUser to 0", &|pod| pod["securityContext"]["runAsUser"] = 0.into());
    set("allow a writable root", &|pod| {
        pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] = false.into();
    });
    set("change the image", &|pod| pod["containers"][0]["image"] = "mini-other:local".into());
    set("change the port", &|pod| pod["containers"][0]["ports"][0]["containerPort"] = 9090.into());
    set("rename the port", &|pod| pod["containers"][0]["ports"][0]["name"] = "other".into());
    set("change the readiness", &|pod| {
        pod["containers"][0]["readinessProbe"]["exec"]["command"] = json!(["/bin/true"]);
    });
    set("add a place to write", &|pod| {
        pod["volumes"] = json!([{ "name": "more", "emptyDir": {} }]);
        let container = &mut pod["containers"][0];
        let mut mounts = container["volumeMounts"].as_array().cloned().unwrap_or_default();
        mounts.push(json!({ "name": "more", "mountPath": "/more" }));
        container["volumeMounts"] = mounts.into();
    });
    if name.ends_with("-db") {
        set("delete the preStop", &|pod| drop(pod["containers"][0].as_object_mut().unwrap().remove("lifecycle")));
    } else {
        set("change runAsUser", &|pod| pod["securityContext"]["runAsUser"] = 1000.into());
        set("shorten the grace", &|pod| pod["terminationGracePeriodSeconds"] = 15.into());
        set("restart when not ready", &|pod| {
            pod["containers"][0]["livenessProbe"] = pod["containers"][0]["readinessProbe"].clone();
        });
        for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
            set(&format!("delete the {probe}"), &|pod| {
                drop(pod["containers"][0].as_object_mut().unwrap().remove(probe));
            });
        }
    }
}

fn service(mutants: &mut Mutants<'_>, at: usize, name: &str) {
    for (what, field, value) in [
        ("rename", "/metadata/name", json!("other")),
        ("change the port", "/spec/ports/0/port", json!(80)),
        ("change the target", "/spec/ports/0/targetPort", json!(9090)),
        ("change the selector", "/spec/selector", json!({ "app.kubernetes.io/name": "other" })),
    ] {
        change(mutants, at, &format!("{what} of the Service {name}"), |document| {
            *document.pointer_mut(field).unwrap() = value;
        });
    }
}

/// Each flow is taken away at each of its ends.
fn policy(mutants: &mut Mutants<'_>, at: usize, name: &str, spec: &Value) {
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        for (rule, body) in spec[direction].as_array().into_iter().flatten().enumerate() {
            for peer in 0..body[peers].as_array().map_or(0, Vec::len) {
                change(mutants, at, &format!("delete {peers} {peer} of {direction} {rule} of {name}"), |document| {
                    document["spec"][direction][rule][peers][peer] =
                        json!({ "podSelector": { "matchLabels": { "of": "nobody" } } });
                });
            }
            change(mutants, at, &format!("change the port of {direction} {rule} of {name}"), |document| {
                document["spec"][direction][rule]["ports"] = json!([{ "port": 1 }]);
            });
        }
    }
}
