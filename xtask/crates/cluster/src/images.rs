//! How the images that were built come into the cluster: by the means of its kind, through a registry, or as digests that were
//! shipped. A tag made from the image's id keeps a node from running an older image of the same name.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use camino::Utf8Path;
use serde_json::Value;
use which::which_in;
use xshell::{Shell, cmd};
use xtask_engine::{Base, OneShot, Ready};
use xtask_image_build::BuiltImage;
use xtask_outcome::Stop;
use xtask_workspace::Context;

use crate::overlay::{ImageName, Version, image_name, repository};
use crate::survey::{Provider, Survey};

const LOAD_LIMIT_SECONDS: u64 = 600;
const ENGINE_LIMIT_SECONDS: u64 = 60;
/// So many digits of an image's id are its tag.
const ID_DIGITS: usize = 12;

/// Where the cluster's images come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// From this machine's engine, by the means of the kind of cluster.
    Loaded,
    /// Pushed to this registry first: `registry.example/team`.
    Registry(String),
    /// The digests of a lock file, as `push` writes it.
    Lock(camino::Utf8PathBuf),
}

/// One image under a name of its own in the local engine.
#[derive(Debug, Clone)]
struct Tagged {
    /// What the manifests call it: the last part of a repository.
    name: String,
    id: String,
    image: ImageName,
}

/// The images of a run, by what the manifests call them.
#[derive(Debug)]
pub(crate) struct Images<'a> {
    context: &'a Context,
    ready: &'a Ready,
    tagged: Vec<Tagged>,
    /// By the last part of the repository in the manifests.
    names: BTreeMap<String, ImageName>,
}

impl<'a> Images<'a> {
    /// Brings them there.
    ///
    /// # Errors
    /// [`Stop::Absent`] when nothing here can load them, with what to do; [`Stop::Broken`] when loading fails.
    pub(crate) fn bring(
        context: &'a Context,
        ready: &'a Ready,
        built: &[BuiltImage],
        source: &Source,
        survey: &Survey,
    ) -> Result<Self> {
        if let Source::Lock(file) = source {
            let names = locked(file, built)?;
            return Ok(Self { context, ready, tagged: Vec::new(), names });
        }
        let registry =
            if let Source::Registry(registry) = source { Some(registry.trim_end_matches('/')) } else { None };
        let mut tagged: Vec<_> =
            built.iter().map(|image| tagged(&image.package, &image.package, &image.facts.id, registry)).collect();
        // No registry knows a base that was made here.
        for (_, base) in ready.neighbours.iter().filter(|(_, base)| base.local) {
            tagged.push(tagged_base(&repository(&base.reference), &base.id, registry));
        }
        let names = tagged.iter().map(|one| (one.name.clone(), one.image.clone())).collect();
        let images = Self { context, ready, tagged, names };
        images.tag()?;
        match registry {
            Some(_) => images.push()?,
            None => images.load(survey)?,
        }
        Ok(images)
    }

    /// For the images of a rendering: what kustomize replaces each by. Those of others stay as they are.
    pub(crate) fn replacements(&self, repositories: &[String]) -> BTreeMap<String, ImageName> {
        let mut found = BTreeMap::new();
        for wanted in repositories {
            let name = wanted.rsplit('/').next().unwrap_or_default();
            if let Some(image) = self.names.get(name) {
                found.insert(wanted.clone(), image.clone());
            }
        }
        found
    }

    /// The tags that the run made in the local engine; the images stay.
    pub(crate) fn untag(&self) {
        let Ok(shell) = Shell::new() else { return };
        let docker = &self.ready.docker.program;
        for one in &self.tagged {
            let reference = one.reference();
            let removed = cmd!(shell, "{docker} image rm --no-prune {reference}");
            let _ = self.context.runner.for_clean_up().capture(removed, ENGINE_LIMIT_SECONDS);
        }
    }

    pub(crate) fn references(&self) -> Vec<String> {
        self.names.values().map(reference).collect()
    }

    fn tag(&self) -> Result<()> {
        let shell = Shell::new()?;
        let docker = &self.ready.docker.program;
        for one in &self.tagged {
            let (id, reference) = (&one.id, one.reference());
            self.context.runner.read(cmd!(shell, "{docker} image tag {id} {reference}"), ENGINE_LIMIT_SECONDS)?;
        }
        Ok(())
    }

    fn push(&self) -> Result<()> {
        let shell = Shell::new()?;
        let docker = &self.ready.docker.program;
        for one in &self.tagged {
            let reference = one.reference();
            self.context.runner.progress().now(&format!("pushes {reference}"));
            let pushed = cmd!(shell, "{docker} push --quiet {reference}");
            self.context.runner.read(pushed, LOAD_LIMIT_SECONDS)?;
        }
        Ok(())
    }

    fn load(&self, survey: &Survey) -> Result<()> {
        let shell = Shell::new()?;
        let runner = &self.context.runner;
        let references: Vec<_> = self.tagged.iter().map(Tagged::reference).collect();
        let (program, arguments): (&str, Vec<&str>) = match &survey.provider {
            Provider::Kind(cluster) => ("kind", vec!["load", "docker-image", "--name", cluster]),
            Provider::Minikube(profile) => ("minikube", vec!["--profile", profile, "image", "load"]),
            Provider::K3s => ("k3s", vec!["ctr", "images", "import"]),
            Provider::Containerd(socket) => {
                ("ctr", vec!["--address", socket, "--namespace", "k8s.io", "images", "import"])
            }
            Provider::Other => {
                let text = "nothing on this machine puts images into the nodes of this cluster; next: --registry REGISTRY, which this machine pushes to and the cluster pulls from, or --lock images.lock.json for what was shipped";
                return Err(Stop::Absent(text.to_owned()).into());
            }
        };
        self.need(program, &survey.provider)?;
        self.context.runner.progress().now(&format!("loads {} images with {program}", references.len()));
        if matches!(survey.provider, Provider::Kind(_) | Provider::Minikube(_)) {
            let load = cmd!(shell, "{program} {arguments...} {references...}");
            return runner.read(load, LOAD_LIMIT_SECONDS).map(drop);
        }
        let archive = self.context.project.out().join(format!("cluster-images-{}.tar", std::process::id()));
        let docker = &self.ready.docker.program;
        let saved = runner
            .read(cmd!(shell, "{docker} image save --output {archive} {references...}"), LOAD_LIMIT_SECONDS)
            .and_then(|_| runner.read(cmd!(shell, "{program} {arguments...} {archive}"), LOAD_LIMIT_SECONDS));
        let _ = std::fs::remove_file(&archive);
        saved.map(drop)
    }

    fn need(&self, program: &str, provider: &Provider) -> Result<()> {
        let project = &self.context.project;
        if which_in(program, Some(&project.environment.path), &project.root).is_ok() {
            return Ok(());
        }
        let text = format!(
            "the nodes say that this is a cluster of {}, and {program}, which loads images into it, is not on PATH; next: install {program}, or --registry REGISTRY",
            provider.name()
        );
        Err(Stop::Absent(text).into())
    }
}

impl Provider {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Kind(_) => "kind",
            Self::Minikube(_) => "minikube",
            Self::K3s => "k3s",
            Self::Containerd(_) => "kubeadm",
            Self::Other => "an unknown kind",
        }
    }
}

impl Tagged {
    fn reference(&self) -> String {
        reference(&self.image)
    }
}

pub(crate) fn reference(image: &ImageName) -> String {
    match &image.version {
        Version::Tag(tag) => format!("{}:{tag}", image.repository),
        Version::Digest(digest) => format!("{}@{digest}", image.repository),
    }
}

fn tagged(name: &str, repository: &str, id: &str, registry: Option<&str>) -> Tagged {
    let repository = registry.map_or_else(|| repository.to_owned(), |registry| format!("{registry}/{repository}"));
    let digits: String = id.trim_start_matches("sha256:").chars().take(ID_DIGITS).collect();
    let image = ImageName { repository, version: Version::Tag(format!("id-{digits}")) };
    Tagged { name: name.to_owned(), id: id.to_owned(), image }
}

fn tagged_base(repository: &str, id: &str, registry: Option<&str>) -> Tagged {
    tagged(repository.rsplit('/').next().unwrap_or_default(), repository, id, registry)
}

/// `images.NAME.reference` of a lock, by package.
fn locked(file: &Utf8Path, built: &[BuiltImage]) -> Result<BTreeMap<String, ImageName>> {
    let next = "next: cargo xtask push REGISTRY";
    let text = std::fs::read_to_string(file)
        .map_err(|error| Stop::Absent(format!("{file} cannot be read: {error}; {next}")))?;
    let lock: Value = serde_json::from_str(&text).with_context(|| format!("read {file}"))?;
    let mut names = BTreeMap::new();
    for image in built {
        let entry =
            [&image.package, &image.name].into_iter().find_map(|name| lock["images"][name]["reference"].as_str());
        let entry = entry.ok_or_else(|| Stop::Repository(format!("{file} has no image {}; {next}", image.package)))?;
        names.insert(image.package.clone(), image_name(entry)?);
    }
    Ok(names)
}

/// User and group of a home-made base's program, as numbers.
///
/// # Errors
/// When its container cannot be started.
fn user_of(context: &Context, ready: &Ready, base: &Base) -> Result<(u32, u32)> {
    let shell = Shell::new()?;
    let (docker, id) = (&ready.docker.program, &base.id);
    let container = OneShot::new(context, &ready.docker, "identity")?;
    let own = container.arguments();
    let script = "id -u; id -g";
    let asked = cmd!(shell, "{docker} run --rm {own...} --network none --entrypoint sh {id} -c {script}");
    let printed = container.read(asked, ENGINE_LIMIT_SECONDS)?;
    let mut numbers = printed.lines().map(|line| line.trim().parse::<u32>());
    match (numbers.next(), numbers.next()) {
        (Some(Ok(user)), Some(Ok(group))) => Ok((user, group)),
        _ => Err(Stop::Broken(format!("{} says `{printed}` of its user", base.reference)).into()),
    }
}

/// The workloads that run a home-made base, each with user and group of its program.
///
/// # Errors
/// As [`user_of`].
pub(crate) fn users_of_neighbours(context: &Context, ready: &Ready) -> Result<BTreeMap<String, (u32, u32)>> {
    let mut users = BTreeMap::new();
    for neighbour in &context.project.stack.neighbours {
        let base = ready.neighbour(&neighbour.base)?;
        if base.local {
            let user = user_of(context, ready, base)?;
            users.extend(neighbour.serves.keys().map(|service| (service.clone(), user)));
        }
    }
    Ok(users)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_named_after_its_id_so_that_no_node_runs_an_older_one() {
        let one = tagged("shop", "shop", "sha256:0123456789abcdef", None);
        assert_eq!(one.reference(), "shop:id-0123456789ab");
        let pushed = tagged("shop", "shop", "sha256:0123456789abcdef", Some("registry.example/team"));
        assert_eq!(pushed.reference(), "registry.example/team/shop:id-0123456789ab");
        assert_eq!(tagged_base("own-base/db", "sha256:ff", None).name, "db");
    }
}
