//! A shell in every pod of the stack: its own, or a debug container's that joins the processes and the network of one that has none.

use anyhow::{Context as _, Result};
use serde_json::Value;
use xtask_outcome::Stop;

use crate::bench::Bench;
use crate::wait::{Snapshot, pause};
use crate::workload::{list, text};

const PROBE: &str = "xtask-probe";
const START_LIMIT_SECONDS: u64 = 90;
const EXEC_LIMIT_SECONDS: u64 = 120;
const LIFE_SECONDS: &str = "1800";

/// A pod with a shell in it.
#[derive(Debug, Clone)]
pub(crate) struct Probe {
    /// The workload's name.
    pub(crate) workload: String,
    pub(crate) pod: String,
    /// Where the shell is.
    container: String,
    pub(crate) address: String,
    pub(crate) port: Option<u64>,
}

impl Probe {
    /// One for each workload. What has a shell of its own is a StatefulSet here: the databases; a debug container stands beside the
    /// programs of the others, with their user, and sees their processes.
    ///
    /// # Errors
    /// When a debug container does not start.
    pub(crate) fn all(bench: &Bench<'_>, snapshot: &Snapshot) -> Result<Vec<Self>> {
        let database = snapshot.of_kind("StatefulSet").next().context("no workload here has an image with a shell")?;
        let image = text(&database["spec"]["template"]["spec"]["containers"][0]["image"]);
        let mut probes = Vec::new();
        for workload in &snapshot.workloads {
            let pod = snapshot.pods_of(workload).next();
            let pod = pod.with_context(|| format!("{} has no pod", text(&workload["metadata"]["name"])))?;
            let main = &workload["spec"]["template"]["spec"]["containers"][0];
            let mut probe = Self {
                workload: text(&workload["metadata"]["name"]).to_owned(),
                pod: text(&pod["metadata"]["name"]).to_owned(),
                container: text(&main["name"]).to_owned(),
                address: text(&pod["status"]["podIP"]).to_owned(),
                port: main["ports"][0]["containerPort"].as_u64(),
            };
            if workload["kind"] == "Deployment" {
                probe.attach(bench, image)?;
            }
            probes.push(probe);
        }
        for probe in &probes {
            probe.wait(bench)?;
        }
        Ok(probes)
    }

    /// The first process that it sees is the program's own.
    fn attach(&mut self, bench: &Bench<'_>, image: &str) -> Result<()> {
        let (target, image) = (format!("--target={}", self.container), format!("--image={image}"));
        let call = [
            "debug",
            &self.pod,
            &image,
            "--image-pull-policy=IfNotPresent",
            &target,
            "--container",
            PROBE,
            "--profile=restricted",
            "--quiet",
            "--",
            "sleep",
            LIFE_SECONDS,
        ];
        bench.kubectl.read(&call)?;
        PROBE.clone_into(&mut self.container);
        Ok(())
    }

    fn wait(&self, bench: &Bench<'_>) -> Result<()> {
        if self.container != PROBE {
            return Ok(());
        }
        let started = std::time::Instant::now();
        loop {
            let pod = bench.kubectl.json(&["get", "pod", &self.pod])?;
            let mut statuses = list(&pod["status"]["ephemeralContainerStatuses"]).filter(|one| one["name"] == PROBE);
            let state = statuses.next().map_or(&Value::Null, |status| &status["state"]);
            if state["running"].is_object() {
                return Ok(());
            }
            if started.elapsed().as_secs() > START_LIMIT_SECONDS || state["terminated"].is_object() {
                let text = format!("the debug container in pod {} does not run: {state}", self.pod);
                return Err(Stop::Broken(text).into());
            }
            pause(bench)?;
        }
    }

    /// What a shell script prints in there.
    ///
    /// # Errors
    /// When it cannot be run.
    pub(crate) fn read(&self, bench: &Bench<'_>, script: &str, arguments: &[&str]) -> Result<String> {
        let call = ["exec", &self.pod, "--container", &self.container, "--", "bash", "-c", script, "bash"];
        bench.kubectl.read_within(&[&call[..], arguments].concat(), EXEC_LIMIT_SECONDS)
    }
}
