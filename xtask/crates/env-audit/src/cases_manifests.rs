//! What whole manifest sets of others have and this repository has not, planted into it: nothing untrue is said of it.

use serde_json::{Value, json};

use super::cases_kubernetes::{assert_found, found, object, pod};
use super::places::Places;
use super::yaml::Node;

fn add(places: &mut Places, document: Value) {
    places.kubernetes[0].documents.push(document);
}

fn has(found: &[String], rule: &str) -> bool {
    found.iter().any(|line| line.contains(&format!("[{rule}]")))
}

#[test]
fn a_key_of_a_config_map_that_is_mounted_as_a_file_is_taken() {
    let plant = |volume: Option<Value>| {
        found(|places| {
            add(
                places,
                json!({ "kind": "ConfigMap", "metadata": { "name": "files" }, "data": { "a": "x", "b": "y" } }),
            );
            pod(places, "user")["volumes"] = volume.map_or(json!([]), |volume| json!([volume]));
        })
    };
    let map = json!({ "name": "files" });
    for volume in [
        json!({ "name": "v", "configMap": map }),
        json!({ "name": "v", "projected": { "sources": [{ "configMap": map }] } }),
        json!({ "name": "v", "configMap": { "name": "files", "items": [{ "key": "a" }, { "key": "b" }] } }),
    ] {
        assert_eq!(plant(Some(volume)), Vec::<String>::new());
    }
    let one = plant(Some(json!({ "name": "v", "configMap": { "name": "files", "items": [{ "key": "a" }] } })));
    assert_eq!(one.len(), 1, "{one:#?}");
    assert_found(&one, "k8s/base", "unused-key", "no container takes b of the ConfigMap files");
    // Nobody takes any of it: one finding, since a program may read it from the API server.
    let whole = plant(None);
    assert_eq!(whole.len(), 1, "{whole:#?}");
    assert_found(&whole, "k8s/base", "unused-key", "no container takes anything that the ConfigMap files has");
}

/// One that may be missing is asked for all the same: the map is taken, and nothing of it.
#[test]
fn a_config_map_of_which_only_a_missing_key_is_taken_is_one_finding() {
    let found = found(|places| {
        add(places, json!({ "kind": "ConfigMap", "metadata": { "name": "files" }, "data": { "a": "x" } }));
        let key = json!({ "configMapKeyRef": { "name": "files", "key": "gone", "optional": true } });
        let env = &mut pod(places, "user")["containers"][0]["env"];
        env.as_array_mut().unwrap().push(json!({ "name": "GONE", "valueFrom": key }));
    });
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_found(&found, "k8s/base", "unused-key", "no container takes anything that the ConfigMap files has");
}

/// The first container of a pod goes by its workload's name elsewhere, and here nobody would know which is meant.
#[test]
fn what_is_wrong_with_one_of_several_containers_names_it() {
    let found = found(|places| {
        let containers = pod(places, "user")["containers"].as_array_mut().unwrap();
        containers.insert(0, json!({ "name": "proxy", "image": "proxy" }));
    });
    assert_found(&found, "k8s/", "writable-root", "the root of user/proxy can be written");
    assert!(!found.iter().any(|line| line.contains("the root of user can be written")), "{found:#?}");
}

/// A pod whose volume has no source, or not the key, never starts.
#[test]
fn what_a_volume_takes_is_there() {
    let plant = |volume: Value| {
        found(|places| {
            add(places, json!({ "kind": "ConfigMap", "metadata": { "name": "files" }, "data": { "a": "x" } }));
            pod(places, "user")["volumes"] = json!([{ "name": "v", "configMap": { "name": "files" } }, volume]);
        })
    };
    let gone = |kind: &str| format!("the {kind} gone is not in the manifests, and it is taken by user (volume w)");
    for (kind, volume) in [
        ("ConfigMap", json!({ "name": "w", "configMap": { "name": "gone" } })),
        ("Secret", json!({ "name": "w", "secret": { "secretName": "gone" } })),
        ("Secret", json!({ "name": "w", "projected": { "sources": [{ "secret": { "name": "gone" } }] } })),
    ] {
        let found = plant(volume);
        assert!(found.len() == 1 && found[0].contains(&gone(kind)), "{found:#?}");
    }
    let key = plant(json!({ "name": "w", "configMap": { "name": "files", "items": [{ "key": "b" }] } }));
    assert_found(
        &key,
        "k8s/base/user.yaml:",
        "missing-key",
        "the volume w of user takes the key b of the ConfigMap files",
    );
    for volume in [
        json!({ "name": "w", "configMap": { "name": "gone", "optional": true } }),
        json!({ "name": "w", "configMap": { "name": "files", "items": [{ "key": "b" }], "optional": true } }),
        json!({ "name": "w", "configMap": { "name": "kube-root-ca.crt" } }),
        json!({ "name": "w", "secret": { "secretName": "administrator" } }),
        json!({ "name": "w", "emptyDir": {} }),
    ] {
        assert_eq!(plant(volume), Vec::<String>::new());
    }
    // Whoever is told its name may make it.
    let made = found(|places| {
        pod(places, "order")["containers"][0]["args"] = json!(["--secret-name", "gone"]);
        pod(places, "user")["volumes"] = json!([{ "name": "w", "secret": { "secretName": "gone" } }]);
    });
    assert!(!has(&made, "missing-source"), "{made:#?}");
    // What the policy has is taken by a volume as by a variable.
    let mounted = found(|places| {
        let reference = |one: &Value| one["valueFrom"]["secretKeyRef"]["name"] == "administrator";
        pod(places, "user")["containers"][0]["env"].as_array_mut().unwrap().retain(|one| !reference(one));
        pod(places, "user")["volumes"] = json!([{ "name": "w", "secret": { "secretName": "administrator" } }]);
    });
    assert!(!has(&mounted, "unused-key"), "{mounted:#?}");
}

/// A program that is told the name of a ConfigMap reads it from the API server; kustomize copies from others.
#[test]
fn a_config_map_that_is_named_in_words_or_copied_from_is_taken() {
    let plant = |change: &dyn Fn(&mut Places)| {
        found(|places| {
            let metadata = json!({ "name": "x-files-42m8gk5kg2" });
            add(places, json!({ "kind": "ConfigMap", "metadata": metadata, "data": { "a": "x" } }));
            change(places);
        })
    };
    let arguments = |argument: &str| {
        let argument = argument.to_owned();
        plant(&|places| pod(places, "user")["containers"][0]["args"] = json!([argument]))
    };
    assert!(!has(&arguments("--configmap=$(NAMESPACE)/x-files-42m8gk5kg2"), "unused-key"));
    for other in
        ["--configmap=x-files-42m8gk5kg2-more", "--host=x-files-42m8gk5kg2", "--config=http://x-files-42m8gk5kg2:80"]
    {
        assert!(has(&arguments(other), "unused-key"), "{other}");
    }
    assert!(!has(&plant(&|places| places.kubernetes[0].copied.extend(["files".into()])), "unused-key"));
}

#[test]
fn a_service_may_select_what_a_controller_sets_and_what_an_operator_makes() {
    let plant = |selector: Value, more: Value| {
        let found = found(|places| {
            add(places, more);
            let ports = json!([{ "port": 5432 }, { "port": 2, "targetPort": 5432 }]);
            let spec = json!({ "selector": selector, "ports": ports });
            add(places, json!({ "kind": "Service", "metadata": { "name": "s" }, "spec": spec }));
        });
        let told: Vec<_> = found.into_iter().filter(|line| line.contains("the Service s")).collect();
        assert!(told.len() < 2, "{told:#?}");
        told.first().cloned().unwrap_or_default()
    };
    let pod_name = |pod: &str| json!({ "statefulset.kubernetes.io/pod-name": pod });
    assert_eq!(plant(pod_name("user-db-0"), json!({})), "");
    assert!(plant(pod_name("user-db-x"), json!({})).contains("the Service s selects no pod of the manifests"));
    let made = |version: &str, namespace: Option<&str>| {
        let metadata = json!({ "name": "k", "namespace": namespace, "labels": { "part": "monitor", "x": "y" } });
        plant(json!({ "part": "monitor" }), json!({ "apiVersion": version, "kind": "Maker", "metadata": metadata }))
    };
    assert_eq!(made("monitoring.coreos.com/v1", None), "");
    assert!(made("monitoring.coreos.com/v1", Some("other")).contains("selects no pod"));
    assert!(made("policy/v1", None).contains("selects no pod"));
    let template = json!({ "metadata": { "labels": { "app": "far" } }, "spec": { "containers": [] } });
    let metadata = json!({ "name": "far", "namespace": "away" });
    let far = plant(
        json!({ "app": "far" }),
        json!({ "kind": "Job", "metadata": metadata, "spec": { "template": template } }),
    );
    assert!(far.contains("the Service s selects far, whose namespace is away; its own is whatever is"), "{far}");
}

/// A kind is one of Kubernetes' own by its group.
#[test]
fn kinds_of_others_with_a_known_name_are_not_read_as_ours() {
    let plant = |version: &str, kind: &str, spec: Value| {
        found(|places| {
            places.kubernetes[0].documents.retain(|one| one["kind"] != "NetworkPolicy");
            add(places, json!({ "apiVersion": version, "kind": kind, "metadata": { "name": "x" }, "spec": spec }));
        })
    };
    // Of Kubernetes it would let nobody in and start a container as root.
    let none = json!({ "podSelector": {}, "policyTypes": ["Ingress"] });
    let pod = json!({ "template": { "spec": { "containers": [{ "name": "c", "image": "x" }] } } });
    assert_eq!(plant("crd.projectcalico.org/v1", "NetworkPolicy", none.clone()), Vec::<String>::new());
    assert!(has(&plant("networking.k8s.io/v1", "NetworkPolicy", none), "unreachable-address"));
    assert_eq!(plant("batch.volcano.sh/v1alpha1", "Job", pod.clone()), Vec::<String>::new());
    assert!(has(&plant("batch/v1", "Job", pod), "root-user"));
    let url = |version: &str| {
        found(|places| {
            add(places, json!({ "apiVersion": version, "kind": "Service", "metadata": { "name": "made" } }));
            object(places, "ConfigMap", "gateway")["data"]["USER_URL"] = "http://made".into();
        })
    };
    assert!(!has(&url("serving.knative.dev/v1"), "unreachable-address"));
}

#[test]
fn a_secret_that_an_operator_makes_is_there_and_its_keys_are_not_known() {
    let plant = |maker: Value| {
        found(|places| {
            add(places, maker);
            let container = &mut pod(places, "user")["containers"][0];
            let reference =
                json!({ "name": "ADMIN_PASSWORD", "valueFrom": { "secretKeyRef": { "name": "made", "key": "x" } } });
            container["env"].as_array_mut().unwrap().retain(|one| one["name"] != "ADMIN_PASSWORD");
            container["env"].as_array_mut().unwrap().push(reference);
            container["envFrom"].as_array_mut().unwrap().push(json!({ "secretRef": { "name": "made" } }));
        })
    };
    for (version, metadata, spec) in [
        ("bitnami.com/v1alpha1", json!({ "name": "made" }), json!({})),
        ("cert-manager.io/v1", json!({ "name": "c" }), json!({ "secretName": "made" })),
        ("external-secrets.io/v1", json!({ "name": "e" }), json!({ "target": { "name": "made" } })),
    ] {
        let maker = json!({ "apiVersion": version, "kind": "Maker", "metadata": metadata, "spec": spec });
        assert!(!has(&plant(maker.clone()), "missing-source"), "{:#?}", plant(maker));
    }
    let other = plant(json!({ "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": { "name": "made" } }));
    assert_found(&other, "k8s/base/user.yaml:", "missing-source", "the Secret made is not in the manifests");
}

#[test]
fn a_secret_without_a_value_gives_nothing_away() {
    let plant = |data: Value| {
        found(|places| add(places, json!({ "kind": "Secret", "metadata": { "name": "hook" }, "data": data })))
    };
    for data in [json!(null), json!({}), json!({ "a": "", "b": null })] {
        assert_eq!(plant(data), Vec::<String>::new());
    }
    // Encrypted by SOPS, as it is and as a generator encodes it, and the mark of a tool that puts the value there.
    for value in [
        "ENC[AES256_GCM,data:x,iv:y]",
        "eyJkYXRhIjoiRU5DW0FF\nUzI1Nl9HQ00sZGF0YTp4XSJ9\n",
        "<path:secret/x#y>",
        "${PASSWORD}",
    ] {
        assert_eq!(plant(json!({ "a": value })), Vec::<String>::new(), "{value}");
    }
    assert!(has(&plant(json!({ "a": "eA==" })), "secret-literal"));
}

#[test]
fn a_key_with_the_name_of_a_secret_and_no_secret_in_it_is_none() {
    let plant = |key: &str, value: &str| {
        let found = found(|places| object(places, "ConfigMap", "user")["data"][key] = value.into());
        has(&found, "secret-in-config-map")
    };
    for (key, value) in [
        ("ADMIN_PASSWORD", ""),
        ("ADMIN_PASSWORD", "$(FROM_ABOVE)"),
        ("MYSQL_ALLOW_EMPTY_PASSWORD", "true"),
        ("password_rotation_retention", "180"),
        ("secret_name_template", "x.{username}"),
        ("credentials", "{\n  \"gcs\": {}\n}\n"),
    ] {
        assert!(!plant(key, value), "{key}");
    }
    assert!(plant("ADMIN_PASSWORD", "hunter2"));
}

#[test]
fn a_named_port_is_one_of_the_same_protocol() {
    let plant = |protocol: &str| {
        found(|places| object(places, "Service", "user")["spec"]["ports"][0]["protocol"] = protocol.into())
    };
    assert_eq!(plant("TCP"), Vec::<String>::new());
    assert_found(&plant("UDP"), "k8s/base/user.yaml:", "unreachable-address", "leads to no container");
}

/// Its name gives the addresses of the pods themselves.
#[test]
fn whoever_asks_a_service_without_an_address_uses_the_ports_of_the_pods() {
    let plant = |port: u16, url: &str| {
        found(|places| {
            let spec = &mut object(places, "Service", "user")["spec"];
            spec["clusterIP"] = "None".into();
            spec["ports"][0]["port"] = port.into();
            object(places, "ConfigMap", "gateway")["data"]["USER_URL"] = url.into();
            places.compose[0].rendered["services"]["gateway"]["environment"]["USER_URL"] = "${U:?x}".into();
        })
    };
    let of = |found: Vec<String>| has(&found, "unreachable-address");
    assert!(!of(plant(80, "http://user:8080")));
    assert!(of(plant(80, "http://user:80")));
}

#[test]
fn a_policy_of_another_namespace_selects_no_pod_here() {
    let plant = |namespace: &str| {
        found(|places| {
            let documents = &mut places.kubernetes[0].documents;
            documents.iter_mut().for_each(|document| document["metadata"]["namespace"] = "mini".into());
            let policies = documents.iter_mut().filter(|one| one["kind"] == "NetworkPolicy");
            policies.for_each(|policy| policy["metadata"]["namespace"] = namespace.into());
            // Nobody may ask a name server.
            let spec = json!({ "podSelector": {}, "policyTypes": ["Egress"], "egress": [] });
            let metadata = json!({ "name": "nothing", "namespace": namespace });
            documents.retain(|one| one["kind"] != "NetworkPolicy");
            add(places, json!({ "kind": "NetworkPolicy", "metadata": metadata, "spec": spec }));
        })
    };
    assert!(!has(&plant("elsewhere"), "unreachable-address"), "{:#?}", plant("elsewhere"));
    assert!(has(&plant("mini"), "unreachable-address"));
}

#[test]
fn an_ingress_to_a_service_that_is_not_there_says_so() {
    let gone = found(|places| {
        places.kubernetes[0].documents.retain(|one| one["kind"] != "Service" || one["metadata"]["name"] != "gateway");
    });
    let words = "leads to the Service gateway, which the manifests do not have";
    assert_found(&gone, "k8s/base/ingress.yaml:", "unreachable-address", words);
    // A Service that leads nowhere is told once, of the Service.
    let nowhere = found(|places| object(places, "Service", "gateway")["spec"]["selector"] = json!({ "a": "b" }));
    let told = nowhere.iter().filter(|line| line.contains("[unreachable-address]")).count();
    assert_eq!(told, 1, "{nowhere:#?}");
}

#[test]
fn what_belongs_to_the_whole_cluster_may_stand_beside_its_namespace() {
    let plant = |kind: &str| {
        found(|places| {
            let mut sources = places.kubernetes[0].sources.to_vec();
            let file = sources.iter_mut().find(|source| source.file == "k8s/base/namespace.yaml").unwrap();
            file.text = format!("{}---\napiVersion: v1\nkind: {kind}\nmetadata: {{ name: x }}\n", file.text);
            file.documents = Node::parse_all(&file.text).unwrap();
            places.kubernetes[0].sources = sources.into();
        })
    };
    for kind in ["ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "PriorityClass", "SomethingNew"] {
        assert_eq!(plant(kind), Vec::<String>::new(), "{kind}");
    }
    assert!(has(&plant("ServiceAccount"), "loose-object"));
}
