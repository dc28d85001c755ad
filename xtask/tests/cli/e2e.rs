use crate::workspace::{CANARY, Workspace};

/// What a stack needs on top of the defaults: facts of the image that were read by an earlier build.
pub(crate) fn with_known_image(workspace: &Workspace) {
    workspace.know_image(r#"{"service":"mini-user"}"#);
    workspace.write("Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"services/user\", \"xtask\", \"e2e\"]\n");
    workspace.write("e2e/Cargo.toml", "[package]\nname = \"mini-e2e\"\nversion = \"0.1.0\"\nedition = \"2024\"\n");
    workspace.write("e2e/src/main.rs", "fn main() {}\n");
    workspace.write(
        ".dockerignore",
        "*\n!services/user/Cargo.toml\n!services/user/src\n!xtask/Cargo.toml\n!e2e/Cargo.toml\n",
    );
    workspace.write(
        "services/user/Dockerfile",
        "COPY services/user/Cargo.toml services/user/\nCOPY xtask/Cargo.toml xtask/\nCOPY e2e/Cargo.toml e2e/\n",
    );
    workspace.write(
        "Cargo.lock",
        "version = 4\n\n[[package]]\nname = \"mini-e2e\"\nversion = \"0.1.0\"\n\n[[package]]\nname = \"mini-user\"\nversion = \"0.1.0\"\n\n[[package]]\nname = \"xtask\"\nversion = \"0.1.0\"\n",
    );
}

const CRASH_LOOP: &str = r#"
  "docker ps --all --quiet --no-trunc"*) echo c1 ;;
  "docker inspect c1") echo '[{"Id":"c1","Image":"sha256:user","RestartCount":3,"State":{"Status":"restarting","ExitCode":78},"Config":{"Labels":{"com.docker.compose.service":"user"}}}]'; exit 0 ;;
  "docker logs "*) echo "user: DATABASE_URL is missing"; exit 0 ;;"#;

#[test]
fn a_crash_loop_fails_with_its_evidence_and_is_torn_down() {
    let workspace = Workspace::new();
    with_known_image(&workspace);
    workspace.stub(&format!("case \"$call\" in{CRASH_LOOP}\nesac"));
    let ended = workspace.xtask(&["compose-e2e"]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert!(
        ended.stdout.contains(
            "FAILED compose-e2e: up: user crashes and restarts (3 restarts, last exit code 78: its configuration is refused"
        ),
        "{}",
        ended.all()
    );
    assert!(ended.stderr.contains("user: DATABASE_URL is missing"), "{}", ended.all());
    let calls = workspace.calls();
    let (up, down) = (calls.find(" up --detach").unwrap(), calls.find(" down --remove-orphans").unwrap());
    assert!(up < down, "{calls}");
}

const NEVER_READY: &str = r#"
  "docker ps --all --quiet --no-trunc"*) echo c1 ;;
  "docker inspect c1") echo '[{"Id":"c1","Image":"sha256:user","RestartCount":0,"State":{"Status":"running","Health":{"Status":"starting"}},"Config":{"Labels":{"com.docker.compose.service":"user"},"Healthcheck":{"Test":["CMD","/mini-user","healthcheck"],"Interval":100000000,"Timeout":100000000,"Retries":2}}}]'; exit 0 ;;
  "docker exec c1 /mini-user healthcheck") exit 1 ;;"#;

#[test]
fn a_service_is_waited_for_as_long_as_its_healthcheck_allows_and_no_longer() {
    let workspace = Workspace::new();
    with_known_image(&workspace);
    workspace.stub(&format!("case \"$call\" in{NEVER_READY}\nesac"));
    let ended = workspace.xtask(&["compose-e2e"]);
    assert_eq!(ended.code, 4, "{}", ended.all());
    assert!(ended.stdout.contains("user did not pass its healthcheck within 0 s of its start"), "{}", ended.all());
    assert!(workspace.calls().contains(" down --remove-orphans"), "{}", workspace.calls());
}

#[test]
fn a_tear_down_that_fails_too_stays_behind_the_first_error() {
    let workspace = Workspace::new();
    with_known_image(&workspace);
    workspace
        .stub(&format!("case \"$call\" in{CRASH_LOOP}\n  *\" down \"*) echo 'network is in use' >&2; exit 1 ;;\nesac"));
    let ended = workspace.xtask(&["compose-e2e"]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert!(ended.stdout.contains("\nFAILED compose-e2e: up: user crashes and restarts"), "{}", ended.all());
    assert!(ended.stdout.contains("failed: down: compose down failed: network is in use"), "{}", ended.all());
}

#[test]
fn what_the_shell_exports_for_other_projects_never_reaches_compose() {
    let mut workspace = Workspace::new();
    with_known_image(&workspace);
    for (name, value) in [
        ("DATABASE_URL", "postgres://prod"),
        ("JWT_SIGNING_KEY", "from-the-shell"),
        ("COMPOSE_PROJECT_NAME", "prod"),
        ("COMPOSE_FILE", "x"),
    ] {
        workspace.set(name, value);
    }
    workspace.stub(&format!(
        "case \"$call\" in *\" up --detach\"*) env >\"$STATE/env\" ;; esac\ncase \"$call\" in{CRASH_LOOP}\nesac"
    ));
    workspace.xtask(&["compose-e2e"]);
    let seen = workspace.read("../../state/env");
    assert!(seen.contains("MINI_USER_IMAGE=sha256:user"), "{seen}");
    assert!(seen.contains("GATEWAY_PORT=0"), "{seen}");
    for name in ["DATABASE_URL", "JWT_SIGNING_KEY", "COMPOSE_PROJECT_NAME", "COMPOSE_FILE"] {
        assert!(!seen.lines().any(|line| line.starts_with(&format!("{name}="))), "{name}: {seen}");
    }
    assert!(!workspace.calls().contains("--project-name prod"), "{}", workspace.calls());
}

#[test]
fn the_secrets_of_a_run_are_in_no_output_no_report_and_no_argument_and_gone_afterwards() {
    let workspace = Workspace::new();
    with_known_image(&workspace);
    workspace.stub(&format!("case \"$call\" in{CRASH_LOOP}\nesac"));
    let ended = workspace.xtask(&["-v", "compose-e2e"]);
    for text in [ended.all(), workspace.calls(), workspace.read("target/xtask/reports/compose-e2e.json")] {
        assert!(!text.contains(CANARY), "{text}");
    }
    let runs = std::fs::read_dir(workspace.root.join("target/xtask/e2e")).unwrap();
    let folders: Vec<_> = runs.filter_map(|entry| entry.ok().filter(|entry| entry.path().is_dir())).collect();
    // The stub engine still names a container of the project, so the run's folder stays for the next run to clean up.
    assert!(folders.len() <= 1, "{folders:?}");
    assert!(!workspace.root.join(".env").exists());
}

const DISK_FULL: &str = r#"
  *" up --detach"*) mkdir "$ROOT/target/xtask/e2e/$(value_of --project-name "$@").log"; echo 'no space left on device' >&2; exit 1 ;;"#;

#[test]
fn a_full_disk_stays_the_first_error_and_the_stack_is_torn_down() {
    let workspace = Workspace::new();
    with_known_image(&workspace);
    let root = workspace.root.display().to_string();
    // The log's name is taken by a folder, as a disk that takes no more would refuse it.
    workspace.stub(&format!("ROOT='{root}'\ncase \"$call\" in{DISK_FULL}\nesac"));
    let ended = workspace.xtask(&["compose-e2e"]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    let first = "\nFAILED compose-e2e: up: compose up failed: no space left on device";
    assert!(ended.stdout.contains(first), "{}", ended.all());
    assert!(ended.stderr.contains("the logs could not be kept"), "{}", ended.all());
    assert!(workspace.calls().contains(" down --remove-orphans"), "{}", workspace.calls());
}

#[test]
fn without_room_for_its_folder_a_run_starts_nothing() {
    let workspace = Workspace::new();
    with_known_image(&workspace);
    workspace.write("target/xtask/e2e", "a file where the folder would be");
    let ended = workspace.xtask(&["compose-e2e"]);
    assert_eq!(ended.code, 3, "{}", ended.all());
    assert!(ended.stdout.contains("target/xtask/e2e"), "{}", ended.all());
    assert!(!workspace.calls().contains(" up --detach"), "{}", workspace.calls());
}

#[test]
fn a_base_url_takes_no_fault_no_stack_and_no_unknown_form() {
    let workspace = Workspace::new();
    let url = "--base-url=http://127.0.0.1:1";
    for arguments in [
        &["compose-e2e", url, "--faults"][..],
        &["compose-e2e", url, "--keep"],
        &["compose-e2e", url, "--record"],
        &["compose-e2e", "--base-url=https://shop.example"],
        &["compose-e2e", "--allow-writes"],
        &["compose-e2e", "--faults=no-such-fault"],
    ] {
        let ended = workspace.xtask(arguments);
        assert_eq!(ended.code, 2, "{arguments:?}: {}", ended.all());
    }
    assert_eq!(workspace.calls(), "", "nothing is started for a wrong command line");
}

#[test]
fn beyond_loopback_nothing_is_written_unless_it_is_allowed() {
    let workspace = Workspace::new();
    with_known_image(&workspace);
    // The client tells how it was called, instead of asking anybody.
    workspace.write(
        "e2e/src/main.rs",
        r#"fn main() { println!("{{\"called\":\"{}\"}}", std::env::args().skip(1).collect::<Vec<_>>().join(" ")); }"#,
    );
    workspace.write(".env", "ADMIN_PASSWORD=x\n");
    let called = |arguments: &[&str]| {
        let ended = workspace.xtask(&[&["-v"], arguments].concat());
        assert_eq!(ended.code, 0, "{}", ended.all());
        ended.stdout
    };
    let far = "--base-url=http://192.0.2.1:80";
    let said = called(&["compose-e2e", far]);
    assert!(said.contains("journey --read-only") && said.contains("writes are off because"), "{said}");
    assert!(called(&["compose-e2e", far, "--allow-writes"]).contains("journey --secrets"));
    assert!(called(&["compose-e2e", "--base-url=http://127.0.0.1:1"]).contains("journey --secrets"));
    let ended = workspace.xtask(&["compose-e2e", far, "--allow-writes", "--secrets", "nowhere"]);
    assert_eq!(ended.code, 3, "{}", ended.all());
}
