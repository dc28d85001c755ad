//! `cargo xtask kubernetes-e2e`: the manifests on a cluster or, where there is none, their containers with their own values under
//! the local engine. docs/kubernetes.md says what the second leaves out.

use anyhow::Result;
use camino::Utf8PathBuf;
use clap::Args;
use serde_json::json;
use xtask_cluster::{ClusterTest, Source, Target, compose_file};
use xtask_engine::{Ready, kustomize, ready};
use xtask_env_audit::KubernetesPolicy;
use xtask_env_audit::kubernetes::{Cluster, kustomize as manifests};
use xtask_image_build::{Build, BuiltImage};
use xtask_outcome::{Outcome, Place};
use xtask_stack::StackTest;
use xtask_workspace::Context;

use crate::audit_env;

/// Run the stack of the Kubernetes manifests and the journey through it: on a cluster with --context, else under the local engine.
///
/// With --context everything happens in namespaces of its own, which are gone afterwards: a server-side dry run of every overlay,
/// then one of them applied with the images just built. Without it no cluster is needed, and none is tested: variables, users,
/// read-only roots, mounts, limits, readiness probes and names are those of the rendered manifests, and a network stands for each
/// flow that the NetworkPolicies allow.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cargo xtask kubernetes-e2e --overlay k8s/overlays/local\n  cargo xtask kubernetes-e2e --context kind-shop"
)]
pub(crate) struct KubernetesE2e {
    /// Which folder to render, such as k8s/overlays/local; without --context all that the policy lists when none is named, with
    /// it the first.
    #[arg(long, value_name = "FOLDER")]
    overlay: Vec<String>,
    /// Test on the cluster of this context of the kubeconfig; the current one is never taken by itself.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Leave the namespace, and say how to remove it.
    #[arg(long, requires = "context")]
    keep: bool,
    /// Write to a cluster that does not run on this machine, too.
    #[arg(long, requires = "context")]
    allow_writes: bool,
    /// Push the images there and let the cluster pull them, instead of loading them into its nodes.
    #[arg(long, value_name = "REGISTRY", requires = "context")]
    registry: Option<String>,
    /// Let the cluster pull the digests of this lock, such as images.lock.json, instead of what was just built.
    #[arg(long, value_name = "FILE", requires = "context", conflicts_with = "registry")]
    lock: Option<Utf8PathBuf>,
}

impl KubernetesE2e {
    pub(crate) fn run(&self, context: &Context, outcome: &mut Outcome) -> Result<()> {
        if let Some(name) = &self.context {
            return self.on_cluster(context, name, outcome);
        }
        let policy = audit_env::policy(context)?.kubernetes;
        let folders = if self.overlay.is_empty() { &policy.overlays } else { &self.overlay };
        manifests::all_there(&context.project.root, folders, &policy.overlays)?;
        let ready = ready(context)?;
        let Some(images) = outcome.step("build-images", |outcome| Build::default().run(context, &ready, outcome))?
        else {
            return Ok(());
        };
        context.runner.progress().detail(&format!("{} in turn, 30 s each", folders.join(", ")));
        outcome.evidence.extend(ready.evidence());
        for folder in folders {
            outcome.step(folder, |outcome| test(context, &ready, &images, &policy, folder, outcome))?;
        }
        Ok(())
    }

    fn on_cluster(&self, context: &Context, name: &str, outcome: &mut Outcome) -> Result<()> {
        let policy = audit_env::policy(context)?.kubernetes;
        // Before anything is built: a wrong name must not cost minutes.
        let target = Target::find(context, name, self.allow_writes, policy.default_storage_class)?;
        let ready = ready(context)?;
        let Some(images) = outcome.step("build-images", |outcome| Build::default().run(context, &ready, outcome))?
        else {
            return Ok(());
        };
        let applied = self.overlay.first().or(policy.overlays.first());
        let test = ClusterTest {
            overlays: &policy.overlays,
            applied: applied.map(String::as_str).unwrap_or_default(),
            source: match (&self.registry, &self.lock) {
                (Some(registry), _) => Source::Registry(registry.clone()),
                (None, Some(lock)) => Source::Lock(lock.clone()),
                (None, None) => Source::Loaded,
            },
            secrets: &policy.secrets,
            keep: self.keep,
        };
        test.run(context, &target, &ready, &images, outcome)
    }
}

/// One overlay.
fn test(
    context: &Context,
    ready: &Ready,
    images: &[BuiltImage],
    policy: &KubernetesPolicy,
    folder: &str,
    outcome: &mut Outcome,
) -> Result<()> {
    let place = manifests::rendered(&context.project.root, folder, &kustomize(context, folder)?)?;
    let cluster = Cluster::read(&place, &policy.secrets);
    let packages: Vec<_> = images.iter().map(|image| image.package.as_str()).collect();
    let own_bases: Vec<_> =
        ready.neighbours.iter().filter(|(_, base)| base.local).map(|(name, _)| name.as_str()).collect();
    let rendered = compose_file(&cluster, &packages, &policy.secrets, &context.project.stack, &own_bases)?;
    outcome.evidence("instead", json!(rendered.instead));
    let test = StackTest { file: Some(rendered.file.to_string()), ..StackTest::default() };
    let tested = test.run(context, ready, images, outcome);
    for finding in &mut outcome.findings {
        // What the stack's check places in the Compose file stands in the manifests here.
        finding.place = Place::new(folder);
    }
    for checked in &mut outcome.checked {
        checked.what = format!("{} of {folder}", checked.what);
    }
    tested
}
