//! Builds in a second checkout: what was edited is what is in the image, whatever the files' times and whatever another
//! checkout built in between.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::program::{docker_ok, program, root, text, xtask};

/// A text of the user service that its program prints without a database.
const FILE: &str = "services/user/src/settings.rs";

pub(crate) struct Checkout {
    _folder: tempfile::TempDir,
    pub(crate) path: PathBuf,
    original: String,
}

impl Checkout {
    /// A clone with the tools and host artefacts of this checkout: two checkouts on one cache are the point.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("another checkout");
        let clone = program("git").args(["clone", "--quiet"]).arg(root()).arg(&path).status().unwrap();
        assert!(clone.success());
        std::fs::create_dir_all(path.join("target/xtask")).unwrap();
        for shared in ["tools", "host"] {
            let original = root().join("target/xtask").join(shared);
            std::fs::create_dir_all(&original).unwrap();
            std::os::unix::fs::symlink(original, path.join("target/xtask").join(shared)).unwrap();
        }
        let original = std::fs::read_to_string(path.join(FILE)).unwrap();
        Self { _folder: folder, path, original }
    }

    /// Replaces the description of TOKEN_LIFETIME and makes every source as old as a restored archive.
    fn edit(&self, words: &str) {
        let start = self.original.find("\"TOKEN_LIFETIME\"").expect("the user service has TOKEN_LIFETIME");
        let dot = start + self.original[start..].find(".\"").expect("its description ends with a full stop");
        let text = format!("{} {words}{}", &self.original[..dot], &self.original[dot..]);
        std::fs::write(self.path.join(FILE), text).unwrap();
        make_old(&self.path.join("services"));
        make_old(&self.path.join("gateway"));
    }

    pub(crate) fn build(&self, strategy: &str) -> String {
        let output = xtask(&self.path).args(["build-images", "user", "--strategy", strategy]).output().unwrap();
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
        docker_ok(&["run", "--rm", "--network", "none", "mini-user:local", "env", "--format", "markdown"])
    }
}

fn make_old(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            make_old(&path);
        } else {
            let file = std::fs::File::options().write(true).open(path).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(978_307_200)).unwrap();
        }
    }
}

fn every_edit_shows(strategy: &str) {
    let one = Checkout::new();
    let two = Checkout::new();
    one.edit("EDIT-ONE");
    two.edit("EDIT-TWO");
    for round in 0..2 {
        let (first, second) = (one.build(strategy), two.build(strategy));
        assert!(first.contains("EDIT-ONE") && !first.contains("EDIT-TWO"), "round {round}: {first}");
        assert!(second.contains("EDIT-TWO") && !second.contains("EDIT-ONE"), "round {round}: {second}");
    }
    one.edit("EDIT-THREE");
    assert!(one.build(strategy).contains("EDIT-THREE"));
}

#[test]
fn an_edit_with_old_file_times_is_in_the_image_of_a_container_build() {
    every_edit_shows("container");
}

#[test]
fn an_edit_with_old_file_times_is_in_the_image_of_a_host_build() {
    every_edit_shows("host");
}

/// What cargo-auditable wrote into the program of the user service's image.
fn dependencies_in_the_image() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let (file, section) = (folder.path().join("program"), folder.path().join("dependencies"));
    let container = docker_ok(&["create", "mini-user:local"]);
    docker_ok(&["cp", &format!("{container}:/mini-user"), file.to_str().unwrap()]);
    docker_ok(&["rm", &container]);
    let dump = format!("--dump-section=.dep-v0={}", section.display());
    assert!(program("objcopy").arg(dump).arg(&file).status().unwrap().success());
    std::fs::read(section).unwrap()
}

/// The C library is the builder's own, so bytes may differ where the base has another one than the machine; nothing that follows from
/// the commit does.
#[test]
fn one_commit_gives_one_program_whatever_the_strategy() {
    let checkout = Checkout::new();
    let of = |strategy| {
        let contract = checkout.build(strategy);
        let version = docker_ok(&["run", "--rm", "--network", "none", "mini-user:local", "--version"]);
        (version, contract, dependencies_in_the_image())
    };
    let (container, host) = (of("container"), of("host"));
    assert!(!container.0.contains("-dirty") && container.2.len() > 100, "{container:?}");
    assert_eq!(container, host);
    checkout.edit("ANOTHER");
    assert_ne!(of("host"), host, "the negative control");
}

#[test]
fn what_a_build_script_says_is_in_the_image_of_both_strategies() {
    let checkout = Checkout::new();
    let script = "fn main() { println!(\"cargo::rustc-env=FROM_SCRIPT= SAID-BY-THE-SCRIPT\"); }\n";
    std::fs::write(checkout.path.join("services/user/build.rs"), script).unwrap();
    let start = checkout.original.find("\"TOKEN_LIFETIME\"").unwrap();
    let text_end = start + checkout.original[start..].find(".\"").unwrap() + 2;
    let text_start = checkout.original[..text_end - 1].rfind('"').unwrap();
    let (before, literal, after) =
        (&checkout.original[..text_start], &checkout.original[text_start..text_end], &checkout.original[text_end..]);
    let source = format!("{before}concat!({literal}, env!(\"FROM_SCRIPT\")){after}");
    std::fs::write(checkout.path.join(FILE), source).unwrap();
    for strategy in ["container", "host"] {
        assert!(checkout.build(strategy).contains("SAID-BY-THE-SCRIPT"), "{strategy}");
        assert!(docker_ok(&["run", "--rm", "mini-user:local", "--version"]).contains("-dirty"), "{strategy}");
    }
}

#[test]
fn a_file_that_git_ignores_and_a_build_would_read_is_a_finding_in_both_strategies() {
    let checkout = Checkout::new();
    std::fs::write(checkout.path.join(".git/info/exclude"), "0999_*.sql\n").unwrap();
    let ignored = "services/user/migrations/0999_ignored.sql";
    std::fs::write(checkout.path.join(ignored), "CREATE TABLE ignored ();\n").unwrap();
    for strategy in ["container", "host"] {
        let output = xtask(&checkout.path).args(["build-images", "user", "--strategy", strategy]).output().unwrap();
        let said = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{strategy}: {said}");
        assert!(said.contains("[input-ignored]") && said.contains(ignored), "{strategy}: {said}");
    }
}

#[test]
fn a_dockerfile_builds_alone_with_plain_docker() {
    for (name, folder) in [("user", "services/user"), ("gateway", "gateway")] {
        let tag = format!("mini-alone-{name}:test");
        let mut build = program(root().join("target/xtask/tools/docker-buildx"));
        if !root().join("target/xtask/tools/docker-buildx").is_file() {
            build = program("docker");
            build.arg("buildx");
        }
        build.current_dir(root()).args(["build", "--quiet", "--load", "--file"]).arg(format!("{folder}/Dockerfile"));
        if program("docker").args(["image", "inspect", "mini-base/rust:local"]).output().unwrap().status.success() {
            build.args(["--build-arg", "RUST_BASE=mini-base/rust:local"]);
        }
        if root().join("target/xtask/ca.pem").is_file() {
            build.args(["--secret", "id=ca,src=target/xtask/ca.pem"]);
        }
        let output = build.args(["--tag", &tag, "."]).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        docker_ok(&["run", "--rm", &tag, "--version"]);
        docker_ok(&["image", "rm", &tag]);
    }
}
