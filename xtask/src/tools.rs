//! The one place that spawns programs: argv only, echoed, limited in time and output, ended when somebody interrupts.

use std::io::{BufRead as _, BufReader, Read};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process_group};
use xshell::Cmd;

use crate::interrupt::Interrupt;
use crate::outcome::Stop;

/// Captured output is cut here; no tool this crate calls has more to say than this.
const CAPTURE_LIMIT_BYTES: u64 = 64 * 1024 * 1024;
/// An interrupted or late child gets this long between SIGTERM and SIGKILL.
const GRACE_SECONDS: u64 = 10;
const POLL_MILLISECONDS: u64 = 5;
/// How much of a failed program's stderr goes into the error.
const ERROR_TAIL_LINES: usize = 20;

/// Runs programs for one command.
#[derive(Debug, Clone)]
pub(crate) struct Runner {
    interrupt: Interrupt,
    verbose: bool,
    /// Clean-up goes on after an interrupt; everything else stops.
    cleaning_up: bool,
}

/// What a program left behind.
#[derive(Debug)]
pub(crate) struct Captured {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Captured {
    /// The last lines of stderr, or of stdout when stderr is empty.
    pub(crate) fn tail(&self) -> String {
        let text = if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr };
        let lines: Vec<_> = text.trim_end().lines().collect();
        lines[lines.len().saturating_sub(ERROR_TAIL_LINES)..].join("\n")
    }
}

enum Echo {
    Always,
    WhenVerbose,
}

impl Runner {
    pub(crate) fn new(interrupt: Interrupt, verbose: bool) -> Self {
        Self { interrupt, verbose, cleaning_up: false }
    }

    /// The same runner for tear-down: an interrupt that has already come does not stop it.
    pub(crate) fn for_clean_up(&self) -> Self {
        Self { cleaning_up: true, ..self.clone() }
    }

    pub(crate) fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// Runs a program whose output people watch; its stdout goes to stderr, where progress belongs.
    ///
    /// # Errors
    /// [`Stop::Repository`] when it fails, [`Stop::TimedOut`], [`Stop::Interrupted`], [`Stop::Missing`] when it cannot start.
    pub(crate) fn run(&self, cmd: Cmd<'_>, limit_seconds: u64) -> Result<()> {
        let line = cmd.to_string();
        let mut command = self.prepare(cmd, &Echo::Always);
        command.stdin(Stdio::null()).stdout(stderr_of_this_process()?);
        let status = self.wait(&mut spawn(&mut command, &line)?, &line, limit_seconds)?;
        if status.success() { Ok(()) } else { Err(Stop::Repository(format!("`{line}` failed with {status}")).into()) }
    }

    /// Runs a program and gives its trimmed stdout.
    ///
    /// # Errors
    /// As [`Runner::run`], with the end of its stderr in the text.
    pub(crate) fn read(&self, cmd: Cmd<'_>, limit_seconds: u64) -> Result<String> {
        let line = cmd.to_string();
        let captured = self.capture(cmd, limit_seconds)?;
        if captured.status.success() {
            Ok(captured.stdout.trim_end().to_owned())
        } else {
            Err(Stop::Missing(format!("`{line}` failed with {}: {}", captured.status, captured.tail())).into())
        }
    }

    /// Runs a program quietly and gives all it left, whatever its exit status.
    ///
    /// # Errors
    /// [`Stop::TimedOut`], [`Stop::Interrupted`], [`Stop::Missing`] when it cannot start.
    pub(crate) fn capture(&self, cmd: Cmd<'_>, limit_seconds: u64) -> Result<Captured> {
        self.capture_lines(cmd, limit_seconds, |_| {})
    }

    /// As [`Runner::capture`], and hands every stderr line on while the program runs.
    pub(crate) fn capture_lines(
        &self,
        cmd: Cmd<'_>,
        limit_seconds: u64,
        on_stderr: impl FnMut(&str) + Send + 'static,
    ) -> Result<Captured> {
        let line = cmd.to_string();
        let mut command = self.prepare(cmd, &Echo::WhenVerbose);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = spawn(&mut command, &line)?;
        let stdout = collect(child.stdout.take(), |_| {});
        let stderr = collect(child.stderr.take(), on_stderr);
        let status = self.wait(&mut child, &line, limit_seconds)?;
        Ok(Captured { status, stdout: joined(stdout), stderr: joined(stderr) })
    }

    fn prepare(&self, cmd: Cmd<'_>, echo: &Echo) -> Command {
        if self.verbose || matches!(echo, Echo::Always) {
            eprintln!("$ {cmd}");
        }
        let mut command = Command::from(cmd);
        // A terminal's Ctrl-C reaches a whole group; in one of its own the child lives until this process decides.
        command.process_group(0);
        command
    }

    fn wait(&self, child: &mut Child, line: &str, limit_seconds: u64) -> Result<ExitStatus> {
        let limit = Duration::from_secs(limit_seconds);
        let started = Instant::now();
        loop {
            if let Some(status) = child.try_wait().with_context(|| format!("wait for `{line}`"))? {
                return Ok(status);
            }
            let interrupted = if self.cleaning_up { Ok(()) } else { self.interrupt.check() };
            if let Err(stop) = interrupted {
                end(child);
                return Err(stop.into());
            }
            if started.elapsed() > limit {
                end(child);
                return Err(
                    Stop::TimedOut(format!("`{line}` took longer than {limit_seconds} s and was stopped")).into()
                );
            }
            // A short program is not waited for longer than it runs; a long one costs no processor.
            thread::sleep((started.elapsed() / 16).min(Duration::from_millis(POLL_MILLISECONDS)));
        }
    }
}

fn spawn(command: &mut Command, line: &str) -> Result<Child> {
    command.spawn().map_err(|error| Stop::Missing(format!("cannot start `{line}`: {error}")).into())
}

fn stderr_of_this_process() -> Result<Stdio> {
    Ok(std::io::stderr().as_fd().try_clone_to_owned().context("share stderr")?.into())
}

/// SIGTERM to the whole group, then SIGKILL for what is left of it.
fn end(child: &mut Child) {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let signal = |signal| group.map(|group| kill_process_group(group, signal));
    signal(Signal::TERM);
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(GRACE_SECONDS) {
        if matches!(child.try_wait(), Ok(Some(_)) | Err(_)) {
            return;
        }
        thread::sleep(Duration::from_millis(POLL_MILLISECONDS));
    }
    signal(Signal::KILL);
    let _ = child.wait();
}

type Collector = Option<JoinHandle<String>>;

fn collect(stream: Option<impl Read + Send + 'static>, mut on_line: impl FnMut(&str) + Send + 'static) -> Collector {
    let stream = stream?;
    Some(thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut text = String::new();
        let mut line = Vec::new();
        // Read to the end whatever the size, so that a talkative program never blocks on a full pipe.
        while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let part = String::from_utf8_lossy(&line);
            on_line(part.trim_end());
            if (text.len() + part.len()) as u64 <= CAPTURE_LIMIT_BYTES {
                text.push_str(&part);
            }
            line.clear();
        }
        text
    }))
}

fn joined(collector: Collector) -> String {
    collector.and_then(|handle| handle.join().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use xshell::{Shell, cmd};

    fn runner() -> Runner {
        Runner::new(Interrupt::default(), false)
    }

    #[test]
    fn a_late_program_is_stopped_with_its_children_and_named() {
        let sh = Shell::new().unwrap();
        let started = Instant::now();
        let error = runner().capture(cmd!(sh, "sh -c 'sleep 60 & wait'"), 1).unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(Stop::TimedOut(text)) if text.contains("sleep 60")), "{error}");
        assert!(started.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_missing_program_is_not_a_finding() {
        let sh = Shell::new().unwrap();
        let error = runner().read(cmd!(sh, "no-such-program-here"), 5).unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(Stop::Missing(_))), "{error}");
    }

    #[test]
    fn an_environment_value_never_reaches_an_error() {
        let sh = Shell::new().unwrap();
        let error = runner().read(cmd!(sh, "sh -c 'exit 3'").env("PASSWORD", "S3CR3T-c4n4ry"), 5).unwrap_err();
        assert!(!format!("{error:?}").contains("c4n4ry"), "{error:?}");
    }

    #[test]
    fn output_that_is_no_utf8_is_kept() {
        let sh = Shell::new().unwrap();
        let captured = runner().capture(cmd!(sh, "printf 'a\\377b'"), 5).unwrap();
        assert_eq!(captured.stdout, "a\u{fffd}b");
    }
}
