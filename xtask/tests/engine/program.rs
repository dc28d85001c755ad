//! Starts programs for the tests of this suite.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

#[expect(clippy::disallowed_methods, reason = "a test starts the programs under test itself")]
pub(crate) fn program(name: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(name);
    // What cargo sets for this test would otherwise reach the checkouts that the tests build.
    command.env_remove("CARGO_MANIFEST_DIR").env_remove("CARGO_TARGET_DIR");
    command
}

/// Runs docker and gives what it left, whatever the status.
pub(crate) fn docker(arguments: &[&str]) -> Output {
    program("docker").args(arguments).output().unwrap()
}

/// Runs docker, which must succeed, and gives its trimmed standard output.
pub(crate) fn docker_ok(arguments: &[&str]) -> String {
    let output = docker(arguments);
    assert!(output.status.success(), "docker {}: {}", arguments.join(" "), text(&output.stderr));
    text(&output.stdout).trim().to_owned()
}

/// `xtask` on a checkout.
pub(crate) fn xtask(checkout: &Path) -> Command {
    let mut command = program(env!("CARGO_BIN_EXE_xtask"));
    command.current_dir(checkout).env("CARGO_MANIFEST_DIR", checkout.join("xtask"));
    command
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The id of the image that the newest build of this checkout left.
pub(crate) fn image(name: &str) -> String {
    docker_ok(&["image", "inspect", "--format", "{{.Id}}", &format!("mini-{name}:local")])
}
