//! What this repository is: its root and its image packages.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use cargo_metadata::{Dependency, DependencyKind, Metadata, MetadataCommand, Package, Target};

use serde::Deserialize;
use xtask_outcome::Stop;

use crate::environment::variable;
use crate::{Environment, StackPolicy};

const STACK_POLICY: &str = "stack.toml";

/// A workspace package that becomes a container image: one with `[package.metadata.image]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImagePackage {
    /// The package, the program and the image: `shop-cart`.
    pub package: String,
    /// How people call it: `user`.
    pub short_name: String,
    /// The version of the package.
    pub version: String,
    /// The folder of its manifest, relative to the root: `services/user`.
    pub folder: Utf8PathBuf,
    /// What the manifest says of it.
    pub description: String,
    /// The licence that its manifest names, as an SPDX expression.
    pub license: Option<String>,
    /// Where its source lives, by its manifest.
    pub repository: Option<String>,
    /// Further files and folders that it is compiled from, relative to its own: `inputs` of `[package.metadata.image]`.
    pub more_inputs: Vec<Utf8PathBuf>,
    /// The file with its contract, relative to the root, for a program that does not print one: `contract` of that table.
    pub contract: Option<Utf8PathBuf>,
    /// The folders of the workspace packages that are compiled into it, itself included, relative to the root.
    pub compiled_folders: BTreeSet<Utf8PathBuf>,
    /// Dependencies that only this machine has, as paths outside the workspace or `file://` addresses of git repositories: no image
    /// can be compiled from them.
    pub outside: BTreeSet<String>,
}

impl ImagePackage {
    /// How people call it: `user`.
    pub fn name(&self) -> &str {
        &self.short_name
    }

    /// What a local build is tagged: `shop-cart:local`.
    pub fn tag(&self) -> String {
        format!("{}:local", self.package)
    }
}

/// A package of the workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub package: String,
    /// The source that each of its targets begins with, relative to the root; `true` for a library.
    pub targets: BTreeMap<Utf8PathBuf, bool>,
}

impl Member {
    fn of(root: &Utf8Path, package: &Package) -> Self {
        let source = |target: &Target| {
            let is_library = !target.is_bin()
                && !target.is_test()
                && !target.is_example()
                && !target.is_bench()
                && !target.is_custom_build();
            Some((target.src_path.strip_prefix(root).ok()?.to_owned(), is_library))
        };
        Self { package: package.name.to_string(), targets: package.targets.iter().filter_map(source).collect() }
    }
}

/// The workspace that xtask works on.
#[derive(Debug, Clone)]
pub struct Project {
    /// The folder of the workspace's manifest.
    pub root: Utf8PathBuf,
    /// Where cargo puts what it compiles: `target`, or what CARGO_TARGET_DIR or `build.target-dir` says.
    pub target: Utf8PathBuf,
    /// Where xtask itself lies, relative to the root: its policy is in it.
    pub automation: Utf8PathBuf,
    /// The version of xtask.
    pub version: String,
    /// The packages that become images, by name.
    pub images: Vec<ImagePackage>,
    /// All workspace members by their folder, relative to the root. Cargo resolves them all, whatever it builds.
    pub members: BTreeMap<Utf8PathBuf, Member>,
    /// Features, as `package/feature`, that only the tests have: `features` of `[package.metadata.test]`.
    pub test_features: Vec<String>,
    /// What the person's shell or the CI system sets.
    pub environment: Environment,
    /// `policy/stack.toml`.
    pub stack: StackPolicy,
}

impl Project {
    /// Reads the workspace that this crate belongs to, from whatever folder it is called. `compiled_in` is the folder of the
    /// calling crate's manifest: xtask itself, or one of its crates.
    ///
    /// # Errors
    /// [`Stop::Repository`] when cargo or the policy cannot be read, or when no package is an image.
    pub fn load(compiled_in: &str) -> Result<Self> {
        // Cargo sets the variable for `cargo xtask`; a program that is started directly still knows where it was built.
        let here = Utf8PathBuf::from(variable("CARGO_MANIFEST_DIR").unwrap_or_else(|| compiled_in.to_owned()));
        let automation = here.ancestors().find(|folder| folder.join("policy").join(STACK_POLICY).is_file());
        let automation = automation.ok_or_else(|| {
            Stop::Repository(format!(
                "there is no policy/{STACK_POLICY} in {here}; next: copy the folder xtask/policy, too"
            ))
        })?;
        let metadata = metadata(automation)?;
        let root = &metadata.workspace_root;
        let file = automation.join("policy").join(STACK_POLICY);
        let text = std::fs::read_to_string(&file).with_context(|| format!("read {file}"))?;
        let stack = StackPolicy::parse(file.strip_prefix(root).unwrap_or(&file).as_str(), &text)?;
        Self::from_metadata(&metadata, automation, Environment::read(), stack)
    }

    /// The same workspace in another checkout, whose root is given: its packages and its sources, with the stack of this one.
    ///
    /// # Errors
    /// As [`Project::load`].
    pub fn in_checkout(&self, root: &Utf8Path) -> Result<Self> {
        let automation = root.join(&self.automation);
        Self::from_metadata(&metadata(&automation)?, &automation, self.environment.clone(), self.stack.clone())
    }

    fn from_metadata(
        metadata: &Metadata,
        automation: &Utf8Path,
        environment: Environment,
        stack: StackPolicy,
    ) -> Result<Self> {
        let root = metadata.workspace_root.clone();
        let packages = metadata.workspace_packages();
        let own = packages.iter().find(|package| package.manifest_path.parent() == Some(automation));
        let own = own.with_context(|| format!("{automation} is no member of the workspace {root}"))?;
        let automation = folder(&root, own)?;
        let mut images = packages
            .iter()
            .filter(|package| package.metadata.get("image").is_some())
            .map(|package| image_package(&root, &packages, package, &stack))
            .collect::<Result<Vec<_>>>()?;
        images.sort_by(|a, b| a.package.cmp(&b.package));
        if images.is_empty() {
            let text = "no package of this workspace becomes an image; next: add `[package.metadata.image]` to the manifest of each program that ships in one, and a Dockerfile beside it";
            return Err(Stop::Usage(text.to_owned()).into());
        }
        Ok(Self {
            version: own.version.to_string(),
            members: packages
                .iter()
                .map(|package| Ok((folder(&root, package)?, Member::of(&root, package))))
                .collect::<Result<_>>()?,
            test_features: packages.iter().flat_map(|package| test_features(package)).collect(),
            automation,
            images,
            target: metadata.target_directory.clone(),
            root,
            environment,
            stack,
        })
    }

    /// A policy file relative to the root, for messages: `xtask/policy/scan.toml`.
    pub fn policy_file(&self, name: &str) -> Utf8PathBuf {
        self.automation.join("policy").join(name)
    }

    /// The text of a policy file. It is read when xtask runs, so an edit needs no build.
    ///
    /// # Errors
    /// [`Stop::Repository`] names the file.
    pub fn policy(&self, name: &str) -> Result<String, Stop> {
        let file = self.policy_file(name);
        std::fs::read_to_string(self.root.join(&file))
            .map_err(|error| Stop::Repository(format!("{file} cannot be read: {error}")))
    }

    /// Where xtask keeps what it makes: `target/xtask`. A target directory elsewhere may serve several checkouts, so there it is a
    /// folder with this checkout's path for a name.
    pub fn out(&self) -> Utf8PathBuf {
        let folder = self.target.join("xtask");
        if self.target == self.root.join("target") {
            return folder;
        }
        folder.join(self.root.as_str().trim_matches('/').replace('-', "--").replace('/', "-"))
    }

    /// A path for messages: from the root where it is below it, else whole.
    pub fn from_root(&self, path: &Utf8Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).to_string()
    }

    /// The images that a command line names, all of them when it names none. Takes `cart` or `shop-cart`.
    ///
    /// # Errors
    /// [`Stop::Usage`] names the first unknown one and lists those there are.
    pub fn select(&self, names: &[String]) -> Result<Vec<&ImagePackage>> {
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

fn metadata(automation: &Utf8Path) -> Result<Metadata, Stop> {
    let asked = MetadataCommand::new().manifest_path(automation.join("Cargo.toml")).no_deps().exec();
    asked.map_err(|error| Stop::Repository(format!("cargo metadata: {error}")))
}

fn test_features(package: &Package) -> Vec<String> {
    let named = package.metadata["test"]["features"].as_array();
    named.into_iter().flatten().filter_map(|name| Some(format!("{}/{}", package.name, name.as_str()?))).collect()
}

/// `[package.metadata.image]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ImageSettings {
    inputs: Vec<Utf8PathBuf>,
    contract: Option<Utf8PathBuf>,
}

fn folder(root: &Utf8Path, package: &Package) -> Result<Utf8PathBuf> {
    let folder = package.manifest_path.parent().context("a manifest has a folder")?;
    let relative = folder.strip_prefix(root).with_context(|| format!("{} lies outside {root}", package.name))?;
    Ok(relative.to_owned())
}

fn image_package(
    root: &Utf8Path,
    packages: &[&Package],
    package: &Package,
    stack: &StackPolicy,
) -> Result<ImagePackage> {
    let compiled = compiled_with(packages, package);
    let settings: ImageSettings = serde_json::from_value(package.metadata["image"].clone())
        .map_err(|error| Stop::Repository(format!("{}: [package.metadata.image]: {error}", package.manifest_path)))?;
    let dependencies =
        compiled.iter().flat_map(|package| &package.dependencies).filter(|one| one.kind != DependencyKind::Development);
    let outside = dependencies.filter_map(|one| outside(root, one)).collect();
    Ok(ImagePackage {
        package: package.name.to_string(),
        short_name: stack.short_name(&package.name).to_owned(),
        version: package.version.to_string(),
        folder: folder(root, package)?,
        description: package.description.clone().unwrap_or_default(),
        license: package.license.clone(),
        repository: package.repository.clone(),
        more_inputs: settings.inputs,
        contract: settings.contract.map(|file| folder(root, package).map(|own| own.join(file))).transpose()?,
        compiled_folders: compiled.into_iter().map(|p| folder(root, p)).collect::<Result<_>>()?,
        outside,
    })
}

/// Where a dependency lies, if that is on this machine and not in the workspace.
fn outside(root: &Utf8Path, dependency: &Dependency) -> Option<String> {
    match &dependency.path {
        Some(path) if path.starts_with(root) => None,
        Some(path) => Some(path.to_string()),
        None => {
            let address = dependency.source.as_ref()?.repr.strip_prefix("git+")?;
            address.starts_with("file:").then(|| address.to_owned())
        }
    }
}

/// The package and the workspace packages it is compiled from, dev-dependencies left out.
fn compiled_with<'a>(packages: &[&'a Package], package: &'a Package) -> Vec<&'a Package> {
    let mut found = vec![package];
    let mut next = 0;
    while next < found.len() {
        let current = found[next];
        next += 1;
        for dependency in &current.dependencies {
            if dependency.path.is_none() || dependency.kind == DependencyKind::Development {
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
        Project::load(env!("CARGO_MANIFEST_DIR")).unwrap()
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
    fn checkouts_that_share_a_target_directory_do_not_share_what_xtask_makes() {
        let at = |root: &str, target: &str| Project { root: root.into(), target: target.into(), ..project() }.out();
        assert_eq!(at("/home/shop", "/home/shop/target"), "/home/shop/target/xtask");
        assert_eq!(at("/home/shop", "/cache"), "/cache/xtask/home-shop");
        let distinct: BTreeSet<_> = ["/a/b-c", "/a-b/c", "/a/b/c", "/a--b/c"].map(|root| at(root, "/cache")).into();
        assert_eq!(distinct.len(), 4, "{distinct:?}");
    }

    #[test]
    fn an_unknown_image_is_a_usage_error_that_lists_the_known() {
        let error = project().select(&["usr".into()]).unwrap_err();
        assert!(
            matches!(error.downcast_ref(), Some(Stop::Usage(text)) if text.contains("`usr`") && text.contains("user"))
        );
    }

    /// With them, cargo's resolution would list packages for every image that no program has.
    #[test]
    fn features_of_the_tests_are_those_that_the_default_ones_lack() {
        let project = project();
        assert!(project.test_features.iter().all(|feature| feature.contains('/')), "{:?}", project.test_features);
        assert!(!project.test_features.is_empty());
    }

    #[test]
    fn a_service_is_compiled_from_itself_and_the_kit() {
        let project = project();
        let user = project.select(&["user".into()]).unwrap()[0];
        let folders: Vec<_> = user.compiled_folders.iter().map(|f| f.as_str()).collect();
        assert!(folders.contains(&"services/kit") && folders.contains(&"services/user"), "{folders:?}");
        assert!(user.outside.is_empty());
    }
}
