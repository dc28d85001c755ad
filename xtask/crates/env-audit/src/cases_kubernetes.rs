//! Faults from the field in manifests (cases I02, I03, I04 and what H06 says of them), planted into the repository's own.

use serde_json::{Value, json};

use super::mutations::repository;
use super::places::Places;
use super::rules;
use super::view::View;
use super::yaml::Node;

const CANARY: &str = "S3CR3T-c4n4ry";

pub(crate) fn found(plant: impl FnOnce(&mut Places)) -> Vec<String> {
    let mut places = repository();
    plant(&mut places);
    let policy = crate::repository::policy();
    let findings = rules::check(&View::new(&places, &policy));
    let told: Vec<_> = findings.found.iter().map(|found| found.finding.to_string()).collect();
    assert!(!told.iter().chain(&findings.notes).any(|line| line.contains(CANARY)), "{told:?}");
    told
}

#[track_caller]
pub(crate) fn assert_found(found: &[String], place: &str, rule: &str, words: &str) {
    let is_it = |line: &String| line.starts_with(place) && line.contains(&format!("[{rule}]")) && line.contains(words);
    assert!(found.iter().any(is_it), "{place} {rule} {words}: {found:#?}");
}

pub(crate) fn object<'a>(places: &'a mut Places, kind: &str, name: &str) -> &'a mut Value {
    let is_it = |one: &&mut Value| one["kind"] == kind && one["metadata"]["name"] == name;
    places.kubernetes[0].documents.iter_mut().find(is_it).unwrap()
}

pub(crate) fn pod<'a>(places: &'a mut Places, name: &str) -> &'a mut Value {
    &mut object(places, "Deployment", name)["spec"]["template"]["spec"]
}

#[test]
fn i02_a_required_variable_of_an_init_container_is_missing_for_the_main_one() {
    let found = found(|places| {
        let pod = pod(places, "product");
        let main = pod["containers"][0].clone();
        pod["containers"][0]["env"].as_array_mut().unwrap().retain(|one| one["name"] != "JWT_PUBLIC_KEY");
        pod["initContainers"] = json!([{ "name": "first", "image": main["image"], "env": main["env"], "securityContext": main["securityContext"] }]);
    });
    assert_found(&found, "k8s/base/product.yaml", "required-unset", "JWT_PUBLIC_KEY of product is required");
    assert!(!found.iter().any(|line| line.contains("JWT_PUBLIC_KEY of product/first")), "{found:#?}");
}

#[test]
fn i02_keys_that_are_no_names_and_keys_that_nobody_reads_are_found() {
    let found = found(|places| {
        let data = &mut object(places, "ConfigMap", "user")["data"];
        data["log-level"] = "x".into();
        data["1ABC"] = "y".into();
    });
    assert_found(&found, "k8s/base/user.yaml", "unknown-variable", "log-level of user");
    assert_found(&found, "k8s/base/user.yaml", "invalid-name", "`1ABC`, which is not a valid variable name");
}

#[test]
fn h06_a_secret_in_a_config_map_or_a_manifest_is_found_and_not_told() {
    let found = found(|places| {
        object(places, "ConfigMap", "user")["data"]["ADMIN_PASSWORD"] = CANARY.into();
        let secret = json!({ "kind": "Secret", "metadata": { "name": "administrator" }, "stringData": { "ADMIN_PASSWORD": CANARY } });
        places.kubernetes[0].documents.push(secret);
        pod(places, "user")["containers"][0]["env"][1]["value"] =
            format!("postgres://user:{CANARY}@user-db:5432/user").into();
    });
    assert_found(&found, "k8s/base/user.yaml", "secret-in-config-map", "ADMIN_PASSWORD");
    assert_found(&found, "k8s/base", "secret-literal", "the Secret administrator");
    assert_found(&found, "k8s/base/user.yaml", "secret-literal", "DATABASE_URL of user");
}

#[test]
fn i03_a_user_that_is_root_or_cannot_be_proven_not_to_be_is_found() {
    for (user, rule) in [
        ("", "root-user"),
        ("0:0", "root-user"),
        ("root", "root-user"),
        ("nonroot", "named-user"),
        (" 65532", "named-user"),
    ] {
        let found = found(|places| places.images[0].config["User"] = user.into());
        assert_found(&found, "image of gateway", rule, "the image of gateway");
    }
    let root = found(|places| pod(places, "order")["securityContext"]["runAsUser"] = 0.into());
    assert_found(&root, "k8s/base/order.yaml", "root-user", "order runs as user 0");
    for (user, words) in
        [(Some(0), "order runs as user 0"), (Some(7), "only runAsUser, 7,"), (None, "order may run as root")]
    {
        let found = found(|places| {
            pod(places, "order")["securityContext"] = user.map_or(json!({}), |user| json!({ "runAsUser": user }));
        });
        let told: Vec<_> = found.iter().filter(|line| line.contains("[root-user]")).collect();
        assert!(told.len() == 1 && told[0].contains(words), "{told:#?}");
    }
    let other = found(|places| places.images[0].config["User"] = "1000:1000".into());
    assert_found(&other, "k8s/base/gateway.yaml", "different-stack", "runs as another user than its image says");
    let named = found(|places| {
        let pod = &mut object(places, "StatefulSet", "user-db")["spec"]["template"]["spec"];
        pod["securityContext"].as_object_mut().unwrap().remove("runAsUser");
    });
    assert_found(&named, "k8s/base [", "named-user", "user-db leaves its user to an image");
}

#[test]
fn i03_a_port_that_takes_root_is_found() {
    let found = found(|places| {
        object(places, "ConfigMap", "gateway")["data"]["PORT"] = "80".into();
        pod(places, "gateway")["containers"][0]["ports"][0]["containerPort"] = 80.into();
    });
    assert_found(&found, "k8s/base/gateway.yaml", "privileged-port", "gateway is to listen on 80");
}

/// `USER_URL` of the gateway is nobody else's name; a variable of the form of a Service's is.
#[test]
fn i04_a_variable_that_a_service_brings_along_is_found_unless_links_are_off() {
    let plant = |places: &mut Places, links: bool| {
        let mut clash = places.images[0].contract.variables[0].clone();
        clash.name = "USER_SERVICE_HOST".into();
        places.images[0].contract.variables.push(clash);
        pod(places, "gateway")["enableServiceLinks"] = links.into();
    };
    let linked = found(|places| plant(places, true));
    assert_found(
        &linked,
        "k8s/base/gateway.yaml",
        "service-link",
        "the Service user gives USER_SERVICE_HOST of gateway",
    );
    let unlinked = found(|places| plant(places, false));
    assert!(!unlinked.iter().any(|line| line.contains("[service-link]")), "{unlinked:#?}");
}

/// A Service asks for `httpGet` as well as `exec`, at the right paths.
#[test]
fn a_probe_over_http_is_held_to_the_paths_that_the_program_answers() {
    let probes = |live: &str| {
        found(|places| {
            let probe = |path: &str| json!({ "httpGet": { "path": path, "port": "http" } });
            let container = &mut pod(places, "order")["containers"][0];
            (container["readinessProbe"], container["livenessProbe"]) = (probe("/readyz"), probe(live));
        })
    };
    assert_eq!(probes("/healthz"), Vec::<String>::new());
    assert_found(&probes("/readyz"), "k8s/base/order.yaml", "wrong-probe", "restarts it when");
    assert_found(&probes("/health"), "k8s/base/order.yaml", "wrong-probe", "asks for something that");
}

/// What Kubernetes sets and Compose does not is written down in the policy, for the overlays that it is for.
#[test]
fn a_variable_of_one_overlay_alone_has_to_be_there_and_is_allowed_nowhere_else() {
    let with = |folder: &str, name: Option<&str>| {
        found(|places| {
            places.kubernetes[0].folder = folder.into();
            let data = &mut object(places, "ConfigMap", "gateway")["data"];
            name.into_iter().for_each(|name| data[name] = "10.0.0.0/8".into());
        })
    };
    let production = "k8s/overlays/production";
    assert_eq!(with(production, Some("TRUSTED_PROXIES")), Vec::<String>::new());
    assert_found(
        &with(production, None),
        "k8s/base/gateway.yaml",
        "different-setting",
        "TRUSTED_PROXIES of gateway is to be",
    );
    let misspelt = with(production, Some("TRUSTED_PROXY"));
    assert_found(&misspelt, "k8s/base/gateway.yaml", "unknown-variable", "TRUSTED_PROXY of gateway");
    let elsewhere = with("k8s/overlays/local", Some("TRUSTED_PROXIES"));
    assert_found(&elsewhere, "k8s/base/gateway.yaml", "different-setting", "is set here and not in the Compose file");
}

#[test]
fn q02_what_the_api_server_refuses_is_found_with_its_line() {
    let env =
        |entry: Value| found(|places| pod(places, "user")["containers"][0]["env"].as_array_mut().unwrap().push(entry));
    let place = "k8s/base/user.yaml:";
    assert_found(&env(json!({ "name": "PORT", "value": 8080 })), place, "refused-value", "PORT of user is a number");
    assert_found(&env(json!({ "name": "PORT", "value": 1.5 })), place, "refused-value", "PORT of user is a number");
    assert_found(&env(json!({ "name": "PORT", "value": true })), place, "refused-value", "PORT of user is a boolean");
    assert_found(&env(json!({ "name": "PORT", "value": ["x"] })), place, "refused-value", "a list or a mapping");
    let field = json!({ "fieldRef": { "fieldPath": "status.podIP" } });
    assert_found(
        &env(json!({ "name": "PORT", "value": "1", "valueFrom": field })),
        place,
        "refused-value",
        "a valueFrom",
    );
    assert_found(&env(json!({ "name": "PORT", "valueFrom": {} })), place, "refused-value", "with 0 sources");
    let two =
        json!({ "fieldRef": { "fieldPath": "x" }, "secretKeyRef": { "name": "user-db", "key": "POSTGRES_PASSWORD" } });
    assert_found(&env(json!({ "name": "PORT", "valueFrom": two })), place, "refused-value", "with 2 sources");
    assert_found(&env(json!({ "value": "1" })), place, "refused-value", "has no name");
    // Nothing is what an empty value is; it is no number.
    let nothing = env(json!({ "name": "PORT", "value": null }));
    assert!(!nothing.iter().any(|line| line.contains("refused-value")), "{nothing:#?}");
    let data = found(|places| object(places, "ConfigMap", "user")["data"]["PORT"] = 8080.into());
    assert_found(&data, place, "refused-value", "PORT of the ConfigMap user");
}

/// Case Q11, and case Q02: each is one finding, with nothing that follows from it.
#[test]
fn q11_a_missing_source_is_one_finding_whoever_takes_from_it() {
    let secret = found(|places| {
        let env = pod(places, "user")["containers"][0]["env"].as_array_mut().unwrap();
        let is_taken = |entry: &&mut Value| {
            let reference = &entry["valueFrom"]["secretKeyRef"];
            reference.is_object() && reference["optional"].is_null()
        };
        env.iter_mut().filter(is_taken).for_each(|entry| entry["valueFrom"]["secretKeyRef"]["name"] = "mail".into());
    });
    assert_eq!(secret.len(), 1, "{secret:#?}");
    assert_found(&secret, "k8s/base/user.yaml:", "missing-source", "the Secret mail is not in the manifests");
    assert!(secret[0].contains("user (JWT_SIGNING_KEY) in k8s/base/user.yaml:"), "{secret:#?}");
    let map = found(|places| {
        for name in ["user", "product"] {
            pod(places, name)["containers"][0]["envFrom"][0]["configMapRef"]["name"] = "shopp".into();
        }
    });
    assert_eq!(map.len(), 1, "{map:#?}");
    assert_found(&map, "k8s/base/", "missing-source", "did you mean shop?");
    let number = found(|places| {
        let env = pod(places, "user")["containers"][0]["env"].as_array_mut().unwrap();
        let url = env.iter_mut().find(|entry| entry["name"] == "DATABASE_URL").unwrap();
        url["value"] = 5.into();
    });
    assert_eq!(number.len(), 1, "{number:#?}");
    let reference = found(|places| {
        let env = pod(places, "user")["containers"][0]["env"].as_array_mut().unwrap();
        let url = env.iter_mut().find(|entry| entry["name"] == "DATABASE_URL").unwrap();
        url["value"] = "postgres://user:$(PASSWORD)@user-db:5432/user".into();
    });
    assert!(!reference.iter().any(|line| line.contains("in clear")), "{reference:#?}");
}

/// The namespace of a source is that of the pod.
#[test]
fn a_source_of_another_namespace_does_not_exist() {
    let found = found(|places| object(places, "ConfigMap", "user")["metadata"]["namespace"] = "elsewhere".into());
    assert_found(
        &found,
        "k8s/base/user.yaml:",
        "missing-source",
        "is not in the namespace of the pod, but in elsewhere",
    );
}

#[test]
fn q07_a_service_leads_to_what_listens_whatever_the_container_names() {
    let plant = |target: Value, keep: bool| {
        found(|places| {
            if !keep {
                pod(places, "user")["containers"][0].as_object_mut().unwrap().remove("ports");
            }
            object(places, "Service", "user")["spec"]["ports"][0]["targetPort"] = target;
        })
    };
    assert_eq!(plant(8080.into(), false), Vec::<String>::new());
    assert_eq!(plant(8080.into(), true), Vec::<String>::new());
    assert_found(&plant("http".into(), false), "k8s/base/user.yaml:", "unreachable-address", "leads to no container");
    assert_found(
        &plant(9090.into(), false),
        "k8s/base/user.yaml:",
        "unreachable-address",
        "leads to 9090, and user listens on 8080",
    );
}

#[test]
fn q07_a_service_without_a_selector_and_a_name_for_something_outside_are_no_faults() {
    for spec in [
        json!({ "ports": [{ "port": 8080 }] }),
        json!({ "type": "ExternalName", "externalName": "user.example" }),
        json!({ "type": "ExternalName", "externalName": "x", "selector": { "a": "b" } }),
    ] {
        let found = found(|places| {
            let service = json!({ "kind": "Service", "metadata": { "name": "elsewhere" }, "spec": spec });
            places.kubernetes[0].documents.push(service);
            object(places, "ConfigMap", "gateway")["data"]["USER_URL"] = "http://elsewhere:8080".into();
        });
        assert!(!found.iter().any(|line| line.contains("unreachable-address")), "{found:#?}");
    }
}

#[test]
fn a_service_has_the_names_of_its_namespace_and_a_pod_those_of_all_its_services() {
    let set = |url: &str| {
        found(|places| {
            let documents = &mut places.kubernetes[0].documents;
            documents.iter_mut().for_each(|document| document["metadata"]["namespace"] = "mini".into());
            let mut second = object(places, "Service", "user").clone();
            second["metadata"]["name"] = "accounts".into();
            places.kubernetes[0].documents.push(second);
            object(places, "ConfigMap", "gateway")["data"]["USER_URL"] = url.into();
            places.compose[0].rendered["services"]["gateway"]["environment"]["USER_URL"] = "${U:?x}".into();
        })
    };
    for url in ["http://accounts:8080", "http://user.mini:8080", "http://accounts.mini.svc.cluster.local:8080"] {
        let found = set(url);
        assert!(
            !found.iter().any(|line| line.contains("unreachable-address") || line.contains("different-stack")),
            "{found:#?}"
        );
    }
    assert_found(&set("http://user.mini.svc:9090"), "k8s/base/gateway.yaml:", "unreachable-address", "on port 9090");
}

#[test]
fn a_sidecar_among_the_init_containers_is_a_container_that_stays() {
    let plant = |policy: &str| {
        found(|places| {
            let policy = policy.to_owned();
            let pod = pod(places, "user");
            let mut side = pod["containers"][0].clone();
            let main = pod["containers"][0].as_object_mut().unwrap();
            main.remove("ports");
            side["name"] = "first".into();
            side["restartPolicy"] = policy.into();
            pod["initContainers"] = json!([side]);
        })
    };
    assert!(!plant("Always").iter().any(|line| line.contains("leads to no container")), "{:#?}", plant("Always"));
    assert_found(&plant("Never"), "k8s/base/user.yaml:", "unreachable-address", "leads to no container");
}

#[test]
fn a_reference_to_what_kubernetes_sets_for_a_service_is_resolved() {
    let plant = |links: bool| {
        found(|places| {
            let pod = pod(places, "gateway");
            pod["enableServiceLinks"] = links.into();
            pod["containers"][0]["env"] = json!([{ "name": "USER_URL", "value": "http://$(USER_SERVICE_HOST):8080" }]);
        })
    };
    assert!(!plant(true).iter().any(|line| line.contains("unresolved-reference")), "{:#?}", plant(true));
    assert_found(&plant(false), "k8s/base/gateway.yaml:", "unresolved-reference", "$(USER_SERVICE_HOST)");
}

/// Case Q12: what goes to production.
#[test]
fn q12_a_service_that_is_not_rolled_out_like_its_neighbours_is_found() {
    let production = |plant: &dyn Fn(&mut Places)| {
        found(|places| {
            for name in ["gateway", "user", "product", "order"] {
                let image = format!("registry.example/mini-{name}:1");
                pod(places, name)["containers"][0]["image"] = image.into();
                let target = json!({ "kind": "Deployment", "name": name });
                let labels = json!({ "matchLabels": { "app.kubernetes.io/name": name } });
                for (kind, spec) in [
                    ("HorizontalPodAutoscaler", json!({ "scaleTargetRef": target })),
                    ("PodDisruptionBudget", json!({ "selector": labels })),
                ] {
                    places.kubernetes[0]
                        .documents
                        .push(json!({ "kind": kind, "metadata": { "name": name }, "spec": spec }));
                }
            }
            plant(places);
        })
    };
    assert_eq!(production(&|_| {}), Vec::<String>::new());
    let unmapped = production(&|places| pod(places, "order")["containers"][0]["image"] = "mini-order:local".into());
    assert_found(&unmapped, "k8s/base/order.yaml:", "unmapped-image", "the image of order without a registry");
    assert_eq!(unmapped.len(), 1, "{unmapped:#?}");
    for kind in ["HorizontalPodAutoscaler", "PodDisruptionBudget"] {
        let alone = production(&|places| {
            let is_it = |one: &Value| one["kind"] == kind && one["metadata"]["name"] == "order";
            places.kubernetes[0].documents.retain(|one| !is_it(one));
        });
        assert_found(&alone, "k8s/base/order.yaml:", "unlike-neighbours", &format!("order has no {kind}"));
        assert_eq!(alone.len(), 1, "{alone:#?}");
    }
    let claim = production(&|places| {
        object(places, "StatefulSet", "user-db")["spec"]["volumeClaimTemplates"][0]["spec"]["storageClassName"] =
            "fast".into();
    });
    assert_found(&claim, "k8s/base/order-db.yaml:", "no-storage-class", "the claim data of order-db");
    assert_eq!(claim.len(), 2, "{claim:#?}");
}

#[test]
fn a_database_that_sigterm_alone_does_not_end_is_found() {
    for lifecycle in
        [json!(null), json!({ "preStop": { "exec": { "command": ["pg_ctl", "stop", "--mode", "smart"] } } })]
    {
        let found = found(|places| {
            let pod = &mut object(places, "StatefulSet", "order-db")["spec"]["template"]["spec"];
            pod["containers"][0]["lifecycle"] = lifecycle.clone();
        });
        let words = "order-db waits for its clients when it is to end, until it is killed";
        assert_found(&found, "k8s/base/order-db.yaml", "slow-end", words);
        assert_eq!(found.len(), 1, "{found:#?}");
    }
}

#[test]
fn an_object_in_the_file_of_the_namespace_is_found_since_that_file_is_applied_by_itself() {
    let plant = |more: &str| {
        found(|places| {
            let mut sources = places.kubernetes[0].sources.to_vec();
            let file = sources.iter_mut().find(|source| source.file == "k8s/base/namespace.yaml").unwrap();
            file.text = format!("{}---\n{more}", file.text);
            file.documents = Node::parse_all(&file.text).unwrap();
            places.kubernetes[0].sources = sources.into();
        })
    };
    let loose = plant("apiVersion: v1\nkind: ConfigMap\nmetadata: { name: shop }\n");
    let words = "makes the ConfigMap shop in whatever namespace is the current one";
    assert_found(&loose, "k8s/base/namespace.yaml", "loose-object", words);
    assert_eq!(loose.len(), 1, "{loose:#?}");
    let told = plant("apiVersion: v1\nkind: ConfigMap\nmetadata: { name: shop, namespace: mini }\n");
    assert_eq!(told, Vec::<String>::new());
}
