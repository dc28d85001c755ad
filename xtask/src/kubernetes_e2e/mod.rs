//! `cargo xtask kubernetes-e2e`: the containers of the manifests, with the manifests' own values, under the local engine, and the
//! journey through them. There is no cluster on the machines that this is for; docs/deployment.md says what that leaves out.

mod as_compose;

use anyhow::Result;
use clap::Args;
use serde_json::json;
use xtask_engine::{Ready, kustomize, ready};
use xtask_env_audit::KubernetesPolicy;
use xtask_env_audit::kubernetes::{Cluster, kustomize as manifests};
use xtask_image_build::{Build, BuiltImage};
use xtask_outcome::{Outcome, Place};
use xtask_stack::StackTest;
use xtask_workspace::Context;

use crate::audit_env;

/// Run the containers of each Kubernetes overlay, with its own values, under the local engine, and the journey through them.
///
/// Variables, users, read-only roots, mounts, limits, readiness probes and names are those of the rendered manifests; a network
/// stands for each flow that the NetworkPolicies allow. No cluster is needed, and none is tested.
#[derive(Debug, Args)]
pub(crate) struct KubernetesE2e {
    /// Which folder to render, such as k8s/overlays/local; all that the policy lists when none is named.
    #[arg(long, value_name = "FOLDER")]
    overlay: Vec<String>,
}

impl KubernetesE2e {
    pub(crate) fn run(&self, context: &Context, outcome: &mut Outcome) -> Result<()> {
        let ready = ready(context)?;
        let Some(images) = outcome.step("build-images", |outcome| Build::default().run(context, &ready, outcome))?
        else {
            return Ok(());
        };
        let policy = audit_env::policy(context)?.kubernetes;
        let folders = if self.overlay.is_empty() { &policy.overlays } else { &self.overlay };
        eprintln!("kubernetes-e2e: {} in turn, 30 s each", folders.join(", "));
        outcome.evidence.extend(ready.evidence());
        for folder in folders {
            outcome.step(folder, |outcome| test(context, &ready, &images, &policy, folder, outcome))?;
        }
        Ok(())
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
    let rendered =
        as_compose::render(&cluster, &packages, &policy.secrets, &context.project.stack, ready.database.local)?;
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
