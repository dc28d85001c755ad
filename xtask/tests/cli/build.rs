//! `build-images`: what it asks of its tools and what it makes of their answers.

#[cfg(feature = "engine-tests")]
mod engine;

use crate::workspace::{CANARY, Workspace, stub_command};

#[test]
fn an_image_that_only_the_build_cache_has_is_no_success() {
    let workspace = Workspace::new();
    workspace.stub(
        r#"case "$call" in
  "docker buildx bake"*) echo '{"user":{}}' >"$(value_of --metadata-file "$@")"
    echo 'WARNING: No output specified. Build result will only remain in the build cache' >&2; exit 0 ;;
esac
case "$call" in *" mini-user:local") gone=mini-user:local ;; esac"#,
    );
    let ended = workspace.xtask(&["build-images"]);
    assert_eq!(ended.code, 3, "{}", ended.all());
    assert!(ended.stdout.contains("mini-user:local was built but is not in the local engine"), "{}", ended.all());
}

#[test]
fn a_failed_build_is_the_repositorys_fault_and_its_words_reach_the_screen() {
    let workspace = Workspace::new();
    workspace.stub(
        r#"case "$call" in "docker buildx bake"*) echo 'error[E0425]: cannot find value `x`' >&2; exit 1 ;; esac"#,
    );
    let ended = workspace.xtask(&["build-images"]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert_eq!(ended.all().matches("error[E0425]").count(), 1, "whole and once: {}", ended.all());
    assert!(ended.stdout.ends_with("run it again: cargo xtask build-images\n"), "{}", ended.all());
}

#[test]
fn a_build_that_lacks_a_program_of_the_system_says_which_package_to_name() {
    let workspace = Workspace::new();
    // A build script's words as buildx hands them on: base64 inside a line of JSON.
    workspace.stub(
        r#"case "$call" in "docker buildx bake"*) cat >&2 <<'END'
{"vertexes":[{"digest":"sha256:1","name":"[user dependencies 2/2] RUN cargo build","started":"2026-01-01T00:00:00Z"}]}
{"logs":[{"vertex":"sha256:1","data":"ZXJyb3I6IGZhaWxlZCB0byBydW4gY3VzdG9tIGJ1aWxkIGNvbW1hbmQgZm9yIGBvcGVuc3NsLXN5c2AKICBDb21tYW5kICdwZXJsJyBub3QgZm91bmQuIElzIHBlcmwgaW5zdGFsbGVkPwo="}]}
{"vertexes":[{"digest":"sha256:1","name":"[user dependencies 2/2] RUN cargo build","completed":"2026-01-01T00:00:01Z","error":"exit code: 101"}]}
END
exit 1 ;; esac"#,
    );
    let ended = workspace.xtask(&["build-images"]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    let next = "perl is missing in the builder; next: name the package `perl` in xtask/docker/packages.txt";
    assert!(ended.stdout.contains(next), "{}", ended.all());
}

#[test]
fn a_program_that_needs_a_loader_never_passes_as_an_image() {
    // The stub image holds this test's own program, which is linked dynamically.
    let workspace = Workspace::new();
    let ended = workspace.xtask(&["build-images"]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert!(
        ended.stdout.contains("services/user/Dockerfile [image-program]: user: the program is not static"),
        "{}",
        ended.all()
    );
    assert!(!workspace.calls().contains("docker create"), "{}", workspace.calls());
}

#[test]
fn pull_is_off_with_its_reason_for_a_base_that_only_this_machine_has() {
    let workspace = Workspace::new();
    workspace.write("xtask/bases/rust.sh", "");
    workspace.write("xtask/bases/postgres.sh", "");
    workspace.write("xtask/bases/no-default-cluster.sh", "");
    // The recipe of the local base is the hash that git gives; everything else is left to the real git.
    workspace.stub_program(
        "git",
        "#!/bin/sh\ncase \"$1\" in hash-object) echo 1ec1be ;; *) PATH=${PATH#*:} exec git \"$@\" ;; esac\n",
    );
    workspace.stub("gone=rust:*; recipe=1ec1be");
    let remote = workspace.xtask(&["-v", "build-images", "--dry-run", "--pull"]);
    assert_eq!(remote.code, 0, "{}", remote.all());
    assert!(remote.stdout.contains("--pull is off: mini-base/rust:local was made on this machine"), "{}", remote.all());
    assert!(remote.stdout.contains("\"pull\":false"), "{}", remote.all());
}

#[test]
fn pull_is_on_for_a_base_from_a_registry() {
    let ended = Workspace::new().xtask(&["-v", "build-images", "--dry-run", "--pull"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert!(ended.stdout.contains("\"pull\":true"), "{}", ended.all());
}

#[test]
fn an_image_without_a_dockerfile_stops_before_docker_is_called_with_what_to_do() {
    let workspace = Workspace::new();
    workspace.write("services/user/Dockerfile.bak", "");
    std::fs::remove_file(workspace.root.join("services/user/Dockerfile")).unwrap();
    for arguments in [&["build-images"][..], &["build-images", "--dry-run"]] {
        let ended = workspace.xtask(arguments);
        assert_eq!(ended.code, 1, "{}", ended.all());
        assert!(ended.stdout.contains("has no services/user/Dockerfile; next: copy"), "{}", ended.all());
    }
    assert_eq!(workspace.calls(), "");
}

#[test]
fn a_workspace_without_an_image_package_is_told_what_makes_one() {
    let workspace = Workspace::new();
    workspace.write(
        "services/user/Cargo.toml",
        "[package]\nname = \"mini-user\"\nversion = \"0.1.0\"\nedition = \"2024\"\n",
    );
    for command in ["build-images", "verify"] {
        let ended = workspace.xtask(&[command]);
        assert_eq!(ended.code, 2, "{}", ended.all());
        assert!(ended.stdout.contains("`[package.metadata.image]`"), "{}", ended.all());
    }
}

#[test]
fn a_cache_that_the_builder_cannot_export_is_refused_before_anything_is_built() {
    let workspace = Workspace::new();
    for (arguments, flag) in [
        (&["--cache", "registry.example/cache"][..], "--cache refused: the engine's own builder exports no cache"),
        (&["--platform", "linux/riscv64"], "--platform refused: this builder builds linux/amd64"),
    ] {
        let ended = workspace.xtask(&[&["build-images"], arguments].concat());
        assert_eq!(ended.code, 3, "{}", ended.all());
        assert!(ended.stdout.contains(flag), "{}", ended.all());
    }
    assert!(!workspace.calls().contains(" bake "), "{}", workspace.calls());
    let ended = workspace.xtask(&["build-images", "--cache", "registry.example/cache:tag"]);
    assert!(ended.code == 2 && ended.stderr.contains("without a tag"), "{}", ended.all());
}

#[test]
fn a_builder_of_ones_own_is_asked_for_what_it_can() {
    let mut workspace = Workspace::new();
    workspace.stub(
        r#"case "$call" in "docker buildx inspect") printf 'Driver:        docker-container\nPlatforms:        linux/amd64, linux/arm64\n'; exit ;; esac"#,
    );
    let ended = workspace.xtask(&["build-images", "--dry-run", "--cache", "type=gha"]);
    assert_eq!(ended.code, 3, "{}", ended.all());
    assert!(ended.stdout.contains("--cache refused: ACTIONS_RUNTIME_TOKEN"), "{}", ended.all());
    workspace.set("ACTIONS_RUNTIME_TOKEN", CANARY);
    workspace.set("ACTIONS_RESULTS_URL", "https://results.example/");
    let ended =
        workspace.xtask(&["-v", "build-images", "--dry-run", "--cache", "type=gha", "--platform", "linux/arm64"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    for words in ["type=gha,scope=mini-user,mode=max", "\"platforms\":[\"linux/arm64\"]", "SOURCE_DATE_EPOCH"] {
        assert!(ended.stdout.contains(words), "{words}: {}", ended.all());
    }
    assert!(!ended.all().contains(CANARY), "{}", ended.all());
}

#[test]
fn a_full_disk_during_the_build_is_the_machines_fault_with_its_next_step() {
    let workspace = Workspace::new();
    workspace.stub(
        r#"case "$call" in "docker buildx bake"*) echo 'ERROR: failed to solve: write /x: no space left on device' >&2; exit 1 ;; esac"#,
    );
    let ended = workspace.xtask(&["build-images"]);
    assert_eq!(ended.code, 3, "{}", ended.all());
    assert!(ended.stdout.contains("the disk is full"), "{}", ended.all());
    assert!(ended.stdout.contains("next: `docker system df`"), "{}", ended.all());
    // A usable state: with room again the same command goes on.
    workspace.stub("");
    let again = workspace.xtask(&["build-images", "--dry-run"]);
    assert_eq!(again.code, 0, "{}", again.all());
}

#[test]
fn an_engine_that_goes_away_in_the_middle_is_the_machines_fault_and_is_named() {
    let workspace = Workspace::new();
    workspace.stub(
        r#"case "$call" in "docker buildx bake"*) echo 'ERROR: failed to receive status: rpc error: code = Unavailable desc = error reading from server: EOF' >&2; exit 1 ;; esac"#,
    );
    let ended = workspace.xtask(&["build-images"]);
    assert_eq!(ended.code, 3, "{}", ended.all());
    assert!(ended.stdout.contains("the docker engine went away during the build; next:"), "{}", ended.all());
    let left: Vec<_> = std::fs::read_dir(workspace.root.join("target/xtask/build")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn two_builds_at_once_share_no_file() {
    let workspace = Workspace::new();
    workspace.stub(
        r#"case "$call" in "docker buildx bake"*)
  echo "$(value_of --file "$@")" >>"$STATE/files"
  # Each waits until the other is here, at most 30 s.
  tries=0; while [ "$(wc -l <"$STATE/files")" -lt 2 ] && [ $tries -lt 300 ]; do sleep 0.1; tries=$((tries + 1)); done
  [ -s "$(value_of --file "$@")" ] && [ "$(sort -u "$STATE/files" | wc -l)" = 2 ] || { echo 'ERROR: met another build' >&2; exit 9; } ;;
esac"#,
    );
    let codes: Vec<_> = std::thread::scope(|scope| {
        let build = || workspace.xtask(&["build-images"]);
        let builds = [scope.spawn(build), scope.spawn(build)];
        builds.into_iter().map(|build| build.join().unwrap()).collect()
    });
    for ended in codes {
        // The stub image holds a program that is not static: so far, and no further, each build comes.
        assert!(
            ended.code == 1
                && ended.stdout.contains("services/user/Dockerfile [image-program]: user: the program is not static"),
            "{}",
            ended.all()
        );
    }
}

/// Case N01: the exception was about no image at all, and nobody said so.
#[test]
fn an_exception_that_nothing_needs_or_about_no_image_is_a_finding() {
    let workspace = Workspace::new();
    let policy = workspace.read("xtask/policy/images.toml");
    for scope in ["user/none", "user: user", "gone"] {
        workspace.write("xtask/policy/images.toml", &format!("{policy}{}", crate::scan::exception(scope, -1, 30)));
        let ended = workspace.xtask(&["build-images"]);
        assert!(ended.stdout.contains("[exception-unmatched]"), "{scope}: {}", ended.all());
    }
    workspace.write("xtask/policy/images.toml", &policy);
    assert!(!workspace.xtask(&["build-images"]).stdout.contains("[exception-"));
}

/// What needs no image to be found is found before anything is built.
#[test]
fn a_dry_run_finds_what_a_build_finds_of_the_repository() {
    let workspace = Workspace::new();
    workspace.know_image(r#"{"service":"mini-user","variables":[]}"#);
    workspace.write("xtask/policy/images/gone.toml", "");
    let policy = workspace.read("xtask/policy/images.toml");
    workspace.write("xtask/policy/images.toml", &format!("{policy}gone = 5\n"));
    for arguments in [&["build-images"][..], &["build-images", "--dry-run"]] {
        let ended = workspace.xtask(arguments);
        assert_eq!(ended.code, 1, "{}", ended.all());
        for finding in [
            "xtask/policy/images/gone.toml [image-golden-stale]: there is no image `gone`",
            "xtask/policy/images.toml [image-limit-stale]: limit-bytes.gone is about no image",
        ] {
            assert!(ended.stdout.contains(finding), "{finding}: {}", ended.all());
        }
    }
    std::fs::remove_file(workspace.root.join("xtask/policy/images/gone.toml")).unwrap();
    workspace.write("xtask/policy/images.toml", &policy);
    for arguments in [&["build-images"][..], &["build-images", "--dry-run"]] {
        let ended = workspace.xtask(arguments);
        assert_eq!(ended.code, 0, "{}", ended.all());
    }
    std::fs::remove_file(workspace.root.join("xtask/policy/images/user.toml")).unwrap();
    workspace.write("xtask/policy/images.toml", &policy.replace("user = 10", ""));
    for arguments in [&["build-images"][..], &["build-images", "--dry-run"]] {
        let ended = workspace.xtask(arguments);
        for rule in ["[image-without-golden]: user: ", "[image-without-limit]: user: "] {
            assert!(ended.stdout.contains(rule), "{}", ended.all());
        }
    }
}

#[test]
fn a_line_that_copies_what_is_not_there_is_named_before_docker_is_called() {
    let workspace = Workspace::new();
    let copy = "FROM scratch\nCOPY services/user/src /src\nCOPY services/gone/Cargo.toml services/gone/\nCOPY mini-user /mini-user\n";
    workspace.write("services/user/Dockerfile", copy);
    for arguments in [&["build-images"][..], &["build-images", "--dry-run"], &["build-images", "--strategy", "host"]] {
        let ended = workspace.xtask(arguments);
        assert_eq!(ended.code, 1, "{}", ended.all());
        assert!(
            ended
                .stdout
                .contains("services/user/Dockerfile:3 [input-not-there]: user: `services/gone/Cargo.toml` is copied"),
            "{}",
            ended.all()
        );
        assert_eq!(ended.stdout.matches("[input-not-there]").count(), 1, "{}", ended.all());
    }
    assert!(!workspace.calls().contains("bake"), "{}", workspace.calls());
}

#[test]
fn a_dependency_that_only_this_machine_has_is_named_before_docker_is_called() {
    let workspace = Workspace::new();
    let outside = workspace.root.parent().unwrap().join("elsewhere");
    std::fs::create_dir_all(outside.join("src")).unwrap();
    std::fs::write(outside.join("Cargo.toml"), "[package]\nname = \"elsewhere\"\nversion = \"0.1.0\"\n").unwrap();
    std::fs::write(outside.join("src/lib.rs"), "").unwrap();
    let manifest = workspace.read("services/user/Cargo.toml");
    let address = format!("file://{}", outside.display()).replace(' ', "%20");
    for (dependency, named) in [
        (format!("{{ git = \"{address}\" }}"), address.as_str()),
        ("{ path = \"../../../elsewhere\" }".to_owned(), outside.to_str().unwrap()),
    ] {
        workspace.write("services/user/Cargo.toml", &format!("{manifest}[dependencies]\nelsewhere = {dependency}\n"));
        for arguments in [&["build-images"][..], &["build-images", "--dry-run"]] {
            let ended = workspace.xtask(arguments);
            assert_eq!(ended.code, 1, "{}", ended.all());
            let finding = format!(
                "services/user/Cargo.toml [input-outside]: user depends on {named}, which only this machine has"
            );
            assert!(ended.stdout.contains(&finding), "{}", ended.all());
        }
    }
    assert!(!workspace.calls().contains("bake"), "{}", workspace.calls());
}

/// To start a program takes longer than its answer: with nothing changed these are the ones that are needed.
#[test]
fn with_nothing_changed_few_programs_are_started() {
    let mut workspace = Workspace::new();
    workspace.know_image(r#"{"service":"mini-user","variables":[]}"#);
    for plugin in ["docker-buildx", "docker-compose"] {
        workspace.write(&format!("target/docker/cli-plugins/{plugin}"), "");
    }
    let configuration = workspace.root.join("target/docker").display().to_string();
    workspace.set("DOCKER_CONFIG", &configuration);
    ["git", "rustc"].into_iter().for_each(|program| workspace.log_calls_of(program));
    let first = workspace.xtask(&["build-images"]);
    assert!(first.code == 0 && workspace.calls().contains("docker buildx bake"), "{}", first.all());
    let before = workspace.calls().lines().count();
    let ended = workspace.xtask(&["build-images"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    let calls = workspace.calls();
    let mut calls: Vec<_> = calls.lines().skip(before).collect();
    calls.sort_unstable();
    let begin = [
        "docker image inspect --format {{json .}} postgres:17-trixie mini-base/postgres:local rust:",
        "docker image inspect --format {{json .}} sha256:user mini-user:local",
        "docker version --format {{.Server.Version}}",
        "git log -1 ",
        "git ls-files -z --cached",
        "git ls-files -z --exclude-standard --others --ignored -- services/user",
        "git remote get-url origin",
        "git rev-parse --is-shallow-repository --show-prefix",
        "git status --porcelain -z --no-renames --untracked-files=all -- .",
    ];
    assert!(
        calls.len() == begin.len() && calls.iter().zip(begin).all(|(call, begin)| call.starts_with(begin)),
        "{calls:#?}"
    );
}

/// The builder gets the inputs and nothing else, so no list of what to leave out keeps anything from it.
#[test]
fn a_dockerignore_that_lists_what_to_leave_out_changes_nothing_and_is_not_complained_about() {
    let workspace = Workspace::new();
    workspace.know_image(r#"{"service":"mini-user","variables":[]}"#);
    workspace.write(".dockerignore", "target\n.git\n**/*.md\nservices/user/src\n");
    let ended = workspace.xtask(&["build-images"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert!(!ended.all().contains("dockerignore"), "{}", ended.all());
    assert!(workspace.root.join("target/xtask/context/services/user/src/main.rs").is_file());
    assert!(!workspace.root.join("target/xtask/context/.dockerignore").exists());
}

#[test]
fn a_program_that_says_nothing_is_an_empty_stand_in_and_one_without_the_interface_is_told_where_it_stands() {
    let workspace = Workspace::new();
    workspace.know_image(r#"{"service":"mini-user","variables":[]}"#);
    let facts = workspace.read("target/xtask/images/user.json");
    let (before, _) = facts.split_once("\"program\":{").unwrap();
    let unknown = format!("{before}\"program\":null}}");
    for (answer, finding) in [
        (
            "exit 0",
            "[image-other-program]: user: its program prints nothing at all: an empty stand-in was compiled in its place",
        ),
        ("echo 'unknown option --version' >&2; exit 2", "[image-interface]: user: its program fails on "),
        ("echo mini-user", "[image-interface]: user: `mini-user env --format json` prints no JSON"),
    ] {
        workspace.write("target/xtask/images/user.json", &unknown);
        workspace.stub(&format!("case \"$call\" in \"docker run \"*) {answer}; exit 0 ;; esac"));
        let ended = workspace.xtask(&["build-images"]);
        assert_eq!(ended.code, 1, "{}", ended.all());
        assert!(ended.stdout.contains(finding), "{finding}: {}", ended.all());
        assert!(
            finding.contains("other-program")
                || ended.stdout.contains("docs/adopting.md says what a program has to offer"),
            "{}",
            ended.all()
        );
    }
}

/// Case O06: `cargo xtask` fixed the lock in silence.
#[test]
fn a_stale_lock_is_an_error_of_cargo_xtask_and_stays_as_it_is() {
    let workspace = Workspace::new();
    let alias = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../.cargo/config.toml")).unwrap();
    workspace.write(".cargo/config.toml", &alias);
    for lock in ["version = 4\n", ""] {
        workspace.write("Cargo.lock", lock);
        let mut cargo = stub_command("cargo");
        cargo.arg("xtask").current_dir(&workspace.root).env_remove("CARGO_TARGET_DIR").env("CARGO_NET_OFFLINE", "true");
        let output = cargo.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("--locked"), "{said}");
        assert_eq!(workspace.read("Cargo.lock"), lock);
    }
}
