//! A program that goes on while others run: it has a line to say, and ends with its owner.

use std::process::Child;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use xtask_outcome::Stop;

use crate::capture::{Captured, Stream, tail};
use crate::group::{Group, POLL_MILLISECONDS};
use crate::interrupt::Interrupt;

/// A program that runs beside everything else. Dropping it ends it, with all that it started.
#[derive(Debug)]
pub struct Background {
    child: Child,
    group: Group,
    line: String,
    interrupt: Interrupt,
    stdout: Option<Stream>,
    stderr: Option<Stream>,
    lines: Receiver<String>,
}

impl Background {
    pub(crate) fn new(mut child: Child, line: String, interrupt: Interrupt) -> Result<Self> {
        let group = Group::of(&child)?;
        let (sender, lines) = channel();
        // Nobody may listen any more: then the lines are kept, and no more than that.
        let hand_on = move |text: &str| drop(sender.send(text.to_owned()));
        // Not where it goes into a file.
        let stdout = child.stdout.take().map(|stdout| Stream::read(stdout, hand_on));
        let stderr = Stream::read(child.stderr.take().context("a child has a stderr")?, |_| {});
        Ok(Self { child, group, line, interrupt, stdout, stderr: Some(stderr), lines })
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line of its standard output and gives what `wanted` makes of it.
    ///
    /// # Errors
    /// [`Stop::Broken`] when it ends before, with the end of what it printed; [`Stop::TimedOut`]; [`Stop::Interrupted`].
    pub fn wait_for_line<T>(&mut self, wanted: impl Fn(&str) -> Option<T>, limit_seconds: u64) -> Result<T> {
        let limit = Duration::from_secs(limit_seconds);
        let started = Instant::now();
        loop {
            self.interrupt.check()?;
            let Some(left) = limit.checked_sub(started.elapsed()) else {
                let text = format!("`{}` did not say within {limit_seconds} s what was waited for", self.line);
                return Err(Stop::TimedOut(text).into());
            };
            match self.lines.recv_timeout(left.min(Duration::from_millis(POLL_MILLISECONDS * 10))) {
                Ok(line) => {
                    if let Some(found) = wanted(&line) {
                        return Ok(found);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    let last = self.stderr.take().map(|stream| tail(&stream.finish().text)).unwrap_or_default();
                    let text = format!("`{}` ended before it said what was waited for: {last}", self.line);
                    return Err(Stop::Broken(text).into());
                }
            }
        }
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&self) -> bool {
        self.group.leader_has_ended().unwrap_or(true)
    }

    /// Waits until it has ended by itself, and gives all it left.
    ///
    /// # Errors
    /// [`Stop::TimedOut`], after which it is stopped; [`Stop::Interrupted`].
    pub fn finish(mut self, limit_seconds: u64) -> Result<Captured> {
        let started = Instant::now();
        while !self.has_ended() {
            self.interrupt.check()?;
            if started.elapsed() > Duration::from_secs(limit_seconds) {
                let text = format!("`{}` took longer than {limit_seconds} s and was stopped", self.line);
                return Err(Stop::TimedOut(text).into());
            }
            thread::sleep(Duration::from_millis(POLL_MILLISECONDS));
        }
        let status = self.child.wait().with_context(|| format!("wait for `{}`", self.line))?;
        let text = |stream: Option<Stream>| stream.map(|stream| stream.finish().text).unwrap_or_default();
        Ok(Captured { status, stdout: text(self.stdout.take()), stderr: text(self.stderr.take()) })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // One that was waited for has no group any more; the kernel may have given its number to somebody else.
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            self.group.end(&mut self.child);
        }
    }
}
