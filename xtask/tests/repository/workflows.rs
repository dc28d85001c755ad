//! What the workflows promise, and what keeps the versions of images up to date. GitHub and Renovate themselves are not here; what can be
//! held is that their files say what is meant.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;

use super::{read, root};

/// The workflows, by file name.
fn workflows() -> BTreeMap<String, String> {
    let folder = root().join(".github/workflows");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let found: BTreeMap<_, _> = entries
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(&path).unwrap()))
        .collect();
    assert!(found.len() >= 3, "{found:?}");
    found
}

/// The jobs of a workflow, each with its text.
fn jobs(workflow: &str) -> BTreeMap<String, String> {
    let mut jobs = BTreeMap::<String, String>::new();
    let mut current = String::new();
    for line in workflow.split("\njobs:\n").nth(1).unwrap().lines() {
        let name = line.strip_prefix("  ").and_then(|rest| rest.strip_suffix(':'));
        if let Some(name) = name.filter(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')) {
            name.clone_into(&mut current);
        }
        if !current.is_empty() {
            *jobs.entry(current.clone()).or_default() += &format!("{line}\n");
        }
    }
    jobs
}

/// What is wrong with a scheduled workflow: a job whose failure nobody is told of.
fn untold(workflow: &str) -> Vec<String> {
    let jobs = jobs(workflow);
    let tells =
        |text: &String| text.contains("gh issue create") && text.contains("always()") && text.contains("issues: write");
    let waits_for = |text: &str, job: &str| {
        let needs = text.lines().find_map(|line| line.trim().strip_prefix("needs: [")).unwrap_or_default();
        needs.trim_end_matches(']').split(", ").any(|name| name == job)
            && text.contains(&format!("needs.{job}.result != 'success'"))
    };
    let reporters: Vec<_> = jobs.values().filter(|text| tells(text)).collect();
    let untold = jobs.iter().filter(|(_, text)| !tells(text));
    untold
        .filter(|(name, _)| !reporters.iter().any(|text| waits_for(text, name)))
        .map(|(name, _)| name.clone())
        .collect()
}

#[test]
fn every_job_of_a_scheduled_workflow_opens_an_issue_when_it_fails() {
    let mut scheduled = 0;
    for (name, text) in workflows().iter().filter(|(_, text)| text.contains("\n  schedule:\n")) {
        scheduled += 1;
        assert_eq!(untold(text), [""; 0], "{name}: next: a job that needs these and opens an issue");
    }
    assert!(scheduled > 0);
    // The control: one more job that nobody waits for.
    let weekly = read(".github/workflows/weekly.yml") + "\n  more:\n    runs-on: ubuntu-24.04\n";
    assert_eq!(untold(&weekly), ["more"]);
}

#[test]
fn pull_requests_and_the_merge_queue_run_the_verify_that_main_runs() {
    let (main, request) = (read(".github/workflows/main.yml"), read(".github/workflows/pull-request.yml"));
    let verify = "\n      - run: cargo xtask verify --strict\n";
    assert!(main.contains(verify) && request.contains(verify));
    assert!(request.contains("\n  pull_request:\n") && request.contains("\n  merge_group:\n"));
    let test = "\n      - run: cargo xtask test\n";
    assert!(main.contains(test) && request.contains(test));
    // The fetched database is the same, too: no flag of the scan's stands in one and not in the other.
    for (name, text) in workflows() {
        assert!(!text.contains("--max-db-age-days") && !text.contains("--db "), "{name}");
    }
}

#[test]
fn what_ships_is_built_without_any_cache_and_everything_else_with_one() {
    let cached = |workflow: &str| -> BTreeMap<String, bool> {
        let jobs = jobs(&read(&format!(".github/workflows/{workflow}")));
        jobs.into_iter()
            .map(|(job, text)| (job, text.contains("actions/cache@") || text.contains("--cache ")))
            .collect()
    };
    assert_eq!(cached("main.yml"), BTreeMap::from([("ship".to_owned(), false), ("test".to_owned(), true)]));
    assert_eq!(cached("pull-request.yml"), BTreeMap::from([("test".to_owned(), true), ("verify".to_owned(), true)]));
    // An action's cache may be as large as a pull request likes: only those of cargo and the tools.
    for (name, text) in workflows() {
        assert!(!text.contains("target/release") && !text.contains("path: target\n"), "{name}");
    }
}

#[test]
fn actions_are_pinned_by_commit_and_the_builder_by_version() {
    let commit = Regex::new("^[a-z0-9-]+/[a-z0-9/-]+@[0-9a-f]{40} # v[0-9]+\\.[0-9]+\\.[0-9]+$").unwrap();
    let builder = Regex::new(" --driver-opt image=moby/buildkit:v[0-9]+\\.[0-9]+\\.[0-9]+$").unwrap();
    let (mut actions, mut builders) = (0, 0);
    for (name, text) in workflows() {
        for line in text.lines() {
            if let Some((_, action)) = line.split_once("uses: ") {
                actions += 1;
                assert!(commit.is_match(action), "{name}: {line}");
            }
            if line.contains("buildx create") {
                builders += 1;
                assert!(builder.is_match(line), "{name}: {line}");
            }
        }
    }
    assert!(actions > 5 && builders > 0);
    for line in ["actions/cache@v5", "actions/cache@main # v5.0.5"] {
        assert!(!commit.is_match(line), "the control: what must not pass");
    }
}

/// What one of Renovate's custom managers looks at, and what it finds there. Renovate's engine is RE2, whose syntax this crate shares.
struct Manager {
    files: Vec<Regex>,
    found: Vec<Regex>,
}

fn managers() -> Vec<Manager> {
    let config: Value = serde_json::from_str(&read(".github/renovate.json")).unwrap();
    let list = |manager: &Value, key: &str| -> Vec<String> {
        manager[key].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let managers = config["customManagers"].as_array().unwrap().iter().map(|manager| {
        let files = list(manager, "managerFilePatterns");
        let files =
            files.iter().map(|text| Regex::new(text.strip_prefix('/').unwrap().strip_suffix('/').unwrap()).unwrap());
        let found = list(manager, "matchStrings").iter().map(|text| Regex::new(text).unwrap()).collect();
        assert_eq!(manager["datasourceTemplate"], "docker");
        Manager { files: files.collect(), found }
    });
    managers.collect()
}

/// The images that Renovate sees in a file, as `NAME:TAG`.
fn seen(managers: &[Manager], path: &str, text: &str) -> Vec<String> {
    let looking = managers.iter().filter(|manager| manager.files.iter().any(|file| file.is_match(path)));
    let found = looking.flat_map(|manager| &manager.found).flat_map(|found| found.captures_iter(text));
    found.map(|found| format!("{}:{}", &found["depName"], &found["currentValue"])).collect()
}

/// The files that git knows, but for documents, tests, and what is no text.
fn product_files() -> Vec<(String, String)> {
    let listed = super::git(&["ls-files"]);
    let files = listed.lines().filter(|path| !path.starts_with("docs/") && !path.contains("tests/"));
    let files = files.filter(|path| !path.ends_with(".md") && !path.starts_with("xtask/crates/"));
    files.filter_map(|path| Some((path.to_owned(), std::fs::read_to_string(root().join(path)).ok()?))).collect()
}

/// A base that is raised in one file and forgotten in another is two bases.
#[test]
fn updates_see_every_place_that_names_an_image_of_others() {
    let managers = managers();
    let policy = read("xtask/policy/bases.toml");
    let remotes: Vec<_> =
        policy.lines().filter_map(|line| line.strip_prefix("remote = \"")?.strip_suffix('"')).collect();
    assert_eq!(remotes.len(), 2, "{remotes:?}");
    let mut places = 0;
    for (path, text) in product_files() {
        let seen = seen(&managers, &path, &text);
        for remote in &remotes {
            let count = seen.iter().filter(|image| image == remote).count();
            assert_eq!(count, text.matches(remote).count(), "{path} names {remote}; Renovate sees {seen:?}");
            places += count;
        }
        // What xtask builds itself is no image of others, and one name has one tag everywhere.
        for image in seen {
            let known = remotes.contains(&image.as_str()) || image.starts_with("moby/buildkit:v");
            assert!(known, "{path}: {image}");
        }
    }
    assert!(places > 9, "{places}");
    let workflow = read(".github/workflows/pull-request.yml");
    assert_eq!(seen(&managers, ".github/workflows/pull-request.yml", &workflow).len(), 1);
    // The controls: another quoting, another file, an image of one's own.
    for (path, text) in [
        ("xtask/policy/bases.toml", "remote = 'rust:1.95'"),
        ("docs/bases.toml", "remote = \"rust:1.95\""),
        ("compose.yaml", "image: ${MINI_USER_IMAGE:-mini-user:local}"),
        ("k8s/base/user.yaml", "          image: mini-user:local"),
    ] {
        assert_eq!(seen(&managers, path, text), [""; 0], "{path}");
    }
}
