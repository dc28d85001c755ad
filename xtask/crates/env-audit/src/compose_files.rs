//! Which files Compose takes when somebody runs it in the repository's folder, beside those that xtask itself passes.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8Path;
use serde_json::Value;

use crate::env_file::EnvFile;
use crate::files::normal;
use crate::places::{IncludedFile, Places};
use crate::yaml::{Node, decoded};
use xtask_outcome::{Finding, Place};

/// The names that Compose looks for, in its order; it takes the first.
const NAMES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
/// The same for what it merges into that one.
const OVERRIDES: [&str; 4] =
    ["compose.override.yml", "compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml"];
const ENV: &str = ".env";
const UNREAD_STACK: &str = "the stack as Compose starts it in this folder";
const FILE: &str = "COMPOSE_FILE";
const SEPARATOR: &str = "COMPOSE_PATH_SEPARATOR";
const ENV_FILES: &str = "COMPOSE_ENV_FILES";
const NO_ENV_FILE: &str = "COMPOSE_DISABLE_ENV_FILE";

impl Places {
    /// The stacks to render, each as a list of files: the stack's own file alone, and what a person's `docker compose` would make of
    /// the folder when that is something else. `environment` has the process's own variables, which win over `.env`, blank or not;
    /// `is_there` says which files exist. What Compose would leave out without a word, or not find, is a problem.
    pub fn compose_files(
        &mut self,
        stack: &str,
        environment: &BTreeMap<&str, String>,
        is_there: impl Fn(&str) -> bool,
    ) -> Vec<Vec<String>> {
        let env = self.env.as_ref().filter(|_| !is_env_unread(environment));
        let env = env.map(|bytes| EnvFile::parse(bytes, false)).unwrap_or_default();
        if self.env.is_some() && is_env_unread(environment) {
            let name = if environment.contains_key(ENV_FILES) { ENV_FILES } else { NO_ENV_FILE };
            let why = format!("{name} is set in this environment, so Compose does not read .env; next: unset {name}");
            self.unread.push((UNREAD_STACK.to_owned(), why));
        }
        let value = |name: &str| environment.get(name).cloned().or_else(|| env.value(name));
        let mut stacks = vec![vec![stack.to_owned()]];
        if let Some(variable) = from_outside(&env, environment) {
            let why = format!("{FILE} in .env takes {variable} from the environment; next: write the path without it");
            self.unread.push((UNREAD_STACK.to_owned(), why));
            return stacks;
        }
        if let Some(list) = value(FILE) {
            let separator = value(SEPARATOR).filter(|text| !text.is_empty());
            let files =
                list.split(separator.as_deref().unwrap_or(":")).map(|file| file.trim_start_matches("./").to_owned());
            let (there, missing): (Vec<_>, Vec<_>) = files.partition(|file| is_there(file));
            let (place, next) = match environment.contains_key(FILE) {
                true => (Place::new("environment"), "correct COMPOSE_FILE in this environment or unset it"),
                false => {
                    let line = env.get(FILE).map(|entry| entry.line);
                    (Place { name: ENV.to_owned(), line }, "correct the name or delete the line")
                }
            };
            for file in &missing {
                let what = if file.is_empty() {
                    "has a blank name in it".to_owned()
                } else {
                    format!("names {file}, which is not there")
                };
                let message = format!("{FILE} {what}, so no Compose command starts in this folder");
                self.problems.push(finding(place.clone(), message, next));
            }
            if missing.is_empty() && there != stacks[0] {
                stacks.push(there);
            }
            return stacks;
        }
        let mut others = NAMES.into_iter().filter(|name| *name != stack && is_there(name));
        if let Some(other) = others.next().filter(|_| NAMES.contains(&stack)) {
            let rank = |name: &str| NAMES.iter().position(|known| *known == name);
            let (read, left) = if rank(other) < rank(stack) { (other, stack) } else { (stack, other) };
            let message = format!("{left} stands beside {read}, and Compose reads only {read}");
            self.problems.push(finding(Place::new(left), message, "delete one of the two"));
        }
        // Beside a stack of another name, or elsewhere, Compose looks for none.
        let mut overrides = OVERRIDES.into_iter().filter(|name| NAMES.contains(&stack) && is_there(name));
        if let Some(first) = overrides.next() {
            stacks.push(vec![stack.to_owned(), first.to_owned()]);
            for other in overrides {
                let message = format!("{other} stands beside {first}, and Compose merges only {first}");
                self.problems.push(finding(Place::new(other), message, "delete one of the two"));
            }
        }
        stacks
    }
}

impl IncludedFile {
    /// The files that a Compose file includes, and those that they include. What is not there, or lies behind a reference, is left out.
    pub fn of(root: &Utf8Path, file: &str, source: &str) -> Vec<Self> {
        let mut found: Vec<Self> = Vec::new();
        let mut waiting = vec![(file.to_owned(), source.to_owned(), BTreeSet::new())];
        while let Some((file, source, inherited)) = waiting.pop() {
            let listed = Node::parse(&source).map(|node| node.to_json()["include"].clone()).unwrap_or_default();
            let folder = Utf8Path::new(&file).parent().unwrap_or(Utf8Path::new(""));
            for entry in listed.as_array().into_iter().flatten() {
                let paths = texts(if entry.is_string() { entry } else { &entry["path"] });
                let own_folder =
                    paths.first().and_then(|path| Utf8Path::new(path).parent()).unwrap_or(Utf8Path::new(""));
                let own_folder = entry["project_directory"].as_str().map_or(own_folder, Utf8Path::new);
                let mut env_files = texts(&entry["env_file"]);
                if env_files.is_empty() {
                    env_files.push(own_folder.join(ENV).into_string());
                }
                let mut given = inherited.clone();
                for path in env_files.iter().map(|path| normal(&folder.join(path))).filter(|path| path != ENV) {
                    let parsed = std::fs::read(root.join(path)).map(|bytes| EnvFile::parse(&bytes, false));
                    given.extend(parsed.into_iter().flat_map(|parsed| parsed.entries).map(|entry| entry.name));
                }
                // The last wins, as where files are merged.
                for path in paths.iter().rev().map(|path| normal(&folder.join(path)).into_string()) {
                    let Ok(bytes) = std::fs::read(root.join(&path)) else { continue };
                    if found.iter().any(|known| known.file == path) {
                        continue;
                    }
                    let (source, given) = (decoded(&bytes), given.clone());
                    waiting.push((path.clone(), source.clone(), given.clone()));
                    found.push(Self { file: path, source, given });
                }
            }
        }
        found
    }
}

/// The files whose services those of some Compose files extend, with those that they extend themselves. What is not there, or lies
/// behind a reference, is left out.
pub fn extended_files<'a>(root: &Utf8Path, files: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<(String, String)> {
    let named = |file: &str, source: &str| -> Vec<String> {
        let services = Node::parse(source).map(|node| node.to_json()["services"].take()).unwrap_or_default();
        let services = services.as_object().into_iter().flatten();
        services.filter_map(|(_, service)| Some(beside(file, service["extends"]["file"].as_str()?))).collect()
    };
    let mut waiting: Vec<String> = files.flat_map(|(file, source)| named(file, source)).collect();
    let mut found: Vec<(String, String)> = Vec::new();
    while let Some(file) = waiting.pop() {
        if found.iter().any(|(known, _)| *known == file) {
            continue;
        }
        let Ok(bytes) = std::fs::read(root.join(&file)) else { continue };
        let source = decoded(&bytes);
        waiting.extend(named(&file, &source));
        found.push((file, source));
    }
    found
}

/// A path that a Compose file names, relative to the root.
pub(crate) fn beside(file: &str, path: &str) -> String {
    let folder = Utf8Path::new(file).parent().unwrap_or(Utf8Path::new(""));
    normal(&folder.join(path)).into_string()
}

/// One text or a list of them.
fn texts(value: &Value) -> Vec<String> {
    let all = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    all.iter().filter_map(|one| one.as_str().map(ToOwned::to_owned)).collect()
}

/// A variable that `COMPOSE_FILE` in `.env` is made of and `.env` does not set, such as `$PWD`: only the process has it.
fn from_outside(env: &EnvFile, environment: &BTreeMap<&str, String>) -> Option<String> {
    let written = env.get(FILE)?.value.as_ref().filter(|_| !environment.contains_key(FILE))?;
    let mut names = written.references().into_iter().map(|one| one.name.clone());
    names.find(|name| env.value(name).is_none())
}

/// Compose takes other env files, or none.
fn is_env_unread(environment: &BTreeMap<&str, String>) -> bool {
    let is_set =
        |name: &str, blank: &[&str]| environment.get(name).is_some_and(|value| !blank.contains(&value.as_str()));
    is_set(ENV_FILES, &["", ","]) || is_set(NO_ENV_FILE, &["", "0", "f", "F", "false", "FALSE", "False"])
}

fn finding(place: Place, message: String, next_step: &str) -> Finding {
    Finding { rule: "other-stack-file", place, message, next_step: next_step.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Case Q03.
    #[test]
    fn what_compose_merges_in_this_folder_is_read_under_each_of_its_names() {
        let read = |stack: &str, env: &str, there: &[&str]| {
            let mut places = Places { env: Some(env.as_bytes().into()), ..Places::default() };
            let stacks = places.compose_files(stack, &BTreeMap::new(), |file| there.contains(&file));
            let told: Vec<_> = places.problems.iter().map(|one| one.place.to_string()).collect();
            (stacks.iter().map(|files| files.join("+")).collect::<Vec<_>>(), told)
        };
        assert_eq!(read("compose.yaml", "", &["compose.yaml"]), (vec!["compose.yaml".into()], vec![]));
        for name in OVERRIDES {
            assert_eq!(read("compose.yaml", "", &["compose.yaml", name]).0[1], format!("compose.yaml+{name}"));
        }
        let two = read("compose.yaml", "", &["compose.yaml", "compose.override.yaml", "docker-compose.override.yml"]);
        assert_eq!(two.0[1], "compose.yaml+compose.override.yaml");
        assert_eq!(two.1, ["docker-compose.override.yml"]);
        assert_eq!(read("compose.yaml", "", &["compose.yaml", "docker-compose.yml"]).1, ["docker-compose.yml"]);
        assert_eq!(read("docker-compose.yml", "", &["compose.yaml", "docker-compose.yml"]).1, ["docker-compose.yml"]);
        // Compose merges an override into a stack of these names in its own folder alone.
        for stack in ["stack.yaml", "deploy/compose.yaml"] {
            assert_eq!(read(stack, "", &[stack, "compose.override.yaml"]).0, [stack]);
        }
        let listed = "COMPOSE_FILE=./compose.yaml:dev.yaml\n";
        let files = read("compose.yaml", listed, &["compose.yaml", "dev.yaml", "compose.override.yml"]);
        assert_eq!(files, (vec!["compose.yaml".into(), "compose.yaml+dev.yaml".into()], vec![]));
        assert_eq!(read("compose.yaml", listed, &["compose.yaml"]).1, [".env:1"]);
        let own = "COMPOSE_PATH_SEPARATOR=,\nCOMPOSE_FILE=a.yaml,b.yaml\n";
        assert_eq!(read("compose.yaml", own, &["a.yaml", "b.yaml"]).0[1], "a.yaml+b.yaml");
    }

    /// As Compose 5.6 does: the env file of an `include` is for what it includes, and `.env` beside that only where none is named.
    #[test]
    fn included_files_are_read_with_what_their_env_files_give() {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        std::fs::create_dir(root.join("sub")).unwrap();
        let write = |file: &str, text: &str| std::fs::write(root.join(file), text).unwrap();
        write(".env", "ROOT=1\n");
        write("sub/.env", "BESIDE=1\n");
        write("sub/x.env", "NAMED=1\n");
        write("sub/a.yaml", "include: [../b.yaml]\nservices: {}\n");
        write("b.yaml", "include: [sub/a.yaml]\n");
        let read = |text: &str| -> Vec<_> {
            let found = IncludedFile::of(root, "compose.yaml", text).into_iter();
            found.map(|one| (one.file, one.given.into_iter().collect::<Vec<_>>().join(","))).collect()
        };
        let both =
            |given: &str| vec![("sub/a.yaml".to_owned(), given.to_owned()), ("b.yaml".to_owned(), given.to_owned())];
        assert_eq!(read("include: [sub/a.yaml, gone.yaml]\n"), both("BESIDE"));
        assert_eq!(read("include:\n- path: [./sub/a.yaml]\n  env_file: sub/x.env\n"), both("NAMED"));
        assert_eq!(read("include:\n- { path: sub/a.yaml, project_directory: . }\n"), both(""));
        // The last of one entry wins, so its lines come first.
        assert_eq!(read("include: [{ path: [b.yaml, sub/a.yaml] }]\n")[0].0, "sub/a.yaml");
        assert_eq!(read("services: {}\n"), []);
    }

    /// As Compose 5.6 does, which was tried with each of these.
    #[test]
    fn what_the_environment_says_wins_over_the_env_file() {
        let read = |env: &str, environment: &[(&'static str, &str)]| {
            let mut places = Places { env: Some(env.as_bytes().into()), ..Places::default() };
            let environment = environment.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
            let there = ["compose.yaml", "dev.yaml", "other.yaml"];
            let stacks = places.compose_files("compose.yaml", &environment, |file| there.contains(&file));
            let told: Vec<_> = places.problems.iter().map(ToString::to_string).collect();
            (stacks.last().map(|files| files.join("+")).unwrap_or_default(), told, places.unread)
        };
        let (files, told, unread) = read("COMPOSE_FILE=nowhere.yaml\n", &[(FILE, "compose.yaml:dev.yaml")]);
        assert_eq!((files.as_str(), told.len(), unread.len()), ("compose.yaml+dev.yaml", 0, 0));
        assert_eq!(read("COMPOSE_FILE=dev.yaml:other.yaml\n", &[(SEPARATOR, ":")]).0, "dev.yaml+other.yaml");
        let (files, told, _) = read("", &[(FILE, "nowhere.yaml")]);
        assert_eq!(files, "compose.yaml");
        assert!(told[0].starts_with("environment [other-stack-file]: COMPOSE_FILE names nowhere.yaml"), "{told:?}");
        assert!(read("", &[(FILE, "")]).1[0].contains("has a blank name in it"));
        assert!(read("COMPOSE_FILE=\n", &[]).1[0].starts_with(".env:1"));
        for (name, value) in [(ENV_FILES, "other.env"), (NO_ENV_FILE, "1")] {
            let (files, told, unread) = read("COMPOSE_FILE=dev.yaml\n", &[(name, value)]);
            assert_eq!((files.as_str(), told.len()), ("compose.yaml", 0), "{name}");
            assert!(unread[0].1.starts_with(name) && unread[0].1.contains("does not read .env"), "{unread:?}");
        }
        assert_eq!(read("COMPOSE_FILE=dev.yaml\n", &[(NO_ENV_FILE, "false")]).0, "dev.yaml");
        assert_eq!(read("D=dev\nCOMPOSE_FILE=compose.yaml:$D.yaml\n", &[]).0, "compose.yaml+dev.yaml");
        let (files, told, unread) = read("COMPOSE_FILE=$PWD/dev.yaml\n", &[]);
        assert_eq!((files.as_str(), told.len()), ("compose.yaml", 0));
        assert!(unread[0].1.contains("takes PWD from the environment"), "{unread:?}");
    }
}
