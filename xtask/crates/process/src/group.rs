//! The process group of a child: what it left behind ends with it.

use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

/// An interrupted or late child gets this long between SIGTERM and SIGKILL.
const GRACE_SECONDS: u64 = 10;
pub(crate) const POLL_MILLISECONDS: u64 = 5;

/// The process group that a child leads.
#[derive(Debug)]
pub(crate) struct Group(Pid);

impl Group {
    pub(crate) fn of(child: &Child) -> Result<Self> {
        i32::try_from(child.id()).ok().and_then(Pid::from_raw).map(Self).context("a child has a process id")
    }

    pub(crate) fn leader_has_ended(&self) -> Result<bool> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        Ok(waitid(WaitId::Pid(self.0), options).context("ask for the state of a child")?.is_some())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        // A group without members is what everybody wants.
        let _ = kill_process_group(self.0, signal);
    }

    /// SIGTERM to the whole group, then SIGKILL for what is left of it.
    pub(crate) fn end(&self, child: &mut Child) {
        self.signal(Signal::TERM);
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(GRACE_SECONDS) && matches!(self.leader_has_ended(), Ok(false)) {
            thread::sleep(Duration::from_millis(POLL_MILLISECONDS));
        }
        self.signal(Signal::KILL);
        let _ = child.wait();
    }
}
