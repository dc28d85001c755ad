//! Reads the places: files of the repository, what Compose makes of its file, what the engine says of the images.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;

use anyhow::{Context as _, Result};
use camino::Utf8PathBuf;
use serde_json::Value;
use xshell::{Cmd, Shell, cmd};
use xtask_engine::{Ready, Toolbox, kustomize};
use xtask_env_audit::kubernetes::kustomize as manifests;
use xtask_env_audit::places::{ComposePlace, ImagePlace, IncludedFile, NamedFile};
use xtask_env_audit::{
    Contract, Places, Policy, extended_files, take_scalars, variables_without_default, variables_without_default_in,
    with_defaults,
};
use xtask_outcome::{Finding, Place, Stop};
use xtask_workspace::Context;

use super::contracts::Audited;

const QUERY_LIMIT_SECONDS: u64 = 60;
/// Just more than the audit takes for a list of variables: what is longer is a wrong path, and is found to be too long.
const FILE_LIMIT_BYTES: u64 = 1024 * 1024 + 1;
/// What required variables have while Compose checks its files: a good number, port and name, then a boolean, a duration. What Compose
/// says without naming them is the fault of the files.
const STAND_INS: [&str; 3] = ["31337", "true", "31337s"];
/// The same where a volume comes from: a word would be the name of one.
const PATH_STAND_IN: &str = "/31337";
/// What Compose says of a reference that it cannot read.
const BAD_REFERENCE: &str = "invalid interpolation format";
const REASON_LINES: usize = 4;
const HISTORY_FORMAT: &str = "{{json .CreatedBy}}";

/// Everything that the static audit looks at.
pub(super) fn places(context: &Context, ready: &Ready, images: &[Audited], policy: &Policy) -> Result<Places> {
    let root = &context.project.root;
    let dockerfiles = context.project.images.iter().map(|image| (image.name(), image.folder.join("Dockerfile")));
    let mut places = Places::of_files(root, dockerfiles);
    for image in images {
        let Some(contract) = &image.contract else {
            places.without_contract.push((image.name.clone(), image.package.clone()));
            continue;
        };
        places.images.push(ImagePlace {
            service: image.name.clone(),
            id: image.id.clone(),
            contract: Contract::parse(&image.package, contract)?,
            config: image.config.clone(),
            history: history(context, ready, &image.id)?,
        });
    }
    for (index, files) in places
        .compose_files(&context.project.stack.file, &context.project.environment.compose, |file| {
            root.join(file).is_file()
        })
        .iter()
        .enumerate()
    {
        stack(context, ready, files, index == 0, &mut places)?;
    }
    render_manifests(context, policy, &mut places)?;
    Ok(places)
}

/// One stack, and what Compose itself finds wrong with it. `is_own` is the one that xtask starts.
fn stack(context: &Context, ready: &Ready, files: &[String], is_own: bool, places: &mut Places) -> Result<()> {
    let root = &context.project.root;
    let Some((file, merged_into)) = files.split_last() else { return Ok(()) };
    let mut rendered = match render(context, ready, files) {
        Ok(rendered) => rendered,
        Err(error) => {
            places.is_stack_unread |= is_own;
            return unrendered(context, ready, files, error, places);
        }
    };
    let names = variables_without_default(&rendered);
    let volumes = rendered["services"].as_object().into_iter().flatten().map(|(_, service)| &service["volumes"]);
    let paths = volumes.flat_map(variables_without_default).collect();
    match filled(context, ready, files, &names, &paths)? {
        Filled::Stack(filled) => take_scalars(&mut rendered, &filled),
        Filled::Unknown(_) => {}
        Filled::Unsure(why) => {
            let why = format!(
                "Compose says `{why}` of stand-ins for required variables; next: run `docker compose config --quiet` with their values"
            );
            places.unread.push((format!("the consistency of {}", files.join(" with ")), why));
        }
        Filled::Refused(why) => {
            let message = format!("Compose does not start {}: {why}", files.join(" with "));
            let next_step = "correct it, and run `docker compose config --quiet`";
            places.problems.push(refused("inconsistent-stack", file, message, next_step));
        }
    }
    places.files.extend(named_files(context, &rendered)?);
    let source = |file: &String| -> Result<String> {
        let bytes = std::fs::read(root.join(file)).with_context(|| format!("read {file}"))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let merged_into = merged_into.iter().rev().map(|file| Ok((file.clone(), source(file)?))).collect::<Result<_>>()?;
    let source = source(file)?;
    let included = IncludedFile::of(root, file, &source);
    let place = ComposePlace { file: file.clone(), rendered, source, merged_into, included, ..ComposePlace::default() };
    let own = std::iter::once((file.as_str(), place.source.as_str()));
    let merged = place.merged_into.iter().map(|(file, source)| (file.as_str(), source.as_str()));
    let included = place.included.iter().map(|one| (one.file.as_str(), one.source.as_str()));
    let extended = extended_files(root, own.chain(merged).chain(included));
    places.compose.push(ComposePlace { extended, ..place });
    Ok(())
}

/// A stack that Compose does not render without filling in its references: then it looks for a path in `include` or `extends` as it is
/// written, and holds some values, such as that of `pull_policy`, to their schema. That says nothing of the stack.
fn unrendered(
    context: &Context,
    ready: &Ready,
    files: &[String],
    error: anyhow::Error,
    places: &mut Places,
) -> Result<()> {
    let Some(Stop::Repository(why)) = Stop::of(&error) else { return Err(error) };
    let texts = files.iter().map(|file| std::fs::read_to_string(context.project.root.join(file)).unwrap_or_default());
    let names = texts.flat_map(|text| variables_without_default_in(&text)).collect();
    let all = files.join(" with ");
    match filled(context, ready, files, &names, &BTreeSet::new())? {
        Filled::Stack(_) | Filled::Unsure(_) => {
            let why = format!("with its references as they are, {why}; next: write that value or path without one");
            places.unread.push((all, why));
        }
        Filled::Unknown(told) | Filled::Refused(told) => {
            let message = format!("Compose refuses {all}: {told}");
            let next_step = "correct it, and run `docker compose config`";
            places.problems.push(refused("unreadable-file", files.last().unwrap_or(&all), message, next_step));
        }
    }
    Ok(())
}

fn refused(rule: &'static str, file: &str, message: String, next_step: &str) -> Finding {
    Finding { rule, place: Place::new(file), message, next_step: next_step.to_owned() }
}

/// The manifests as kustomize renders them. Without kubectl the base alone can be read, which is not what is deployed.
fn render_manifests(context: &Context, policy: &Policy, places: &mut Places) -> Result<()> {
    let root = &context.project.root;
    let folders = policy.kubernetes.folders(root);
    for folder in folders {
        match kustomize(context, folder) {
            Ok(text) => {
                places.problems.extend(undecodable(context, folder, &text)?);
                places.kubernetes.push(manifests::place(root, folder, &text));
            }
            Err(error) if Stop::is_absent(&error) => {
                let base = &policy.kubernetes.base;
                let mut what = folders.join(" and ");
                match manifests::read_plain(root, base) {
                    Ok(place) => {
                        places.kubernetes = vec![place];
                        what += &format!(" ({base} alone was read)");
                    }
                    Err(more) => places.unread.push((base.clone(), format!("{more:#}"))),
                }
                places.unread.push((what, format!("{error:#}")));
                break;
            }
            Err(error) => {
                let Some(Stop::Repository(why)) = Stop::of(&error) else { return Err(error) };
                let next = format!("correct it, and run `kubectl kustomize {folder}`");
                places.problems.push(refused("unreadable-file", folder, why.clone(), &next));
            }
        }
    }
    Ok(())
}

/// What kubectl cannot read into its types, and neither can the API server: a number in place of a text, and the like. Kinds that
/// kubectl does not know are nobody's fault. What the audit finds itself, with its line, is not repeated.
fn undecodable(context: &Context, folder: &str, rendering: &str) -> Result<Vec<Finding>> {
    const FOUND_WITH_ITS_LINE: [&str; 3] = ["containers.env.value", "initContainers.env.value", "ConfigMap.data"];
    let kubectl = Toolbox::new(&context.project, &context.runner)?.find_or_fetch("kubectl")?;
    let (shell, program, arguments) = (Shell::new()?, &kubectl.program, &kubectl.arguments);
    let ask = cmd!(shell, "{program} {arguments...} set env --local --filename - --output name XTASK_AUDIT=1");
    let captured = context.runner.capture(ask.stdin(rendering), QUERY_LIMIT_SECONDS)?;
    let mut told: Vec<_> = captured
        .stderr
        .lines()
        .filter_map(|line| line.split_once("json: cannot unmarshal ").map(|(_, what)| what.trim()))
        .filter(|what| !FOUND_WITH_ITS_LINE.iter().any(|known| what.contains(known)))
        .collect();
    told.sort_unstable();
    told.dedup();
    let finding = |what: &str| {
        let message = format!("the API server refuses what {folder} renders: it has a {what}");
        refused("refused-value", folder, message, "write the value in the type that the field has")
    };
    Ok(told.into_iter().map(finding).collect())
}

/// What Compose makes of a stack once it fills in the variables.
enum Filled {
    Stack(Value),
    /// It refuses a reference, or misses an env file: the audit finds both itself, with their lines.
    Unknown(String),
    /// It refuses the stack, and perhaps only for what stands in for the variables.
    Unsure(String),
    /// Names that lead nowhere, values of a wrong type.
    Refused(String),
}

/// Asks Compose with stand-ins for the variables that have to be set, so no secret of `.env` comes into this process. `paths` are those
/// among `names` that say where a volume comes from.
fn filled(
    context: &Context,
    ready: &Ready,
    files: &[String],
    names: &BTreeSet<String>,
    paths: &BTreeSet<String>,
) -> Result<Filled> {
    let mut unsure = None;
    for stand_in in STAND_INS {
        let shell = Shell::new()?;
        let mut command = compose(&shell, context, ready, files, &["config", "--format", "json"]);
        for name in names {
            command = command.env(name, if paths.contains(name) { PATH_STAND_IN } else { stand_in });
        }
        let captured = context.runner.capture(command, QUERY_LIMIT_SECONDS)?;
        if captured.status.success() {
            let read = serde_json::from_str(&captured.stdout);
            return Ok(Filled::Stack(
                read.with_context(|| format!("read what Compose makes of {}", files.join(", ")))?,
            ));
        }
        let why = reason(&captured.stderr);
        if (why.contains("env file") && why.contains("not found")) || why.contains(BAD_REFERENCE) {
            return Ok(Filled::Unknown(why));
        }
        // Where there are several faults, Compose names any one; for a value outside a list, only the list.
        let is_about_it = [stand_in, PATH_STAND_IN, "must be one of"].iter().any(|text| why.contains(text));
        if names.is_empty() || !is_about_it {
            return Ok(Filled::Refused(why));
        }
        unsure.get_or_insert(why);
    }
    Ok(Filled::Unsure(unsure.unwrap_or_default()))
}

/// What Compose says on several lines, on one; where it has panicked, why.
fn reason(told: &str) -> String {
    let lines = told.lines().map(str::trim).filter(|line| !line.is_empty() && !line.contains("level=warning"));
    if let Some(panic) = lines.clone().find(|line| line.starts_with("panic:")) {
        return format!("it breaks off ({panic})");
    }
    let first: Vec<_> = lines.take(REASON_LINES).collect();
    let whole = if first.is_empty() { "it gives no reason".to_owned() } else { first.join(" ") };
    whole.trim_start_matches("Error: ").to_owned()
}

fn compose<'a>(shell: &'a Shell, context: &Context, ready: &Ready, files: &[String], command: &[&str]) -> Cmd<'a> {
    shell.change_dir(&context.project.root);
    let (compose, plugin) = (&ready.compose.program, &ready.compose.arguments);
    let mut arguments = Vec::new();
    for file in files {
        arguments.extend(["--file".to_owned(), context.project.root.join(file).into_string()]);
    }
    let mut command =
        cmd!(shell, "{compose} {plugin...} --env-file /dev/null {arguments...} --profile * {command...}").env_clear();
    for (name, value) in &context.project.environment.engine {
        command = command.env(name, value);
    }
    command
}

/// The stack by Compose's own rules, every profile in it, nothing interpolated: no value of a secret comes into this
/// process.
fn render(context: &Context, ready: &Ready, files: &[String]) -> Result<Value> {
    let shell = Shell::new()?;
    let command = compose(&shell, context, ready, files, &["config", "--no-interpolate", "--format", "json"]);
    let captured = context.runner.capture(command, QUERY_LIMIT_SECONDS)?;
    if !captured.status.success() {
        let text = format!("Compose refuses {}: {}", files.join(" with "), reason(&captured.stderr));
        return Err(Stop::Repository(text).into());
    }
    serde_json::from_str(&captured.stdout).with_context(|| format!("read what Compose makes of {}", files.join(", ")))
}

/// The env files and secret files that a stack names.
fn named_files(context: &Context, rendered: &Value) -> Result<BTreeMap<String, NamedFile>> {
    let root = &context.project.root;
    let services = rendered["services"].as_object().into_iter().flatten();
    // One file alone may stand there as a text.
    let env_files = services.flat_map(|(_, service)| match &service["env_file"] {
        Value::Array(entries) => entries.iter().collect(),
        one => vec![one],
    });
    let mut paths: Vec<_> = env_files.filter_map(|entry| entry["path"].as_str().or(entry.as_str())).collect();
    let secrets = rendered["secrets"].as_object().into_iter().flatten();
    paths.extend(secrets.filter_map(|(_, secret)| secret["file"].as_str()));
    let mut files = BTreeMap::new();
    for path in paths {
        // Without interpolation a reference in a path is still there.
        let full = root.join(Utf8PathBuf::from(with_defaults(path)));
        let Ok(facts) = std::fs::metadata(&full) else { continue };
        if !facts.is_file() {
            continue;
        }
        // A file that this user cannot read is judged by its mode alone; of a long one its length is enough.
        let mut bytes = Vec::new();
        if let Ok(file) = std::fs::File::open(&full) {
            let _ = file.take(FILE_LIMIT_BYTES).read_to_end(&mut bytes);
        }
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
    // A program of the host's is no image.
    if id.is_empty() {
        return Ok(Vec::new());
    }
    let shell = Shell::new()?;
    let docker = &ready.docker.program;
    let ask = cmd!(shell, "{docker} history --no-trunc --format {HISTORY_FORMAT} {id}");
    let printed = context.runner.read(ask, QUERY_LIMIT_SECONDS)?;
    printed
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("read the history of {id}")))
        .collect()
}
