//! What this repository is: its root, its image packages, and the few things read from the environment.

use std::collections::BTreeSet;
use std::env;

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use cargo_metadata::{Metadata, MetadataCommand, Package};

use crate::outcome::Stop;

/// The prefix that a person may leave out of a package's name.
const NAME_PREFIX: &str = "mini-";

/// The environment, read in this one place.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    pub(crate) path: String,
    /// In a CI system: no terminal, plain output.
    pub(crate) ci: bool,
    /// In GitHub Actions: findings become annotations.
    pub(crate) github_actions: bool,
    pub(crate) github_step_summary: Option<Utf8PathBuf>,
    /// The variables that open the cache of GitHub Actions are set; buildx reads their values by itself.
    pub(crate) actions_cache: bool,
    /// A certificate bundle that the host trusts and a container does not: a TLS-intercepting proxy's authority.
    pub(crate) ca_file: Option<Utf8PathBuf>,
    /// Where cargo keeps its registry: a path that must not end up in a program.
    pub(crate) cargo_home: Option<Utf8PathBuf>,
    /// The variables that reach Compose.
    pub(crate) engine: Vec<(&'static str, String)>,
    /// The names (never the values) of the proxy variables that are set.
    pub(crate) proxies: Vec<&'static str>,
}

/// What a tool that talks to the engine needs; everything else stays out of Compose, so that an exported DATABASE_URL or
/// COMPOSE_PROJECT_NAME of another project cannot reach a stack.
const ENGINE_VARIABLES: [&str; 14] = [
    "PATH",
    "HOME",
    "TMPDIR",
    "DOCKER_HOST",
    "DOCKER_CONTEXT",
    "DOCKER_CONFIG",
    "DOCKER_CERT_PATH",
    "DOCKER_TLS_VERIFY",
    "DOCKER_API_VERSION",
    "BUILDX_BUILDER",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "SSL_CERT_FILE",
    "SSH_AUTH_SOCK",
];
const PROXY_VARIABLES: [&str; 6] = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"];
/// Where the cache of GitHub Actions answers: its second version, and the first.
const ACTIONS_CACHE_URLS: [&str; 2] = ["ACTIONS_RESULTS_URL", "ACTIONS_CACHE_URL"];
/// Cargo's own variable wins over the one that most programs know.
const CA_VARIABLES: [&str; 3] = ["CARGO_HTTP_CAINFO", "SSL_CERT_FILE", "CURL_CA_BUNDLE"];

#[expect(clippy::disallowed_methods, reason = "this is xtask's one place that reads the environment")]
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.trim().is_empty())
}

impl Environment {
    fn read() -> Self {
        Self {
            path: variable("PATH").unwrap_or_default(),
            ci: variable("CI").is_some(),
            github_actions: variable("GITHUB_ACTIONS").is_some(),
            github_step_summary: variable("GITHUB_STEP_SUMMARY").map(Utf8PathBuf::from),
            actions_cache: variable("ACTIONS_RUNTIME_TOKEN").is_some()
                && ACTIONS_CACHE_URLS.into_iter().any(|name| variable(name).is_some()),
            ca_file: CA_VARIABLES.into_iter().find_map(variable).map(Utf8PathBuf::from).filter(|file| file.is_file()),
            cargo_home: variable("CARGO_HOME")
                .map(Utf8PathBuf::from)
                .or_else(|| variable("HOME").map(|home| Utf8Path::new(&home).join(".cargo"))),
            engine: ENGINE_VARIABLES.into_iter().filter_map(|name| Some((name, variable(name)?))).collect(),
            proxies: PROXY_VARIABLES.into_iter().filter(|name| variable(name).is_some()).collect(),
        }
    }
}

/// A workspace package that becomes a container image: one with `[package.metadata.image]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImagePackage {
    /// The package, the program and the image: `mini-user`.
    pub(crate) package: String,
    /// The folder of its manifest, relative to the root: `services/user`.
    pub(crate) folder: Utf8PathBuf,
    pub(crate) description: String,
    /// The folders of the workspace packages that are compiled into it, itself included, relative to the root.
    pub(crate) compiled_folders: BTreeSet<Utf8PathBuf>,
}

impl ImagePackage {
    /// How people call it: `user`.
    pub(crate) fn name(&self) -> &str {
        self.package.strip_prefix(NAME_PREFIX).unwrap_or(&self.package)
    }

    /// What a local build is tagged: `mini-user:local`.
    pub(crate) fn tag(&self) -> String {
        format!("{}:local", self.package)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Project {
    pub(crate) root: Utf8PathBuf,
    pub(crate) version: String,
    pub(crate) images: Vec<ImagePackage>,
    /// The folders of all workspace members, relative to the root: cargo resolves them all, whatever it builds.
    pub(crate) member_folders: BTreeSet<Utf8PathBuf>,
    pub(crate) environment: Environment,
}

impl Project {
    /// Reads the workspace that this crate belongs to, from whatever folder it is called.
    pub(crate) fn load() -> Result<Self> {
        // Cargo sets the variable for `cargo xtask`; a program that is started directly still knows where it was built.
        let here = variable("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").to_owned());
        let metadata = MetadataCommand::new()
            .manifest_path(Utf8Path::new(&here).join("Cargo.toml"))
            .no_deps()
            .exec()
            .map_err(|error| Stop::Repository(format!("cargo metadata: {error}")))?;
        Self::from_metadata(&metadata, Environment::read())
    }

    fn from_metadata(metadata: &Metadata, environment: Environment) -> Result<Self> {
        let root = metadata.workspace_root.clone();
        let packages = metadata.workspace_packages();
        let own =
            packages.iter().find(|package| package.name == "xtask").context("the workspace has no package xtask")?;
        let mut images = packages
            .iter()
            .filter(|package| package.metadata.get("image").is_some())
            .map(|package| image_package(&root, &packages, package))
            .collect::<Result<Vec<_>>>()?;
        images.sort_by(|a, b| a.package.cmp(&b.package));
        Ok(Self {
            version: own.version.to_string(),
            member_folders: packages.iter().map(|package| folder(&root, package)).collect::<Result<_>>()?,
            images,
            root,
            environment,
        })
    }

    /// Where xtask keeps what it makes: `target/xtask`.
    pub(crate) fn out(&self) -> Utf8PathBuf {
        self.root.join("target/xtask")
    }

    /// The images that a command line names, all of them when it names none. Takes `user` or `mini-user`.
    ///
    /// # Errors
    /// [`Stop::Usage`] names the first unknown one and lists those there are.
    pub(crate) fn select(&self, names: &[String]) -> Result<Vec<&ImagePackage>> {
        if names.is_empty() {
            return Ok(self.images.iter().collect());
        }
        for name in names {
            if !self.images.iter().any(|image| image.name() == name || image.package == *name) {
                let known: Vec<_> = self.images.iter().map(ImagePackage::name).collect();
                return Err(
                    Stop::Usage(format!("there is no image `{name}`; the images are {}", known.join(", "))).into()
                );
            }
        }
        Ok(self.images.iter().filter(|image| names.iter().any(|n| image.name() == n || image.package == *n)).collect())
    }
}

fn folder(root: &Utf8Path, package: &Package) -> Result<Utf8PathBuf> {
    let folder = package.manifest_path.parent().context("a manifest has a folder")?;
    let relative = folder.strip_prefix(root).with_context(|| format!("{} lies outside {root}", package.name))?;
    Ok(relative.to_owned())
}

fn image_package(root: &Utf8Path, packages: &[&Package], package: &Package) -> Result<ImagePackage> {
    Ok(ImagePackage {
        package: package.name.to_string(),
        folder: folder(root, package)?,
        description: package.description.clone().unwrap_or_default(),
        compiled_folders: compiled_with(packages, package)
            .into_iter()
            .map(|p| folder(root, p))
            .collect::<Result<_>>()?,
    })
}

/// The package and the workspace packages it is compiled from, dev-dependencies left out.
fn compiled_with<'a>(packages: &[&'a Package], package: &'a Package) -> Vec<&'a Package> {
    let mut found = vec![package];
    let mut next = 0;
    while next < found.len() {
        let current = found[next];
        next += 1;
        for dependency in &current.dependencies {
            if dependency.path.is_none() || dependency.kind == cargo_metadata::DependencyKind::Development {
                continue;
            }
            let member = packages.iter().find(|member| member.name.as_str() == dependency.name);
            if let Some(member) = member.filter(|member| !found.iter().any(|known| known.id == member.id)) {
                found.push(member);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project() -> Project {
        Project::load().unwrap()
    }

    #[test]
    fn images_are_found_by_their_metadata_and_named_both_ways() {
        let project = project();
        assert!(project.images.len() >= 2, "{:?}", project.images);
        let by_name = project.select(&["user".into()]).unwrap();
        assert_eq!(by_name, project.select(&["mini-user".into()]).unwrap());
        assert_eq!(by_name[0].tag(), "mini-user:local");
    }

    #[test]
    fn an_unknown_image_is_a_usage_error_that_lists_the_known() {
        let error = project().select(&["usr".into()]).unwrap_err();
        assert!(
            matches!(error.downcast_ref(), Some(Stop::Usage(text)) if text.contains("`usr`") && text.contains("user"))
        );
    }

    #[test]
    fn a_service_is_compiled_from_itself_and_the_kit() {
        let project = project();
        let user = project.select(&["user".into()]).unwrap()[0];
        let folders: Vec<_> = user.compiled_folders.iter().map(|f| f.as_str()).collect();
        assert_eq!(folders, ["services/kit", "services/user"]);
    }
}
