//! A pod beside the stack that uses it as its clients do, through the Service: a port-forward is tied to one pod and could not
//! outlive a roll-out. It has the databases' image, since that has a shell, and the client program comes in on standard input.

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};
use xtask_outcome::Stop;
use xtask_process::{Background, Captured};

use crate::bench::Bench;
use crate::kubectl::Kubectl;
use crate::namespace;
use crate::wait::Snapshot;
use crate::workload::{list, text};

const NAME: &str = "client";
/// Memory that only this pod sees.
const FOLDER: &str = "/client";
const READY_TIMEOUT: &str = "--timeout=180s";
const READY_LIMIT_SECONDS: u64 = 200;
const COPY_LIMIT_SECONDS: u64 = 120;
const EXEC_LIMIT_SECONDS: u64 = 60;
/// It ends by itself should nobody end it.
const LIFE_SECONDS: u64 = 3600;

/// The pod, ready for calls.
#[derive(Debug)]
pub(crate) struct ClientPod {
    kubectl: Kubectl,
    base_url: String,
}

impl ClientPod {
    /// Makes it in a namespace of its own, with the labels that let it reach the entrance.
    ///
    /// # Errors
    /// When the cluster refuses it or it does not become ready.
    pub(crate) fn start(bench: &Bench<'_>, snapshot: &Snapshot) -> Result<Self> {
        let kubectl = bench.kubectl.within(&bench.client_namespace());
        let labels = admitted(bench)?;
        namespace::create(&kubectl, bench.context, &bench.run, &bench.client_namespace(), &labels)?;
        let database = snapshot.of_kind("StatefulSet").next().context("no workload here has an image with a shell")?;
        let manifest = manifest(&database["spec"]["template"]["spec"]);
        kubectl.feed(&["create", "--filename", "-"], manifest.to_string().as_bytes(), EXEC_LIMIT_SECONDS)?;
        let wait = ["wait", "--for=condition=Ready", &format!("pod/{NAME}"), READY_TIMEOUT];
        kubectl.read_within(&wait, READY_LIMIT_SECONDS)?;
        let entrance = &bench.context.project.stack.entrance;
        let base_url = format!("http://{}.{}.svc:{}", entrance.service, bench.namespace, entrance.port);
        let pod = Self { kubectl, base_url };
        let program = std::fs::read(bench.client.program()?).context("read the client program")?;
        pod.put(&program, "program", "0700")?;
        pod.put(&std::fs::read(bench.env_file()).context("read the run's secrets")?, "env", "0600")?;
        Ok(pod)
    }

    /// A file of this pod.
    pub(crate) fn file(name: &str) -> String {
        format!("{FOLDER}/{name}")
    }

    /// Starts the client with one of its subcommands.
    pub(crate) fn start_client(&self, arguments: &[&str]) -> Result<Background> {
        let program = Self::file("program");
        let call = ["exec", NAME, "--container", NAME, "--", &program, "--base-url", &self.base_url];
        self.kubectl.start(&[&call[..], arguments].concat())
    }

    /// Runs a shell script in it, with arguments from `$1` on.
    pub(crate) fn script(&self, script: &str, arguments: &[&str]) -> Result<Captured> {
        let call = ["exec", NAME, "--container", NAME, "--", "bash", "-c", script, "bash"];
        self.kubectl.capture(&[&call[..], arguments].concat(), EXEC_LIMIT_SECONDS)
    }

    /// What a shell script printed.
    pub(crate) fn read(&self, script: &str, arguments: &[&str]) -> Result<String> {
        let captured = self.script(script, arguments)?;
        if captured.status.success() {
            return Ok(captured.stdout);
        }
        Err(Stop::Broken(format!("the client pod's `{script}` failed: {}", captured.tail())).into())
    }

    fn put(&self, content: &[u8], name: &str, mode: &str) -> Result<()> {
        let script = "umask 077; cat >\"$1\" && chmod \"$2\" \"$1\"";
        let file = Self::file(name);
        let call = ["exec", "--stdin", NAME, "--container", NAME, "--", "sh", "-c", script, "sh", &file, mode];
        self.kubectl.feed(&call, content, COPY_LIMIT_SECONDS).map(drop)
    }
}

/// The namespace labels that the entrance's own NetworkPolicy lets in: where the ingress controller would stand.
fn admitted(bench: &Bench<'_>) -> Result<Map<String, Value>> {
    let policies = bench.kubectl.items(&["get", "networkpolicies"])?;
    let entrance = &bench.context.project.stack.entrance.service;
    let is_about_entrance = |policy: &&Value| {
        let labels = policy["spec"]["podSelector"]["matchLabels"].as_object();
        labels.is_some_and(|labels| labels.values().any(|value| value == entrance.as_str()))
    };
    let sources = policies.iter().filter(is_about_entrance).flat_map(|policy| list(&policy["spec"]["ingress"]));
    let labels = sources
        .flat_map(|rule| list(&rule["from"]))
        .find_map(|from| from["namespaceSelector"]["matchLabels"].as_object());
    Ok(labels.cloned().unwrap_or_default())
}

/// A pod of the databases' image and user that passes the strictest level of Pod Security and waits for calls.
fn manifest(database: &Value) -> Value {
    let security = json!({
        "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] },
    });
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": NAME },
        "spec": {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": LIFE_SECONDS,
            // `sleep` does not hear SIGTERM as the first process.
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": false,
            "securityContext": database["securityContext"],
            "containers": [{
                "name": NAME, "image": text(&database["containers"][0]["image"]), "imagePullPolicy": "IfNotPresent",
                "command": ["sleep", LIFE_SECONDS.to_string()],
                "securityContext": security,
                "resources": { "requests": { "cpu": "50m", "memory": "64Mi" }, "limits": { "memory": "256Mi" } },
                "volumeMounts": [{ "name": "client", "mountPath": FOLDER }],
            }],
            "volumes": [{ "name": "client", "emptyDir": { "medium": "Memory", "sizeLimit": "128Mi" } }],
        },
    })
}
