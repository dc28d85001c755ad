//! Reads the places: files of the repository, what Compose makes of its file, what the engine says of the images.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;
use xshell::{Shell, cmd};

use super::contract::Contract;
use super::kubernetes::kustomize;
use super::places::{ComposePlace, DockerfilePlace, ImagePlace, NamedFile, Places};
use super::policy::Policy;
use crate::build_images::BuiltImage;
use crate::context::Context;
use crate::outcome::Stop;
use crate::project::Project;
use crate::setup::Ready;

const QUERY_LIMIT_SECONDS: u64 = 60;
/// A secret or a list of variables is short; what is longer is a wrong path.
const FILE_LIMIT_BYTES: u64 = 64 * 1024;
const STACK: &str = "compose.yaml";
/// What a person's own `docker compose up` would add to it.
const OVERRIDES: [&str; 2] = ["compose.override.yaml", "compose.override.yml"];
const HISTORY_FORMAT: &str = "{{json .CreatedBy}}";
pub(crate) const DOCUMENT: &str = "docs/deployment.md";
pub(crate) const EXAMPLE: &str = ".env.example";

/// Everything that the static audit looks at.
pub(crate) fn places(context: &Context, ready: &Ready, images: &[BuiltImage], policy: &Policy) -> Result<Places> {
    let mut places = of_repository(&context.project)?;
    for image in images {
        places.images.push(ImagePlace {
            service: image.name.clone(),
            contract: Contract::parse(&image.package, &image.facts.contract)?,
            config: image.facts.config.clone(),
            history: history(context, ready, &image.facts.id)?,
        });
    }
    let root = &context.project.root;
    let mut stacks = vec![vec![STACK]];
    stacks.extend(OVERRIDES.iter().find(|file| root.join(file).is_file()).map(|file| vec![STACK, file]));
    for files in stacks {
        let rendered = render(context, ready, &files)?;
        places.files.extend(named_files(context, &rendered)?);
        let file = *files.last().unwrap_or(&STACK);
        places.compose.push(ComposePlace {
            file: file.to_owned(),
            rendered,
            source: read(root, file)?.unwrap_or_default(),
        });
    }
    manifests(context, policy, &mut places)?;
    Ok(places)
}

/// The manifests as kustomize renders them. Without kubectl the base alone can be read, which is not what is deployed.
fn manifests(context: &Context, policy: &Policy, places: &mut Places) -> Result<()> {
    let folders = policy.kubernetes.folders(&context.project.root);
    let rendered: Result<Vec<_>> = folders.iter().map(|folder| kustomize::render(context, folder)).collect();
    match rendered {
        Ok(rendered) => places.kubernetes.extend(rendered),
        Err(error) if matches!(error.downcast_ref(), Some(Stop::Missing(_))) => {
            let base = &policy.kubernetes.base;
            places.kubernetes.push(kustomize::read_plain(&context.project.root, base)?);
            places.unread.push((format!("{} ({base} alone was read)", folders.join(" and ")), format!("{error:#}")));
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

/// The part that lies in files and needs no tool.
pub(crate) fn of_repository(project: &Project) -> Result<Places> {
    let root = &project.root;
    let mut places = Places {
        example: read_bytes(&root.join(EXAMPLE))?,
        env: read_bytes(&root.join(".env"))?,
        document: read(root, DOCUMENT)?,
        ..Places::default()
    };
    for image in &project.images {
        let file = image.folder.join("Dockerfile");
        let text = read(root, file.as_str())?.with_context(|| format!("{file} is not there"))?;
        places.dockerfiles.push(DockerfilePlace { service: image.name().to_owned(), file: file.into_string(), text });
    }
    let workflows = root.join(".github/workflows");
    for entry in workflows.read_dir_utf8().into_iter().flatten() {
        let name = entry?.file_name().to_owned();
        if name.ends_with(".yml") || name.ends_with(".yaml") {
            let file = format!(".github/workflows/{name}");
            let text = read(root, &file)?.unwrap_or_default();
            places.workflows.push((file, text));
        }
    }
    places.workflows.sort();
    Ok(places)
}

fn read(root: &Utf8Path, file: &str) -> Result<Option<String>> {
    Ok(read_bytes(&root.join(file))?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

fn read_bytes(path: &Utf8Path) -> Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("read {path}")),
    }
}

/// The stack by Compose's own rules, every profile in it, nothing interpolated: no value of a secret comes into this
/// process.
fn render(context: &Context, ready: &Ready, files: &[&str]) -> Result<Value> {
    let shell = Shell::new()?;
    shell.change_dir(&context.project.root);
    let (compose, plugin) = (&ready.compose.program, &ready.compose.arguments);
    let mut arguments = Vec::new();
    for file in files {
        arguments.extend(["--file".to_owned(), context.project.root.join(file).into_string()]);
    }
    let mut command = cmd!(
        shell,
        "{compose} {plugin...} --env-file /dev/null {arguments...} --profile * config --no-interpolate --format json"
    )
    .env_clear();
    for (name, value) in &context.project.environment.engine {
        command = command.env(name, value);
    }
    let captured = context.runner.capture(command, QUERY_LIMIT_SECONDS)?;
    if !captured.status.success() {
        let text = format!("Compose refuses {}: {}", files.join(" with "), captured.tail());
        return Err(Stop::Repository(text).into());
    }
    serde_json::from_str(&captured.stdout).with_context(|| format!("read what Compose makes of {}", files.join(", ")))
}

/// The env files and secret files that a stack names.
fn named_files(context: &Context, rendered: &Value) -> Result<BTreeMap<String, NamedFile>> {
    let root = &context.project.root;
    let services = rendered["services"].as_object().into_iter().flatten();
    let env_files = services.flat_map(|(_, service)| service["env_file"].as_array().into_iter().flatten());
    let mut paths: Vec<_> = env_files.filter_map(|entry| entry["path"].as_str().or(entry.as_str())).collect();
    let secrets = rendered["secrets"].as_object().into_iter().flatten();
    paths.extend(secrets.filter_map(|(_, secret)| secret["file"].as_str()));
    let mut files = BTreeMap::new();
    for path in paths {
        let full = root.join(Utf8PathBuf::from(path));
        let Ok(facts) = std::fs::metadata(&full) else { continue };
        if !facts.is_file() || facts.len() > FILE_LIMIT_BYTES {
            continue;
        }
        // A file that this user cannot read is judged by its mode alone.
        let bytes = std::fs::read(&full).unwrap_or_default();
        let name = full.strip_prefix(root).unwrap_or(&full).to_string();
        let is_committed = full.starts_with(root) && !is_ignored(context, &name)?;
        let file = NamedFile { name, bytes, mode: facts.mode(), user: facts.uid(), group: facts.gid(), is_committed };
        files.insert(path.to_owned(), file);
    }
    Ok(files)
}

/// Outside a git repository nothing is committed, so everything counts as ignored.
fn is_ignored(context: &Context, path: &str) -> Result<bool> {
    const NOT_IGNORED: i32 = 1;
    let shell = Shell::new()?;
    shell.change_dir(&context.project.root);
    let asked = context.runner.capture(cmd!(shell, "git check-ignore --quiet -- {path}"), QUERY_LIMIT_SECONDS)?;
    Ok(asked.status.code() != Some(NOT_IGNORED))
}

fn history(context: &Context, ready: &Ready, id: &str) -> Result<Vec<String>> {
    let shell = Shell::new()?;
    let docker = &ready.docker.program;
    let ask = cmd!(shell, "{docker} history --no-trunc --format {HISTORY_FORMAT} {id}");
    let printed = context.runner.read(ask, QUERY_LIMIT_SECONDS)?;
    printed
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("read the history of {id}")))
        .collect()
}
