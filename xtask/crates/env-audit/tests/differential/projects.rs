//! Whole projects of others, each a folder in the one that `XTASK_DIFFERENTIAL_FOLDER` names: whatever a reader says of their files is held
//! against the program that reads them in earnest, and what the audit finds is printed. Without the variable nothing is done.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Value, json};
use xtask_env_audit::kubernetes::kustomize;
use xtask_env_audit::places::{ComposePlace, IncludedFile, NamedFile};
use xtask_env_audit::{
    Audit, Places, Policy, Selection, extended_files, readers, take_scalars, variables_without_default,
};
use xtask_outcome::Outcome;

use super::programs::{Buildx, Folder, Program, several_at_once, variable};
use crate::{is_same, is_strict, values};

/// Files that are given to kubectl at once.
const BATCH: usize = 200;
struct File {
    path: PathBuf,
    text: String,
}

impl File {
    fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().to_lowercase()
    }
}

fn folder() -> Option<PathBuf> {
    variable("XTASK_DIFFERENTIAL_FOLDER").map(PathBuf::from)
}

fn files(folder: &Path, is_wanted: &dyn Fn(&str) -> bool) -> Vec<File> {
    let (mut waiting, mut found) = (vec![folder.to_owned()], Vec::new());
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(std::fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            found.push(File { path, text });
        }
    }
    found.retain(|file| is_wanted(&file.name()));
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn is_yaml(name: &str) -> bool {
    [".yaml", ".yml"].iter().any(|end| name.ends_with(end))
}

fn is_dockerfile(name: &str) -> bool {
    let ends = [".go", ".md", ".dockerignore", ".template", ".j2", ".tmpl", ".sh", ".py", ".patch", ".yaml", ".yml"];
    (name.starts_with("dockerfile") || name.ends_with(".dockerfile")) && !ends.iter().any(|end| name.ends_with(end))
}

fn tell(what: &str, files: usize, refused: usize, differing: &[String]) {
    println!("{what}: {files} files, {refused} refused, {} differ\n{}", differing.len(), differing.join("\n"));
}

#[test]
fn yaml_of_other_projects_is_refused_where_kubectl_refuses_it() {
    let (Some(folder), Some(kubectl)) = (folder(), Program::find("kubectl", &["kubectl"])) else { return };
    let files = files(&folder, &is_yaml);
    let batches: Vec<_> = files.chunks(BATCH).collect();
    let compare = |batch: &&[File]| {
        let folder = Folder::new();
        for (at, file) in batch.iter().enumerate() {
            folder.write(&format!("{at:03}.yaml"), &file.text);
        }
        let arguments = ["annotate", "--local", "--filename", &folder.path, "--output", "json", "xtask=x"];
        let (printed, told) = kubectl.print(&arguments);
        let printed: Vec<Value> =
            serde_json::Deserializer::from_str(&printed).into_iter().collect::<Result<_, _>>().expect("JSON");
        let printed: Vec<Value> = printed.into_iter().map(without_annotation).collect();
        let one = |(at, file): (usize, &File)| {
            let is_refused = told.contains(&format!("error parsing {}/{at:03}.yaml", folder.path));
            let ours = readers::yaml(&file.text);
            let why = match &ours {
                Err(why) if !is_refused && !is_strict(why) => Some(why.clone()),
                Ok(_) if is_refused => Some("kubectl refuses it".to_owned()),
                Ok(documents) => documents.iter().find_map(|one| not_printed(one, &printed)),
                Err(_) => None,
            };
            (ours.is_err(), why.map(|why| format!("{}: {why}", file.path.display())))
        };
        batch.iter().enumerate().map(one).collect::<Vec<_>>()
    };
    let answers: Vec<_> = several_at_once(&batches, &|| false, &compare).into_iter().flatten().collect();
    let refused = answers.iter().filter(|(is_refused, _)| *is_refused).count();
    tell("YAML", files.len(), refused, &answers.into_iter().filter_map(|(_, why)| why).collect::<Vec<_>>());
}

fn without_annotation(mut object: Value) -> Value {
    if let Some(annotations) = object["metadata"]["annotations"].as_object_mut() {
        annotations.remove("xtask");
        if annotations.is_empty() {
            object["metadata"].as_object_mut().expect("a mapping").remove("annotations");
        }
    }
    object
}

/// An object that kubectl reads otherwise than we do: it prints what it can decode.
fn not_printed(ours: &Value, printed: &[Value]) -> Option<String> {
    let (kind, name) = (ours["kind"].as_str()?, ours["metadata"]["name"].as_str()?);
    let mut ours = ours.clone();
    if ours["metadata"]["annotations"] == json!({}) || ours["metadata"]["annotations"].is_null() {
        ours["metadata"].as_object_mut()?.remove("annotations");
    }
    let alike: Vec<_> =
        printed.iter().filter(|one| one["kind"] == kind && one["metadata"]["name"].as_str() == Some(name)).collect();
    // It hides who set which field, and of what it cannot decode it prints nothing.
    if let Some(metadata) = ours["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    let is_read_alike = alike.is_empty() || alike.iter().any(|one| is_same(&ours, one));
    (!is_read_alike).then(|| format!("{kind} {name} is another one for kubectl"))
}

#[test]
fn env_files_of_other_projects_are_read_as_compose_reads_them() {
    let (Some(folder), Some(compose)) = (folder(), Program::find("docker-compose", &["docker", "compose"])) else {
        return;
    };
    let files =
        files(&folder, &|name| (name.starts_with(".env") && !name.starts_with(".envrc")) || name.ends_with(".env"));
    let compare = |file: &File| {
        let folder = Folder::new();
        let path = folder.write("x.env", &file.text);
        let stack = json!({ "services": { "s": { "image": "x", "env_file": [path] } } });
        let stack = folder.write("compose.json", &stack.to_string());
        let rendered = compose.json(&["--file", &stack, "config", "--format", "json"], &BTreeMap::new());
        let theirs = rendered.map(|rendered| values(&rendered["services"]["s"]["environment"]));
        let ours = readers::env_file(file.text.as_bytes());
        let is_known = ours.as_ref().is_err_and(|why| is_strict(why));
        let differs = !is_known && ours.as_ref().ok() != theirs.as_ref();
        (ours.is_err(), differs.then(|| format!("{}: ours {ours:?}, Compose {theirs:?}", file.path.display())))
    };
    let answers = several_at_once(&files, &|| false, &compare);
    let refused = answers.iter().filter(|(is_refused, _)| *is_refused).count();
    tell("env files", files.len(), refused, &answers.into_iter().filter_map(|(_, why)| why).collect::<Vec<_>>());
}

#[test]
fn dockerfiles_of_other_projects_are_refused_where_buildkit_refuses_them() {
    let (Some(folder), Some(buildx)) = (folder(), Buildx::find()) else { return };
    let files = files(&folder, &is_dockerfile);
    let compare = |file: &File| {
        let ours = readers::dockerfile(&file.text);
        let told = buildx.refusal(&file.text);
        let why = match (&ours, told) {
            (Err(why), None) => Some(format!("ours {why}")),
            (Ok(_), Some(told)) => Some(format!("BuildKit {told}")),
            _ => None,
        };
        (ours.is_err(), why.map(|why| format!("{}: {why}", file.path.display())))
    };
    let answers = several_at_once(&files, &|| false, &compare);
    let refused = answers.iter().filter(|(is_refused, _)| *is_refused).count();
    tell("Dockerfiles", files.len(), refused, &answers.into_iter().filter_map(|(_, why)| why).collect::<Vec<_>>());
}

/// Every claim of the audit about a whole project, for somebody to read: by rule, the first of each kind.
#[test]
fn whole_projects_are_audited_without_a_panic() {
    let Some(folder) = folder() else { return };
    let compose = Program::find("docker-compose", &["docker", "compose"]);
    let kubectl = Program::find("kubectl", &["kubectl"]);
    let mut projects: Vec<_> =
        std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|one| one.path()).collect();
    projects.sort();
    let audit = |project: &PathBuf| {
        let root = Utf8PathBuf::from_path_buf(project.clone()).expect("a path in UTF-8");
        let below = |file: &File| file.path.strip_prefix(project).expect("a path below").to_string_lossy().into_owned();
        let dockerfiles: Vec<_> = files(project, &is_dockerfile).iter().map(below).collect();
        let mut places = Places::of_files(&root, dockerfiles.iter().map(|file| ("x", Utf8PathBuf::from(file))));
        let mut told = Vec::new();
        // The first is the stack that `.env` belongs to.
        let mut composes = files(project, &is_yaml);
        composes.retain(|file| file.name().contains("compose") || file.text.lines().any(|line| line == "services:"));
        composes.sort_by_key(|file| {
            let name = below(file);
            (
                !["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"].contains(&name.as_str()),
                name,
            )
        });
        for file in composes {
            told.extend(
                compose.as_ref().and_then(|compose| composed(compose, &root, (&file, &below(&file)), &mut places)),
            );
        }
        for file in files(project, &|name| name.starts_with("kustomization")) {
            let folder = Utf8PathBuf::from(below(&file)).parent().map(Utf8Path::to_owned).unwrap_or_default();
            let arguments = ["kustomize", root.join(&folder).as_str()].map(ToOwned::to_owned);
            let Some(kubectl) = &kubectl else { continue };
            let (is_good, text) = kubectl.succeeds(&arguments.each_ref().map(String::as_str));
            if is_good {
                places.kubernetes.push(kustomize::place(&root, folder.as_str(), &text));
            }
        }
        let policy = Policy::parse("env.toml", readers::EMPTY_POLICY).expect("a policy");
        // What Compose starts here and Kubernetes there need not be the same thing, and neither need two stacks or renderings.
        let mut outcome = Outcome::default();
        let mut alone = |part: &dyn Fn(&mut Places)| {
            let mut one = Places::default();
            part(&mut one);
            Audit::of_places(&one, &policy).report(&Selection::default(), false, &mut outcome);
        };
        alone(&|one| {
            one.compose.clone_from(&places.compose);
            one.env.clone_from(&places.env);
            one.files.clone_from(&places.files);
        });
        places.kubernetes.iter().for_each(|folder| alone(&|one| one.kubernetes = vec![folder.clone()]));
        alone(&|one| {
            places.clone_into(one);
            one.compose.clear();
            one.kubernetes.clear();
            one.env = None;
        });
        let counts = format!(
            "{}: {} Dockerfiles, {} workflows, {} Compose files, {} kustomizations, {} findings",
            root.file_name().unwrap_or_default(),
            dockerfiles.len(),
            places.workflows.len(),
            places.compose.len(),
            places.kubernetes.len(),
            outcome.findings.len()
        );
        let mut by_rule: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for finding in outcome.findings.iter().filter(|one| !["no-contract", "stale-document"].contains(&one.rule)) {
            by_rule.entry(finding.rule).or_default().insert(format!("  {finding}"));
        }
        told.extend(by_rule.into_values().flatten());
        (counts, told)
    };
    let mut by_rule: BTreeMap<String, usize> = BTreeMap::new();
    for (counts, told) in several_at_once(&projects, &|| false, &audit) {
        println!("{counts}\n{}", told.join("\n"));
        for rule in told.iter().filter_map(|line| line.split_once(" [")?.1.split(']').next().map(ToOwned::to_owned)) {
            *by_rule.entry(rule).or_default() += 1;
        }
    }
    println!("{by_rule:#?}");
}

/// The env files of a stack that are there.
fn env_files(rendered: &Value) -> Vec<(String, NamedFile)> {
    let services = rendered["services"].as_object().into_iter().flatten();
    let entries = services.flat_map(|(_, service)| service["env_file"].as_array().into_iter().flatten());
    let read = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        let bytes = std::fs::read(path).ok()?;
        Some((path.to_owned(), NamedFile { name, bytes, mode: 0o644, user: 0, group: 0, is_committed: true }))
    };
    entries.filter_map(|entry| read(entry["path"].as_str()?)).collect()
}

/// Adds a stack as Compose renders it. What we call unreadable in it, Compose has to refuse, and nothing else.
fn composed(compose: &Program, root: &Utf8Path, (file, name): (&File, &str), places: &mut Places) -> Option<String> {
    let path = file.path.to_str().expect("a path in UTF-8");
    let config = ["--file", path, "--profile", "*", "config", "--format", "json"];
    let Some(mut rendered) = compose.json(&[&config[..], &["--no-interpolate"]].concat(), &BTreeMap::new()) else {
        return Some(format!("  UNREAD {name}"));
    };
    let ours = readers::stack_problems(&rendered);
    let environment = variables_without_default(&rendered).into_iter().map(|name| (name, "1".to_owned())).collect();
    let (is_good, printed, told) = compose.ask(&[&["--env-file", "/dev/null"], &config[..]].concat(), &environment);
    let is_refused = !is_good && (told.contains("invalid interpolation") || told.contains("Invalid template"));
    drop(readers::stack(&rendered, &file.text));
    take_scalars(&mut rendered, &serde_json::from_str(&printed).unwrap_or_default());
    places.files.extend(env_files(&rendered));
    places.compose.push(ComposePlace {
        file: name.to_owned(),
        rendered,
        source: file.text.clone(),
        merged_into: Vec::new(),
        included: IncludedFile::of(root, name, &file.text),
        extended: extended_files(root, [(name, file.text.as_str())].into_iter()),
    });
    (is_refused == ours.is_empty() && (is_refused || is_good))
        .then(|| format!("  DIFFERS {name}: ours {ours:?}, Compose {told}"))
}
