//! The namespaces of a run: made by it alone, found again by their labels, and proven to be gone.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Map, Value, json};
use xtask_outcome::{Outcome, Stop};
use xtask_process::RunFolder;
use xtask_workspace::Context;

use crate::bench::{parent, prefix};
use crate::kubectl::Kubectl;
use crate::overlay::{CHECKOUT_LABEL, RUN_LABEL};
use crate::survey::checkout_label;
use crate::workload::{list, text};

/// Stands on the namespaces of a run that was to stay.
const KEPT_LABEL: &str = "xtask.kept";
const RESTRICTED: [&str; 3] =
    ["pod-security.kubernetes.io/enforce", "pod-security.kubernetes.io/audit", "pod-security.kubernetes.io/warn"];
/// In a run's folder: which context it went to.
pub(crate) const CONTEXT_FILE: &str = "context";
const CREATE_LIMIT_SECONDS: u64 = 30;
/// Pods end within their grace period, and volumes after them.
const DELETE_LIMIT_SECONDS: u64 = 180;
const VOLUMES_LIMIT_SECONDS: u64 = 60;
const POLL_MILLISECONDS: u64 = 500;

/// Makes a namespace with the strictest level of Pod Security, and `more` labels.
///
/// # Errors
/// [`Stop::Broken`] when there is one of this name: nothing of somebody else's is touched.
pub(crate) fn create(
    kubectl: &Kubectl,
    context: &Context,
    run: &str,
    name: &str,
    more: &Map<String, Value>,
) -> Result<()> {
    let mut labels = more.clone();
    labels.extend(RESTRICTED.map(|label| (label.to_owned(), "restricted".into())));
    labels.insert(RUN_LABEL.to_owned(), run.into());
    labels.insert(CHECKOUT_LABEL.to_owned(), checkout_label(context).into());
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } });
    // `create`, not `apply`: it refuses what exists. The configuration is kept for the `apply` of the overlay after it.
    let arguments = ["create", "--save-config", "--filename", "-"];
    let captured = kubectl.feed_captured(&arguments, namespace.to_string().as_bytes(), CREATE_LIMIT_SECONDS)?;
    if captured.status.success() {
        return Ok(());
    }
    let why = captured.tail();
    if why.contains("AlreadyExists") || why.contains("already exists") {
        let text =
            format!("the namespace {name} exists already and is left alone; next: run it again for another name");
        return Err(Stop::Broken(text).into());
    }
    Err(kubectl.refusal(&why, &arguments).into())
}

/// Marks a run's namespaces as left on purpose.
pub(crate) fn keep(kubectl: &Kubectl, run: &str) -> Result<()> {
    let (label, selector) = (format!("{KEPT_LABEL}=true"), format!("{RUN_LABEL}={run}"));
    kubectl.read(&["label", "namespace", "--selector", &selector, &label]).map(drop)
}

/// Deletes the namespaces that carry the run's label and no others, waits until they are gone, and looks: no namespace of the run,
/// no volume of its claims.
///
/// # Errors
/// [`Stop::Broken`] names what is left, and why.
pub(crate) fn remove(kubectl: &Kubectl, run: &str, outcome: &mut Outcome) -> Result<()> {
    let kubectl = kubectl.for_clean_up();
    let selector = format!("{RUN_LABEL}={run}");
    let made = kubectl.items(&["get", "namespaces", "--selector", &selector])?;
    let names: Vec<_> = made.iter().map(|one| text(&one["metadata"]["name"])).collect();
    if names.is_empty() {
        return Ok(());
    }
    let timeout = format!("--timeout={DELETE_LIMIT_SECONDS}s");
    let arguments = [&["delete", "namespace", "--ignore-not-found", &timeout][..], &names].concat();
    let captured = kubectl.capture(&arguments, DELETE_LIMIT_SECONDS + 30)?;
    let left = kubectl.items(&["get", "namespaces", "--selector", &selector])?;
    if let Some(namespace) = left.first() {
        return Err(Stop::Broken(remaining(&kubectl, namespace)).into());
    }
    ensure!(captured.status.success(), kubectl.refusal(&captured.tail(), &arguments));
    volumes(&kubectl, &names, outcome)
}

/// Why a namespace does not end, from its own conditions.
fn remaining(kubectl: &Kubectl, namespace: &Value) -> String {
    let name = text(&namespace["metadata"]["name"]);
    let conditions = list(&namespace["status"]["conditions"]).filter(|one| one["status"] == "True");
    let why: Vec<_> = conditions.map(|one| text(&one["message"])).collect();
    let why = if why.is_empty() { "its status does not say why".to_owned() } else { why.join("; ") };
    let next = kubectl.pasteable(&format!("get namespace {name} --output yaml"));
    format!(
        "the namespace {name} is still there {DELETE_LIMIT_SECONDS} s after its deletion: {why}; next: see {next}, then delete it"
    )
}

/// The volumes that were made for claims of these namespaces. One that its class retains is told, since somebody has to remove it.
fn volumes(kubectl: &Kubectl, namespaces: &[&str], outcome: &mut Outcome) -> Result<()> {
    let started = Instant::now();
    loop {
        let Ok(volumes) = kubectl.items(&["get", "persistentvolumes"]) else {
            outcome.unchecked("volumes after the tear-down", "the cluster does not let these credentials list them");
            return Ok(());
        };
        let is_ours = |volume: &&Value| namespaces.contains(&text(&volume["spec"]["claimRef"]["namespace"]));
        let left: Vec<_> = volumes.iter().filter(is_ours).collect();
        let (retained, leaving): (Vec<&Value>, Vec<&Value>) =
            left.into_iter().partition(|volume| volume["spec"]["persistentVolumeReclaimPolicy"] == "Retain");
        if leaving.is_empty() {
            for volume in retained {
                let name = text(&volume["metadata"]["name"]);
                let next = kubectl.pasteable(&format!("delete persistentvolume {name}"));
                outcome.note(format!("the storage class retains the volume {name}; remove it with: {next}"));
            }
            return Ok(());
        }
        if started.elapsed() > Duration::from_secs(VOLUMES_LIMIT_SECONDS) {
            let names: Vec<_> = leaving.iter().map(|volume| text(&volume["metadata"]["name"])).collect();
            let text = format!(
                "the volumes {} are still there {VOLUMES_LIMIT_SECONDS} s after their claims",
                names.join(", ")
            );
            return Err(Stop::Broken(text).into());
        }
        thread::sleep(Duration::from_millis(POLL_MILLISECONDS));
    }
}

/// Removes what killed runs of this checkout left in this cluster; gives how many namespaces.
///
/// # Errors
/// As [`remove`].
pub(crate) fn remove_leftovers(kubectl: &Kubectl, context: &Context, outcome: &mut Outcome) -> Result<usize> {
    let selector = format!("{CHECKOUT_LABEL}={},!{KEPT_LABEL}", checkout_label(context));
    let found = kubectl.items(&["get", "namespaces", "--selector", &selector])?;
    let runs: BTreeSet<_> = found.iter().map(|one| text(&one["metadata"]["labels"][RUN_LABEL]).to_owned()).collect();
    // A folder that is locked is a run at work. One whose folder is gone has nobody.
    let (folders, dead) = (parent(context), RunFolder::leftovers(&parent(context), &prefix(context))?);
    let is_at_work = |run: &String| folders.join(run).exists() && !dead.iter().any(|folder| folder.name == *run);
    let mut removed = 0;
    for run in runs.iter().filter(|run| !is_at_work(run)) {
        let of_run = |one: &&Value| one["metadata"]["labels"][RUN_LABEL] == run.as_str();
        let names: Vec<_> = found.iter().filter(of_run).map(|one| text(&one["metadata"]["name"]).to_owned()).collect();
        context.runner.progress().say(&format!("removing {}, left by an earlier run", names.join(", ")));
        removed += names.len();
        remove(kubectl, run, outcome)?;
    }
    // Their folders hold secrets. One of a run on another cluster waits until that one is tested again.
    let is_of_here = |folder: &RunFolder| {
        let context = std::fs::read_to_string(folder.path.join(CONTEXT_FILE));
        context.map_or(true, |context| context == kubectl.context)
    };
    for folder in dead.into_iter().filter(is_of_here) {
        folder.end()?;
    }
    Ok(removed)
}
