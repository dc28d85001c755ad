//! The hardening of the pods that run: what the API server has of them, and what the kernel says inside.

use anyhow::Result;
use serde_json::Value;
use xtask_outcome::{Finding, Outcome, Place};

use crate::bench::{Bench, rerun};
use crate::probe::Probe;
use crate::wait::Snapshot;
use crate::workload::{described, list, own_containers, text};

/// The first process is the program; the second line tells whether its root can be written to. The words of the refusal matter:
/// only a read-only file system proves anything.
const SCRIPT: &str = "grep -E '^(Uid|CapEff|NoNewPrivs|Seccomp):' /proc/1/status; echo \"Root: $(LC_ALL=C touch /proc/1/root/xtask-probe 2>&1 && echo written)\"; echo \"Token: $(ls /proc/1/root/var/run/secrets/kubernetes.io 2>/dev/null)\"";

/// Looks at every pod in both ways.
///
/// # Errors
/// When a probe cannot be asked.
pub(crate) fn check(bench: &Bench<'_>, snapshot: &Snapshot, probes: &[Probe], outcome: &mut Outcome) -> Result<()> {
    let own = own_containers(&snapshot.workloads.iter().collect::<Vec<_>>());
    let mut add = |place: String, message: String| {
        outcome.findings.push(Finding {
            rule: "weak-pod",
            place: Place::new(place),
            message,
            next_step: format!("correct the securityContext in the manifest, then: {}", rerun(bench)),
        });
    };
    for pod in &snapshot.pods {
        for weakness in declared(pod, &|name| own.contains(name)) {
            add(described(pod), weakness);
        }
    }
    for probe in probes {
        for weakness in observed(&probe.read(bench, SCRIPT, &[])?) {
            add(format!("pod/{}", probe.pod), format!("{}: {weakness}", probe.workload));
        }
    }
    outcome.checked("pods as the API server has them", snapshot.pods.len());
    outcome.checked("programs as their kernel sees them", probes.len());
    Ok(())
}

/// What a live pod's specification leaves open.
fn declared(pod: &Value, is_own: &dyn Fn(&str) -> bool) -> Vec<String> {
    let spec = &pod["spec"];
    let mut weak = Vec::new();
    for (key, what) in [("hostNetwork", "network"), ("hostPID", "processes"), ("hostIPC", "shared memory")] {
        if spec[key] == true {
            weak.push(format!("it shares the node's {what}"));
        }
    }
    if spec["automountServiceAccountToken"] != false {
        weak.push("a token for the API server is mounted".to_owned());
    }
    weak.extend(
        list(&spec["volumes"])
            .filter(|volume| volume["hostPath"].is_object())
            .map(|volume| format!("its volume {} is a folder of the node", text(&volume["name"]))),
    );
    let containers = ["initContainers", "containers"].into_iter().flat_map(|key| list(&spec[key]));
    for container in containers.filter(|container| is_own(text(&container["name"]))) {
        weak.extend(
            of_container(spec, container).into_iter().map(|why| format!("{}: {why}", text(&container["name"]))),
        );
    }
    weak
}

fn of_container(spec: &Value, container: &Value) -> Vec<&'static str> {
    let own = &container["securityContext"];
    // What a container says wins over what its pod says.
    let effective = |key: &str| if own[key].is_null() { &spec["securityContext"][key] } else { &own[key] };
    let profile = text(&effective("seccompProfile")["type"]);
    let rules = [
        (
            effective("runAsNonRoot") == true && effective("runAsUser").as_i64().is_none_or(|user| user > 0),
            "it may run as root",
        ),
        (own["allowPrivilegeEscalation"] == false, "it may gain privileges"),
        (own["readOnlyRootFilesystem"] == true, "its root can be written to"),
        (own["privileged"] != true, "it is privileged"),
        (list(&own["capabilities"]["drop"]).any(|one| one == "ALL"), "it keeps capabilities"),
        (list(&own["capabilities"]["add"]).next().is_none(), "capabilities are added"),
        (matches!(profile, "RuntimeDefault" | "Localhost"), "no seccomp profile filters its calls"),
        (container["resources"]["limits"]["memory"].is_string(), "its memory has no limit"),
    ];
    rules.into_iter().filter(|(holds, _)| !holds).map(|(_, why)| why).collect()
}

/// What the kernel says of a program; a line that is missing proves nothing and counts as weak.
fn observed(printed: &str) -> Vec<String> {
    let value = |name: &str| {
        printed.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim).unwrap_or("unknown")
    };
    let users: Vec<_> = value("Uid").split_whitespace().collect();
    let rules = [
        (users.len() == 4 && users.iter().all(|user| *user != "0"), "Uid"),
        (value("CapEff").trim_start_matches('0').is_empty(), "CapEff"),
        (value("NoNewPrivs") == "1", "NoNewPrivs"),
        (value("Seccomp") == "2", "Seccomp"),
        (value("Root").contains("Read-only file system"), "Root"),
        (value("Token").is_empty(), "Token"),
    ];
    let weak = rules.into_iter().filter(|(holds, _)| !holds);
    weak.map(|(_, name)| format!("the kernel says {name}: {}", value(name))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const GOOD: &str = "Uid:\t65532\t65532\t65532\t65532\nCapEff:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\nRoot: touch: cannot touch '/proc/1/root/xtask-probe': Read-only file system\nToken: \n";

    fn pod() -> Value {
        json!({ "kind": "Pod", "metadata": { "name": "shop-1" }, "spec": {
            "automountServiceAccountToken": false,
            "securityContext": { "runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": { "type": "RuntimeDefault" } },
            "containers": [{
                "name": "shop", "resources": { "limits": { "memory": "128Mi" } },
                "securityContext": { "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] } },
            }, { "name": "mesh-proxy" }],
        } })
    }

    #[test]
    fn each_weakness_of_a_live_pod_is_found_and_a_container_of_a_mesh_is_its_own_affair() {
        let own = |name: &str| name == "shop";
        assert_eq!(declared(&pod(), &own), [""; 0]);
        for (path, value) in [
            ("/spec/automountServiceAccountToken", json!(true)),
            ("/spec/securityContext/runAsNonRoot", json!(false)),
            ("/spec/securityContext/runAsUser", json!(0)),
            ("/spec/securityContext/seccompProfile/type", json!("Unconfined")),
            ("/spec/containers/0/securityContext/allowPrivilegeEscalation", json!(true)),
            ("/spec/containers/0/securityContext/readOnlyRootFilesystem", json!(false)),
            ("/spec/containers/0/securityContext/capabilities/drop", json!(["NET_RAW"])),
            ("/spec/containers/0/resources/limits/memory", json!(null)),
        ] {
            let mut weak = pod();
            *weak.pointer_mut(path).unwrap() = value;
            assert_eq!(declared(&weak, &own).len(), 1, "{path}: {:?}", declared(&weak, &own));
        }
        for (key, value) in
            [("hostNetwork", json!(true)), ("volumes", json!([{ "name": "v", "hostPath": { "path": "/" } }]))]
        {
            let mut weak = pod();
            weak["spec"][key] = value;
            assert_eq!(declared(&weak, &own).len(), 1, "{key}");
        }
    }

    #[test]
    fn what_the_kernel_does_not_say_is_not_proven() {
        assert_eq!(observed(GOOD), [""; 0]);
        for (good, weak) in [
            ("65532\t65532\t65532\t65532", "65532\t0\t65532\t65532"),
            ("0000000000000000", "0000000000000400"),
            ("NoNewPrivs:\t1", "NoNewPrivs:\t0"),
            ("Seccomp:\t2", "Seccomp:\t0"),
            ("Read-only file system", "Permission denied"),
            ("Token: ", "Token: serviceaccount"),
        ] {
            assert_eq!(observed(&GOOD.replace(good, weak)).len(), 1, "{weak}");
        }
        assert_eq!(observed("").len(), 6);
    }
}
