//! What the build resolves to: which packages a program is linked from, how each comes in, and which update is allowed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hasher as _};

use anyhow::{Context as _, Result};
use cargo_metadata::semver::{Version, VersionReq};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId, TargetKind};
use serde::{Deserialize, Serialize};

use xtask_outcome::Stop;
use xtask_workspace::Context;

/// Packages and their dependencies for one target, as cargo resolves the whole workspace: the same that the images are
/// built from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Resolution {
    packages: Vec<Package>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Package {
    name: String,
    version: String,
    member: bool,
    /// Runs in the compiler, and leaves nothing in the program.
    proc_macro: bool,
    dependencies: Vec<Edge>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Edge {
    /// An index into the packages.
    to: usize,
    /// What the manifest asks for, such as `^1.6`.
    requirement: String,
    /// Linked into the program, and not only used to build or test it.
    linked: bool,
}

/// What can be done about a vulnerable package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Remedy {
    /// This command clears it.
    Update(String),
    /// There is a fixed version, but these packages do not allow it.
    HeldBack {
        fixed: String,
        by: Vec<String>,
    },
    NoFix,
}

impl Resolution {
    /// Asks cargo, or takes what cargo said about the same manifests.
    ///
    /// # Errors
    /// [`Stop::Missing`] when cargo cannot resolve, for instance since a package is not downloaded and no registry answers.
    pub(super) fn read(context: &Context, triple: &str) -> Result<Self> {
        let folder = context.project.out().join("scan");
        let file = folder.join(format!("resolution-{triple}-{:016x}.json", inputs_hash(context)?));
        if let Some(known) = std::fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
            return Ok(known);
        }
        let metadata = MetadataCommand::new()
            .manifest_path(context.project.root.join("Cargo.toml"))
            .other_options(["--locked".to_owned(), "--filter-platform".to_owned(), triple.to_owned()])
            .exec()
            .map_err(|error| Stop::Broken(format!("cargo cannot say what the images are built from: {error}")))?;
        let resolution = Self::from_metadata(&metadata)?;
        std::fs::create_dir_all(&folder)?;
        let staged = folder.join(format!(".resolution-{}", std::process::id()));
        std::fs::write(&staged, serde_json::to_vec(&resolution)?)?;
        std::fs::rename(&staged, &file).with_context(|| format!("put {file} in its place"))?;
        Ok(resolution)
    }

    fn from_metadata(metadata: &Metadata) -> Result<Self> {
        let resolve = metadata.resolve.as_ref().context("cargo metadata has no resolution")?;
        let place: BTreeMap<&PackageId, usize> =
            resolve.nodes.iter().enumerate().map(|(index, node)| (&node.id, index)).collect();
        let mut packages = Vec::new();
        for node in &resolve.nodes {
            let package = &metadata[&node.id];
            let mut dependencies = Vec::new();
            for dependency in &node.deps {
                let to = *place.get(&dependency.pkg).context("cargo metadata names an unknown package")?;
                let target = &metadata[&dependency.pkg];
                let asked = package
                    .dependencies
                    .iter()
                    .filter(|asked| asked.name == *target.name && asked.req.matches(&target.version));
                dependencies.push(Edge {
                    to,
                    requirement: asked.map(|asked| asked.req.to_string()).next().unwrap_or_else(|| "*".to_owned()),
                    linked: dependency.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal),
                });
            }
            packages.push(Package {
                name: package.name.to_string(),
                version: package.version.to_string(),
                member: metadata.workspace_members.contains(&node.id),
                proc_macro: package.targets.iter().any(|target| target.kind.contains(&TargetKind::ProcMacro)),
                dependencies,
            });
        }
        Ok(Self { packages })
    }

    /// Name and version of every package that is linked into a workspace package's program. `None` for an unknown one.
    ///
    /// The features are those of the whole workspace, as in the build. Packages that only a procedural macro or a build
    /// script uses leave nothing in a program; they are checked by way of the lock file.
    pub(super) fn linked_into(&self, package: &str) -> Option<BTreeSet<(String, String)>> {
        let start = self.packages.iter().position(|known| known.member && known.name == package)?;
        let mut reached = BTreeSet::from([start]);
        let mut pending = vec![start];
        while let Some(index) = pending.pop() {
            for edge in &self.packages[index].dependencies {
                if edge.linked && !self.packages[edge.to].proc_macro && reached.insert(edge.to) {
                    pending.push(edge.to);
                }
            }
        }
        Some(reached.into_iter().map(|index| self.named(index)).collect())
    }

    pub(super) fn knows(&self, name: &str, version: &str) -> bool {
        self.find(name, version).is_some()
    }

    /// The shortest way from a workspace package to a package, both ends included. `from` prefers one member's.
    pub(super) fn path_to(&self, from: Option<&str>, name: &str, version: &str) -> Vec<String> {
        let Some(wanted) = self.find(name, version) else { return Vec::new() };
        let is_start = |package: &Package| package.member && from.is_none_or(|from| package.name == from);
        let mut came_from: BTreeMap<usize, Option<usize>> = BTreeMap::new();
        let mut pending: VecDeque<usize> = VecDeque::new();
        for (index, _) in self.packages.iter().enumerate().filter(|(_, package)| is_start(package)) {
            came_from.insert(index, None);
            pending.push_back(index);
        }
        while let Some(index) = pending.pop_front() {
            if index == wanted {
                break;
            }
            for edge in &self.packages[index].dependencies {
                // From one member's program only what is linked into it is a way.
                if (edge.linked || from.is_none()) && !came_from.contains_key(&edge.to) {
                    came_from.insert(edge.to, Some(index));
                    pending.push_back(edge.to);
                }
            }
        }
        let mut path = Vec::new();
        let mut current = came_from.contains_key(&wanted).then_some(wanted);
        while let Some(index) = current {
            path.push(self.packages[index].name.clone());
            current = came_from[&index];
        }
        path.reverse();
        path
    }

    /// The first package on such a way that is not of this workspace: the dependency that a manifest here names.
    pub(super) fn direct_of(&self, path: &[String]) -> String {
        let is_member = |name: &String| self.packages.iter().any(|package| package.member && package.name == *name);
        path.iter().find(|name| !is_member(name)).cloned().unwrap_or_default()
    }

    /// The smallest allowed step out of a vulnerability. `fixed` is as trivy writes it: `>=0.6.14, <1.0.0, >=1.6.1`.
    pub(super) fn remedy(&self, name: &str, installed: &str, fixed: &str) -> Remedy {
        let (Ok(now), Some(index)) = (Version::parse(installed), self.find(name, installed)) else {
            return if fixed.is_empty() {
                Remedy::NoFix
            } else {
                Remedy::HeldBack { fixed: fixed.to_owned(), by: Vec::new() }
            };
        };
        let mut versions: Vec<_> = fixed_versions(fixed).into_iter().filter(|version| *version > now).collect();
        versions.sort();
        let Some(smallest) = versions.first() else { return Remedy::NoFix };
        let asked: Vec<(&Package, VersionReq)> = self
            .packages
            .iter()
            .flat_map(|package| package.dependencies.iter().map(move |edge| (package, edge)))
            .filter(|(_, edge)| edge.to == index)
            .map(|(package, edge)| (package, VersionReq::parse(&edge.requirement).unwrap_or(VersionReq::STAR)))
            .collect();
        for version in &versions {
            if asked.iter().all(|(_, requirement)| requirement.matches(version)) {
                return Remedy::Update(format!("cargo update -p {name}@{installed} --precise {version}"));
            }
        }
        let mut by: Vec<_> = asked
            .iter()
            .filter(|(_, requirement)| !requirement.matches(smallest))
            .map(|(package, requirement)| format!("{} {} ({requirement})", package.name, package.version))
            .collect();
        by.sort();
        by.dedup();
        Remedy::HeldBack { fixed: smallest.to_string(), by }
    }

    fn find(&self, name: &str, version: &str) -> Option<usize> {
        self.packages.iter().position(|package| package.name == name && package.version == version)
    }

    fn named(&self, index: usize) -> (String, String) {
        (self.packages[index].name.clone(), self.packages[index].version.clone())
    }
}

/// The versions that trivy's text names as the first of a fixed line: the lower bounds of ranges, or plain versions.
fn fixed_versions(text: &str) -> Vec<Version> {
    text.split(',')
        .filter_map(|word| {
            let word = word.trim();
            let bound = word.trim_start_matches([' ', '^', '~', '=', '>']);
            // `<2.0.0` ends a range, and a version after `>` is not in it.
            if word.starts_with('<') || (word.starts_with('>') && !word.starts_with(">=")) {
                return None;
            }
            Version::parse(bound).ok().or_else(|| Version::parse(&format!("{bound}.0")).ok())
        })
        .collect()
}

/// The Rust target of an image's architecture.
pub(super) fn triple(architecture: &str) -> Option<&'static str> {
    match architecture {
        "amd64" => Some("x86_64-unknown-linux-gnu"),
        "arm64" => Some("aarch64-unknown-linux-gnu"),
        _ => None,
    }
}

/// Everything that cargo resolves from.
fn inputs_hash(context: &Context) -> Result<u64> {
    let project = &context.project;
    let mut hasher = DefaultHasher::new();
    let manifests = project.members.keys().map(|folder| folder.join("Cargo.toml"));
    for path in ["Cargo.toml".into(), "Cargo.lock".into()].into_iter().chain(manifests) {
        let bytes = std::fs::read(project.root.join(&path)).with_context(|| format!("read {path}"))?;
        hasher.write(path.as_str().as_bytes());
        hasher.write_usize(bytes.len());
        hasher.write(&bytes);
    }
    Ok(hasher.finish())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// shop → kit → web → small 1.6.0; shop → macros (a procedural macro) → parser; shop → old, in tests only.
    pub(crate) fn resolution() -> Resolution {
        let package = |name: &str, version: &str, member, proc_macro, dependencies: &[(usize, &str, bool)]| Package {
            name: name.into(),
            version: version.into(),
            member,
            proc_macro,
            dependencies: dependencies
                .iter()
                .map(|(to, requirement, linked)| Edge { to: *to, requirement: (*requirement).into(), linked: *linked })
                .collect(),
        };
        Resolution {
            packages: vec![
                package("shop", "0.1.0", true, false, &[(1, "*", true), (4, "^2", true), (6, "^1", false)]),
                package("kit", "0.1.0", true, false, &[(2, "^1", true)]),
                package("web", "1.2.0", false, false, &[(3, "^1.6", true)]),
                package("small", "1.6.0", false, false, &[]),
                package("macros", "2.0.0", false, true, &[(5, "=1.0.0", true)]),
                package("parser", "1.0.0", false, false, &[]),
                package("old", "1.0.0", false, false, &[(3, "^1", true)]),
            ],
        }
    }

    #[test]
    fn what_is_linked_leaves_out_macros_and_tests() {
        let linked = resolution().linked_into("shop").unwrap();
        let names: Vec<_> = linked.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["kit", "shop", "small", "web"]);
        assert_eq!(resolution().linked_into("web"), None);
    }

    #[test]
    fn a_package_is_shown_with_its_way_in_and_the_dependency_that_a_manifest_names() {
        let resolution = resolution();
        let path = resolution.path_to(Some("shop"), "small", "1.6.0");
        assert_eq!(path, ["shop", "kit", "web", "small"]);
        assert_eq!(resolution.direct_of(&path), "web");
        assert_eq!(resolution.path_to(None, "parser", "1.0.0"), ["shop", "macros", "parser"]);
        assert_eq!(resolution.path_to(None, "small", "9.9.9"), [""; 0]);
        // What only tests or macros use is no way into a program.
        assert_eq!(resolution.path_to(Some("shop"), "old", "1.0.0"), [""; 0]);
        assert!(resolution.knows("old", "1.0.0") && !resolution.knows("old", "1.0.1"));
    }

    #[test]
    fn an_update_is_named_only_if_every_dependent_allows_it() {
        let resolution = resolution();
        assert_eq!(
            resolution.remedy("small", "1.6.0", ">=0.6.14, <1.0.0, >=1.6.1"),
            Remedy::Update("cargo update -p small@1.6.0 --precise 1.6.1".into())
        );
        assert_eq!(
            resolution.remedy("parser", "1.0.0", ">=1.0.2"),
            Remedy::HeldBack { fixed: "1.0.2".into(), by: vec!["macros 2.0.0 (=1.0.0)".into()] }
        );
        assert_eq!(
            resolution.remedy("small", "1.6.0", "2.0.0"),
            Remedy::HeldBack { fixed: "2.0.0".into(), by: vec!["old 1.0.0 (^1)".into(), "web 1.2.0 (^1.6)".into()] }
        );
        assert_eq!(resolution.remedy("small", "1.6.0", ""), Remedy::NoFix);
        assert_eq!(resolution.remedy("small", "1.6.0", ">=1.6.0"), Remedy::NoFix);
        // A fix below what is installed is none: the line that is installed has not got one.
        assert_eq!(resolution.remedy("small", "1.6.0", ">=0.6.14, <1.0.0"), Remedy::NoFix);
    }

    #[test]
    fn an_architecture_that_is_not_known_has_no_target() {
        assert_eq!(triple("amd64"), Some("x86_64-unknown-linux-gnu"));
        assert_eq!(triple("arm64"), Some("aarch64-unknown-linux-gnu"));
        assert_eq!(triple("riscv64"), None);
    }

    #[test]
    fn this_workspace_resolves_with_what_each_manifest_asks_for() {
        let metadata = MetadataCommand::new()
            .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml"))
            .other_options([
                "--locked".to_owned(),
                "--filter-platform".to_owned(),
                "x86_64-unknown-linux-gnu".to_owned(),
            ])
            .exec()
            .unwrap();
        let resolution = Resolution::from_metadata(&metadata).unwrap();
        let linked = resolution.linked_into("xtask").unwrap();
        let has = |name: &str| linked.iter().any(|(linked, _)| linked == name);
        assert!(has("clap") && !has("clap_derive") && !has("jsonschema"), "{linked:?}");
        let xtask = resolution.packages.iter().find(|package| package.name == "xtask").unwrap();
        let clap = xtask.dependencies.iter().find(|edge| resolution.packages[edge.to].name == "clap").unwrap();
        assert!(clap.linked && clap.requirement.starts_with("^4."), "{clap:?}");
    }

    #[test]
    fn fixed_versions_are_read_in_every_form_that_databases_use() {
        let read = |text: &str| fixed_versions(text).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(read(">=0.6.14, <1.0.0, >=1.6.1"), ["0.6.14", "1.6.1"]);
        assert_eq!(read("0.3.47"), ["0.3.47"]);
        assert_eq!(read(">= 111.18, < 300.0, >= 300.0.5"), ["111.18.0", "300.0.5"]);
        assert_eq!(read(">1.0.0"), [""; 0]);
        assert_eq!(read("^1.2.3"), ["1.2.3"]);
        assert_eq!(read(""), [""; 0]);
    }
}
