use crate::workspace::{CANARY, Ended, Workspace};

const CONTRACT: &str = r#"{"schema":1,"service":"mini-user","variables":[
  {"name":"PEER_URL","kind":"required","default":null,"type":"url","secret":false,"file_variant":false,"description":"Where the other one is."},
  {"name":"PORT","kind":"default","default":"8080","type":"port","secret":false,"file_variant":false,"description":"Where it listens."},
  {"name":"ADMIN_PASSWORD","kind":"optional","default":null,"type":"string","secret":true,"file_variant":true,"description":"Who may do all."}]}"#;

const STACK: &str = "services:\n  user:\n    image: ${MINI_USER_IMAGE:-mini-user:local}\n    environment:\n      PEER_URL: http://user:8080\n      ADMIN_PASSWORD: ${ADMIN_PASSWORD:?needed}\n    networks: [inner]\n";

/// What Compose makes of it.
const RENDERED: &str = r#"{"name":"mini","services":{"user":{"image":"${MINI_USER_IMAGE:-mini-user:local}","environment":{"PEER_URL":"http://user:8080","ADMIN_PASSWORD":"${ADMIN_PASSWORD:?needed}"},"networks":{"inner":null},"healthcheck":{"test":["CMD","/mini-user","healthcheck"]}}}}"#;

/// What the engine says of its image.
const INSPECTED: &str = r#"{"Id":"sha256:user","RepoTags":["mini-user:local"],"Architecture":"amd64","Config":{"User":"65532:65532","Healthcheck":{"Test":["CMD","/mini-user","healthcheck"]}}}"#;

/// What a container of a program that keeps its contract does. Values come in docker's own environment.
const GOOD_PROGRAM: &str = r#"
good_program() {
  missing=; malformed=
  case "${PEER_URL:-}" in ""|" ") missing=PEER_URL ;; http://user:8080) ;; *) malformed=PEER_URL ;; esac
  case "${PORT:-8080}" in 8080) ;; *) malformed="$malformed PORT" ;; esac
  echo '{"timestamp":"2026-01-01T00:00:00Z","level":"ERROR","message":"bad environment","missing":"'"$missing"'","malformed":"'"$malformed"'"}'
  exit 78
}
"#;

const GOOD_ENGINE: &str = r#"
  "docker image inspect --format {{json .}} mini-user:local") tr -d '\n' <"$STATE/inspected.json"; exit 0 ;;
  "docker run --rm "*" env --format json") cat "$STATE/contract.json"; exit 0 ;;
  "docker history "*) echo '"ENTRYPOINT [\"/mini-user\"]"' ;;
  "docker run "*" --detach "*) echo c1; exit 0 ;;
  "docker run --name mini-audit-"*) good_program ;;
  "docker inspect --format {{.State.Running}}"*) echo "true 0"; exit 0 ;;
  "docker inspect "*) echo '[]'; exit 0 ;;
  "docker logs "*) echo '{"timestamp":"2026-01-01T00:00:00Z","level":"INFO","message":"listening"}'; exit 0 ;;"#;

fn workspace() -> Workspace {
    let workspace = Workspace::new();
    workspace.know_image(CONTRACT);
    workspace.write("compose.yaml", STACK);
    workspace.write(
        "docs/deployment.md",
        "# Deployment\n\n<!-- contract tables: cargo xtask audit-env --write -->\n<!-- end of contract tables -->\n",
    );
    // For what takes its contract from the image that is there.
    workspace.write("../../state/contract.json", CONTRACT);
    workspace.write("../../state/inspected.json", INSPECTED);
    stub(&workspace, "");
    workspace
}

/// `cases` come first; then a good engine and what Compose answers.
fn stub(workspace: &Workspace, cases: &str) {
    workspace.write("../../state/rendered.json", RENDERED);
    let compose =
        "\n  *\" config --no-interpolate \"*|*\" config --format json\") cat \"$STATE/rendered.json\"; exit 0 ;;";
    workspace.stub(&format!("{GOOD_PROGRAM}case \"$call\" in{cases}{GOOD_ENGINE}{compose}\nesac"));
}

fn written() -> Workspace {
    let workspace = workspace();
    let ended = workspace.xtask(&["audit-env", "--static", "--write"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    workspace
}

fn assert_finding(ended: &Ended, text: &str) {
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert!(ended.stdout.contains("finding: ") && ended.stdout.contains(text), "{}", ended.all());
}

#[test]
fn generated_files_are_written_once_and_then_only_compared() {
    let workspace = workspace();
    let stale = workspace.xtask(&["audit-env", "--static"]);
    assert_finding(&stale, "docs/deployment.md [undocumented-variable]: it has no table `user`");
    assert!(workspace.read(".env.example").is_empty());
    assert_eq!(workspace.xtask(&["audit-env", "--static", "--write"]).code, 0);
    let (example, document) = (workspace.read(".env.example"), workspace.read("docs/deployment.md"));
    assert!(
        example.contains("\nADMIN_PASSWORD=\n") && example.contains("\n#MINI_USER_IMAGE=mini-user:local\n"),
        "{example}"
    );
    assert!(document.contains("| `PORT` | port | `8080` |  | Where it listens. |"), "{document}");
    let ended = workspace.xtask_in("services/user/src", &["-v", "audit-env", "--static", "user"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    let row = ["PEER_URL", "required", "http://user:8080"];
    assert!(ended.stdout.lines().any(|line| row.iter().all(|cell| line.contains(cell))), "{}", ended.all());
    assert_eq!((workspace.read(".env.example"), workspace.read("docs/deployment.md")), (example, document));
}

#[test]
fn a_document_without_a_place_for_the_tables_is_left_alone_and_told() {
    let workspace = workspace();
    workspace.write("docs/deployment.md", "# Deployment\n");
    let ended = workspace.xtask(&["audit-env", "--static", "--write"]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert!(ended.stdout.contains("docs/deployment.md has no lines"), "{}", ended.all());
    assert_eq!(workspace.read("docs/deployment.md"), "# Deployment\n");
}

#[test]
fn a_stack_that_compose_refuses_is_the_repositorys_fault() {
    let workspace = written();
    stub(&workspace, "\n  *\" config \"*) echo 'services must be a mapping' >&2; exit 15 ;;");
    let ended = workspace.xtask(&["audit-env", "--static"]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert!(ended.stdout.contains("Compose refuses compose.yaml: services must be a mapping"), "{}", ended.all());
}

/// Case Q03: without interpolation Compose looks for `include` and `extends` under names that nobody means.
#[test]
fn a_stack_with_a_reference_in_a_path_of_its_own_is_not_checked_and_not_called_broken() {
    let workspace = written();
    let told = "open ${BASE:-base.yaml}: no such file or directory";
    stub(&workspace, &format!("\n  *\" config --no-interpolate \"*) echo '{told}' >&2; exit 1 ;;"));
    let ended = workspace.xtask(&["audit-env", "--static"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert!(ended.stdout.contains("not checked: compose.yaml (") && ended.stdout.contains(told), "{}", ended.all());
    assert!(ended.stdout.contains("next: write that value or path without one"), "{}", ended.all());
    // `pull_policy: ${PULL_POLICY:-always}`, which Compose takes once it is filled in.
    let told = "services.user.pull_policy does not match the pattern";
    stub(&workspace, &format!("\n  *\" config --no-interpolate \"*) echo '{told}' >&2; exit 1 ;;"));
    let ended = workspace.xtask(&["audit-env", "--static"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert!(ended.stdout.contains("not checked: compose.yaml (") && ended.stdout.contains(told), "{}", ended.all());
}

/// Cases Q03 and Q06: what Compose refuses on a closer look is a finding, and the rest is audited.
#[test]
fn what_compose_finds_once_it_fills_in_the_variables_is_a_finding() {
    let workspace = written();
    let refuses =
        "\n  *\" config --format json\") echo 'service \"user\" refers to undefined network inner' >&2; exit 1 ;;";
    stub(&workspace, refuses);
    let ended = workspace.xtask(&["audit-env", "--static"]);
    assert_finding(
        &ended,
        "compose.yaml [inconsistent-stack]: Compose does not start compose.yaml: service \"user\" refers",
    );
    assert!(ended.stdout.contains("FINDINGS audit-env: 1 "), "{}", ended.all());
    workspace.write("docker-compose.override.yml", "services: {}\n");
    stub(&workspace, "\n  *docker-compose.override.yml*\" config \"*) echo 'no such thing' >&2; exit 15 ;;");
    let ended = workspace.xtask(&["audit-env", "--static"]);
    assert_finding(
        &ended,
        "docker-compose.override.yml [unreadable-file]: Compose refuses compose.yaml with docker-compose.override.yml",
    );
}

/// Compose gets stand-ins for what has to be set, and what it says of those is nobody's fault.
#[test]
fn what_compose_says_of_a_stand_in_is_no_finding() {
    let workspace = written();
    let of_a_duration = "echo \"time: missing unit in duration $ADMIN_PASSWORD\" >&2; exit 1 ;;";
    stub(
        &workspace,
        &format!(
            "\n  *\" config --format json\") [ \"$ADMIN_PASSWORD\" = 31337s ] || {{ {}; }}\n  cat \"$STATE/rendered.json\"; exit 0 ;;",
            of_a_duration.trim_end_matches(" ;;")
        ),
    );
    let ended = workspace.xtask(&["audit-env", "--static"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert!(!ended.stdout.contains("not checked"), "{}", ended.all());
    stub(&workspace, &format!("\n  *\" config --format json\") {of_a_duration}"));
    let ended = workspace.xtask(&["audit-env", "--static"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    let unchecked = "not checked: the consistency of compose.yaml (Compose says `time: missing unit in duration 31337`";
    assert!(ended.stdout.contains(unchecked), "{}", ended.all());
}

/// Without interpolation Compose prints the number, and a container gets what Go makes of it.
#[test]
fn a_number_without_quotes_is_what_a_container_gets() {
    let workspace = written();
    let with = |port: &str| RENDERED.replace("\"PEER_URL\"", &format!("\"PORT\":{port},\"PEER_URL\""));
    workspace.write("../../state/filled.json", &with("\"8.08e+03\""));
    stub(&workspace, "\n  *\" config --format json\") cat \"$STATE/filled.json\"; exit 0 ;;");
    workspace.write("../../state/rendered.json", &with("8080"));
    let ended = workspace.xtask(&["audit-env", "--static"]);
    assert_finding(&ended, "8.08e+03");
}

/// As a person's `docker compose` in this shell takes them, whatever `.env` says.
#[test]
fn the_files_that_this_shell_names_are_audited() {
    let mut workspace = written();
    workspace.write(".env", "COMPOSE_FILE=nowhere.yaml\n");
    workspace.write("dev.yaml", "services: {}\n");
    workspace.set("COMPOSE_FILE", "compose.yaml:dev.yaml");
    stub(&workspace, "\n  *dev.yaml*\" config \"*) echo 'no such thing' >&2; exit 15 ;;");
    let ended = workspace.xtask(&["audit-env", "--static"]);
    assert_finding(&ended, "dev.yaml [unreadable-file]: Compose refuses compose.yaml with dev.yaml");
    assert!(!ended.stdout.contains("nowhere.yaml"), "{}", ended.all());
    workspace.set("COMPOSE_ENV_FILES", "other.env");
    let other = workspace.xtask(&["audit-env", "--static"]);
    assert!(other.stdout.contains("COMPOSE_ENV_FILES is set in this environment"), "{}", other.all());
}

/// The contract comes from what is there, and the report says what that is.
#[test]
fn a_static_audit_builds_nothing_unless_asked() {
    let workspace = written();
    assert!(!workspace.calls().contains("bake"), "{}", workspace.calls());
    let ended = workspace.xtask(&["audit-env", "--static"]);
    assert!(ended.stderr.contains("the contract of user comes from the image mini-user:local"), "{}", ended.all());
    let built = workspace.xtask(&["audit-env", "--static", "--build"]);
    assert_eq!(built.code, 0, "{}", built.all());
    assert!(!built.stderr.contains("comes from the image"), "{}", built.all());
    let gone = "\n  \"docker image inspect --format {{json .}} mini-user:local\") echo 'Error: No such image: mini-user:local' >&2; exit 1 ;;";
    stub(&workspace, gone);
    let none = workspace.xtask(&["audit-env", "--static"]);
    let told = "not checked: the contract of user (there is no image mini-user:local and no program mini-user in target/debug or target/release";
    assert!(none.stdout.contains(told) && !none.stdout.contains("finding: "), "{}", none.all());
    assert_eq!(workspace.xtask(&["audit-env", "--build"]).code, 2);
}

#[test]
fn an_unknown_image_is_a_usage_error_that_starts_nothing() {
    let workspace = written();
    let before = workspace.calls().len();
    let ended = workspace.xtask(&["audit-env", "usr"]);
    assert_eq!(ended.code, 2, "{}", ended.all());
    assert_eq!(workspace.calls().len(), before);
}

#[test]
fn an_image_is_tried_once_and_everything_that_was_started_is_looked_for_afterwards() {
    let workspace = written();
    let first = workspace.xtask(&["audit-env"]);
    assert_eq!(first.code, 0, "{}", first.all());
    // Documented, nonsense, nothing twice, missing, blank, malformed, five rounds of all malformed.
    assert!(
        first.stdout.contains(" 1 images proved ") && first.stdout.contains(" 12 containers tried "),
        "{}",
        first.all()
    );
    let calls = workspace.calls();
    let run = "--read-only --cap-drop ALL --security-opt no-new-privileges";
    let containers =
        |calls: &str| calls.lines().filter(|call| call.starts_with("docker run --name mini-audit-")).count();
    assert_eq!(containers(&calls), 12, "{calls}");
    let names: std::collections::BTreeSet<_> = calls
        .lines()
        .filter(|call| call.starts_with("docker run --name mini-audit-"))
        .filter_map(|call| call.split(' ').nth(3))
        .collect();
    assert_eq!(names.len(), 12, "each has a name of its own: {calls}");
    for call in calls.lines().filter(|call| call.starts_with("docker run --name mini-audit-")) {
        assert!(
            call.contains(run)
                && call.contains("--label xtask.run=mini-audit-")
                && call.contains("--label xtask.checkout="),
            "{call}"
        );
    }
    assert!(calls.contains("docker network create --internal --label xtask.run=mini-audit-"), "{calls}");
    for list in
        ["docker ps --all --quiet --filter label=xtask.run=", "docker network ls --quiet --filter label=xtask.run="]
    {
        assert!(calls.contains(list), "{calls}");
    }
    let again = workspace.xtask(&["audit-env"]);
    assert!(
        again.stdout.contains(" 1 images proved ") && again.stdout.contains(" 12 containers tried "),
        "{}",
        again.all()
    );
    assert_eq!(containers(&workspace.calls()), 12);
}

#[test]
fn a_program_that_behaves_badly_is_found_and_tried_again_next_time() {
    let workspace = written();
    let panics = "[ -n \"${PEER_URL+x}\" ] || { echo 'thread main panicked' >&2; exit 101; }";
    let detached = "\n  \"docker run \"*\" --detach \"*) echo c1; exit 0 ;;";
    stub(&workspace, &format!("{detached}\n  \"docker run --name \"*) {panics}; good_program ;;"));
    let ended = workspace.xtask(&["audit-env"]);
    assert_finding(&ended, "image of user [wrong-ending]: user without PEER_URL gives exit code 101, not 78");
    let before = workspace.calls().len();
    workspace.xtask(&["audit-env"]);
    assert!(workspace.calls()[before..].contains("docker run --name mini-audit-"), "{}", workspace.calls());
}

#[test]
fn an_engine_that_breaks_in_the_middle_is_told_and_cleaned_up_after() {
    let workspace = written();
    stub(&workspace, "\n  \"docker run --name \"*) echo 'no space left on device' >&2; exit 125 ;;");
    workspace.write("docker-compose.yml", "services: {}\n");
    let ended = workspace.xtask(&["audit-env"]);
    // A finding outranks what could not be done.
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert!(ended.stdout.contains("no space left on device"), "{}", ended.all());
    // What the places disagree about is told all the same.
    let told = "docker-compose.yml [other-stack-file]: docker-compose.yml stands beside compose.yaml";
    assert!(ended.stdout.contains(told), "{}", ended.all());
    assert!(workspace.calls().contains("docker network ls --quiet --filter label=xtask.run="), "{}", workspace.calls());
    let runs = std::fs::read_dir(workspace.root.join("target/xtask/audit/runs")).unwrap();
    assert_eq!(runs.count(), 0);
}

/// Case L01, over every way that the audit can end.
#[test]
fn a_secret_is_in_no_output_no_report_no_record_and_no_argument() {
    for cases in [
        String::new(),
        format!("\n  \"docker history \"*) echo '\"RUN echo {CANARY}\"'; exit 0 ;;"),
        "\n  \"docker run --name \"*) exit 1 ;;".to_owned(),
        "\n  \"docker run --name \"*) exit 125 ;;".to_owned(),
        "\n  \"docker history \"*) exit 1 ;;".to_owned(),
        "\n  *\" config --no-interpolate \"*) exit 1 ;;".to_owned(),
    ] {
        let mut workspace = written();
        workspace.write(".env", &format!("ADMIN_PASSWORD={CANARY}\nADMIN_PASWORD={CANARY}\nOTHER=$x{CANARY}\n"));
        workspace.set("RUST_BACKTRACE", "1");
        workspace.set("ADMIN_PASSWORD", CANARY);
        stub(&workspace, &cases);
        let ended = workspace.xtask(&["-v", "audit-env"]);
        assert_ne!(ended.code, 0, "{}", ended.all());
        let mut texts = vec![ended.all(), workspace.calls()];
        for file in [
            "reports/audit-env.json",
            "audit/matrix.md",
            "audit/matrix.json",
            "audit/matrix.txt",
            "audit/live/user.json",
        ] {
            texts.push(workspace.read(&format!("target/xtask/{file}")));
        }
        for text in texts {
            assert!(!text.contains(CANARY), "{text}");
        }
    }
}

#[test]
fn without_kubectl_the_base_alone_is_read_and_the_overlays_are_not_checked() {
    let workspace = written();
    workspace.write("k8s/base/kustomization.yaml", "resources: [user.yaml]\n");
    let pod = "kind: Pod\nmetadata: { name: user }\nspec:\n  containers:\n  - name: user\n    image: mini-user:local\n    env:\n    - { name: PER_URL, value: http://user:8080 }\n";
    workspace.write("k8s/base/user.yaml", pod);
    // One that is too old, and no way to another.
    workspace.stub_program("kubectl", "#!/bin/sh\necho 'Client Version: v1.2.0'");
    workspace.stub_program("python3", "#!/bin/sh\nexit 1");
    let ended = workspace.xtask(&["audit-env", "--static"]);
    assert_finding(&ended, "k8s/base/user.yaml:8 [unknown-variable]: PER_URL of user is in no contract of its image");
    let unchecked = "not checked: k8s/overlays/local and k8s/overlays/production (k8s/base alone was read) (kubectl could not be fetched";
    assert!(ended.stdout.contains(unchecked), "{}", ended.all());
}

#[test]
fn manifests_that_kustomize_refuses_are_the_repositorys_fault() {
    let workspace = written();
    workspace.write("k8s/base/kustomization.yaml", "resources: []\n");
    workspace.stub_program(
        "kubectl",
        "#!/bin/sh\ncase \"$1\" in version) echo 'Client Version: v1.37.1' ;; *) echo 'no such patch' >&2; exit 1 ;; esac",
    );
    let ended = workspace.xtask(&["audit-env", "--static"]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert!(ended.all().contains("kustomize refuses k8s/overlays/local: no such patch"), "{}", ended.all());
}
