//! What kind of cluster a context leads to, read from its nodes and never from its name, and whether it may be changed.

use anyhow::Result;
use serde_json::Value;
use xtask_outcome::Stop;
use xtask_workspace::Context;

use crate::kubectl::Kubectl;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";
const KUBEADM_SOCKET: &str = "kubeadm.alpha.kubernetes.io/cri-socket";
const MINIKUBE_PROFILE: &str = "minikube.k8s.io/name";

/// What brings images into a cluster's nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Provider {
    /// kind, by the name of the cluster.
    Kind(String),
    /// minikube, by its profile.
    Minikube(String),
    /// k3s on this machine.
    K3s,
    /// A kubelet on this machine whose containerd listens here.
    Containerd(String),
    /// Some cluster: it takes images from a registry.
    Other,
}

/// What the cluster is.
#[derive(Debug, Clone)]
pub(crate) struct Survey {
    pub(crate) provider: Provider,
    /// It runs on this machine, or in something that a developer's tool made on it.
    pub(crate) is_local: bool,
    pub(crate) nodes: usize,
    pub(crate) version: String,
}

/// Looks at the nodes; changes nothing.
///
/// # Errors
/// [`Stop::Absent`] when the cluster does not answer, or its nodes are of another architecture than the images.
pub(crate) fn survey(kubectl: &Kubectl) -> Result<Survey> {
    let nodes = kubectl.items(&["get", "nodes"])?;
    let boot_id = std::fs::read_to_string(BOOT_ID).unwrap_or_default();
    let survey = of_nodes(&nodes, boot_id.trim());
    let wanted = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let other = nodes.iter().filter_map(|node| node["status"]["nodeInfo"]["architecture"].as_str());
    if let Some(other) = other.into_iter().find(|architecture| *architecture != wanted) {
        let text = format!(
            "the cluster of context {} has {other} nodes, and images are built here for {wanted}",
            kubectl.context
        );
        return Err(Stop::Absent(text).into());
    }
    Ok(survey)
}

fn of_nodes(nodes: &[Value], boot_id: &str) -> Survey {
    let info = |node: &Value, key: &str| node["status"]["nodeInfo"][key].as_str().unwrap_or_default().to_owned();
    let on_this_kernel =
        !nodes.is_empty() && !boot_id.is_empty() && nodes.iter().all(|node| info(node, "bootID") == boot_id);
    let provider = nodes.first().map_or(Provider::Other, |node| provider(node, on_this_kernel));
    let made_by_a_tool = matches!(provider, Provider::Kind(_) | Provider::Minikube(_));
    Survey {
        is_local: on_this_kernel || made_by_a_tool,
        provider,
        nodes: nodes.len(),
        version: nodes.first().map(|node| info(node, "kubeletVersion")).unwrap_or_default(),
    }
}

fn provider(node: &Value, on_this_kernel: bool) -> Provider {
    let id = node["spec"]["providerID"].as_str().unwrap_or_default();
    // kind://docker/CLUSTER/NODE
    if let Some(cluster) = id.strip_prefix("kind://").and_then(|rest| rest.split('/').nth(1)) {
        return Provider::Kind(cluster.to_owned());
    }
    if let Some(profile) = node["metadata"]["labels"][MINIKUBE_PROFILE].as_str() {
        return Provider::Minikube(profile.to_owned());
    }
    let kubelet = node["status"]["nodeInfo"]["kubeletVersion"].as_str().unwrap_or_default();
    if on_this_kernel && kubelet.contains("+k3s") {
        return Provider::K3s;
    }
    match node["metadata"]["annotations"][KUBEADM_SOCKET].as_str() {
        Some(socket) if on_this_kernel => {
            Provider::Containerd(socket.strip_prefix("unix://").unwrap_or(socket).to_owned())
        }
        _ => Provider::Other,
    }
}

impl Survey {
    /// # Errors
    /// [`Stop::Usage`] for a cluster elsewhere, unless the command line allows writing to it.
    pub(crate) fn may_write(&self, kubectl: &Kubectl, allow_writes: bool) -> Result<()> {
        if self.is_local || allow_writes {
            return Ok(());
        }
        let text = format!(
            "the cluster of context {} does not run on this machine, so nothing was done; --allow-writes runs the test there, in a namespace of its own",
            kubectl.context
        );
        Err(Stop::Usage(text).into())
    }
}

/// The claims name no class where the policy says that every cluster has a default one.
///
/// # Errors
/// [`Stop::Absent`] when it has none.
pub(crate) fn need_default_class(kubectl: &Kubectl) -> Result<String> {
    let classes = kubectl.items(&["get", "storageclasses"])?;
    let name = |class: &Value| class["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    if let Some(class) = classes.iter().find(|class| class["metadata"]["annotations"][DEFAULT_CLASS] == "true") {
        return Ok(name(class));
    }
    let known: Vec<_> = classes.iter().map(name).collect();
    let next = match known.first() {
        Some(first) => kubectl.pasteable(&format!("annotate storageclass {first} {DEFAULT_CLASS}=true")),
        None => "install a provisioner: kind, minikube and k3s bring one".to_owned(),
    };
    let known = if known.is_empty() { "none at all".to_owned() } else { format!("only {}", known.join(", ")) };
    let text =
        format!("the cluster has no default storage class ({known}), so the claims would wait for ever; next: {next}");
    Err(Stop::Absent(text).into())
}

/// What stands on every namespace that this checkout makes.
pub(crate) fn checkout_label(context: &Context) -> String {
    // A label holds 63 letters, digits and `-_.`: the path itself does not fit.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in context.project.root.as_str().bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(provider_id: &str, kubelet: &str, boot_id: &str) -> Value {
        json!({
            "metadata": { "name": "n", "labels": {}, "annotations": {} }, "spec": { "providerID": provider_id },
            "status": { "nodeInfo": { "bootID": boot_id, "kubeletVersion": kubelet, "architecture": "amd64" } },
        })
    }

    #[test]
    fn the_kind_of_cluster_comes_from_its_nodes_whatever_the_context_is_called() {
        let kind = of_nodes(&[node("kind://docker/renamed/renamed-control-plane", "v1.36.2", "elsewhere")], "here");
        assert_eq!((kind.provider, kind.is_local), (Provider::Kind("renamed".into()), true));
        let mut minikube = node("", "v1.36.2", "elsewhere");
        minikube["metadata"]["labels"][MINIKUBE_PROFILE] = "dev".into();
        let minikube = of_nodes(&[minikube], "here");
        assert_eq!((minikube.provider, minikube.is_local), (Provider::Minikube("dev".into()), true));
        let k3s = of_nodes(&[node("k3s://laptop", "v1.36.2+k3s1", "here")], "here");
        assert_eq!((k3s.provider, k3s.is_local), (Provider::K3s, true));
        let mut kubeadm = node("", "v1.36.2", "here");
        kubeadm["metadata"]["annotations"][KUBEADM_SOCKET] = "unix:///run/containerd/containerd.sock".into();
        let kubeadm = of_nodes(&[kubeadm], "here");
        assert_eq!(kubeadm.provider, Provider::Containerd("/run/containerd/containerd.sock".into()));
    }

    #[test]
    fn a_cluster_is_local_only_when_every_node_runs_on_this_kernel() {
        let here = node("", "v1.36.2", "here");
        assert!(of_nodes(std::slice::from_ref(&here), "here").is_local);
        assert!(!of_nodes(&[here.clone(), node("", "v1.36.2", "elsewhere")], "here").is_local);
        // k3s on a server: the same programs, another machine.
        let far = of_nodes(&[node("k3s://server", "v1.36.2+k3s1", "elsewhere")], "here");
        assert_eq!((far.provider, far.is_local), (Provider::Other, false));
        // A machine that does not tell, and a cluster without nodes, prove nothing.
        assert!(!of_nodes(&[node("", "v1", "")], "").is_local);
        assert!(!of_nodes(&[], "here").is_local);
    }
}
