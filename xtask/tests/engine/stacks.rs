//! Whole runs of compose-e2e: side by side, interrupted, killed.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::program::{docker_ok, program, root, text, xtask};

/// Everything that the engine has of any compose-e2e run.
fn left_behind() -> String {
    let mut left = String::new();
    for list in [
        &["ps", "--all", "--format", "{{.Names}}"][..],
        &["network", "ls", "--format", "{{.Name}}"],
        &["volume", "ls", "--format", "{{.Name}}"],
    ] {
        let names = docker_ok(list);
        left += &names
            .lines()
            .filter(|name| name.starts_with("mini-e2e-"))
            .map(|name| format!("{name}\n"))
            .collect::<String>();
    }
    left
}

fn start() -> Child {
    xtask(&root()).arg("compose-e2e").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Reads the run's progress until it says `words`, then goes on draining it in the background.
fn wait_for(child: &mut Child, words: &str) {
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut seen = Vec::new();
    let found = lines.by_ref().map_while(Result::ok).any(|line| {
        seen.push(line);
        seen.last().is_some_and(|line| line.contains(words))
    });
    assert!(found, "never said `{words}`: {}", seen.join("\n"));
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
}

fn interrupt_at(words: &str, signal: &str, code: i32) {
    let mut child = start();
    wait_for(&mut child, words);
    let sent = program("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let started = Instant::now();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(code), "at `{words}`");
    assert!(started.elapsed() < Duration::from_secs(60), "at `{words}`: {:?}", started.elapsed());
}

/// One at a time, since each test looks at everything that is left on the engine.
static TURN: Mutex<()> = Mutex::new(());

#[test]
fn every_promise_holds_under_every_fault_three_times() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for run in 1..=3 {
        let output = xtask(&root()).args(["compose-e2e", "--faults"]).output().unwrap();
        assert!(output.status.success(), "run {run}: {}{}", text(&output.stdout), text(&output.stderr));
        assert_eq!(left_behind(), "", "after run {run}");
    }
}

/// The negative control of the hardening: the same stack with one service weakened.
#[test]
fn a_stack_that_is_not_hardened_is_a_finding_at_its_service() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let checkout = Clone::new();
    checkout
        .weaken("    networks: [user, user-db]\n", "    networks: [user, user-db, order-db]\n    read_only: false\n");
    let output = xtask(&checkout.path).arg("compose-e2e").output().unwrap();
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}{}", text(&output.stderr));
    for weakness in
        ["its root file system is not read-only", "a write into its root did not fail", "it reaches order-db"]
    {
        assert!(said.contains(&format!("service user: {weakness}")), "{weakness}: {said}");
    }
    assert!(!said.contains("service order: "), "{said}");
    assert_eq!(left_behind(), "");
}

/// A checkout of its own with the tools of this one.
struct Clone {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Clone {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weakened");
        assert!(program("git").args(["clone", "--quiet"]).arg(root()).arg(&path).status().unwrap().success());
        std::fs::create_dir_all(path.join("target/xtask")).unwrap();
        let tools = root().join("target/xtask/tools");
        std::fs::create_dir_all(&tools).unwrap();
        std::os::unix::fs::symlink(tools, path.join("target/xtask/tools")).unwrap();
        Self { _folder: folder, path }
    }

    fn weaken(&self, from: &str, to: &str) {
        let file = self.path.join("compose.yaml");
        let compose = std::fs::read_to_string(&file).unwrap();
        assert!(compose.contains(from), "compose.yaml has no {from}");
        std::fs::write(file, compose.replace(from, to)).unwrap();
    }
}

/// One test, since each part looks at everything that is left on the engine.
#[test]
fn runs_meet_neither_each_other_nor_leave_anything_whatever_ends_them() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let pair = [start(), start()];
    for child in pair {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    }
    assert_eq!(left_behind(), "", "after two runs side by side");

    interrupt_at("compose-e2e: stack up", "INT", 130);
    assert_eq!(left_behind(), "", "after an interrupt before the stack is up");
    interrupt_at("journey: register:", "INT", 130);
    assert_eq!(left_behind(), "", "after an interrupt in the journey");
    interrupt_at("journey: register:", "TERM", 143);
    assert_eq!(left_behind(), "", "after SIGTERM in the journey");

    let mut killed = start();
    wait_for(&mut killed, "journey: register:");
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_ne!(left_behind(), "", "a killed run cannot clean up, so this test would prove nothing");
    let output = start().wait_with_output().unwrap();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(left_behind(), "", "the next run removes what the killed one left");
}
