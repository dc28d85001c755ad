//! Whole runs of compose-e2e: side by side, interrupted, killed.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::program::{docker_ok, program, root, text, xtask};

/// Everything that the engine has of any compose-e2e run.
pub(crate) fn left_behind() -> String {
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
    start_with(&[])
}

fn start_with(options: &[&str]) -> Child {
    xtask(&root()).arg("compose-e2e").args(options).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
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
    interrupt(start(), words, signal, code);
}

fn interrupt(mut child: Child, words: &str, signal: &str, code: i32) {
    wait_for(&mut child, words);
    let sent = program("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let started = Instant::now();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(code), "at `{words}`");
    assert!(started.elapsed() < Duration::from_secs(60), "at `{words}`: {:?}", started.elapsed());
}

/// Whether a load of these tests still sends requests.
fn load_runs() -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let commands = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    commands.into_iter().any(|command| {
        let arguments: Vec<_> = command.split(|byte| *byte == 0).collect();
        arguments[0].ends_with(b"/mini-e2e") && arguments.contains(&b"load".as_slice())
    })
}

fn within(limit: Duration, condition: impl Fn() -> bool) -> bool {
    let started = Instant::now();
    while started.elapsed() < limit {
        if condition() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    false
}

/// One at a time, since each test looks at everything that is left on the engine.
pub(crate) static TURN: Mutex<()> = Mutex::new(());

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
pub(crate) struct Clone {
    _folder: tempfile::TempDir,
    pub(crate) path: PathBuf,
}

impl Clone {
    pub(crate) fn new() -> Self {
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

    interrupt_at("up: creates and starts the containers", "INT", 130);
    assert_eq!(left_behind(), "", "after an interrupt before the stack is up");
    interrupt_at("journey: register:", "INT", 130);
    assert_eq!(left_behind(), "", "after an interrupt in the journey");
    interrupt_at("journey: register:", "TERM", 143);
    assert_eq!(left_behind(), "", "after SIGTERM in the journey");

    interrupt(start_with(&["--faults=order-frozen"]), "order is paused", "INT", 130);
    assert_eq!(left_behind(), "", "after an interrupt while a container is paused");

    for (options, words) in [(&[][..], "journey: register:"), (&["--faults=order-frozen"], "order is paused")] {
        let mut killed = start_with(options);
        wait_for(&mut killed, words);
        killed.kill().unwrap();
        killed.wait().unwrap();
        assert!(within(Duration::from_secs(15), || !load_runs()), "the load outlives the run that started it");
        assert_ne!(left_behind(), "", "a killed run cannot clean up, so this test would prove nothing");
        let output = start().wait_with_output().unwrap();
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
        assert_eq!(left_behind(), "", "the next run removes what the one killed at `{words}` left");
    }
}

/// Removes a kept stack also when the test that kept it fails.
pub(crate) struct CleanUp<'a>(pub(crate) &'a Path);

impl Drop for CleanUp<'_> {
    fn drop(&mut self) {
        let _ = xtask(self.0).arg("clean").output();
    }
}

/// The journey against a deployment that is there already: on loopback with its writes, beyond loopback without them.
#[test]
fn a_deployment_is_walked_through_by_its_address() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let checkout = Clone::new();
    let report = |arguments: &[&str]| {
        let output = xtask(&checkout.path).args(["--format", "json", "compose-e2e"]).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let _clean_up = CleanUp(&checkout.path);
    let kept = report(&["--keep"])["evidence"]["kept"].as_str().unwrap().to_owned();
    let (project, rest) = kept.split_once(" is left running on ").expect(&kept);
    let url = rest.split(';').next().unwrap();
    let secrets = format!("target/xtask/e2e/{project}/env");
    let journey = |arguments: &[&str]| report(arguments)["evidence"]["journey"].as_array().unwrap().len();
    let whole = journey(&["--base-url", url, "--secrets", &secrets]);
    let container = |service: &str| {
        let [project, service] = [
            format!("label=com.docker.compose.project={project}"),
            format!("label=com.docker.compose.service={service}"),
        ];
        docker_ok(&["ps", "--quiet", "--filter", &project, "--filter", &service])
    };
    // The gateway's address on its own network is no loopback address.
    let format = format!("{{{{(index .NetworkSettings.Networks \"{project}_edge\").IPAddress}}}}");
    let far = format!("http://{}:8080", docker_ok(&["inspect", "--format", &format, &container("gateway")]));
    let users = || {
        let count = "PGPASSWORD=$POSTGRES_PASSWORD psql -h 127.0.0.1 -U user -d user -Atc 'SELECT count(*) FROM users'";
        docker_ok(&["exec", &container("user-db"), "sh", "-c", count])
    };
    let before = users();
    let read_only = journey(&["--base-url", &far]);
    assert_eq!(users(), before, "the read-only part made a user");
    let allowed = journey(&["--base-url", &far, "--allow-writes", "--secrets", &secrets]);
    assert_ne!(users(), before, "the whole journey made no user, so the comparison above proves nothing");
    assert!(read_only > 0 && read_only < whole && allowed == whole, "{read_only} {whole} {allowed}");

    let cleaned = xtask(&checkout.path).arg("clean").output().unwrap();
    assert!(cleaned.status.success(), "{}", text(&cleaned.stdout));
    assert_eq!(left_behind(), "");
}

/// File systems of three pages and of three inodes: the first has no room for the logs of a run, the second none for its secrets.
#[test]
fn a_full_disk_is_said_and_leaves_nothing_behind() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let checkout = Clone::new();
    let folder = checkout.path.join("target/xtask/e2e");
    std::fs::create_dir_all(&folder).unwrap();
    let mounted = |options: &str| {
        let run = xtask(&checkout.path);
        let script = format!("mount -t tmpfs -o {options} tmpfs \"$0\" && exec \"$@\"");
        let mut command = program("unshare");
        command.args(["--mount", "--map-root-user", "sh", "-c", &script]).arg(&folder);
        command.arg(run.get_program()).args(run.get_args()).arg("compose-e2e").current_dir(&checkout.path);
        for (name, value) in run.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let output = command.output().unwrap();
        (output.status.code(), format!("{}{}", text(&output.stdout), text(&output.stderr)))
    };
    let (code, said) = mounted("size=12k");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("logs: not kept"), "{said}");
    assert_eq!(left_behind(), "", "after a run without room for its logs");
    let (code, said) = mounted("nr_inodes=3");
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("No space left on device"), "{said}");
    assert_eq!(left_behind(), "", "after a run without room for its secrets");
}
