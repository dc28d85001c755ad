//! Why a build failed: the repository's own fault, or the machine's. The builder tells both by the same exit status.

use std::process::ExitStatus;

use xtask_outcome::Stop;

/// What a full disk says, in whatever step it comes up.
const DISK_FULL: [&str; 2] = ["no space left on device", "disk quota exceeded"];
/// What the client says when the engine goes away; only its own last words count, a compiler may print the same.
const ENGINE_GONE: [&str; 5] = [
    "cannot connect to the docker daemon",
    "error during connect",
    "failed to receive status",
    "error reading from server",
    "transport is closing",
];
const CLIENT_ERROR: &str = "error:";

/// The kind of the failure, from what the builder printed. What it printed stands on the screen already.
pub(super) fn stop(status: ExitStatus, words: &str) -> Stop {
    let words = words.to_lowercase();
    if DISK_FULL.iter().any(|full| words.contains(full)) {
        return Stop::Broken(
            "the disk is full: the build ended for want of space; next: `docker system df` shows what takes it, `docker builder prune` frees what builds kept"
                .to_owned(),
        );
    }
    let last_words = words.lines().rev().find(|line| line.trim_start().starts_with(CLIENT_ERROR));
    if last_words.is_some_and(|line| ENGINE_GONE.iter().any(|gone| line.contains(gone))) {
        return Stop::Broken(
            "the docker engine went away during the build; next: see why (`journalctl -u docker`), start it, and build again: finished steps are kept"
                .to_owned(),
        );
    }
    Stop::Repository(format!("the build failed with {status}, see above"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    fn kind(words: &str) -> &'static str {
        match stop(ExitStatus::from_raw(256), words) {
            Stop::Repository(_) => "repository",
            Stop::Broken(text) if text.contains("disk is full") => "disk",
            Stop::Broken(_) => "engine",
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_machines_faults_are_told_from_the_repositorys() {
        let table = [
            ("error[E0425]: cannot find value `x`\nERROR: failed to solve: exit code: 101", "repository"),
            ("#9 error: failed to write: No space left on device (os error 28)\nERROR: failed to solve", "disk"),
            ("ERROR: write /var/lib/docker/tmp/x: no space left on device", "disk"),
            (
                "ERROR: failed to receive status: rpc error: code = Unavailable desc = error reading from server: EOF",
                "engine",
            ),
            ("ERROR: Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is it running?", "engine"),
            // A test's own output is no word of the client's.
            ("assertion: `Cannot connect to the Docker daemon`\nERROR: failed to solve: exit code: 101", "repository"),
            ("", "repository"),
        ];
        for (words, expected) in table {
            assert_eq!(kind(words), expected, "{words}");
        }
    }
}
