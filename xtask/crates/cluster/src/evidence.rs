//! What a person needs to see when a cluster's stack failed: pods, warning events, and the guilty log.

use serde_json::Value;
use xtask_outcome::Progress;

use crate::bench::Bench;
use crate::workload::{list, text};

const LOG_LINES: &str = "30";
const SHOWN_EVENTS: usize = 15;
const LOG_LIMIT_SECONDS: u64 = 30;

/// Shows them; that something cannot be shown is no failure of its own.
pub(crate) fn show(bench: &Bench<'_>) {
    let kubectl = bench.kubectl.for_clean_up();
    let progress = bench.context.runner.progress();
    if let Ok(pods) = kubectl.read(&["get", "pods", "--output", "wide"]) {
        progress.say(&format!("--- pods\n{}", pods.trim_end()));
    }
    if let Ok(mut events) = kubectl.items(&["get", "events", "--field-selector", "type=Warning"]) {
        events.sort_by_key(|event| text(&event["lastTimestamp"]).to_owned());
        let shown = events.iter().rev().take(SHOWN_EVENTS).rev();
        let lines: Vec<_> = shown.map(line).collect();
        if !lines.is_empty() {
            progress.say(&format!("--- warning events\n{}", lines.join("\n")));
        }
    }
    for pod in kubectl.items(&["get", "pods"]).unwrap_or_default() {
        for status in list(&pod["status"]["containerStatuses"]).filter(|status| status["ready"] != true) {
            log(&kubectl, text(&pod["metadata"]["name"]), status, progress);
        }
    }
}

fn log(kubectl: &crate::kubectl::Kubectl, pod: &str, status: &Value, progress: &Progress) {
    let container = text(&status["name"]);
    let mut arguments = vec!["logs", pod, "--container", container, "--tail", LOG_LINES];
    if status["restartCount"].as_u64().unwrap_or_default() > 0 {
        // What it said before it ended, not what its successor says by now.
        arguments.push("--previous");
    }
    if let Ok(captured) = kubectl.capture(&arguments, LOG_LIMIT_SECONDS)
        && captured.status.success()
        && !captured.stdout.trim().is_empty()
    {
        progress.say(&format!("--- log of {container} in pod {pod}\n{}", captured.stdout.trim_end()));
    }
}

fn line(event: &Value) -> String {
    let object = &event["involvedObject"];
    let (kind, name) = (text(&object["kind"]).to_ascii_lowercase(), text(&object["name"]));
    format!("{kind}/{name}: {}: {}", text(&event["reason"]), text(&event["message"]).trim_end())
}
