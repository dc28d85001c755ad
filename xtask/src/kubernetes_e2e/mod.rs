//! `cargo xtask kubernetes-e2e`: the containers of the manifests, with the manifests' own values, under the local engine, and the
//! journey through them. There is no cluster on the machines that this is for; docs/deployment.md says what that leaves out.

mod as_compose;

use anyhow::Result;
use clap::Args;
use serde_json::{Map, Value, json};

use crate::audit_env::kubernetes::{Cluster, kustomize};
use crate::audit_env::policy::Policy;
use crate::build_images::BuildImages;
use crate::compose_e2e::ComposeE2e;
use crate::context::Context;
use crate::outcome::{Checked, Finding, Outcome, Place};
use crate::setup;

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
    pub(crate) fn run(&self, context: &Context) -> Result<Outcome> {
        let ready = setup::ready(context)?;
        let (_, images) = BuildImages::all().build(context, &ready)?;
        let policy = Policy::load()?.kubernetes;
        let folders = if self.overlay.is_empty() { &policy.overlays } else { &self.overlay };
        eprintln!("kubernetes-e2e: {} in turn, 30 s each", folders.join(", "));
        let mut outcome = Outcome::default();
        let mut evidence = Map::new();
        for folder in folders {
            let cluster = Cluster::read(&kustomize::render(context, folder)?, &policy.secrets);
            let packages: Vec<_> = images.iter().map(|image| image.package.as_str()).collect();
            let stack = as_compose::render(&cluster, &packages, &policy.secrets, ready.postgres.local)?;
            let tested = ComposeE2e::whole().test_file(context, &ready, &images, Some(&stack.file.to_string()))?;
            // What the stack's check places in compose.yaml stands in the manifests here.
            let moved = |finding| Finding { place: Place::new(folder.clone()), ..finding };
            outcome.findings.extend(tested.findings.into_iter().map(moved));
            for checked in tested.checked {
                outcome.checked.push(Checked { what: format!("{} of {folder}", checked.what), ..checked });
            }
            let ran = json!({ "instead": stack.instead, "journey": tested.evidence.get("journey"), "logs": tested.evidence.get("logs") });
            evidence.insert(folder.clone(), ran);
        }
        outcome.evidence("overlays", Value::Object(evidence));
        outcome.evidence.extend(ready.evidence());
        Ok(outcome)
    }
}
