//! Faults from the field in manifests (cases I02, I03, I04 and what H06 says of them), planted into the repository's own.

use serde_json::{Value, json};

use super::mutations::repository;
use super::places::Places;
use super::rules;
use super::view::View;

const CANARY: &str = "S3CR3T-c4n4ry";

fn found(plant: impl FnOnce(&mut Places)) -> Vec<String> {
    let mut places = repository();
    plant(&mut places);
    let policy = crate::repository::policy();
    let findings = rules::check(&View::new(&places, &policy));
    let told: Vec<_> = findings.found.iter().map(|found| found.finding.to_string()).collect();
    assert!(!told.iter().chain(&findings.notes).any(|line| line.contains(CANARY)), "{told:?}");
    told
}

#[track_caller]
fn assert_found(found: &[String], place: &str, rule: &str, words: &str) {
    let is_it = |line: &String| line.starts_with(place) && line.contains(&format!("[{rule}]")) && line.contains(words);
    assert!(found.iter().any(is_it), "{place} {rule} {words}: {found:#?}");
}

fn object<'a>(places: &'a mut Places, kind: &str, name: &str) -> &'a mut Value {
    let is_it = |one: &&mut Value| one["kind"] == kind && one["metadata"]["name"] == name;
    places.kubernetes[0].documents.iter_mut().find(is_it).unwrap()
}

fn pod<'a>(places: &'a mut Places, name: &str) -> &'a mut Value {
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
    assert_found(&found, "k8s/base/user.yaml", "invalid-name", "`1ABC`, which is no name");
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
    let other = found(|places| places.images[0].config["User"] = "1000:1000".into());
    assert_found(&other, "k8s/base/gateway.yaml", "different-stack", "runs as another user than its image says");
    let named = found(|places| {
        let pod = &mut object(places, "StatefulSet", "user-db")["spec"]["template"]["spec"];
        pod["securityContext"].as_object_mut().unwrap().remove("runAsUser");
    });
    assert_found(&named, "k8s/base/user-db.yaml", "named-user", "user-db leaves its user to an image");
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
    assert_found(&elsewhere, "k8s/base/gateway.yaml", "different-setting", "is set here and not in compose.yaml");
}
