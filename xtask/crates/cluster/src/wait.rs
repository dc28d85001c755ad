//! Waiting for workloads within a limit; what can never become ready ends the wait at once.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;
use xtask_outcome::Stop;

use crate::bench::Bench;
use crate::workload::{Verdict, described, event_failure, own_containers, pod_failure, text, workload};

const POLL_MILLISECONDS: u64 = 500;

/// What the namespace holds at one moment.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) workloads: Vec<Value>,
    pub(crate) pods: Vec<Value>,
    pub(crate) events: Vec<Value>,
}

impl Snapshot {
    pub(crate) fn take(bench: &Bench<'_>) -> Result<Self> {
        let items = bench.kubectl.items(&["get", "deployments,statefulsets,pods,events"])?;
        let of = |kinds: &[&str]| items.iter().filter(|item| kinds.contains(&text(&item["kind"]))).cloned().collect();
        Ok(Self { workloads: of(&["Deployment", "StatefulSet"]), pods: of(&["Pod"]), events: of(&["Event"]) })
    }

    /// The pods of a workload: those that its selector takes and that are not on their way out.
    pub(crate) fn pods_of<'a>(&'a self, workload: &'a Value) -> impl Iterator<Item = &'a Value> {
        let labels = workload["spec"]["selector"]["matchLabels"].as_object();
        self.pods.iter().filter(move |pod| {
            pod["metadata"]["deletionTimestamp"].is_null()
                && labels
                    .is_some_and(|labels| labels.iter().all(|(key, value)| pod["metadata"]["labels"][key] == *value))
        })
    }

    pub(crate) fn workload(&self, kind: &str, name: &str) -> Option<&Value> {
        self.workloads.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
    }

    pub(crate) fn of_kind(&self, kind: &'static str) -> impl Iterator<Item = &Value> {
        self.workloads.iter().filter(move |object| object["kind"] == kind)
    }

    /// Whether all is ready, what is awaited, or why it never will be.
    fn judge(&self) -> Verdict {
        let own = own_containers(&self.workloads.iter().collect::<Vec<_>>());
        let hopeless = self.pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        if let Some(why) = hopeless.filter_map(|pod| pod_failure(pod, &own)).next() {
            return Verdict::Failed(why);
        }
        let verdicts: Vec<_> = self.workloads.iter().map(workload).collect();
        if let Some(failed) = verdicts.iter().find(|verdict| matches!(verdict, Verdict::Failed(_))) {
            return failed.clone();
        }
        let waiting = |verdict: &Verdict| if let Verdict::Waiting(why) = verdict { Some(why.clone()) } else { None };
        let awaited: Vec<_> = verdicts.iter().filter_map(waiting).collect();
        if awaited.is_empty() && !self.workloads.is_empty() {
            return Verdict::Ready;
        }
        // An event of an earlier moment, while the pods are there by now, is no failure.
        let unmade = |object: &&Value| workload(object) != Verdict::Ready && self.pods_of(object).next().is_none();
        let without_pods: Vec<_> = self.workloads.iter().filter(unmade).map(described).collect();
        let refused = self.events.iter().filter_map(event_failure);
        if let Some(why) =
            refused.into_iter().find(|why| without_pods.iter().any(|name| why.starts_with(name.as_str())))
        {
            return Verdict::Failed(why);
        }
        let unscheduled = self.pods.iter().filter_map(unscheduled);
        Verdict::Waiting(awaited.into_iter().chain(unscheduled).collect::<Vec<_>>().join("; "))
    }
}

/// No node takes it; one may come that does.
fn unscheduled(pod: &Value) -> Option<String> {
    let conditions = pod["status"]["conditions"].as_array()?;
    let refused = conditions.iter().find(|one| one["type"] == "PodScheduled" && one["status"] == "False")?;
    Some(format!("pod {} is not scheduled: {}", text(&pod["metadata"]["name"]), text(&refused["message"])))
}

/// Waits until every workload of the namespace is ready.
///
/// # Errors
/// [`Stop::Repository`] for what never will be, [`Stop::TimedOut`] says what is still awaited, [`Stop::Interrupted`].
pub(crate) fn until_ready(bench: &Bench<'_>, limit_seconds: u64) -> Result<Snapshot> {
    let started = Instant::now();
    loop {
        let snapshot = Snapshot::take(bench)?;
        match snapshot.judge() {
            Verdict::Ready => return Ok(snapshot),
            Verdict::Failed(why) => return Err(Stop::Repository(why).into()),
            Verdict::Waiting(why) if started.elapsed() > Duration::from_secs(limit_seconds) => {
                return Err(Stop::TimedOut(format!("not ready within {limit_seconds} s: {why}")).into());
            }
            Verdict::Waiting(_) => pause(bench)?,
        }
    }
}

/// Between two looks.
pub(crate) fn pause(bench: &Bench<'_>) -> Result<()> {
    bench.context.runner.interrupt().check()?;
    thread::sleep(Duration::from_millis(POLL_MILLISECONDS));
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set() -> Value {
        json!({
            "kind": "StatefulSet", "metadata": { "name": "db", "generation": 1 },
            "spec": { "replicas": 1, "selector": { "matchLabels": { "app": "db" } }, "template": { "spec": { "containers": [{ "name": "db" }] } } },
            "status": { "observedGeneration": 1, "replicas": 0 },
        })
    }

    #[test]
    fn a_refused_pod_of_a_statefulset_fails_only_while_there_is_none() {
        let refused = json!({ "reason": "FailedCreate", "message": "exceeded quota", "involvedObject": { "kind": "StatefulSet", "name": "db" } });
        let mut snapshot = Snapshot { workloads: vec![set()], pods: vec![], events: vec![refused] };
        assert!(matches!(snapshot.judge(), Verdict::Failed(why) if why.contains("exceeded quota")));
        snapshot.pods.push(json!({ "metadata": { "name": "db-0", "labels": { "app": "db" } } }));
        assert!(matches!(snapshot.judge(), Verdict::Waiting(_)));
    }

    #[test]
    fn a_pod_that_no_node_takes_is_named_with_the_scheduler_s_reason() {
        let pod = json!({ "metadata": { "name": "db-0", "labels": { "app": "db" } }, "status": { "conditions": [
            { "type": "PodScheduled", "status": "False", "message": "0/1 nodes are available: insufficient memory" }
        ] } });
        let snapshot = Snapshot { workloads: vec![set()], pods: vec![pod], events: vec![] };
        assert!(matches!(snapshot.judge(), Verdict::Waiting(why) if why.contains("insufficient memory")));
    }

    #[test]
    fn a_namespace_without_workloads_is_not_ready() {
        let empty = Snapshot { workloads: vec![], pods: vec![], events: vec![] };
        assert!(matches!(empty.judge(), Verdict::Waiting(_)));
    }
}
