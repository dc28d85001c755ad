//! Which files Compose takes when somebody runs it in the repository's folder, beside those that xtask itself passes.

use crate::env_file::EnvFile;
use crate::places::Places;
use xtask_outcome::{Finding, Place};

/// The names that Compose looks for, in its order; it takes the first.
const NAMES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
/// The same for what it merges into that one.
const OVERRIDES: [&str; 4] =
    ["compose.override.yml", "compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml"];
const ENV: &str = ".env";

impl Places {
    /// The stacks to render, each as a list of files: the stack's own file alone, and what a person's `docker compose` would make of
    /// the folder when that is something else. `is_there` says which files exist. What Compose would leave out without a word, or
    /// not find, is a problem.
    pub fn compose_files(&mut self, stack: &str, is_there: impl Fn(&str) -> bool) -> Vec<Vec<String>> {
        let env = self.env.as_ref().map(|bytes| EnvFile::parse(bytes, false)).unwrap_or_default();
        let mut stacks = vec![vec![stack.to_owned()]];
        if let Some(list) = env.value("COMPOSE_FILE").filter(|list| !list.is_empty()) {
            let separator = env.value("COMPOSE_PATH_SEPARATOR").filter(|text| !text.is_empty());
            let files =
                list.split(separator.as_deref().unwrap_or(":")).map(|file| file.trim_start_matches("./").to_owned());
            let (there, missing): (Vec<_>, Vec<_>) = files.partition(|file| is_there(file));
            let line = env.get("COMPOSE_FILE").map(|entry| entry.line);
            for file in &missing {
                let message = format!(
                    "COMPOSE_FILE names {file}, which is not there, so no Compose command starts in this folder"
                );
                let place = Place { name: ENV.to_owned(), line };
                self.problems.push(finding(place, message, "correct the name or delete the line"));
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
        let mut overrides = OVERRIDES.into_iter().filter(|name| is_there(name));
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
            let stacks = places.compose_files(stack, |file| there.contains(&file));
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
        let listed = "COMPOSE_FILE=./compose.yaml:dev.yaml\n";
        let files = read("compose.yaml", listed, &["compose.yaml", "dev.yaml", "compose.override.yml"]);
        assert_eq!(files, (vec!["compose.yaml".into(), "compose.yaml+dev.yaml".into()], vec![]));
        assert_eq!(read("compose.yaml", listed, &["compose.yaml"]).1, [".env:1"]);
        let own = "COMPOSE_PATH_SEPARATOR=,\nCOMPOSE_FILE=a.yaml,b.yaml\n";
        assert_eq!(read("compose.yaml", own, &["a.yaml", "b.yaml"]).0[1], "a.yaml+b.yaml");
    }
}
