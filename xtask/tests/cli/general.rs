use crate::workspace::{CANARY, Workspace};

#[test]
fn an_unknown_image_is_a_usage_error_that_lists_the_known_ones_and_starts_nothing() {
    let workspace = Workspace::new();
    let ended = workspace.xtask(&["build-images", "usr"]);
    assert_eq!(ended.code, 2, "{}", ended.all());
    assert!(ended.stdout.contains("there is no image `usr`; the images are user"), "{}", ended.all());
    assert_eq!(workspace.calls(), "");
}

#[test]
fn what_cannot_be_meant_is_a_usage_error_in_plain_words_and_starts_nothing() {
    let workspace = Workspace::new();
    let host = workspace.xtask(&["build-images", "--strategy", "host", "--platform", "linux/arm64"]);
    assert!(host.code == 2 && host.stdout.contains("is for --strategy container"), "{}", host.all());
    let overlay = workspace.xtask(&["kubernetes-e2e", "--overlay", "nope"]);
    assert_eq!(overlay.code, 2, "{}", overlay.all());
    assert!(overlay.stdout.contains("there is no overlay `nope`: it has no kustomization.yaml"), "{}", overlay.all());
    assert!(overlay.stdout.contains("the overlays are k8s/overlays/"), "{}", overlay.all());
    assert_eq!(workspace.calls(), "");
}

#[test]
fn calls_are_the_same_from_every_folder_of_a_checkout_with_blanks_in_its_path() {
    let workspace = Workspace::new();
    let calls = |folder: &str| {
        let before = workspace.calls().len();
        let ended = workspace.xtask_in(folder, &["build-images", "--dry-run"]);
        assert_eq!(ended.code, 0, "{}", ended.all());
        // Several programs run at the same time, so their order says nothing.
        let mut calls: Vec<_> = workspace.calls()[before..].lines().map(ToOwned::to_owned).collect();
        calls.sort_unstable();
        calls
    };
    // The first run asks the programs for their versions, the later ones know them.
    calls(".");
    let from_root = calls(".");
    assert_eq!(calls("services/user/src"), from_root);
    assert_eq!(calls("xtask"), from_root);
}

#[test]
fn what_is_made_lies_in_cargos_target_directory_wherever_that_is() {
    let mut workspace = Workspace::new();
    let elsewhere = tempfile::tempdir().unwrap();
    workspace.set("CARGO_TARGET_DIR", elsewhere.path().to_str().unwrap());
    let ended = workspace.xtask(&["build-images", "--dry-run"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert!(!workspace.root.join("target").exists(), "{}", ended.all());
    let own = std::fs::read_dir(elsewhere.path().join("xtask")).unwrap().next().unwrap().unwrap().path();
    let report = own.join("reports/build-images.json");
    assert!(report.is_file(), "{}", report.display());
    assert!(ended.all().contains(report.to_str().unwrap()), "{}", ended.all());
}

#[test]
fn an_engine_that_does_not_answer_is_a_broken_machine_with_its_next_step() {
    let workspace = Workspace::new();
    workspace
        .stub(r#"case "$call" in *Server.Version*) echo 'Cannot connect to the Docker daemon' >&2; exit 1 ;; esac"#);
    let ended = workspace.xtask(&["setup", "--check"]);
    assert_eq!(ended.code, 3, "{}", ended.all());
    assert!(ended.stdout.contains("the docker engine does not answer (Cannot connect"), "{}", ended.all());
    assert!(ended.stdout.contains("next: start it"), "{}", ended.all());
}

#[test]
fn a_check_lists_everything_that_is_missing_at_once_and_changes_nothing() {
    let workspace = Workspace::new();
    workspace.stub(
        r#"case "$call" in
  "docker buildx version"|"docker compose version"*) exit 1 ;;
esac
gone=*"#,
    );
    let ended = workspace.xtask(&["setup", "--check"]);
    assert_eq!(ended.code, 3, "{}", ended.all());
    // The machine's own docker-compose may be there, but it is too old or new enough; the two bases are never there.
    for missing in ["buildx", "base postgres", "base rust"] {
        assert!(ended.stdout.contains(&format!("- {missing}")), "{missing}: {}", ended.all());
    }
    for word in ["pull", "import", "rmi"] {
        assert!(!workspace.calls().contains(word), "{}", workspace.calls());
    }
}

#[test]
fn an_old_plugin_is_named_with_its_version_and_the_floor() {
    let workspace = Workspace::new();
    workspace
        .stub(r#"case "$call" in "docker buildx version") echo "github.com/docker/buildx v0.8.2"; exit 0 ;; esac"#);
    let ended = workspace.xtask(&["setup", "--check"]);
    assert_eq!(ended.code, 3, "{}", ended.all());
    assert!(ended.stdout.contains("v0.8.2, older than 0.13.0"), "{}", ended.all());
}

#[test]
fn the_report_holds_the_verdict_and_the_line_that_runs_it_again() {
    let workspace = Workspace::new();
    workspace.stub(r#"case "$call" in "docker buildx bake"*) exit 1 ;; esac"#);
    let ended = workspace.xtask(&["--format", "json", "build-images", "user"]);
    let printed: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let stored: serde_json::Value =
        serde_json::from_str(&workspace.read("target/xtask/reports/build-images.json")).unwrap();
    assert_eq!(printed, stored);
    assert_eq!((&stored["schema"], &stored["exit_code"]), (&2.into(), &1.into()));
    assert_eq!(stored["rerun"], "cargo xtask --format json build-images user");
}

#[test]
fn a_proxys_password_is_in_no_output_no_report_and_no_argument() {
    let mut workspace = Workspace::new();
    workspace.set("HTTPS_PROXY", &format!("http://user:{CANARY}@proxy.example:3128"));
    workspace.set("RUST_BACKTRACE", "1");
    workspace.stub(
        r#"case "$call" in "docker buildx bake"*) cp "$(value_of --file "$@")" "$STATE/bake.json"; exit 1 ;; esac"#,
    );
    let ended = workspace.xtask(&["-v", "build-images"]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    for text in [ended.all(), workspace.calls(), workspace.read("target/xtask/reports/build-images.json")] {
        assert!(!text.contains(CANARY), "{text}");
    }
    let bake = workspace.read("../../state/bake.json");
    assert!(bake.contains("HTTPS_PROXY") && !bake.contains(CANARY), "{bake}");
}
