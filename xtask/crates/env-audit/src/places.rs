//! Everything that the static audit looks at, as one plain value, and the form in which a place that starts containers
//! gives its settings to the rules, whether it is Compose or Kubernetes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::contract::Contract;
use super::template::Template;
use super::yaml::Node;
use xtask_outcome::{Finding, Place};

/// Everything that the static audit looks at.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// The images, with what they say of themselves.
    pub images: Vec<ImagePlace>,
    pub(crate) dockerfiles: Vec<DockerfilePlace>,
    /// What Compose makes of its file, alone and with each override.
    pub compose: Vec<ComposePlace>,
    /// What kustomize makes of each folder.
    pub kubernetes: Vec<KubernetesPlace>,
    /// What was not checked, and why.
    pub unread: Vec<(String, String)>,
    /// What the reading itself found: files that cannot be read, and what Compose, kustomize or kubectl refuse.
    pub problems: Vec<Finding>,
    /// Services of this repository whose contract could not be read, each with its image's name: what they set is not judged.
    pub without_contract: Vec<(String, String)>,
    /// Compose refuses its file, which is one of the problems. What would only follow from that is no finding.
    pub is_stack_unread: bool,
    /// The files that the Compose files name, by their path as Compose writes it.
    pub files: BTreeMap<String, NamedFile>,
    /// Compose files of the root, read or not: name and text.
    pub(crate) compose_texts: Vec<(String, String)>,
    pub(crate) example: Option<Vec<u8>>,
    /// The `.env` of this machine, if there is one.
    pub env: Option<Vec<u8>>,
    pub(crate) document: Option<String>,
    /// Name and text.
    pub workflows: Vec<(String, String)>,
}

impl Places {
    /// Whether everything is there that the generated files are made of.
    pub fn is_whole(&self) -> bool {
        !self.is_stack_unread && self.without_contract.is_empty()
    }
}

/// A built image and what it says of itself.
#[derive(Debug, Clone)]
pub struct ImagePlace {
    /// `user`.
    pub service: String,
    /// `sha256:…`.
    pub id: String,
    /// The variables that it reads.
    pub contract: Contract,
    /// `Config` of `docker image inspect`.
    pub config: Value,
    /// `CreatedBy` of each step of `docker history`.
    pub history: Vec<String>,
}

impl ImagePlace {
    /// Whether it is an image. A contract may also come from a program of the host's, which has no user and no healthcheck.
    pub(crate) fn is_built(&self) -> bool {
        !self.config.is_null()
    }
}

#[derive(Debug, Clone)]
pub(crate) struct DockerfilePlace {
    pub(crate) service: String,
    pub(crate) file: String,
    pub(crate) text: String,
}

/// A stack as Compose itself renders it, without interpolation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ComposePlace {
    /// The file that a finding names.
    pub file: String,
    /// As `compose config --no-interpolate --format json` prints it.
    pub rendered: Value,
    /// The text of the file, for lines.
    pub source: String,
    /// The files that it was merged into, each with its text.
    pub merged_into: Vec<(String, String)>,
    /// The files that it includes.
    pub included: Vec<IncludedFile>,
    /// The files whose services its own extend, each with its text.
    pub extended: Vec<(String, String)>,
}

/// A Compose file that another one includes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncludedFile {
    /// Relative to the root.
    pub file: String,
    /// Its text.
    pub source: String,
    /// The variables that it has from env files of its own, unless the stack's environment has them.
    pub given: BTreeSet<String>,
}

/// Manifests as kustomize renders them.
#[derive(Debug, Clone, Default)]
pub struct KubernetesPlace {
    /// The folder that was rendered: `k8s/overlays/local`.
    pub folder: String,
    pub(crate) documents: Vec<Value>,
    /// The files that it was rendered from, for lines; those of an overlay come before those of its base. Shared, since the
    /// mutation run copies the places some two thousand times.
    pub(crate) sources: Arc<[SourceFile]>,
    /// Files among them that cannot be read.
    pub(crate) problems: Vec<Finding>,
    /// Names of ConfigMaps, as they are before kustomize changes them, whose values it copies to other objects.
    pub(crate) copied: BTreeSet<String>,
}

impl KubernetesPlace {
    /// Whether it is the same rendering of the very same files.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.sources, &other.sources) && self.folder == other.folder && self.documents == other.documents
    }
}

#[derive(Debug, Clone)]
pub(crate) struct SourceFile {
    pub(crate) file: String,
    pub(crate) text: String,
    pub(crate) documents: Vec<Node>,
    /// Whose patch it is, by kind and name, where its kustomization says so: the patch itself may then have any name.
    pub(crate) targets: Vec<(Option<String>, Option<String>)>,
}

impl SourceFile {
    /// Whether its documents are patches of an object, whatever they are called.
    pub(crate) fn is_patch_of(&self, kind: &str, name: &str) -> bool {
        // The name is a regular expression, and most are plain names.
        let is_pattern = |text: &str| text.contains(|c: char| ".*+?[](){}|^$\\".contains(c));
        let is_name = |target: &Option<String>| target.as_ref().is_none_or(|text| text == name || is_pattern(text));
        self.targets.iter().any(|(of, target)| of.as_ref().is_none_or(|of| of == kind) && is_name(target))
    }
}

/// A file that a container is to get: variables or a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFile {
    /// Relative to the root, for messages.
    pub name: String,
    /// Its content.
    pub bytes: Vec<u8>,
    /// Its permission bits.
    pub mode: u32,
    /// Its owner.
    pub user: u32,
    /// Its group.
    pub group: u32,
    /// Part of the repository: neither outside it nor ignored by git.
    pub is_committed: bool,
}

/// Something that starts a container of an image with variables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deployment {
    /// The name by which others reach it: the service of Compose or of Kubernetes.
    pub name: String,
    /// Other names by which others on its networks reach it.
    pub(crate) aliases: BTreeSet<String>,
    /// Hosts that it is told the addresses of.
    pub(crate) hosts: BTreeSet<String>,
    pub(crate) file: String,
    pub(crate) place: Option<Place>,
    pub(crate) image: Template,
    /// What the container is given, one entry a name.
    pub settings: Vec<Setting>,
    /// What was set and lost against an entry of `settings`.
    pub overridden: Vec<Setting>,
    pub(crate) build_arguments: Vec<Setting>,
    /// Secrets mounted as files, by their path in the container.
    pub(crate) mounted: BTreeMap<String, MountedSecret>,
    /// How it is asked whether it is well.
    pub healthcheck: Healthcheck,
    pub(crate) healthcheck_place: Option<Place>,
    /// The networks that it is on.
    pub networks: BTreeSet<String>,
    /// Started only for somebody who asks for one of these; `local` marks what never leaves a developer's machine.
    pub profiles: Vec<String>,
    /// Its root cannot be written to.
    pub read_only: bool,
    /// As it is written: a number, a name, both with a group.
    pub user: Option<String>,
    /// Where the container may write.
    pub writable: BTreeSet<String>,
    /// What stands only for other values to be made of.
    pub parts: BTreeSet<String>,
    /// A source of its variables is missing or unreadable, which is a finding of its own: there may be more than `settings`.
    pub(crate) has_unread_source: bool,
    /// The ports under which others reach it, where they may differ from those on which it listens.
    pub reached_on: Option<Vec<u16>>,
}

/// One variable that a place sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its name.
    pub name: String,
    /// What it is set to.
    pub value: Template,
    /// Named without a value: unset when the variable of the same name is.
    pub bare: bool,
    pub(crate) place: Place,
    /// Where in the place, such as `services.user.environment`.
    pub path: String,
    /// A `$` in an env file made another value of what was written (case F01).
    pub garbled: bool,
    /// From a file of this machine alone, where secrets may stand.
    pub is_local: bool,
    /// What is wrong with it is a finding already: its value is judged no further.
    pub(crate) is_judged: bool,
    /// Its name may be the rest of a password (case Q01): it is printed nowhere.
    pub(crate) is_hidden: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MountedSecret {
    pub(crate) source: String,
    /// The file on the host; `None` for a secret that comes from a variable.
    pub file: Option<String>,
}

/// How a container is asked whether it is well.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Healthcheck {
    /// The image's own.
    #[default]
    Inherited,
    /// None, on purpose.
    Disabled,
    /// A line for a shell.
    Shell(String),
    /// An argv.
    Command(Vec<String>),
}

/// The rule of a file that cannot be read; whatever follows from it alone is no finding.
pub(crate) const UNREADABLE: &str = "unreadable-file";

/// One file that cannot be read.
pub(crate) fn unreadable(file: &str, why: &str) -> Finding {
    Finding {
        rule: UNREADABLE,
        place: Place::new(file),
        message: format!("{file} {why}, so nothing in it was checked"),
        next_step: "correct the file".to_owned(),
    }
}

impl Deployment {
    /// Whether others reach it by a name.
    pub(crate) fn answers_to(&self, name: &str) -> bool {
        self.name == name || self.aliases.contains(name)
    }

    pub(crate) fn setting(&self, name: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.name == name)
    }

    /// The repository of its image, when only defaults are taken: `shop-cart` for `${SHOP_CART_IMAGE:-shop-cart:local}`.
    pub fn repository(&self) -> String {
        let reference = self.image.fill(&|_| None, "").text;
        let reference = reference.split('@').next().unwrap_or_default();
        let name = reference.rsplit('/').next().unwrap_or_default().split(':').next().unwrap_or_default();
        let folder = reference.rsplit_once('/').map(|(folder, _)| format!("{folder}/")).unwrap_or_default();
        format!("{folder}{name}")
    }

    pub(crate) fn is_local_only(&self) -> bool {
        matches!(self.profiles.as_slice(), [profile] if profile == "local")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_that_of_the_default_reference() {
        for (image, repository) in [
            ("mini-user:local", "mini-user"),
            ("${X:-mini-user:local}", "mini-user"),
            ("localhost:5000/shop/mini-user:1@sha256:ab", "localhost:5000/shop/mini-user"),
            ("postgres", "postgres"),
            ("${X:?needed}", ""),
        ] {
            let deployment = Deployment { image: Template::parse(image).unwrap(), ..Default::default() };
            assert_eq!(deployment.repository(), repository, "{image}");
        }
    }
}
