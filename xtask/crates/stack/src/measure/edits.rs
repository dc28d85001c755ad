//! How long an edit takes to be answered by the running stack, as somebody at `up --watch` sees it.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;
use xshell::{Shell, cmd};
use xtask_outcome::{Progress, Stop};
use xtask_process::{Captured, Interrupt, Runner};
use xtask_workspace::Context;

/// What `up --watch` says when it has nothing to do.
const IDLE: &str = "watch: waiting for edits";
const BUILD_LIMIT_SECONDS: u64 = 1800;
const ANSWER_LIMIT_SECONDS: u64 = 180;
const POLL_MILLISECONDS: u64 = 10;

/// An edit that can be seen from outside.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VisibleEdit {
    /// The service that is edited.
    pub service: String,
    /// A source of it, relative to the root.
    pub file: Utf8PathBuf,
    /// A text in that source, which the answer shows.
    pub words: String,
    /// The path at the entrance that answers with it.
    pub path: String,
}

/// The seconds from each edit to the first answer that shows it. `program` is xtask, and `checkout` a clone whose files may be
/// edited; its stack is removed at the end.
///
/// # Errors
/// When the stack does not come up, or an edit is not answered.
pub fn edit_to_answer(
    context: &Context,
    program: &Utf8Path,
    checkout: &Utf8Path,
    profile: &str,
    edit: &VisibleEdit,
    edits: usize,
) -> Result<Vec<f64>> {
    let port = on_a_free_port(context, checkout)?;
    let manifest = checkout.join(&context.project.automation);
    let run = |arguments: &[&str], runner: &Runner, on_line: Box<dyn FnMut(&str) + Send>| -> Result<Captured> {
        let shell = Shell::new()?;
        shell.change_dir(checkout);
        let xtask = cmd!(shell, "{program} {arguments...}").env("CARGO_MANIFEST_DIR", &manifest);
        runner.capture_lines(xtask, BUILD_LIMIT_SECONDS, on_line)
    };
    // An end of its own: an interrupt of this run and the end of the measurement both reach the watch.
    let over = Interrupt::default();
    let file = checkout.join(&edit.file);
    let original = std::fs::read_to_string(&file).with_context(|| format!("read {file}"))?;
    let seconds = thread::scope(|scope| {
        let (sender, lines) = channel();
        let runner = Runner::new(over.clone(), Progress::default());
        let run = &run;
        let watching = scope.spawn(move || -> Result<Captured> {
            run(&["up", "--profile", profile], &runner, Box::new(|_| {}))?;
            let hand_on = move |line: &str| drop(sender.send(line.to_owned()));
            run(&["up", &edit.service, "--profile", profile, "--watch"], &runner, Box::new(hand_on))
        });
        let measured =
            (0..edits).map(|number| one(context, &lines, &file, edit, port, number)).collect::<Result<Vec<_>>>();
        over.raise(2);
        match (measured, watching.join()) {
            (Ok(seconds), _) => Ok(seconds),
            (Err(error), Ok(Ok(captured))) => Err(error.context(captured.tail())),
            (Err(error), _) => Err(error),
        }
    });
    let down = run(&["down", "--volumes"], &context.runner.for_clean_up(), Box::new(|_| {}));
    std::fs::write(&file, original).with_context(|| format!("write {file}"))?;
    let (seconds, down) = (seconds?, down?);
    if !down.status.success() {
        return Err(Stop::Broken(format!("the stack of {checkout} was not removed: {}", down.tail())).into());
    }
    Ok(seconds)
}

/// One edit, from the moment it is written to the answer.
fn one(
    context: &Context,
    lines: &Receiver<String>,
    file: &Utf8PathBuf,
    edit: &VisibleEdit,
    port: u16,
    number: usize,
) -> Result<f64> {
    loop {
        context.runner.interrupt().check()?;
        match lines.recv_timeout(Duration::from_millis(500)) {
            Ok(line) if line.contains(IDLE) => break,
            Err(RecvTimeoutError::Disconnected) => return Err(Stop::Broken("the watch ended".to_owned()).into()),
            Ok(_) | Err(RecvTimeoutError::Timeout) => {}
        }
    }
    let source = std::fs::read_to_string(file).with_context(|| format!("read {file}"))?;
    let words =
        |number: usize| if number == 0 { edit.words.clone() } else { format!("{} (edit {number})", edit.words) };
    let (before, after) = (format!("\"{}\"", words(number)), format!("\"{}\"", words(number + 1)));
    let edited = source.replacen(&before, &after, 1);
    if edited == source {
        return Err(Stop::Repository(format!("{file} has no {before}, which was to be edited")).into());
    }
    let started = Instant::now();
    std::fs::write(file, edited).with_context(|| format!("edit {file}"))?;
    while !get(port, &edit.path).is_some_and(|answer| answer.contains(&after)) {
        context.runner.interrupt().check()?;
        if started.elapsed() > Duration::from_secs(ANSWER_LIMIT_SECONDS) {
            let text = format!("{} did not show the edit within {ANSWER_LIMIT_SECONDS} s", edit.path);
            return Err(Stop::TimedOut(text).into());
        }
        thread::sleep(Duration::from_millis(POLL_MILLISECONDS));
    }
    Ok(started.elapsed().as_secs_f64())
}

/// Whatever is answered, head and body; nothing while nobody answers.
fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    Some(String::from_utf8_lossy(&answer).into_owned())
}

/// Publishes the clone's stack where nobody else is.
fn on_a_free_port(context: &Context, checkout: &Utf8Path) -> Result<u16> {
    let policy = &context.project.stack;
    let file = checkout.join(&policy.file);
    let text = std::fs::read_to_string(&file).with_context(|| format!("read {file}"))?;
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let start = format!("${{{}:-", policy.entrance.variable);
    let at = text.find(&start).with_context(|| format!("{file} gives {start}…}} a default"))? + start.len();
    let end = text[at..].find('}').with_context(|| format!("{file} closes {start}"))? + at;
    std::fs::write(&file, format!("{}{port}{}", &text[..at], &text[end..])).with_context(|| format!("write {file}"))?;
    Ok(port)
}
