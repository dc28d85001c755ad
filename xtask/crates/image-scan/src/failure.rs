//! Why a tool failed, in a line.

use xtask_process::Captured;

/// The line that says why trivy or cargo-deny failed: a crash prints hundreds after it.
pub(super) fn reason(captured: &Captured) -> String {
    let telling = ["FATAL", "fatal error", "panic:", "ERROR", "unexpected fault"];
    let line = captured.stderr.lines().find(|line| telling.iter().any(|word| line.contains(word)));
    line.map_or_else(|| captured.tail(), |line| line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_tells_why_comes_before_a_crashs_hundreds() {
        let status = std::os::unix::process::ExitStatusExt::from_raw(512);
        let stderr = format!("2026 INFO start\nfatal error: fault\n{}", "goroutine 1\n".repeat(300));
        assert_eq!(reason(&Captured { status, stdout: String::new(), stderr }), "fatal error: fault");
    }
}
