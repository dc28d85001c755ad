//! One test on a cluster: everything it makes is in namespaces of its own, and those always go.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};
use xtask_engine::{Ready, kustomize};
use xtask_env_audit::kubernetes::{Cluster, kustomize as manifests};
use xtask_image_build::BuiltImage;
use xtask_outcome::{Finding, Outcome, Place, Stop};
use xtask_process::RunFolder;
use xtask_stack::{Client, write_env_file};
use xtask_workspace::Context;

use crate::bench::{Bench, parent, prefix, rerun};
use crate::client_pod::ClientPod;
use crate::forward::Forward;
use crate::images::{Images, Source, users_of_neighbours};
use crate::kubectl::Kubectl;
use crate::overlay::{Changes, ImageName, render, repositories, warnings};
use crate::probe::Probe;
use crate::survey::{Provider, Survey, checkout_label, need_default_class, survey};
use crate::wait::{Snapshot, pause, until_ready};
use crate::workload::{described, list, own_containers, text};
use crate::{evidence, faults, hardening, namespace, network, secrets};

/// The images of databases may have to be pulled first.
const READY_LIMIT_SECONDS: u64 = 300;
const APPLY_LIMIT_SECONDS: u64 = 120;
const REACHED_LIMIT_SECONDS: u64 = 30;

/// A cluster that may be written to.
#[derive(Debug)]
pub struct Target {
    kubectl: Kubectl,
    survey: Survey,
}

impl Target {
    /// Looks before anything is built or changed.
    ///
    /// # Errors
    /// [`xtask_outcome::Stop::Usage`] for an unknown context and for a cluster elsewhere without `allow_writes`; [`xtask_outcome::Stop::Absent`] when the
    /// cluster does not answer, or has no default storage class and one is needed.
    pub fn find(context: &Context, name: &str, allow_writes: bool, needs_default_class: bool) -> Result<Self> {
        let kubectl = Kubectl::find(context, name)?;
        let survey = survey(&kubectl);
        // Whoever may not list nodes is on no cluster of their own.
        let survey = match survey {
            Err(error) if format!("{error:#}").contains("Forbidden") && allow_writes => Survey::unknown(),
            survey => survey?,
        };
        survey.may_write(&kubectl, allow_writes)?;
        if needs_default_class {
            need_default_class(&kubectl)?;
        }
        Ok(Self { kubectl, survey })
    }
}

/// What is tested, and what stays.
#[derive(Debug)]
pub struct ClusterTest<'a> {
    /// Every overlay is tried by the API server without being applied.
    pub overlays: &'a [String],
    /// The one that is applied.
    pub applied: &'a str,
    /// Where the images come from.
    pub source: Source,
    /// Secret → key → variable of the env file.
    pub secrets: &'a secrets::Names,
    /// Leave the namespaces.
    pub keep: bool,
}

impl ClusterTest<'_> {
    /// Tests the given images. Each part is a step of the outcome, and the namespaces go whatever happens.
    ///
    /// # Errors
    /// What keeps the run from being begun at all, and an interrupt.
    pub fn run(
        &self,
        context: &Context,
        target: &Target,
        ready: &Ready,
        built: &[BuiltImage],
        outcome: &mut Outcome,
    ) -> Result<()> {
        let Target { kubectl, survey } = target;
        let plan = format!(
            "kubernetes-e2e: context {}, {}, {} nodes of {}: dry run, apply, ready (up to {READY_LIMIT_SECONDS} s), journey, hardening, network policies, faults under load (4 minutes), tear-down",
            kubectl.context,
            survey.provider.name(),
            survey.nodes,
            survey.version
        );
        context.runner.progress().say(&plan);
        let client = Client::compile_static(context)?;
        namespace::remove_leftovers(kubectl, context, outcome)?;
        let folder = RunFolder::begin(&parent(context), &prefix(context))?;
        let marked = std::fs::write(folder.path.join(namespace::CONTEXT_FILE), &kubectl.context);
        marked.context("note the context of the run")?;
        write_env_file(context, ready, built, &folder.path.join("env"), "")?;
        let bench = Bench {
            context,
            kubectl: kubectl.within(&folder.name),
            ready,
            built,
            client: &client,
            run: folder.name.clone(),
            folder: folder.path.clone(),
            namespace: folder.name.clone(),
        };
        let manual = kubectl.pasteable(&format!("delete namespace {}", bench.namespaces().join(" ")));
        context.runner.interrupt().on_second(Some(manual.clone()));
        outcome.evidence.extend(ready.evidence());
        outcome.evidence("cluster", json!({ "context": kubectl.context, "kind": survey.provider.name(), "nodes": survey.nodes, "version": survey.version, "namespace": bench.namespace }));
        let mut images = None;
        let driven = self.drive(&bench, survey, &mut images, outcome);
        if driven.is_err() || !outcome.failures.is_empty() {
            evidence::show(&bench);
        }
        if self.keep && context.runner.interrupt().check().is_ok() {
            namespace::keep(kubectl, &bench.run)?;
            outcome.note(format!("the namespace {} is left; end it with: {manual}", bench.namespace));
            context.runner.interrupt().on_second(None);
            return driven;
        }
        let down = outcome.step("down", |outcome| {
            namespace::remove(kubectl, &bench.run, outcome)?;
            if let Some(images) = &images {
                images.untag();
            }
            folder.end()
        });
        context.runner.interrupt().on_second(None);
        driven.and(down.map(drop))
    }

    /// Everything between the first object and the tear-down. A part that needs an earlier one is not run when that one failed.
    fn drive<'a>(
        &self,
        bench: &Bench<'a>,
        survey: &Survey,
        images: &mut Option<Images<'a>>,
        outcome: &mut Outcome,
    ) -> Result<()> {
        let created = outcome.step("namespace", |_| {
            namespace::create(&bench.kubectl, bench.context, &bench.run, &bench.namespace, &Map::new())
        })?;
        if created.is_none() {
            return Ok(());
        }
        outcome.step("dry run", |outcome| self.dry_run(bench, outcome))?;
        *images = outcome.step("images", |outcome| {
            let images = Images::bring(bench.context, bench.ready, bench.built, &self.source, survey)?;
            outcome.evidence("images", images.references());
            Ok(images)
        })?;
        let Some(images) = images else {
            outcome.unchecked("the stack on the cluster", "the images did not get there");
            return Ok(());
        };
        let Some(snapshot) = outcome.step("up", |outcome| self.up(bench, images, outcome))? else {
            outcome.unchecked("the journey and all that follows", "the stack did not come up");
            return Ok(());
        };
        outcome.step("journey", |outcome| journey(bench, outcome))?;
        let client = outcome.step("client pod", |_| ClientPod::start(bench, &snapshot))?;
        let probes = outcome.step("probes", |_| Probe::all(bench, &snapshot))?;
        if let Some(probes) = &probes {
            outcome.step("hardening", |outcome| hardening::check(bench, &snapshot, probes, outcome))?;
        }
        if let (Some(probes), Some(client)) = (&probes, &client) {
            outcome.step("network policies", |outcome| {
                let names: Vec<_> = probes.iter().map(|probe| probe.workload.clone()).collect();
                let flows = self.flows(bench, &names)?;
                network::check(bench, probes, client, &flows, outcome)
            })?;
        }
        if let Some(client) = &client {
            outcome.step("faults", |outcome| faults::run(bench, client, self.secrets, outcome))?;
        }
        outcome.step("restarts", |outcome| restarts(bench, outcome))?;
        Ok(())
    }

    /// What the overlay's policies allow, as the audit reads them.
    fn flows(&self, bench: &Bench<'_>, names: &[String]) -> Result<BTreeSet<(String, String)>> {
        let text = kustomize(bench.context, self.applied)?;
        let place = manifests::rendered(&bench.context.project.root, self.applied, &text)?;
        let entrance = &bench.context.project.stack.entrance.service;
        Ok(network::allowed(&Cluster::read(&place, self.secrets), names, entrance))
    }

    /// Admission, validation and defaulting of the API server, without a trace. Each warning is a finding.
    fn dry_run(&self, bench: &Bench<'_>, outcome: &mut Outcome) -> Result<()> {
        for (number, overlay) in self.overlays.iter().enumerate() {
            let changes = self.changes(bench);
            let folder = bench.folder.join(format!("dry-run-{number}"));
            let images = BTreeMap::new();
            let rendered = render(bench.context, overlay, &folder, &changes.with(&images, &BTreeMap::new()))?;
            let arguments = ["apply", "--dry-run=server", "--filename", "-"];
            let captured = bench.kubectl.feed_captured(&arguments, rendered.as_bytes(), APPLY_LIMIT_SECONDS)?;
            for warning in warnings(&captured.stderr) {
                outcome.findings.push(Finding {
                    rule: "api-warning",
                    place: Place::new(overlay.clone()),
                    message: format!("the API server warns: {warning}"),
                    next_step: format!("change the manifest, then: {}", rerun(bench)),
                });
            }
            if !captured.status.success() {
                let stop = bench.kubectl.refusal(&captured.tail(), &arguments);
                return Err(stop).with_context(|| format!("the API server refuses {overlay}"));
            }
            outcome.checked(format!("objects of {overlay} taken by the API server"), captured.stdout.lines().count());
        }
        Ok(())
    }

    fn up(&self, bench: &Bench<'_>, images: &Images<'_>, outcome: &mut Outcome) -> Result<Snapshot> {
        secrets::apply(&bench.kubectl, self.secrets, &bench.env_file())?;
        let plain = kustomize(bench.context, self.applied)?;
        let replacements = images.replacements(&repositories(&plain));
        let users = users_of_neighbours(bench.context, bench.ready)?;
        let changes = self.changes(bench);
        let folder = bench.folder.join("applied");
        let rendered = render(bench.context, self.applied, &folder, &changes.with(&replacements, &users))?;
        bench.kubectl.feed(&["apply", "--filename", "-"], rendered.as_bytes(), APPLY_LIMIT_SECONDS)?;
        let snapshot = until_ready(bench, READY_LIMIT_SECONDS)?;
        if !users.is_empty() {
            let names: Vec<_> = users.keys().map(String::as_str).collect();
            outcome.note(format!("{} run a home-made base, under its own user", names.join(", ")));
        }
        outcome.checked("workloads ready", snapshot.workloads.len());
        outcome.evidence("pods", running(&snapshot));
        Ok(snapshot)
    }

    fn changes<'b>(&self, bench: &'b Bench<'_>) -> Own<'b> {
        Own { namespace: &bench.namespace, run: &bench.run, checkout: checkout_label(bench.context) }
    }
}

/// The part of the changes that every rendering of a run has.
struct Own<'a> {
    namespace: &'a str,
    run: &'a str,
    checkout: String,
}

impl Own<'_> {
    fn with<'b>(
        &'b self,
        images: &'b BTreeMap<String, ImageName>,
        users: &'b BTreeMap<String, (u32, u32)>,
    ) -> Changes<'b> {
        Changes { namespace: self.namespace, run: self.run, checkout: &self.checkout, images, users }
    }
}

/// What runs, by pod: the image of each container as the node names it.
fn running(snapshot: &Snapshot) -> Value {
    let container = |status: &Value| json!({ "container": status["name"], "image": status["image"], "image_id": status["imageID"] });
    let pod = |pod: &Value| {
        let containers: Vec<_> = list(&pod["status"]["containerStatuses"]).map(container).collect();
        json!({ "pod": pod["metadata"]["name"], "containers": containers })
    };
    snapshot.pods.iter().map(pod).collect()
}

/// The journey, through a port of its own.
fn journey(bench: &Bench<'_>, outcome: &mut Outcome) -> Result<()> {
    let entrance = &bench.context.project.stack.entrance;
    let forward = Forward::open(&bench.kubectl, &entrance.service, entrance.port)?;
    let reached_after = until_reached(bench, &forward.url)?;
    let steps = bench.client.journey(bench.context, &forward.url, Some(&bench.env_file()))?;
    outcome.checked("requests sent", steps.len());
    outcome.evidence("reached_after_ms", u64::try_from(reached_after.as_millis()).unwrap_or(u64::MAX));
    outcome.evidence("journey", steps);
    Ok(())
}

/// A pod that is ready is reached only when every node has heard of it, which is up to some seconds later: until then the entrance
/// answers for the service behind it. So the part of the journey that changes nothing is walked until it works.
fn until_reached(bench: &Bench<'_>, url: &str) -> Result<Duration> {
    let started = Instant::now();
    loop {
        match bench.client.journey(bench.context, url, None) {
            Ok(_) => return Ok(started.elapsed()),
            Err(error) if Stop::is_interrupt(&error) => return Err(error),
            Err(error) if started.elapsed() > Duration::from_secs(REACHED_LIMIT_SECONDS) => {
                let text = format!("every pod is ready, and not everything is reached {REACHED_LIMIT_SECONDS} s later");
                return Err(error.context(text));
            }
            Err(_) => pause(bench)?,
        }
    }
}

/// A container that ended and was started again is a fault, whatever the journey says.
fn restarts(bench: &Bench<'_>, outcome: &mut Outcome) -> Result<()> {
    let snapshot = Snapshot::take(bench)?;
    let own = own_containers(&snapshot.workloads.iter().collect::<Vec<_>>());
    let mut looked_at = 0;
    for pod in &snapshot.pods {
        for status in list(&pod["status"]["containerStatuses"]).filter(|status| own.contains(text(&status["name"]))) {
            looked_at += 1;
            let count = status["restartCount"].as_u64().unwrap_or_default();
            if count > 0 {
                outcome.findings.push(Finding {
                    rule: "restarted",
                    place: Place::new(described(pod)),
                    message: format!("{} was restarted {count} times", text(&status["name"])),
                    next_step: format!("read its log with --keep: {} --keep", rerun(bench)),
                });
            }
        }
    }
    outcome.checked("containers without a restart", looked_at);
    Ok(())
}

impl Survey {
    /// Somebody's cluster, whose nodes these credentials may not see.
    fn unknown() -> Self {
        Self { provider: Provider::Other, is_local: false, nodes: 0, version: "unknown".to_owned() }
    }
}
