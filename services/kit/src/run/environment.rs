//! The process environment, cut down to the contract before anything else looks at it.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use super::Failure;

/// Where Linux keeps the running program, even when its file was replaced meanwhile.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// Makes sure that the environment holds nothing but the variables in `names`.
///
/// Libraries read variables behind a service's back (`PG*`, `HTTP_PROXY`, `TOKIO_WORKER_THREADS`, `RUST_BACKTRACE`, …).
/// Removing them from a running process is unsafe, so the program replaces itself with itself, once, with only what the
/// contract names. The process id stays, and with it the place as process 1 of a container.
///
/// # Errors
/// When the program cannot be started again.
pub(super) fn keep_only(names: &[String]) -> Result<(), Failure> {
    let is_named = |name: &OsString| names.iter().any(|known| name == known.as_str());
    let (kept, foreign): (Vec<_>, Vec<_>) = all().partition(|(name, _)| is_named(name));
    if foreign.is_empty() {
        return Ok(());
    }
    let mut arguments = std::env::args_os();
    let mut itself = program();
    if let Some(own_name) = arguments.next() {
        itself.arg0(own_name);
    }
    let error = itself.args(arguments).env_clear().envs(kept).exec();
    Err(Failure::caused(format!("cannot start {OWN_PROGRAM} again with the contract's variables only"), error))
}

/// The value of one variable.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment for the contract")]
pub(super) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

#[expect(
    clippy::disallowed_methods,
    reason = "what lies outside the contract can only be dropped by looking at all of it"
)]
fn all() -> std::env::VarsOs {
    std::env::vars_os()
}

#[expect(clippy::disallowed_methods, reason = "the program replaces itself; it starts no other")]
fn program() -> Command {
    Command::new(OWN_PROGRAM)
}
