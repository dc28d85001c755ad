//! Two image sets on the real engine.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use crate::program::{docker_ok, program, root, text, xtask};
use crate::stacks::{TURN, left_behind};

fn git(arguments: &[&str]) -> String {
    let output = program("git").args(arguments).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// The tags, each with its image, and all images.
fn images() -> (BTreeSet<String>, BTreeSet<String>) {
    let lines = |arguments: &[&str]| docker_ok(arguments).lines().map(ToOwned::to_owned).collect::<BTreeSet<_>>();
    let mut tags = lines(&["image", "ls", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"]);
    // Also what has a tag may have such a line.
    tags.retain(|line| !line.starts_with("<none>"));
    (tags, lines(&["image", "ls", "--no-trunc", "--quiet"]))
}

/// The revision that is checked out, beside what is checked out: every figure is there, and afterwards everything is as before.
#[test]
fn a_revision_is_measured_beside_this_checkout_and_leaves_its_tags_alone() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(xtask(&root()).arg("build-images").output().unwrap().status.success());
    let (before, work_trees) = (images(), git(&["worktree", "list"]));
    let arguments = ["--format", "json", "compose-e2e", "--compare", "HEAD", "--rounds", "3"];
    let output = xtask(&root()).args(arguments).output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    // Whether a busy machine makes a difference is not this test's question.
    assert!(matches!(output.status.code(), Some(0 | 1)), "{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(report["failures"], serde_json::json!([]), "{report}");
    let figures = report["evidence"]["comparison"]["figures"].as_array().unwrap().clone();
    for kind in [
        "start-ms/",
        "idle-kib/",
        "peak-kib/",
        "journey-ms/",
        "requests-per-second/",
        "p99-us/",
        "cpu-us/",
        "image-bytes/",
    ] {
        let of_kind = figures.iter().find(|figure| figure["figure"].as_str().unwrap().starts_with(kind));
        let rounds = of_kind.unwrap_or_else(|| panic!("no {kind}: {report}"))["rounds"].as_array().unwrap().clone();
        assert!(rounds.len() == 3 && rounds.iter().all(|round| round[0].as_f64() > Some(0.0)), "{kind}: {rounds:?}");
    }
    assert_eq!(left_behind(), "");
    assert_eq!((images(), git(&["worktree", "list"])), (before, work_trees));
}
