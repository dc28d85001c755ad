//! Reads the places: files of the repository, what Compose makes of its file, what the engine says of the images.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;

use anyhow::{Context as _, Result};
use camino::Utf8PathBuf;
use serde_json::Value;
use xshell::{Shell, cmd};
use xtask_engine::{Ready, kustomize};
use xtask_env_audit::kubernetes::kustomize as manifests;
use xtask_env_audit::places::{ComposePlace, ImagePlace, NamedFile};
use xtask_env_audit::{Contract, Places, Policy};
use xtask_image_build::BuiltImage;
use xtask_outcome::Stop;
use xtask_workspace::Context;

const QUERY_LIMIT_SECONDS: u64 = 60;
/// A secret or a list of variables is short; what is longer is a wrong path.
const FILE_LIMIT_BYTES: u64 = 64 * 1024;
/// What a person's own `docker compose up` would add to the Compose file.
const OVERRIDES: [&str; 2] = ["compose.override.yaml", "compose.override.yml"];
const HISTORY_FORMAT: &str = "{{json .CreatedBy}}";

/// Everything that the static audit looks at.
pub(super) fn places(context: &Context, ready: &Ready, images: &[BuiltImage], policy: &Policy) -> Result<Places> {
    let root = &context.project.root;
    let dockerfiles = context.project.images.iter().map(|image| (image.name(), image.folder.join("Dockerfile")));
    let mut places = Places::of_files(root, dockerfiles)?;
    for image in images {
        let Some(program) = &image.facts.program else { continue };
        places.images.push(ImagePlace {
            service: image.name.clone(),
            id: image.facts.id.clone(),
            contract: Contract::parse(&image.package, &program.contract)?,
            config: image.facts.config.clone(),
            history: history(context, ready, &image.facts.id)?,
        });
    }
    let stack = context.project.stack.file.as_str();
    let mut stacks = vec![vec![stack]];
    stacks.extend(OVERRIDES.iter().find(|file| root.join(file).is_file()).map(|file| vec![stack, file]));
    for files in stacks {
        let rendered = render(context, ready, &files)?;
        places.files.extend(named_files(context, &rendered)?);
        let file = *files.last().unwrap_or(&stack);
        let source = std::fs::read(root.join(file)).with_context(|| format!("read {file}"))?;
        let source = String::from_utf8_lossy(&source).into_owned();
        places.compose.push(ComposePlace { file: file.to_owned(), rendered, source });
    }
    render_manifests(context, policy, &mut places)?;
    Ok(places)
}

/// The manifests as kustomize renders them. Without kubectl the base alone can be read, which is not what is deployed.
fn render_manifests(context: &Context, policy: &Policy, places: &mut Places) -> Result<()> {
    let root = &context.project.root;
    let folders = policy.kubernetes.folders(root);
    for folder in folders {
        match kustomize(context, folder) {
            Ok(text) => places.kubernetes.push(manifests::rendered(root, folder, &text)?),
            Err(error) if Stop::is_absent(&error) => {
                let base = &policy.kubernetes.base;
                places.kubernetes = vec![manifests::read_plain(root, base)?];
                places
                    .unread
                    .push((format!("{} ({base} alone was read)", folders.join(" and ")), format!("{error:#}")));
                break;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
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
