//! What changes an image and what does not, on the real builder.

use std::os::unix::fs::symlink;

use crate::checkout::Checkout;
use crate::program::{docker_ok, image, program, text, xtask};

impl Checkout {
    fn edit_file(&self, file: &str, from: &str, to: &str) {
        let file = self.path.join(file);
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{} has no {from}", file.display());
        std::fs::write(file, text.replacen(from, to, 1)).unwrap();
    }

    fn git(&self, arguments: &[&str]) -> String {
        let identity = ["-c", "user.name=test", "-c", "user.email=test@example.com"];
        let output = program("git").args(identity).args(arguments).current_dir(&self.path).output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", text(&output.stderr));
        text(&output.stdout).trim().to_owned()
    }

    /// The steps of the last build that ran, and were not taken from the builder's cache.
    fn steps_that_ran(&self) -> String {
        let log = std::fs::read_to_string(self.path.join("target/xtask/logs/build-images.log")).unwrap();
        log.lines().filter(|line| line.contains(" build-images: ")).map(|line| format!("{line}\n")).collect()
    }

    /// Cargo brings the lock up to date, as it does for somebody who edits a manifest.
    fn lock(&self) {
        let mut cargo = program("cargo");
        let output = cargo.args(["metadata", "--format-version", "1"]).current_dir(&self.path).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
}

fn label(name: &str) -> String {
    let format = format!("{{{{index .Config.Labels \"org.opencontainers.image.{name}\"}}}}");
    docker_ok(&["image", "inspect", "--format", &format, "mini-user:local"])
}

#[test]
fn what_editors_leave_beside_a_source_changes_the_image_of_neither_strategy() {
    for strategy in ["container", "host"] {
        let checkout = Checkout::new();
        checkout.build(strategy);
        let before = image("user");
        let source = checkout.path.join("services/user/src");
        symlink("somebody@host.1234:5", source.join(".#lib.rs")).unwrap();
        for left in [".lib.rs.swp", "lib.rs~", "#lib.rs#", "4913"] {
            std::fs::write(source.join(left), "whatever an editor keeps").unwrap();
        }
        checkout.build(strategy);
        assert_eq!(image("user"), before, "{strategy}");
        // The negative control: a file that cargo would not read either, and that is no editor's.
        std::fs::write(source.join("new.rs"), "").unwrap();
        checkout.build(strategy);
        assert_ne!(image("user"), before, "{strategy}");
    }
}

#[test]
fn a_members_version_is_in_its_image_and_compiles_no_dependency() {
    let checkout = Checkout::new();
    checkout.git(&["remote", "set-url", "origin", "https://token@git.example/shop.git"]);
    checkout.build("container");
    assert_eq!((label("version").as_str(), label("source").as_str()), ("0.1.0", "https://git.example/shop"));
    checkout.edit_file("services/user/Cargo.toml", "version.workspace = true", "version = \"0.7.0\"");
    checkout.lock();
    checkout.build("container");
    assert_eq!(label("version"), "0.7.0");
    let version = docker_ok(&["run", "--rm", "--network", "none", "mini-user:local", "--version"]);
    assert!(version.starts_with("mini-user 0.7.0 (") && version.ends_with("-dirty)"), "{version}");
    let ran = checkout.steps_that_ran();
    assert!(ran.contains("user build ") && !ran.contains(" dependencies ") && !ran.contains(" libraries "), "{ran}");
}

#[test]
fn a_new_member_edits_no_dockerfile_and_its_second_build_compiles_no_dependency() {
    let checkout = Checkout::new();
    let run = |arguments: &[&str]| {
        let output = xtask(&checkout.path).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
    };
    let before = checkout.git(&["rev-parse", "HEAD"]);
    run(&["new-service", "basket"]);
    checkout.git(&["add", "--all"]);
    checkout.git(&["commit", "--quiet", "--message", "A basket"]);
    let changed = checkout.git(&["diff", "--name-only", "--diff-filter=MDR", &before]);
    assert!(!changed.contains("Dockerfile") && !changed.contains(".dockerignore"), "{changed}");
    run(&["build-images", "basket"]);
    let ran = checkout.steps_that_ran();
    assert!(ran.contains(" dependencies "), "or the second build proves nothing: {ran}");
    let first = image("basket");
    checkout.edit_file("services/basket/src/lib.rs", "//! ", "//! Edited. ");
    std::fs::write(checkout.path.join("services/basket/src/more.rs"), "").unwrap();
    run(&["build-images", "basket"]);
    let ran = checkout.steps_that_ran();
    assert!(ran.contains("basket build ") && !ran.contains(" dependencies "), "{ran}");
    assert_ne!(image("basket"), first);
    docker_ok(&["image", "rm", "mini-basket:local"]);
}

#[test]
fn a_checkout_that_git_refuses_or_knows_in_part_is_told_what_helps() {
    let checkout = Checkout::new();
    let refused = xtask(&checkout.path)
        .args(["build-images", "user", "--dry-run"])
        .env("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
        .output()
        .unwrap();
    let said = text(&refused.stdout) + &text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(3), "{said}");
    assert!(said.contains("git config --global --add safe.directory"), "{said}");

    let shallow = checkout.path.with_file_name("shallow");
    let address = format!("file://{}", checkout.path.display());
    let clone = program("git").args(["clone", "--quiet", "--depth", "1", &address]).arg(&shallow).status().unwrap();
    assert!(clone.success());
    let output = xtask(&shallow).args(["build-images", "user", "--dry-run"]).output().unwrap();
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success() && said.contains("next: `git fetch --unshallow`"), "{said}");
}
