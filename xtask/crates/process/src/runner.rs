//! The one place that spawns programs: argv only, echoed, limited in time and output, ended when somebody interrupts.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::Signal;
use xshell::Cmd;
use xtask_outcome::{Progress, Stop};

use crate::background::Background;
use crate::capture::{Captured, Stream, last_lines};
use crate::group::{Group, POLL_MILLISECONDS};
use crate::interrupt::Interrupt;

/// So much of what a failed program printed goes on the screen; the log has all of it.
const SHOWN_LINES: usize = 200;

/// Runs programs for one command.
#[derive(Debug, Clone)]
pub struct Runner {
    interrupt: Interrupt,
    progress: Progress,
    /// Clean-up goes on after an interrupt; everything else stops.
    cleaning_up: bool,
}

impl Runner {
    /// What runs is told to `progress`.
    pub fn new(interrupt: Interrupt, progress: Progress) -> Self {
        Self { interrupt, progress, cleaning_up: false }
    }

    /// Where what runs is shown.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The same runner for tear-down: an interrupt that has already come does not stop it.
    #[must_use]
    pub fn for_clean_up(&self) -> Self {
        Self { cleaning_up: true, ..self.clone() }
    }

    /// Whether somebody asked the process to stop.
    pub fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// As [`Runner::watch`], for a program that has to succeed.
    ///
    /// # Errors
    /// [`Stop::Repository`] when it fails; else as [`Runner::watch`].
    pub fn run(&self, cmd: Cmd<'_>, limit_seconds: u64) -> Result<()> {
        let command = Command::from(cmd);
        let line = pasteable(&command);
        let status = self.watched(command, limit_seconds)?.status;
        if status.success() {
            return Ok(());
        }
        Err(Stop::Repository(format!("`{line}` failed with {status}")).into())
    }

    /// Runs a program whose output people watch. Where that would disturb what is redrawn, its last line stands in the step's, and
    /// all of it is shown when the program fails. Both its streams are in the result's `stdout`, in their order.
    ///
    /// # Errors
    /// [`Stop::TimedOut`], [`Stop::Interrupted`], [`Stop::Absent`] when it is not there.
    pub fn watch(&self, cmd: Cmd<'_>, limit_seconds: u64) -> Result<Captured> {
        self.watched(Command::from(cmd), limit_seconds)
    }

    fn watched(&self, mut command: Command, limit_seconds: u64) -> Result<Captured> {
        let line = pasteable(&command);
        self.prepare(&mut command, false);
        // One pipe, so that both streams keep their order.
        let (reader, writer) = std::io::pipe().context("make a pipe")?;
        command.stdin(Stdio::null()).stdout(writer.try_clone().context("share a pipe")?).stderr(writer);
        let mut child = spawn(&mut command, &line)?;
        // The pipe ends when the program does: this process holds no end of it to write into.
        drop(command);
        let progress = self.progress.clone();
        let output = Stream::read(reader, move |line| progress.output(line));
        let status = self.wait(&mut child, &line, limit_seconds, || output.last_lines())?;
        let output = output.finish();
        if !status.success() && !self.progress.shows_output() {
            self.progress.say(&last_lines(&output.text, SHOWN_LINES));
        }
        Ok(Captured { status, stdout: output.text, stderr: String::new() })
    }

    /// Runs a program and gives its trimmed stdout.
    ///
    /// # Errors
    /// [`Stop::Broken`] when it fails, with the end of its stderr; else as [`Runner::capture`].
    pub fn read(&self, cmd: Cmd<'_>, limit_seconds: u64) -> Result<String> {
        let command = Command::from(cmd);
        let line = pasteable(&command);
        let captured = self.collect(command, limit_seconds, |_| {})?;
        if captured.status.success() {
            Ok(captured.stdout.trim_end().to_owned())
        } else {
            Err(Stop::Broken(format!("`{line}` failed with {}: {}", captured.status, captured.tail())).into())
        }
    }

    /// Runs a program quietly and gives all it left, whatever its exit status.
    ///
    /// # Errors
    /// [`Stop::TimedOut`], [`Stop::Interrupted`], [`Stop::Absent`] when it is not there, [`Stop::Broken`] when it cannot be
    /// started or prints more than fits.
    pub fn capture(&self, cmd: Cmd<'_>, limit_seconds: u64) -> Result<Captured> {
        self.collect(Command::from(cmd), limit_seconds, |_| {})
    }

    /// As [`Runner::capture`], with something to read on standard input: where a secret travels that no argument may hold.
    ///
    /// # Errors
    /// As [`Runner::capture`].
    pub fn feed(&self, cmd: Cmd<'_>, input: &[u8], limit_seconds: u64) -> Result<Captured> {
        self.collect_fed(Command::from(cmd), Some(input), limit_seconds, |_| {})
    }

    /// Starts a program that goes on until the result is dropped, or it ends by itself.
    ///
    /// # Errors
    /// [`Stop::Absent`] when it is not there, [`Stop::Broken`] when it cannot be started.
    pub fn start(&self, cmd: Cmd<'_>) -> Result<Background> {
        let mut command = Command::from(cmd);
        let line = pasteable(&command);
        self.prepare(&mut command, false);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Background::new(spawn(&mut command, &line)?, line, self.interrupt.clone())
    }

    /// As [`Runner::start`], with its standard output in a file: nobody here reads what it writes.
    ///
    /// # Errors
    /// As [`Runner::start`].
    pub fn start_into(&self, cmd: Cmd<'_>, output: File) -> Result<Background> {
        let mut command = Command::from(cmd);
        let line = pasteable(&command);
        self.prepare(&mut command, false);
        command.stdin(Stdio::null()).stdout(output).stderr(Stdio::piped());
        Background::new(spawn(&mut command, &line)?, line, self.interrupt.clone())
    }

    /// As [`Runner::capture`], and hands every stderr line on while the program runs.
    ///
    /// # Errors
    /// As [`Runner::capture`].
    pub fn capture_lines(
        &self,
        cmd: Cmd<'_>,
        limit_seconds: u64,
        on_stderr: impl FnMut(&str) + Send + 'static,
    ) -> Result<Captured> {
        self.collect(Command::from(cmd), limit_seconds, on_stderr)
    }

    /// Runs a program that ends when it likes, and hands each line of both its streams on. An interrupt is its ordinary end.
    ///
    /// # Errors
    /// [`Stop::Broken`] when it fails or cannot be started, [`Stop::Absent`] when it is not there.
    pub fn follow(&self, cmd: Cmd<'_>, on_line: impl FnMut(&str) + Clone + Send + 'static) -> Result<()> {
        let mut command = Command::from(cmd);
        let line = pasteable(&command);
        self.prepare(&mut command, false);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = spawn(&mut command, &line)?;
        let stdout = Stream::follow(child.stdout.take().context("a child has a stdout")?, on_line.clone());
        let stderr = Stream::follow(child.stderr.take().context("a child has a stderr")?, on_line);
        let ended = self.wait(&mut child, &line, u64::MAX, || stderr.last_lines());
        stdout.finish();
        match ended {
            Err(error) if Stop::is_interrupt(&error) => Ok(()),
            Err(error) => Err(error),
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Stop::Broken(format!("`{line}` failed with {status}: {}", stderr.finish().text)).into()),
        }
    }

    fn collect(
        &self,
        command: Command,
        limit_seconds: u64,
        on_stderr: impl FnMut(&str) + Send + 'static,
    ) -> Result<Captured> {
        self.collect_fed(command, None, limit_seconds, on_stderr)
    }

    fn collect_fed(
        &self,
        mut command: Command,
        input: Option<&[u8]>,
        limit_seconds: u64,
        on_stderr: impl FnMut(&str) + Send + 'static,
    ) -> Result<Captured> {
        let line = pasteable(&command);
        self.prepare(&mut command, true);
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = spawn(&mut command, &line)?;
        if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
            let input = input.to_vec();
            // A thread of its own: a program that prints before it has read everything must not wait for itself. One that
            // ends without reading is judged by its exit status.
            thread::spawn(move || stdin.write_all(&input));
        }
        let stdout = Stream::read(child.stdout.take().context("a child has a stdout")?, |_| {});
        let stderr = Stream::read(child.stderr.take().context("a child has a stderr")?, on_stderr);
        let status = self.wait(&mut child, &line, limit_seconds, || stderr.last_lines())?;
        let (stdout, stderr) = (stdout.finish(), stderr.finish());
        if stdout.is_cut {
            return Err(Stop::Broken(format!("`{line}` printed more than xtask takes: {}", stderr.text)).into());
        }
        Ok(Captured { status, stdout: stdout.text, stderr: stderr.text })
    }

    fn prepare(&self, command: &mut Command, is_quiet: bool) {
        self.progress.command(&format!("{}{}", change_of_folder(command), pasteable(command)), is_quiet);
        // A terminal's Ctrl-C reaches a whole group; in one of its own the child lives until this process decides.
        command.process_group(0);
    }

    /// Waits for the program and ends whatever it left in its process group.
    fn wait(
        &self,
        child: &mut Child,
        line: &str,
        limit_seconds: u64,
        last_lines: impl Fn() -> String,
    ) -> Result<ExitStatus> {
        let limit = Duration::from_secs(limit_seconds);
        let started = Instant::now();
        let group = Group::of(child)?;
        loop {
            if group.leader_has_ended()? {
                // The leader is not reaped yet, so its group's number cannot be somebody else's by now.
                group.signal(Signal::KILL);
                return child.wait().with_context(|| format!("wait for `{line}`"));
            }
            let interrupted = if self.cleaning_up { Ok(()) } else { self.interrupt.check() };
            if let Err(stop) = interrupted {
                group.end(child);
                return Err(stop.into());
            }
            if started.elapsed() > limit {
                let last = last_lines();
                group.end(child);
                let last = if last.is_empty() { String::new() } else { format!("; the last it printed: {last}") };
                let text = format!("`{line}` took longer than {limit_seconds} s and was stopped{last}");
                return Err(Stop::TimedOut(text).into());
            }
            // A short program is not waited for longer than it runs; a long one costs no processor.
            thread::sleep((started.elapsed() / 16).min(Duration::from_millis(POLL_MILLISECONDS)));
        }
    }
}

fn spawn(command: &mut Command, line: &str) -> Result<Child> {
    command.spawn().map_err(|error| {
        let text = format!("cannot start `{line}`: {error}");
        let is_absent = error.kind() == std::io::ErrorKind::NotFound;
        if is_absent { Stop::Absent(text) } else { Stop::Broken(text) }.into()
    })
}

/// A command line as a shell takes it. Values of the environment, where secrets travel, are no part of it.
fn pasteable(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| quoted(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    // Nothing that runs has a zero byte in its argv.
    shlex::try_quote(word).map_or_else(|_| word.replace('\0', ""), std::borrow::Cow::into_owned)
}

/// `cd FOLDER && ` for a program that runs elsewhere than the person who reads the echo stands.
fn change_of_folder(command: &Command) -> String {
    let here = std::env::current_dir().ok();
    match command.get_current_dir() {
        Some(folder) if Some(folder) != here.as_deref() && folder != Path::new(".") => {
            format!("cd {} && ", quoted(&folder.to_string_lossy()))
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xshell::{Shell, cmd};

    fn runner() -> Runner {
        Runner::new(Interrupt::default(), Progress::default())
    }

    fn shell(script: &str) -> Cmd<'static> {
        // The shell's only use is to hold the folder of the commands that it makes.
        let shell: &'static Shell = Box::leak(Box::new(Shell::new().unwrap()));
        cmd!(shell, "sh -c {script}")
    }

    /// Whether a process with this argument stays alive; its command line is unique to the test. A killed one may take the
    /// kernel a moment.
    fn is_alive(argument: &str) -> bool {
        let alive = || {
            let processes = std::fs::read_dir("/proc").unwrap().flatten();
            processes
                .filter_map(|process| std::fs::read(process.path().join("cmdline")).ok())
                .any(|line| String::from_utf8_lossy(&line).split('\0').any(|word| word == argument))
        };
        let started = Instant::now();
        while alive() {
            if started.elapsed() > Duration::from_secs(5) {
                return true;
            }
            thread::yield_now();
        }
        false
    }

    #[test]
    fn a_late_program_is_stopped_with_its_children_and_named() {
        let started = Instant::now();
        let error = runner().capture(shell("echo almost >&2; sleep 60.101 & wait"), 1).unwrap_err();
        let Some(Stop::TimedOut(text)) = Stop::of(&error) else { panic!("{error}") };
        assert!(text.contains("sleep 60.101") && text.contains("the last it printed: almost"), "{text}");
        assert!(started.elapsed() < Duration::from_secs(30));
        assert!(!is_alive("60.101"));
    }

    #[test]
    fn a_grandchild_that_holds_the_pipe_is_ended_with_its_group() {
        let started = Instant::now();
        let captured = runner().capture(shell("echo done; sleep 60.102 & exit 0"), 30).unwrap();
        assert_eq!(captured.stdout, "done\n");
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
        assert!(!is_alive("60.102"));
    }

    #[test]
    fn a_grandchild_that_left_the_group_is_not_waited_for_and_said() {
        let started = Instant::now();
        let folder = tempfile::tempdir().unwrap();
        let gate = folder.path().join("gate").display().to_string();
        // The leader ends only when its child is known to have left the group.
        let script =
            format!("echo done; mkfifo {gate}; setsid sh -c 'echo > {gate}; exec sleep 25.103' & read x <{gate}");
        let captured = runner().capture(shell(&script), 30).unwrap();
        assert!(captured.stdout.starts_with("done\n\n[xtask: a process"), "{}", captured.stdout);
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
        runner().capture(shell("pkill -f 'sleep 25.103'"), 5).unwrap();
    }

    #[test]
    fn a_program_that_ignores_sigterm_does_not_outlive_its_leader() {
        let script = "sh -c \"trap '' TERM; sleep 60.104\" & sleep 60.104";
        runner().capture(shell(script), 1).unwrap_err();
        assert!(!is_alive("60.104"));
    }

    #[test]
    fn fifty_megabytes_on_both_streams_are_kept_and_the_program_ends() {
        let script = "head -c 50000000 /dev/zero | tr '\\0' x; head -c 50000000 /dev/zero | tr '\\0' y >&2";
        let captured = runner().capture(shell(script), 60).unwrap();
        assert_eq!((captured.stdout.len(), captured.stderr.len()), (50_000_000, 50_000_000));
    }

    #[test]
    fn output_that_does_not_fit_is_an_error_and_never_half_an_answer() {
        let error = runner().capture(shell("head -c 70000000 /dev/zero | tr '\\0' x"), 60).unwrap_err();
        assert!(matches!(Stop::of(&error), Some(Stop::Broken(_))), "{error}");
    }

    #[test]
    fn a_missing_program_is_absent_and_one_that_fails_is_broken() {
        let sh = Shell::new().unwrap();
        let error = runner().read(cmd!(sh, "no-such-program-here"), 5).unwrap_err();
        assert!(matches!(Stop::of(&error), Some(Stop::Absent(_))), "{error}");
        let error = runner().read(shell("echo why >&2; exit 3"), 5).unwrap_err();
        assert!(matches!(Stop::of(&error), Some(Stop::Broken(text)) if text.contains("why")), "{error}");
        let error = runner().read(cmd!(sh, "/"), 5).unwrap_err();
        assert!(matches!(Stop::of(&error), Some(Stop::Broken(_))), "{error}");
    }

    #[test]
    fn what_a_program_is_fed_reaches_it_whole_and_one_that_does_not_read_is_judged_by_its_exit_status() {
        let megabytes = vec![b'x'; 3_000_000];
        let captured = runner().feed(shell("cat"), &megabytes, 30).unwrap();
        assert_eq!(captured.stdout.len(), megabytes.len());
        assert_eq!(runner().feed(shell("exit 3"), &megabytes, 30).unwrap().status.code(), Some(3));
    }

    #[test]
    fn a_program_in_the_background_says_its_line_and_ends_with_its_owner() {
        let port = |line: &str| line.strip_prefix("port ").map(ToOwned::to_owned);
        let mut program = runner().start(shell("echo hello; echo port 7; exec sleep 60.106")).unwrap();
        assert_eq!(program.wait_for_line(port, 30).unwrap(), "7");
        // The shell has yet to become the program that it started.
        let started = Instant::now();
        while !is_alive("60.106") && started.elapsed() < Duration::from_secs(30) {
            thread::sleep(Duration::from_millis(10));
        }
        assert!(is_alive("60.106"));
        drop(program);
        assert!(!is_alive("60.106"));
        let mut program = runner().start(shell("echo refused >&2; exit 1")).unwrap();
        let error = program.wait_for_line(port, 30).unwrap_err().to_string();
        assert!(error.contains("ended before") && error.contains("refused"), "{error}");
    }

    #[test]
    fn a_program_in_the_background_that_ends_by_itself_gives_all_it_printed() {
        let ended = runner().start(shell("echo one; echo two")).unwrap().finish(30).unwrap();
        assert_eq!(ended.stdout, "one\ntwo\n");
        let error = runner().start(shell("exec sleep 60.107")).unwrap().finish(1).unwrap_err();
        assert!(matches!(Stop::of(&error), Some(Stop::TimedOut(_))), "{error}");
        assert!(!is_alive("60.107"));
    }

    #[test]
    fn an_environment_value_never_reaches_an_error() {
        let error = runner().read(shell("exit 3").env("PASSWORD", "S3CR3T-c4n4ry"), 5).unwrap_err();
        assert!(!format!("{error:?}").contains("c4n4ry"), "{error:?}");
    }

    #[test]
    fn output_that_is_no_utf8_is_kept() {
        assert_eq!(runner().capture(shell("printf 'a\\377b'"), 5).unwrap().stdout, "a\u{fffd}b");
    }

    #[test]
    fn an_interrupt_stops_a_program_and_the_clean_up_runs_all_the_same() {
        let interrupt = Interrupt::default();
        interrupt.raise(2);
        let runner = Runner::new(interrupt, Progress::default());
        let error = runner.capture(shell("sleep 60.105"), 30).unwrap_err();
        assert!(Stop::is_interrupt(&error), "{error}");
        assert_eq!(runner.for_clean_up().read(shell("echo cleaned"), 5).unwrap(), "cleaned");
    }

    #[test]
    fn a_followed_program_hands_both_streams_on_and_ends_with_an_interrupt() {
        let (sender, lines) = std::sync::mpsc::channel();
        let interrupt = Interrupt::default();
        let runner = Runner::new(interrupt.clone(), Progress::default());
        let handed = move |line: &str| {
            sender.send(line.to_owned()).unwrap();
            interrupt.raise(2);
        };
        runner.follow(shell("echo said; sleep 60.106"), handed.clone()).unwrap();
        assert_eq!(lines.recv().unwrap(), "said");
        assert!(!is_alive("60.106"));
        let error = runner.for_clean_up().follow(shell("echo why >&2; exit 3"), handed).unwrap_err();
        assert!(matches!(Stop::of(&error), Some(Stop::Broken(text)) if text.contains("why")), "{error}");
        assert_eq!(lines.recv().unwrap(), "why");
    }

    #[test]
    fn an_echoed_command_can_be_pasted_into_a_shell() {
        let sh = Shell::new().unwrap();
        for words in [
            vec!["printf", "%s|", "hé", "a b", "it's", "$HOME", "`x`", "a\nb", "*", "", "\\", "\"q\"", "!x", "{}"],
            vec!["printf", "%s|", "{{.Server.Version}}", "label=a=b", "#c", "~", "a;b&c"],
        ] {
            let program = words[0];
            let arguments = &words[1..];
            let line = pasteable(&Command::from(cmd!(sh, "{program} {arguments...}")));
            let pasted = runner().read(shell(&line), 5).unwrap();
            assert_eq!(pasted, arguments[1..].iter().map(|word| format!("{word}|")).collect::<String>(), "{line}");
        }
    }

    #[test]
    fn a_command_that_runs_elsewhere_says_where() {
        let sh = Shell::new().unwrap();
        assert_eq!(change_of_folder(&Command::from(cmd!(sh, "true"))), "");
        sh.change_dir("/usr/share");
        assert_eq!(change_of_folder(&Command::from(cmd!(sh, "true"))), "cd /usr/share && ");
    }
}
