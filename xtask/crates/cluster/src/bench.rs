//! What every phase of a run works with, and where the run keeps its own.

use camino::Utf8PathBuf;
use xtask_engine::Ready;
use xtask_image_build::BuiltImage;
use xtask_stack::Client;
use xtask_workspace::Context;

use crate::kubectl::Kubectl;

/// What every phase works with.
pub(crate) struct Bench<'a> {
    pub(crate) context: &'a Context,
    /// Within the namespace of the shop.
    pub(crate) kubectl: Kubectl,
    pub(crate) ready: &'a Ready,
    pub(crate) built: &'a [BuiltImage],
    pub(crate) client: &'a Client,
    pub(crate) run: String,
    pub(crate) folder: Utf8PathBuf,
    pub(crate) namespace: String,
}

impl Bench<'_> {
    pub(crate) fn env_file(&self) -> Utf8PathBuf {
        self.folder.join("env")
    }

    /// Where the pod stands that uses the stack from beside it.
    pub(crate) fn client_namespace(&self) -> String {
        format!("{}-client", self.namespace)
    }

    pub(crate) fn namespaces(&self) -> Vec<String> {
        vec![self.namespace.clone(), self.client_namespace()]
    }
}

pub(crate) fn rerun(bench: &Bench<'_>) -> String {
    format!("cargo xtask kubernetes-e2e --context {}", bench.kubectl.context)
}

pub(crate) fn parent(context: &Context) -> Utf8PathBuf {
    context.project.out().join("cluster")
}

pub(crate) fn prefix(context: &Context) -> String {
    format!("{}-e2e-", context.project.stack.project)
}
