//! What the engine was told of each container, read back by `docker inspect`.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value;

use xtask_image_config::ImageUser;

use super::{Roles, Weakness, service};

/// A demand on every container: its rule, the property of compose.yaml, what is wrong when it is not met, and the test.
struct Demand {
    rule: &'static str,
    property: &'static str,
    message: &'static str,
    met: fn(&Value) -> bool,
}

const DEMANDS: [Demand; 9] = [
    Demand {
        rule: "root-writable",
        property: "read_only",
        message: "its root file system is not read-only",
        met: |host| host["ReadonlyRootfs"] == true,
    },
    Demand {
        rule: "capabilities-kept",
        property: "cap_drop",
        message: "it does not give up all capabilities",
        met: |host| texts(&host["CapDrop"]).any(|name| name == "ALL") && texts(&host["CapAdd"]).next().is_none(),
    },
    Demand {
        rule: "privileges-gained",
        property: "security_opt",
        message: "its programs may gain privileges",
        met: |host| {
            texts(&host["SecurityOpt"]).any(|option| matches!(option, "no-new-privileges:true" | "no-new-privileges"))
        },
    },
    Demand {
        rule: "security-profile-off",
        property: "security_opt",
        message: "a security profile of the engine is switched off",
        met: |host| !texts(&host["SecurityOpt"]).any(|option| option.ends_with("unconfined")),
    },
    Demand {
        rule: "privileged",
        property: "privileged",
        message: "it is privileged",
        met: |host| host["Privileged"] == false,
    },
    Demand {
        rule: "host-namespace",
        property: "network_mode, pid, ipc or userns_mode",
        message: "it shares a namespace with the host",
        met: |host| {
            ["NetworkMode", "PidMode", "IpcMode", "UsernsMode", "UTSMode"].iter().all(|name| host[name] != "host")
        },
    },
    Demand {
        rule: "device-given",
        property: "devices",
        message: "it is given devices of the host",
        met: |host| host["Devices"].as_array().is_none_or(Vec::is_empty),
    },
    Demand {
        rule: "no-memory-limit",
        property: "mem_limit",
        message: "its memory has no limit",
        met: |host| host["Memory"].as_u64().is_some_and(|bytes| bytes > 0),
    },
    Demand {
        rule: "no-process-limit",
        property: "pids_limit",
        message: "the number of its processes has no limit",
        met: |host| host["PidsLimit"].as_i64().is_some_and(|count| count > 0),
    },
];

/// Holds one inspected container to the demands, and to the figures that compose.yaml (`promises`) states.
pub(super) fn judge(roles: Roles<'_>, container: &Value, promises: &Value) -> Vec<Weakness> {
    let name = service(container);
    let host = &container["HostConfig"];
    let weakness = |rule, property, message: String| Weakness { rule, service: name.to_owned(), message, property };
    let unmet = DEMANDS.iter().filter(|demand| !(demand.met)(host));
    let mut found: Vec<_> =
        unmet.map(|demand| weakness(demand.rule, demand.property, demand.message.to_owned())).collect();
    let user = container["Config"]["User"].as_str().unwrap_or_default();
    if ImageUser::parse(user) == ImageUser::Root {
        found.push(weakness("user-root", "user:", "it runs as root".to_owned()));
    }
    for (promised, running, property) in
        [("mem_limit", "Memory", "mem_limit"), ("pids_limit", "PidsLimit", "pids_limit")]
    {
        let promised = number(&promises["services"][name][promised]);
        if promised.is_some() && promised != number(&host[running]) {
            let message = format!("its {property} is {}, not as promised", host[running]);
            found.push(weakness("limit-not-as-promised", property, message));
        }
    }
    for mount in container["Mounts"].as_array().into_iter().flatten().filter(|mount| mount["Type"] == "bind") {
        let message = format!("a folder of the host is mounted on {}", mount["Destination"]);
        found.push(weakness("host-folder-mounted", "volumes", message));
    }
    for address in published(container) {
        let loopback = address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        if name != roles.published || !loopback {
            let message = format!("a port is published on {address}");
            found.push(weakness("port-published", "ports", message));
        }
    }
    found
}

/// Whoever is no image of this workspace is a neighbour by the policy, or nobody knows who may reach it.
pub(super) fn judge_names(roles: Roles<'_>, own: &BTreeSet<&str>, containers: &[Value]) -> Vec<Weakness> {
    let unknown = containers.iter().filter(|one| !roles.is_neighbour(one) && !own.contains(service(one)));
    let weakness = |container: &Value| Weakness {
        rule: "unknown-neighbour",
        service: service(container).to_owned(),
        message: "no [[neighbour]] of policy/stack.toml serves it, so nobody knows who may reach it".to_owned(),
        property: "image",
    };
    unknown.map(weakness).collect()
}

/// No container shares a network with a neighbour that does not serve it.
pub(super) fn judge_networks(roles: Roles<'_>, containers: &[Value]) -> Vec<Weakness> {
    let networks = |container: &Value| -> Vec<String> {
        container
            .pointer("/NetworkSettings/Networks")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .map(|(name, _)| name.clone())
            .collect()
    };
    let mut found = Vec::new();
    for neighbour in containers.iter().filter(|container| roles.is_neighbour(container)) {
        for other in containers.iter().filter(|other| !roles.may_reach(other, service(neighbour))) {
            if let Some(shared) = networks(other).iter().find(|name| networks(neighbour).contains(name)) {
                found.push(Weakness {
                    rule: "foreign-neighbour",
                    service: service(other).to_owned(),
                    message: format!("it shares the network {shared} with {}", service(neighbour)),
                    property: "networks",
                });
            }
        }
    }
    found
}

/// The host's addresses that a container's ports are published on.
fn published(container: &Value) -> Vec<&str> {
    let ports = container.pointer("/NetworkSettings/Ports").and_then(Value::as_object);
    let bindings = ports.into_iter().flatten().filter_map(|(_, bindings)| bindings.as_array()).flatten();
    bindings.filter_map(|binding| binding["HostIp"].as_str()).collect()
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// A number, which Compose prints as text where it is a size.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::sync::LazyLock;

    use serde_json::json;

    static SERVES: LazyLock<BTreeMap<String, Vec<String>>> =
        LazyLock::new(|| BTreeMap::from([("user-db".to_owned(), vec!["user".to_owned()])]));
    static NO_PORTS: BTreeMap<String, u16> = BTreeMap::new();

    fn roles() -> Roles<'static> {
        Roles { published: "gateway", serves: &SERVES, ports: &NO_PORTS }
    }

    fn container() -> Value {
        json!({
            "Config": { "User": "65532:65532", "Labels": { "com.docker.compose.service": "user" } },
            "HostConfig": { "ReadonlyRootfs": true, "CapDrop": ["ALL"], "CapAdd": null, "Privileged": false,
                "SecurityOpt": ["no-new-privileges:true"], "NetworkMode": "mini_user", "PidMode": "", "IpcMode": "private",
                "Devices": null, "Memory": 134_217_728, "PidsLimit": 128 },
            "Mounts": [],
            "NetworkSettings": { "Ports": {}, "Networks": { "mini_user": {}, "mini_user-db": {} } },
        })
    }

    fn promises() -> Value {
        json!({ "services": { "user": { "mem_limit": "134217728", "pids_limit": 128 } } })
    }

    fn rules(container: &Value) -> Vec<&'static str> {
        judge(roles(), container, &promises()).into_iter().map(|weakness| weakness.rule).collect()
    }

    #[test]
    fn a_hardened_container_has_no_weakness() {
        assert_eq!(judge(roles(), &container(), &promises()), []);
    }

    #[test]
    fn each_property_weakened_is_a_finding_of_its_own() {
        for (pointer, weak, rule) in [
            ("/HostConfig/ReadonlyRootfs", json!(false), "root-writable"),
            ("/HostConfig/CapDrop", json!(["NET_RAW"]), "capabilities-kept"),
            ("/HostConfig/CapAdd", json!(["CHOWN"]), "capabilities-kept"),
            ("/HostConfig/SecurityOpt", json!([]), "privileges-gained"),
            (
                "/HostConfig/SecurityOpt",
                json!(["no-new-privileges:true", "seccomp=unconfined"]),
                "security-profile-off",
            ),
            ("/HostConfig/Privileged", json!(true), "privileged"),
            ("/HostConfig/PidMode", json!("host"), "host-namespace"),
            ("/HostConfig/Devices", json!([{ "PathOnHost": "/dev/kmsg" }]), "device-given"),
            ("/Config/User", json!(""), "user-root"),
            ("/Config/User", json!("0:65532"), "user-root"),
            ("/HostConfig/Memory", json!(268_435_456), "limit-not-as-promised"),
            ("/Mounts", json!([{ "Type": "bind", "Destination": "/run/docker.sock" }]), "host-folder-mounted"),
            ("/NetworkSettings/Ports", json!({ "8080/tcp": [{ "HostIp": "127.0.0.1" }] }), "port-published"),
        ] {
            let mut container = container();
            *container.pointer_mut(pointer).unwrap() = weak;
            assert_eq!(rules(&container), [rule], "{pointer}");
        }
    }

    #[test]
    fn a_limit_that_the_engine_dropped_is_found() {
        let mut container = container();
        container["HostConfig"]["PidsLimit"] = Value::Null;
        container["HostConfig"]["Memory"] = json!(0);
        assert_eq!(
            rules(&container),
            ["no-memory-limit", "no-process-limit", "limit-not-as-promised", "limit-not-as-promised"]
        );
    }

    #[test]
    fn the_gateway_may_publish_on_loopback_only() {
        let mut container = container();
        container["Config"]["Labels"]["com.docker.compose.service"] = json!("gateway");
        for (address, expected) in
            [("127.0.0.1", &[][..]), ("::1", &[]), ("0.0.0.0", &["port-published"]), ("", &["port-published"])]
        {
            container["NetworkSettings"]["Ports"] = json!({ "8080/tcp": [{ "HostIp": address }] });
            assert_eq!(rules(&container), expected, "{address}");
        }
    }

    #[test]
    fn a_network_shared_with_another_services_database_is_found() {
        let neighbour = json!({
            "Config": { "Labels": { "com.docker.compose.service": "user-db" } },
            "NetworkSettings": { "Networks": { "mini_user-db": {} } },
        });
        let mut other = container();
        assert_eq!(judge_networks(roles(), &[neighbour.clone(), other.clone()]), []);
        other["Config"]["Labels"]["com.docker.compose.service"] = json!("order");
        let found = judge_networks(roles(), &[neighbour, other]);
        assert_eq!(found[0].message, "it shares the network mini_user-db with user-db");
    }

    #[test]
    fn a_container_that_is_neither_built_here_nor_a_neighbour_is_found() {
        let named = |name: &str| json!({ "Config": { "Labels": { "com.docker.compose.service": name } } });
        let own = BTreeSet::from(["user"]);
        assert_eq!(judge_names(roles(), &own, &[named("user"), named("user-db")]), []);
        let found = judge_names(roles(), &own, &[named("cache")]);
        assert_eq!((found[0].rule, found[0].service.as_str()), ("unknown-neighbour", "cache"));
    }
}
