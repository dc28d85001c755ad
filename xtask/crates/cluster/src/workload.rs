//! When a workload is ready, and what means that it never will be.

use std::collections::BTreeSet;

use serde_json::Value;

/// How far a workload is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Ready,
    /// What is still awaited.
    Waiting(String),
    /// Why waiting longer is of no use.
    Failed(String),
}

/// A container that waits for one of these waits for a person. A pull that fails is tried again by the kubelet for ever.
const HOPELESS: [&str; 8] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "CrashLoopBackOff",
];

/// A Deployment or a StatefulSet by itself.
pub(crate) fn workload(object: &Value) -> Verdict {
    let (spec, status) = (&object["spec"], &object["status"]);
    let name = described(object);
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    // Quota, Pod Security, a webhook: the API server does not take its pods.
    let refused = list(&status["conditions"])
        .find(|condition| condition["type"] == "ReplicaFailure" && condition["status"] == "True");
    if let Some(refused) = refused {
        return Verdict::Failed(format!("{name}: no pod is let in: {}", text(&refused["message"])));
    }
    let wanted = spec["replicas"].as_u64().unwrap_or(1);
    let is_seen = number(&status["observedGeneration"]) >= number(&object["metadata"]["generation"]);
    let updated = number(&status["updatedReplicas"]);
    let (there, available) = (number(&status["replicas"]), number(&status["availableReplicas"]));
    if is_seen && updated == wanted && there == wanted && available == wanted {
        return Verdict::Ready;
    }
    Verdict::Waiting(format!("{name} has {available} of {wanted} pods ready"))
}

/// Why a pod will not come up by itself. `own` are the containers that the manifests name: one that a mesh put beside them may
/// restart as it likes, but its image has to be there, too.
pub(crate) fn pod_failure(pod: &Value, own: &BTreeSet<String>) -> Option<String> {
    let name = text(&pod["metadata"]["name"]);
    let statuses = ["initContainerStatuses", "containerStatuses"].into_iter().flat_map(|key| list(&pod["status"][key]));
    for status in statuses {
        let container = text(&status["name"]);
        let is_own = own.contains(container);
        let waiting = &status["state"]["waiting"];
        let reason = text(&waiting["reason"]);
        let crashed = is_own && status["restartCount"].as_u64().unwrap_or_default() > 0;
        if crashed {
            let last = &status["lastState"]["terminated"];
            let code = last["exitCode"].as_i64().map_or("unknown".to_owned(), |code| code.to_string());
            return Some(format!(
                "{container} in pod {name} crashes and restarts ({} restarts, last exit code {code} {})",
                status["restartCount"],
                text(&last["reason"])
            ));
        }
        if HOPELESS.contains(&reason) && (is_own || reason.contains("Image")) {
            return Some(format!("{container} in pod {name}: {reason}: {}", text(&waiting["message"])));
        }
    }
    None
}

/// What an event says of pods that cannot be made: a StatefulSet has no condition for it.
pub(crate) fn event_failure(event: &Value) -> Option<String> {
    let object = &event["involvedObject"];
    let is_one = event["reason"] == "FailedCreate" && object["kind"] == "StatefulSet";
    is_one.then(|| format!("statefulset/{}: no pod is let in: {}", text(&object["name"]), text(&event["message"])))
}

/// `deployment/gateway`.
pub(crate) fn described(object: &Value) -> String {
    format!("{}/{}", text(&object["kind"]).to_ascii_lowercase(), text(&object["metadata"]["name"]))
}

/// The containers that a workload's own manifest names.
pub(crate) fn own_containers(workloads: &[&Value]) -> BTreeSet<String> {
    let of = |object: &&Value| -> Vec<String> {
        let pod = &object["spec"]["template"]["spec"];
        ["initContainers", "containers"]
            .into_iter()
            .flat_map(|key| list(&pod[key]))
            .map(|container| text(&container["name"]).to_owned())
            .collect()
    };
    workloads.iter().flat_map(of).collect()
}

pub(crate) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(ready: u64) -> Value {
        json!({
            "kind": "Deployment", "metadata": { "name": "shop", "generation": 2 },
            "spec": { "replicas": 1, "template": { "spec": { "containers": [{ "name": "shop" }] } } },
            "status": { "observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "availableReplicas": ready },
        })
    }

    fn pod(container: &str, state: &Value, restarts: u64) -> Value {
        json!({ "metadata": { "name": "shop-1" }, "status": { "containerStatuses": [
            { "name": container, "restartCount": restarts, "state": state, "lastState": { "terminated": { "exitCode": 78, "reason": "Error" } } }
        ] } })
    }

    fn own() -> BTreeSet<String> {
        own_containers(&[&deployment(1)])
    }

    #[test]
    fn a_workload_is_ready_when_all_its_pods_are_of_this_generation_and_available() {
        assert_eq!(workload(&deployment(1)), Verdict::Ready);
        assert!(
            matches!(workload(&deployment(0)), Verdict::Waiting(why) if why == "deployment/shop has 0 of 1 pods ready")
        );
        let mut unseen = deployment(1);
        unseen["metadata"]["generation"] = 3.into();
        assert!(matches!(workload(&unseen), Verdict::Waiting(_)));
        let mut old_pod_left = deployment(1);
        old_pod_left["status"]["replicas"] = 2.into();
        assert!(matches!(workload(&old_pod_left), Verdict::Waiting(_)));
    }

    #[test]
    fn pods_that_are_not_let_in_are_a_failure_at_once() {
        let mut refused = deployment(0);
        refused["status"]["conditions"] =
            json!([{ "type": "ReplicaFailure", "status": "True", "message": "exceeded quota: small" }]);
        assert!(matches!(workload(&refused), Verdict::Failed(why) if why.contains("exceeded quota: small")));
        let event = json!({ "reason": "FailedCreate", "message": "exceeded quota", "involvedObject": { "kind": "StatefulSet", "name": "db" } });
        assert_eq!(event_failure(&event).unwrap(), "statefulset/db: no pod is let in: exceeded quota");
        assert!(event_failure(&json!({ "reason": "Unhealthy", "involvedObject": { "kind": "Pod" } })).is_none());
    }

    #[test]
    fn an_image_that_cannot_be_pulled_ends_the_wait_also_for_a_container_that_a_mesh_added() {
        for reason in ["ErrImagePull", "ImagePullBackOff"] {
            let state = json!({ "waiting": { "reason": reason, "message": "no such host" } });
            for container in ["shop", "mesh-proxy"] {
                let why = pod_failure(&pod(container, &state, 0), &own()).unwrap();
                assert!(why.contains(reason) && why.contains("no such host"), "{why}");
            }
        }
    }

    #[test]
    fn a_sidecar_that_a_mesh_added_may_restart_and_one_of_ours_may_not() {
        let running = json!({ "running": {} });
        assert_eq!(pod_failure(&pod("mesh-proxy", &running, 3), &own()), None);
        let why = pod_failure(&pod("shop", &running, 1), &own()).unwrap();
        assert!(why.contains("1 restarts, last exit code 78"), "{why}");
        let creating = json!({ "waiting": { "reason": "PodInitializing" } });
        assert_eq!(pod_failure(&pod("shop", &creating, 0), &own()), None);
    }
}
