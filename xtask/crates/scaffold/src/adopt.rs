//! What a workspace lacks before its images can be built, audited and tested here: all of it at once, in the order in which it is
//! best added.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use xtask_outcome::Stop;
use xtask_workspace::{Action, ClusterAction, ImagePackage, Project};

/// One thing that is missing, or that is still another workspace's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// Where it goes, relative to the root.
    pub file: Utf8PathBuf,
    /// What is wrong.
    pub message: String,
    /// What to add there; empty where something has to go.
    pub text: String,
    /// The section of docs/adopting.md that says more.
    pub section: &'static str,
}

const WORKSPACE: &str = "In the workspace";
const PROGRAM: &str = "What a program offers";
const STACK: &str = "`xtask/policy/stack.toml`";
const POLICIES: &str = "The other policies";

const ALIAS: &str = "[alias]\nxtask = \"run --quiet --locked --package xtask --\"\n";
const IGNORED: &str = "# What a build may take, by kind of file and never by member.\n*\n!Cargo.lock\n!rust-toolchain.toml\n\
    !.cargo/config.toml\n!**/Cargo.toml\n!**/Dockerfile\n!**/build.rs\n!**/src\n!**/migrations\n!xtask/docker\n\
    xtask/src\nxtask/crates/*/src\n**/target\n**/.git\n**/.env*\n";

/// What xtask writes and no commit may hold: the secrets of `up`, what is built, and what `push` notes.
pub const NEVER_COMMITTED: [&str; 3] = [".env", "target", "images.lock.json"];

/// Everything that is missing. `committable` are those of [`NEVER_COMMITTED`] that git would add.
///
/// # Errors
/// When a file that is there cannot be read.
pub fn lacks(project: &Project, committable: &[&str]) -> Result<Vec<Lack>> {
    let mut list = List { project, found: Vec::new() };
    list.workspace()?;
    list.ignored(committable);
    list.images()?;
    let services = list.compose()?;
    list.stack(&services);
    list.policies()?;
    Ok(list.found)
}

struct List<'a> {
    project: &'a Project,
    found: Vec<Lack>,
}

impl List<'_> {
    fn add(
        &mut self,
        file: impl Into<Utf8PathBuf>,
        message: impl Into<String>,
        text: impl Into<String>,
        section: &'static str,
    ) {
        self.found.push(Lack { file: file.into(), message: message.into(), text: text.into(), section });
    }

    fn read(&self, file: &Utf8Path) -> Result<Option<String>> {
        match std::fs::read_to_string(self.project.root.join(file)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("read {file}")),
        }
    }

    fn toml(&self, file: &Utf8Path) -> Result<Option<toml::Table>> {
        let Some(text) = self.read(file)? else { return Ok(None) };
        let table = text.parse().map_err(|error| Stop::Repository(format!("{file}: {error}")))?;
        Ok(Some(table))
    }

    fn workspace(&mut self) -> Result<()> {
        let file = Utf8Path::new(".cargo/config.toml");
        let has_alias =
            self.toml(file)?.is_some_and(|table| table.get("alias").is_some_and(|alias| alias.get("xtask").is_some()));
        if !has_alias {
            self.add(file, "`cargo xtask` is no command here", ALIAS, WORKSPACE);
        }
        let manifest = self.toml("Cargo.toml".into())?.unwrap_or_default();
        let defaults = manifest.get("workspace").and_then(|workspace| workspace.get("default-members"));
        if defaults.is_none() {
            let folders: Vec<_> = self.project.images.iter().map(|image| image.folder.to_string()).collect();
            let message = "no `default-members`: the dependencies of xtask would decide features of the programs";
            self.add("Cargo.toml", message, format!("# in [workspace]\ndefault-members = {folders:?}\n"), WORKSPACE);
        }
        if self.read("Cargo.lock".into())?.is_none() {
            self.add(
                "Cargo.lock",
                "there is none, and every build is `--locked`; run `cargo generate-lockfile` and commit it",
                "",
                WORKSPACE,
            );
        }
        if self.read(".dockerignore".into())?.is_none() {
            self.add(
                ".dockerignore",
                "a build by hand would send `target` and `.git` to the builder",
                IGNORED,
                WORKSPACE,
            );
        }
        Ok(())
    }

    fn ignored(&mut self, committable: &[&str]) {
        if !committable.is_empty() {
            let lines: String = committable.iter().map(|path| format!("/{path}\n")).collect();
            let message = format!("git would commit {}, which xtask makes", committable.join(", "));
            self.add(".gitignore", message, lines, WORKSPACE);
        }
    }

    fn images(&mut self) -> Result<()> {
        for image in &self.project.images {
            let file = image.folder.join("Dockerfile");
            let own = self.read(&file)?;
            let missing = match &own {
                None => Some("is not there".to_owned()),
                Some(text) => unmet(text),
            };
            if let Some(missing) = missing {
                let message = format!("the Dockerfile of {} {missing}; one that does is offered", image.package);
                self.add(file, message, self.dockerfile(image)?, WORKSPACE);
            }
            if let Some(file) = &image.contract
                && self.read(file)?.is_none()
            {
                let text = format!("{{\"schema\": 1, \"service\": \"{}\", \"variables\": []}}\n", image.package);
                self.add(
                    file.clone(),
                    format!("the contract of {} is not where its manifest says", image.package),
                    text,
                    PROGRAM,
                );
            }
            let manifest = image.folder.join("Cargo.toml");
            if image.license.is_none() {
                let message = format!("{} names no licence, which its image is labelled with", image.package);
                self.add(manifest.clone(), message, "# in [package]\nlicense = \"MIT\"\n", PROGRAM);
            }
            if image.description.is_empty() {
                let message = format!("{} has no description, which its image is labelled with", image.package);
                self.add(
                    manifest,
                    message,
                    format!("# in [package]\ndescription = \"What {} does\"\n", image.name()),
                    PROGRAM,
                );
            }
        }
        Ok(())
    }

    /// The model that comes with xtask, for this package.
    fn dockerfile(&self, image: &ImagePackage) -> Result<String> {
        let text = self.read(&self.project.automation.join("templates/Dockerfile.txt"))?.unwrap_or_default();
        let upper = image.package.to_uppercase().replace('-', "_");
        let words = [
            ("__package__", image.package.as_str()),
            ("__PACKAGE__", upper.as_str()),
            ("__folder__", image.folder.as_str()),
            ("__description__", image.description.as_str()),
            ("__license__", image.license.as_deref().unwrap_or("unknown")),
        ];
        Ok(words.into_iter().fold(text, |text, (word, value)| text.replace(word, value)))
    }

    /// The names of the Compose file's services.
    fn compose(&mut self) -> Result<BTreeSet<String>> {
        let file = Utf8PathBuf::from(&self.project.stack.file);
        let text = self.read(&file)?;
        let services = text.as_deref().map(services).unwrap_or_default();
        for image in &self.project.images {
            if services.contains(image.name()) {
                continue;
            }
            let (name, package) = (image.name(), &image.package);
            let variable = package.to_uppercase().replace('-', "_");
            let block = format!(
                "  {name}:\n    image: ${{{variable}_IMAGE:-{package}:local}}\n    restart: unless-stopped\n    read_only: true\n    \
                 user: \"65532:65532\"\n    cap_drop: [ALL]\n    security_opt: [\"no-new-privileges:true\"]\n    pull_policy: never\n    \
                 mem_limit: 128m\n    pids_limit: 128\n    healthcheck: {{ test: [CMD, /{package}, healthcheck], interval: 5s }}\n"
            );
            let head = if text.is_none() { "services:\n" } else { "" };
            let message = match (&text, other_file(&self.project.root)) {
                (Some(_), _) => format!("it starts no service {name}"),
                (None, Some(other)) => {
                    format!("there is none; `file = \"{other}\"` in policy/stack.toml takes the one that is there")
                }
                (None, None) => "there is none, so there is no stack to test".to_owned(),
            };
            self.add(file.clone(), message, format!("{head}{block}"), STACK);
        }
        Ok(services)
    }

    /// Names in the policy of the stack that nothing here has: those of the workspace that it was copied from.
    fn stack(&mut self, services: &BTreeSet<String>) {
        let policy = &self.project.stack;
        let file = self.project.policy_file("stack.toml");
        let images: BTreeSet<_> = self.project.images.iter().map(|image| image.name().to_owned()).collect();
        let mut stale: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        let mut hold = |table, name: &str, known: &BTreeSet<String>| {
            if !known.contains(name) {
                stale.entry(table).or_default().insert(name.to_owned());
            }
        };
        hold("[entrance]", &policy.entrance.service, services);
        for (service, served) in policy.serves() {
            hold("[neighbour.serves]", &service, services);
            served.iter().for_each(|name| hold("[neighbour.serves]", name, &images));
        }
        policy.secrets.commands.iter().for_each(|command| hold("[[secrets.command]]", &command.image, &images));
        let packages: BTreeSet<_> = self.project.members.values().map(|member| member.package.clone()).collect();
        policy.client.iter().for_each(|client| hold("[client]", &client.package, &packages));
        if let Some(load) = &policy.load {
            load.rolling_restart.iter().for_each(|name| hold("[load]", name, &images));
            hold("[load.ledger]", &load.ledger.service, services);
        }
        for fault in &policy.faults {
            let target = match &fault.action {
                Action::Kill(name) | Action::Slow(name) => Some(name),
                Action::Freeze(target) | Action::CutOff(target) => Some(&target.service),
                _ => None,
            };
            target.into_iter().for_each(|name| hold("[[fault]]", name, services));
        }
        for fault in &policy.cluster.faults {
            if let ClusterAction::KillPod(name) = &fault.action {
                hold("[[cluster.fault]]", name, &images);
            }
        }
        let is_used = |prefix: &str| self.project.images.iter().any(|image| image.package.starts_with(prefix));
        if !policy.image_prefix.is_empty() && !is_used(&policy.image_prefix) {
            stale.entry("image-prefix").or_default().insert(policy.image_prefix.clone());
        }
        for (table, names) in stale {
            let names: Vec<_> = names.into_iter().collect();
            let message = format!("{table} names what this workspace does not have: {}", names.join(", "));
            self.add(file.clone(), message, "", STACK);
        }
    }

    fn policies(&mut self) -> Result<()> {
        let images: BTreeSet<_> = self.project.images.iter().map(|image| image.name().to_owned()).collect();
        let bases = self.toml(&self.project.policy_file("bases.toml"))?.unwrap_or_default();
        for neighbour in self.project.stack.neighbours.iter().filter(|neighbour| !bases.contains_key(&neighbour.base)) {
            let message = format!("it has no image [{}], which a [[neighbour]] of stack.toml runs", neighbour.base);
            self.add(self.project.policy_file("bases.toml"), message, "", POLICIES);
        }
        let file = self.project.policy_file("images.toml");
        let table = self.toml(&file)?.unwrap_or_default();
        let limits: BTreeSet<_> = table
            .get("limit-bytes")
            .and_then(toml::Value::as_table)
            .into_iter()
            .flat_map(toml::Table::keys)
            .cloned()
            .collect();
        let without: Vec<_> = images.difference(&limits).map(|name| format!("{name} = 12_000_000")).collect();
        if !without.is_empty() {
            let text = format!("# in [limit-bytes]\n{}\n", without.join("\n"));
            self.add(file.clone(), "an image has no limit of its size", text, POLICIES);
        }
        let stale: Vec<_> = limits.difference(&images).cloned().collect();
        if !stale.is_empty() {
            self.add(file, format!("[limit-bytes] names what is no image here: {}", stale.join(", ")), "", POLICIES);
        }
        self.manifests()?;
        self.goldens(&images)?;
        Ok(())
    }

    /// Kubernetes manifests that the policy of the audit takes for granted.
    fn manifests(&mut self) -> Result<()> {
        let file = self.project.policy_file("env.toml");
        let table = self.toml(&file)?.unwrap_or_default();
        let Some(kubernetes) = table.get("kubernetes").and_then(toml::Value::as_table) else { return Ok(()) };
        let base = kubernetes.get("base").and_then(toml::Value::as_str).unwrap_or_default();
        let names_more = ["overlays", "secrets", "own"].into_iter().any(|key| {
            kubernetes.get(key).is_some_and(|value| match value {
                toml::Value::Array(list) => !list.is_empty(),
                toml::Value::Table(table) => !table.is_empty(),
                _ => false,
            })
        });
        if names_more && !self.project.root.join(base).is_dir() {
            let text = "# the whole of [kubernetes], in a workspace without manifests\n[kubernetes]\noverlays = []\nbase = \"\"\n\
                        least-drain = \"5s\"\n\n[kubernetes.secrets]\n";
            let message = format!("[kubernetes] speaks of manifests, and there is no folder {base}");
            self.add(file, message, text, POLICIES);
        }
        Ok(())
    }

    fn goldens(&mut self, images: &BTreeSet<String>) -> Result<()> {
        let folder = self.project.policy_file("images");
        let entries = self.project.root.join(&folder).read_dir_utf8().into_iter().flatten();
        let there: BTreeSet<_> =
            entries.filter_map(|entry| Some(entry.ok()?.file_name().strip_suffix(".toml")?.to_owned())).collect();
        for name in images.difference(&there) {
            let message = format!(
                "nobody has looked at what the image of {name} holds; after `cargo xtask build-images` read {} and copy it",
                self.project.from_root(&self.project.out().join(format!("images/{name}.toml")))
            );
            self.add(folder.join(format!("{name}.toml")), message, "", POLICIES);
        }
        for name in there.difference(images) {
            self.add(folder.join(format!("{name}.toml")), format!("{name} is no image here; delete it"), "", POLICIES);
        }
        Ok(())
    }
}

/// What a Dockerfile of somebody's own does not do. Whether its image holds a static program, the build itself finds out.
fn unmet(dockerfile: &str) -> Option<String> {
    let arguments = ["IMAGE_REVISION", "IMAGE_CREATED", "IMAGE_VERSION"].into_iter();
    let mut unmet: Vec<_> =
        arguments.filter(|name| !dockerfile.contains(*name)).map(|name| format!("takes no {name}")).collect();
    if !dockerfile.contains("cargo auditable") {
        unmet.push("does not build with `cargo auditable`".to_owned());
    }
    if !dockerfile.contains("HEALTHCHECK") {
        unmet.push("has no HEALTHCHECK".to_owned());
    }
    if dockerfile.lines().rfind(|line| line.starts_with("FROM ")).is_some_and(|line| !line.starts_with("FROM scratch"))
    {
        unmet.push("ends in an image that is not `scratch`".to_owned());
    }
    (!unmet.is_empty()).then(|| unmet.join(", "))
}

/// The services of a Compose file, by how such files are written: the keys below `services:`. Compose itself reads it before anything starts.
fn services(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut indentation = None;
    let lines = text.lines().skip_while(|line| line.trim_end() != "services:").skip(1);
    for line in lines.filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#')) {
        let depth = line.len() - line.trim_start().len();
        if depth == 0 {
            break;
        }
        if depth == *indentation.get_or_insert(depth)
            && let Some((name, _)) = line.trim().split_once(':')
        {
            found.insert(name.trim_matches(['"', '\'']).to_owned());
        }
    }
    found
}

/// A Compose file of another name.
fn other_file(root: &Utf8Path) -> Option<&'static str> {
    let names = ["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"];
    names.into_iter().find(|name| root.join(name).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_repository_lacks_nothing() {
        let project = Project::load(env!("CARGO_MANIFEST_DIR")).unwrap();
        assert_eq!(lacks(&project, &[]).unwrap(), []);
    }

    #[test]
    fn services_are_the_keys_below_services() {
        let text = "name: x\nx-a: &a\n  b: c\nservices:\n    # one\n    one:\n        image: a\n    \"two\": { image: b }\nnetworks:\n    three: {}\n";
        assert_eq!(services(text), ["one", "two"].map(str::to_owned).into());
    }
}
