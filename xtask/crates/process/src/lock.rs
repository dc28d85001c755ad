//! One process at a time: a lock file that others wait for, and that dies with its process.

use std::fs::{File, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use camino::Utf8Path;
use xtask_outcome::Stop;

use crate::Runner;

const POLL_MILLISECONDS: u64 = 20;

/// Held as long as it lives.
#[derive(Debug)]
pub struct Lock {
    /// Never read.
    _file: File,
}

impl Lock {
    /// Takes the lock, and waits for whoever has it; `holder` says in the message who that is.
    ///
    /// # Errors
    /// [`Stop::TimedOut`] after the limit, an interrupt, or a file that cannot be made.
    pub fn take(path: &Utf8Path, runner: &Runner, limit_seconds: u64, holder: &str) -> Result<Self> {
        let folder = path.parent().context("a lock file has a folder")?;
        std::fs::create_dir_all(folder).with_context(|| format!("create {folder}"))?;
        let file = File::create(path).with_context(|| format!("create {path}"))?;
        let started = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error).with_context(|| format!("lock {path}")),
            }
            runner.progress().now(&format!("waits for {holder}"));
            runner.interrupt().check()?;
            if started.elapsed() > Duration::from_secs(limit_seconds) {
                let text =
                    format!("{holder} held {path} for longer than {limit_seconds} s; next: end it, and try again");
                return Err(Stop::TimedOut(text).into());
            }
            thread::sleep(Duration::from_millis(POLL_MILLISECONDS));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn whoever_comes_second_waits_and_then_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap().join("new/lock");
        let runner = Runner::new(crate::Interrupt::default(), xtask_outcome::Progress::default());
        let first = Lock::take(&path, &runner, 5, "nobody").unwrap();
        let released = AtomicBool::new(false);
        thread::scope(|scope| {
            let second = scope.spawn(|| {
                let taken = Lock::take(&path, &runner, 60, "the first");
                (taken.is_ok(), released.load(Ordering::SeqCst))
            });
            released.store(true, Ordering::SeqCst);
            drop(first);
            assert_eq!(second.join().unwrap(), (true, true));
        });
    }

    #[test]
    fn a_wait_ends_with_its_limit_and_with_an_interrupt() {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap().join("lock");
        let runner = Runner::new(crate::Interrupt::default(), xtask_outcome::Progress::default());
        let _held = Lock::take(&path, &runner, 5, "nobody").unwrap();
        let late = Lock::take(&path, &runner, 0, "another run").unwrap_err();
        assert!(
            matches!(Stop::of(&late), Some(Stop::TimedOut(text)) if text.starts_with("another run held ")),
            "{late}"
        );
        runner.interrupt().raise(2);
        assert!(Stop::is_interrupt(&Lock::take(&path, &runner, 60, "another run").unwrap_err()));
    }
}
