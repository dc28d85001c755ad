//! `compose-e2e --compare` with sets that cannot be compared.

use crate::e2e::with_known_image;
use crate::workspace::Workspace;

fn nothing_was_started(workspace: &Workspace) {
    assert!(!workspace.calls().contains(" up --detach"), "{}", workspace.calls());
}

#[test]
fn a_set_that_is_none_is_a_wrong_command_line_and_starts_nothing() {
    let workspace = Workspace::new();
    with_known_image(&workspace);
    for (arguments, words) in [
        (&["--compare", "no-such-revision"][..], "`no-such-revision` is no revision of this repository"),
        (&["--compare", "basket=x:1"], "there is no image `basket`; the images are user"),
        (&["--compare", ":local", "--rounds", "2"], "2 is not in 3..=100"),
        (&["--compare", "user="], "is not NAME=REFERENCE"),
        (&["--compare", ""], "no revision, tag or file is named"),
    ] {
        let ended = workspace.xtask(&[&["compose-e2e"], arguments].concat());
        assert_eq!(ended.code, 2, "{arguments:?}: {}", ended.all());
        assert!(ended.all().contains(words), "{arguments:?}: {}", ended.all());
    }
    nothing_was_started(&workspace);
    assert!(!workspace.calls().contains(" bake "), "nothing is built for a wrong command line: {}", workspace.calls());
}

#[test]
fn an_image_that_the_engine_does_not_have_is_named() {
    let workspace = Workspace::new();
    with_known_image(&workspace);
    workspace
        .stub("case \"$call\" in *mini-user:gone*) echo 'Error: No such image: mini-user:gone' >&2; exit 1 ;; esac");
    for set in [":gone", "user=mini-user:gone"] {
        let ended = workspace.xtask(&["compose-e2e", "--compare", set]);
        assert_eq!(ended.code, 3, "{set}: {}", ended.all());
        assert!(ended.stdout.contains("refused: not in the engine: mini-user:gone"), "{set}: {}", ended.all());
    }
    nothing_was_started(&workspace);
}

#[test]
fn an_image_of_another_project_is_refused() {
    let workspace = Workspace::new();
    with_known_image(&workspace);
    workspace.know_image(r#"{"service":"other-program"}"#);
    let ended = workspace.xtask(&["compose-e2e", "--compare", ":local", "--with", "user=other:1"]);
    assert_eq!(ended.code, 2, "{}", ended.all());
    let words = "mini-user:local is not an image of mini-user: its program does not print that package's contract";
    assert!(ended.stdout.contains(words), "{}", ended.all());
    nothing_was_started(&workspace);
}

#[test]
fn a_lock_has_to_be_there_and_to_be_one_of_these_packages() {
    let workspace = Workspace::new();
    with_known_image(&workspace);
    let compare = || workspace.xtask(&["compose-e2e", "--compare", "images.lock.json"]);
    let ended = compare();
    assert_eq!(ended.code, 3, "{}", ended.all());
    assert!(ended.stdout.contains("read the lock images.lock.json"), "{}", ended.all());
    workspace.write("images.lock.json", "{}");
    assert_eq!(compare().code, 2);
    let image = r#"{"package":"other-cart","reference":"r.example/other-cart@sha256:1","tags":[],"id":"sha256:1","revision":"1","inputs":"","sbom":null}"#;
    let lock = format!(
        r#"{{"schema":2,"version":"1","revision":"1","verified":"2026-01-01","registry":"r.example","builder":"b","images":{{"cart":{image}}},"bases":{{}},"engine":"1","tools":{{}},"database":null,"checked":[],"unchecked":[],"signed":false}}"#
    );
    workspace.write("images.lock.json", &lock);
    let ended = compare();
    assert_eq!(ended.code, 2, "{}", ended.all());
    assert!(ended.stdout.contains("has no image of mini-user; it has other-cart"), "{}", ended.all());
    assert!(!workspace.calls().contains("docker pull"), "{}", workspace.calls());
    nothing_was_started(&workspace);
}

const CRASH_LOOP: &str = r#"
  "docker ps --all --quiet --no-trunc"*) echo c1 ;;
  "docker inspect c1") echo '[{"Id":"c1","Image":"sha256:user","RestartCount":3,"State":{"Status":"restarting","ExitCode":1},"Config":{"Labels":{"com.docker.compose.service":"user"}}}]'; exit 0 ;;
  "docker compose "*" config --format json") echo '{"services":{"user":{"healthcheck":{}}}}' ;;"#;

/// Twice the same set is fine; one that does not come up is named, and both stacks are torn down.
#[test]
fn both_stacks_are_torn_down_when_a_set_does_not_come_up() {
    let workspace = Workspace::new();
    with_known_image(&workspace);
    workspace.stub(&format!("case \"$call\" in{CRASH_LOOP}\nesac"));
    let ended = workspace.xtask(&["compose-e2e", "--compare", ":local", "--with", ":local"]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    let words = "FAILED compose-e2e: comparison: :local (before): user crashes and restarts";
    assert!(ended.stdout.contains(words), "{}", ended.all());
    let calls = workspace.calls();
    for verb in [" up --detach", " down --remove-orphans"] {
        assert_eq!(calls.matches(verb).count(), 2, "{verb}: {calls}");
    }
    assert_eq!(calls.matches("more.json up --detach").count(), 2, "both have what a comparison adds: {calls}");
}
