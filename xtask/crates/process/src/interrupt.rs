//! Ctrl-C, SIGTERM and SIGHUP: the first asks every command to stop and clean up, the second stops waiting.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use xtask_outcome::{Progress, Stop};

const POLL: Duration = Duration::from_millis(50);

/// Knows whether somebody asked this process to stop. Cheap to clone; all clones see the same.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    signal: Arc<AtomicI32>,
    /// What a person has to run when they did not wait for the clean-up.
    manual: Arc<Mutex<Option<String>>>,
    /// An interrupt is how the command is meant to end.
    expected: Arc<AtomicBool>,
}

impl Interrupt {
    /// Takes over the three signals for the rest of the process's life, and says on `progress` what becomes of one.
    ///
    /// # Errors
    /// When the system refuses to hand them over.
    pub fn install(progress: Progress) -> Result<Self> {
        let interrupt = Self::default();
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("take over SIGINT, SIGTERM and SIGHUP")?;
        let seen = interrupt.clone();
        thread::spawn(move || {
            for signal in signals.forever() {
                if seen.signal.swap(signal, Ordering::SeqCst) != 0 {
                    seen.give_up(signal, &progress);
                }
                if !seen.expected.load(Ordering::SeqCst) {
                    progress.say("interrupted: stopping and cleaning up; a second Ctrl-C stops at once");
                }
            }
        });
        Ok(interrupt)
    }

    /// From now on an interrupt is the way to end the command: nothing is to be cleaned up, and nothing is said.
    pub fn expect(&self) {
        self.expected.store(true, Ordering::SeqCst);
    }

    /// Behaves from now on as if the signal had come.
    pub fn raise(&self, signal: i32) {
        self.signal.store(signal, Ordering::SeqCst);
    }

    /// The error to stop with, when a signal has come.
    ///
    /// # Errors
    /// [`Stop::Interrupted`] with the signal's number.
    pub fn check(&self) -> Result<(), Stop> {
        match self.signal.load(Ordering::SeqCst) {
            0 => Ok(()),
            signal => Err(Stop::Interrupted(signal)),
        }
    }

    /// Waits, unless a signal comes first.
    ///
    /// # Errors
    /// [`Stop::Interrupted`] with the signal's number.
    pub fn sleep(&self, time: Duration) -> Result<(), Stop> {
        let started = Instant::now();
        while started.elapsed() < time {
            self.check()?;
            thread::sleep(POLL.min(time.saturating_sub(started.elapsed())));
        }
        self.check()
    }

    /// Says what to run by hand if the clean-up is cut short; `None` when nothing is left to clean up.
    pub fn on_second(&self, manual: Option<String>) {
        *self.manual.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = manual;
    }

    /// A second signal means now: nothing on the main thread is waited for.
    fn give_up(&self, signal: i32, progress: &Progress) {
        progress.finish(true);
        let manual = self.manual.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(manual) = manual.as_deref() {
            progress.say(&format!("stopped before the clean-up was done; what is left goes away with: {manual}"));
        }
        std::process::exit(128 + signal)
    }
}
