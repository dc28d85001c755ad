//! Section N of the cases from the field: nothing that was found is lost, whatever else goes wrong.

use crate::workspace::{Ended, Workspace, report_errors};

const CONTRACT: &str = r#"{"schema":1,"service":"mini-user","variables":[
  {"name":"PEER_URL","kind":"required","default":null,"type":"url","secret":false,"file_variant":false,"description":"Where the other one is."}]}"#;

/// A stack that passes: one service, ready at once, and everything gone afterwards.
const GOOD_STACK: &str = r#"
  *" config --no-interpolate "*|*" config --format json") cat "$STATE/rendered.json"; exit 0 ;;
  "docker ps --all --quiet --no-trunc"*) echo c1; exit 0 ;;
  "docker inspect c1") cat "$STATE/container.json"; exit 0 ;;
  "docker history "*) echo '"ENTRYPOINT [\"/mini-user\"]"'; exit 0 ;;
  "docker run "*" --entrypoint sh "*) printf 'Uid:\t65532\t65532\t65532\t65532\nNoNewPrivs:\t1\nwrite touch: Read-only file system\n'; exit 0 ;;
  "docker run "*" --entrypoint cat "*) printf 'VmRSS:\t 4096 kB\nVmHWM:\t 5120 kB\n'; exit 0 ;;
  "docker network create "*) exit 0 ;;
  "docker run --name mini-audit-"*" --detach "*) echo c1; exit 0 ;;
  "docker run --name mini-audit-"*) echo '{"timestamp":"2026-01-01T00:00:00Z","level":"ERROR","missing":"","malformed":""}'; exit 78 ;;
  "docker inspect --format {{.State.Running}}"*) echo "true 0"; exit 0 ;;
  "docker inspect "*) echo '[]'; exit 0 ;;
  "docker logs "*) exit 0 ;;
  "trivy --version") echo "Version: 0.1.0"; exit 0 ;;"#;

const CONTAINER: &str = r#"[{"Id":"c1","Image":"sha256:user","RestartCount":0,"State":{"Status":"running","Pid":1},
  "Config":{"User":"65532:65532","Labels":{"com.docker.compose.service":"user"},"Healthcheck":{"Test":["CMD","/mini-user","healthcheck"]}},
  "HostConfig":{"ReadonlyRootfs":true,"Privileged":false,"CapAdd":null,"NetworkMode":"mini_user","PidMode":"","IpcMode":"private","Devices":null,"CapDrop":["ALL"],"SecurityOpt":["no-new-privileges:true"],"Memory":1,"PidsLimit":1},
  "Mounts":[],"NetworkSettings":{"Networks":{}}}]"#;

const RENDERED: &str = r#"{"name":"mini","services":{"user":{"image":"${MINI_USER_IMAGE:-mini-user:local}","environment":{},"healthcheck":{"test":["CMD","/mini-user","healthcheck"]}}}}"#;

/// A workspace whose `verify` comes to its end with stubs; trivy and kubectl are not there.
pub(crate) fn workspace(cases: &str) -> Workspace {
    let workspace = Workspace::new();
    workspace.know_image(CONTRACT);
    workspace.write("Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"services/user\", \"xtask\", \"e2e\"]\n");
    workspace.write("e2e/Cargo.toml", "[package]\nname = \"mini-e2e\"\nversion = \"0.1.0\"\nedition = \"2024\"\n");
    workspace.write("e2e/src/main.rs", "fn main() { println!(\"{{\\\"ms\\\":1.0}}\"); }\n");
    workspace.write(
        "Cargo.lock",
        "version = 4\n\n[[package]]\nname = \"mini-e2e\"\nversion = \"0.1.0\"\n\n[[package]]\nname = \"mini-user\"\nversion = \"0.1.0\"\n\n[[package]]\nname = \"xtask\"\nversion = \"0.1.0\"\n",
    );
    workspace.write(
        "compose.yaml",
        "services:\n  user:\n    image: ${MINI_USER_IMAGE:-mini-user:local}\n    healthcheck: { test: [CMD, /mini-user, healthcheck] }\n",
    );
    workspace.write("../../state/rendered.json", RENDERED);
    workspace.write("../../state/container.json", CONTAINER);
    workspace.stub_program("python3", "#!/bin/sh\nexit 1");
    stub(&workspace, cases);
    workspace
}

fn stub(workspace: &Workspace, cases: &str) {
    workspace.stub(&format!("case \"$call\" in{cases}{GOOD_STACK}\nesac"));
}

fn report(workspace: &Workspace, command: &str) -> serde_json::Value {
    serde_json::from_str(&workspace.read(&format!("target/xtask/reports/{command}.json"))).unwrap()
}

fn rules(report: &serde_json::Value) -> Vec<String> {
    let findings = report["findings"].as_array().unwrap();
    findings.iter().map(|finding| finding["rule"].as_str().unwrap().to_owned()).collect()
}

fn assert_same_keys(ended: &Ended) {
    let report: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{}", ended.all()));
    assert_eq!(report_errors(&ended.stdout), [""; 0], "{}", ended.all());
    assert_eq!(report.as_object().unwrap().len(), 17, "{report:#}");
}

/// N01: a missing variable, a weak container, a broken scanner and a tear-down that fails, all in one run.
#[test]
fn n01_every_finding_and_every_failure_of_one_verify_is_in_text_json_and_annotations() {
    let mut workspace = workspace("\n  *\" down \"*) echo 'network is in use' >&2; exit 1 ;;");
    workspace
        .write("../../state/container.json", &CONTAINER.replace("\"ReadonlyRootfs\":true", "\"ReadonlyRootfs\":false"));
    workspace.set("GITHUB_ACTIONS", "true");
    let summary = workspace.root.join("summary.md");
    workspace.set("GITHUB_STEP_SUMMARY", summary.to_str().unwrap());
    let ended = workspace.xtask(&["verify"]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    let report = report(&workspace, "verify");
    let failures = report["failures"].to_string();
    let (text, annotations, summary) = (&ended.stdout, &ended.stderr, std::fs::read_to_string(summary).unwrap());
    for (rule, place) in [("required-unset", "compose.yaml"), ("root-writable", "compose.yaml")] {
        assert!(rules(&report).iter().any(|found| found == rule), "{rule}: {report:#}");
        assert!(text.lines().any(|line| line.contains(&format!("[{rule}]")) && line.contains(place)), "{rule}: {text}");
        assert!(
            annotations.lines().any(|line| line.starts_with("::error file=compose.yaml") && line.contains(rule)),
            "{rule}: {annotations}"
        );
        assert!(summary.contains(rule), "{rule}: {summary}");
    }
    for finding in report["findings"].as_array().unwrap() {
        assert!(!finding["next_step"].as_str().unwrap().trim().is_empty(), "{finding}");
    }
    assert!(failures.contains("compose-e2e/down") && failures.contains("network is in use"), "{failures}");
    assert!(text.contains("failed: compose-e2e/down: compose down failed: network is in use"), "{text}");
    assert!(annotations.contains("::error title=compose-e2e/down failed::"), "{annotations}");
    // What is not there is said as such, and is no failure.
    assert!(report["unchecked"].to_string().contains("\"scan\""), "{report:#}");
    assert!(annotations.contains("::warning title=scan not checked::"), "{annotations}");
}

/// N02: a Compose whose `down` fails is broken, and no check that was not made.
#[test]
fn n02_a_program_that_ran_and_failed_is_broken_and_one_that_is_not_there_is_not_checked() {
    let good = workspace("");
    workspace_is_clean(&good);
    stub(&good, "\n  *\" down \"*) echo 'network is in use' >&2; exit 1 ;;");
    let ended = good.xtask(&["compose-e2e"]);
    assert_eq!(ended.code, 3, "{}", ended.all());
    let report = report(&good, "compose-e2e");
    assert_eq!(
        (&report["verdict"], &report["failures"][0]["ending"]),
        (&"broken".into(), &"broken".into()),
        "{report:#}"
    );
    assert_eq!(report["unchecked"], serde_json::json!([]));
}

fn workspace_is_clean(workspace: &Workspace) {
    let ended = workspace.xtask(&["compose-e2e"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
}

/// N03: the runner's limits are held by its own tests (xtask-process); here that a tool's child delays nobody.
#[test]
fn n03_what_a_tool_leaves_behind_is_not_waited_for() {
    let workspace =
        workspace("\n  \"docker buildx version\") sleep 45 & echo 'github.com/docker/buildx v0.29.1'; exit 0 ;;");
    let started = std::time::Instant::now();
    let ended = workspace.xtask(&["setup", "--check"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert!(started.elapsed().as_secs() < 30, "{:?}", started.elapsed());
}

/// N04: what panicked does not any more; src/panics.rs and xtask-outcome hold what becomes of one that does.
#[test]
fn n04_letters_beyond_ascii_and_odd_reports_end_in_a_verdict() {
    let workspace = workspace(
        "\n  \"trivy --version\") echo \"Version: 0.76.0\"; exit 0 ;;\n  \"trivy image \"*) echo '[]'; exit 0 ;;\n  \"trivy config \"*) echo '[]'; exit 0 ;;",
    );
    let compose = workspace.read("compose.yaml");
    workspace.write("compose.yaml", &format!("{compose}# größe=1 ß=2 =3\n"));
    for command in ["audit-env", "scan"] {
        let ended = workspace.xtask(&[command]);
        assert!(matches!(ended.code, 1 | 3), "{command}: {}", ended.all());
        assert!(!ended.all().contains("panicked"), "{command}: {}", ended.all());
    }
}

/// N05: what no engine can start is a finding with service, file and next step, and the other steps run.
#[test]
fn n05_an_image_that_cannot_be_started_is_a_finding_and_is_not_run() {
    let workspace = workspace("\n  \"docker run \"*\" --version\") echo 'unable to find user root' >&2; exit 125 ;;");
    std::fs::remove_file(workspace.root.join("target/xtask/images/user.json")).unwrap();
    workspace.write_image_config(r#"{"config":{"User":"root","Entrypoint":["/mini-user"]},"history":[]}"#);
    workspace.write("services/user/Dockerfile", "FROM scratch\n# the user\nUSER root\n");
    let ended = workspace.xtask(&["verify"]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert!(
        ended.stdout.contains("services/user/Dockerfile:3 [image-user]: user: the user is \"root\""),
        "{}",
        ended.all()
    );
    let calls = workspace.calls();
    assert!(!calls.lines().any(|call| call.starts_with("docker run ") && call.ends_with(" --version")), "{calls}");
    let report = report(&workspace, "verify");
    let steps = report["steps"].to_string();
    for step in ["build-images", "scan", "audit-env", "compose-e2e"] {
        assert!(steps.contains(&format!("\"{step}\"")), "{steps}");
    }
    let unchecked = report["unchecked"].to_string();
    assert!(unchecked.contains("the image of user cannot be started"), "{unchecked}");
    assert_eq!(report["failures"], serde_json::json!([]), "{report:#}");
}

/// N06: the guilty step is the headline.
#[test]
fn n06_a_failed_journey_is_called_by_its_last_line() {
    let workspace = workspace("");
    workspace.write(
        "e2e/src/main.rs",
        "fn main() { eprintln!(\"register: 201 in 3 ms\"); eprintln!(\"create an order: expected 201, got 500\"); std::process::exit(1) }\n",
    );
    let ended = workspace.xtask(&["compose-e2e"]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    let report = report(&workspace, "compose-e2e");
    assert_eq!(report["headline"], "journey: create an order: expected 201, got 500", "{report:#}");
}

/// N07: a container outlives a client that is killed, so it is removed by its name.
#[test]
fn n07_a_program_that_does_not_end_is_a_finding_and_its_container_is_removed() {
    let workspace = workspace("\n  \"docker run \"*\" --version\") sleep 60; exit 0 ;;");
    std::fs::remove_file(workspace.root.join("target/xtask/images/user.json")).unwrap();
    workspace.write_image_config(r#"{"config":{"User":"65532:65532","Entrypoint":["/mini-user"]},"history":[]}"#);
    let ended = workspace.xtask(&["build-images"]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert!(
        ended.stdout.contains("[image-interface]: user: its program does not end on `--version`"),
        "{}",
        ended.all()
    );
    let calls = workspace.calls();
    let run = calls.lines().find(|call| call.ends_with(" --version")).unwrap();
    let name = run.split("--name ").nth(1).unwrap().split(' ').next().unwrap();
    assert!(run.contains("--label xtask.checkout="), "{run}");
    assert!(calls.contains(&format!("docker rm --force --volumes {name}")), "{calls}");
}

/// N09: a usage error overwrites nothing, and `verify` forgets its last verdict only when it judges again.
#[test]
fn n09_a_usage_error_overwrites_no_report_and_an_engine_that_is_down_forgets_no_verdict() {
    let workspace = workspace("");
    workspace_is_clean(&workspace);
    let before = workspace.read("target/xtask/reports/compose-e2e.json");
    assert_eq!(workspace.xtask(&["compose-e2e", "--faults=nope"]).code, 2);
    assert_eq!(workspace.read("target/xtask/reports/compose-e2e.json"), before);
    workspace.write("target/xtask/verified.json", "the last verdict");
    stub(
        &workspace,
        "\n  \"docker version --format {{.Server.Version}}\") echo 'Cannot connect to the Docker daemon' >&2; exit 1 ;;",
    );
    let ended = workspace.xtask(&["verify"]);
    assert_eq!(ended.code, 3, "{}", ended.all());
    assert_eq!(workspace.read("target/xtask/verified.json"), "the last verdict");
    stub(&workspace, "\n  \"docker buildx bake \"*) exit 1 ;;");
    std::fs::remove_file(workspace.root.join("target/xtask/images/user.json")).unwrap();
    assert_eq!(workspace.xtask(&["verify"]).code, 1);
    assert_eq!(workspace.read("target/xtask/verified.json"), "");
}

/// N10: `--keep` changes nothing about the first error.
#[test]
fn n10_a_kept_stack_that_failed_is_called_by_its_first_error() {
    let workspace = workspace(
        "\n  *\" up --detach\"*) echo 'port is already allocated' >&2; exit 1 ;;\n  *\" port \"*) echo 'no port' >&2; exit 1 ;;",
    );
    let ended = workspace.xtask(&["compose-e2e", "--keep"]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    let report = report(&workspace, "compose-e2e");
    assert_eq!(report["headline"], "up: compose up failed: port is already allocated", "{report:#}");
    assert!(
        ended.stdout.contains("is left running on no published port; end it with: cargo xtask clean"),
        "{}",
        ended.all()
    );
}

/// N11: a next step leads somewhere.
#[test]
fn n11_each_missing_thing_has_a_next_step_that_helps() {
    let no_docker = Workspace::new().xtask_without("docker", &["setup", "--check"]);
    assert_eq!(no_docker.code, 3, "{}", no_docker.all());
    assert!(
        no_docker.stdout.contains("docs.docker.com/engine/install")
            && !no_docker.stdout.contains("docker: not found; next: `cargo xtask setup`"),
        "{}",
        no_docker.all()
    );
    let workspace = Workspace::new();
    stub(
        &workspace,
        "\n  \"docker version --format {{.Server.Version}}\") echo 'permission denied while trying to connect to the Docker daemon socket' >&2; exit 1 ;;",
    );
    let denied = workspace.xtask(&["setup", "--check"]);
    assert!(denied.stdout.contains("sudo usermod -aG docker"), "{}", denied.all());
    stub(&workspace, "\n  \"docker buildx version\") echo 'write: no space left on device' >&2; exit 1 ;;");
    let full = workspace.xtask(&["setup", "--check"]);
    assert!(full.stdout.contains("no space left on device"), "{}", full.all());
}

/// N13: 125 is the engine's own failure, and no fault of the image.
#[test]
fn n13_an_engine_that_starts_no_container_is_broken_and_no_fault_of_the_image() {
    let workspace = workspace(
        "\n  \"docker run \"*\" --version\") echo 'docker: Error response from daemon: failed to start shim' >&2; exit 125 ;;",
    );
    std::fs::remove_file(workspace.root.join("target/xtask/images/user.json")).unwrap();
    workspace.write_image_config(r#"{"config":{"User":"65532:65532","Entrypoint":["/mini-user"]},"history":[]}"#);
    let ended = workspace.xtask(&["build-images"]);
    assert_eq!(ended.code, 3, "{}", ended.all());
    let report = report(&workspace, "build-images");
    assert_eq!(report["failures"][0]["ending"], "broken", "{report:#}");
    assert!(report["headline"].as_str().unwrap().contains("failed to start shim"), "{report:#}");
    stub(
        &workspace,
        "\n  \"docker run \"*\" --version\") echo 'docker: Error response from daemon: exec: \"/mini-user\": permission denied' >&2; exit 126 ;;",
    );
    let ended = workspace.xtask(&["build-images"]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert!(ended.stdout.contains("[image-interface]: user: its program cannot be run"), "{}", ended.all());
}

#[test]
fn the_json_has_the_same_keys_whatever_the_ending() {
    let workspace = workspace("");
    for (arguments, code) in [
        (&["setup", "--check"][..], 0),
        (&["compose-e2e"], 0),
        (&["verify", "--no-such-flag"], 2),
        (&["no-such-command"], 2),
        (&["build-images", "usr"], 2),
        (&["push", "registry.example"], 3),
    ] {
        let ended = workspace.xtask(&[&["--format", "json"], arguments].concat());
        assert_eq!(ended.code, code, "{arguments:?}: {}", ended.all());
        assert_same_keys(&ended);
    }
}

#[test]
fn a_report_says_running_from_the_start() {
    let workspace = workspace(
        "\n  \"docker buildx version\") cp \"$ROOT/target/xtask/reports/setup.json\" \"$STATE/seen.json\" ;;",
    );
    let root = workspace.root.display().to_string();
    workspace.stub(&format!(
        "ROOT='{root}'\ncase \"$call\" in \"docker buildx version\") cp \"$ROOT/target/xtask/reports/setup.json\" \"$STATE/seen.json\" ;; esac"
    ));
    assert_eq!(workspace.xtask(&["setup", "--check"]).code, 0);
    let seen = workspace.read("../../state/seen.json");
    assert_eq!(report_errors(&seen), [""; 0]);
    assert!(seen.contains("\"verdict\": \"running\"") && seen.contains("\"exit_code\": null"), "{seen}");
}
