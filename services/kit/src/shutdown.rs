//! The way a service ends: it drains, then stops, and a second signal ends it at once.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::failure::Failure;

/// How far the end has come. The phases follow each other in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Ordinary work.
    Serving,
    /// Not ready any more, but still serving, until load balancers have noticed.
    Draining,
    /// No new connections; requests in flight are finished.
    Stopping,
    /// A second signal came: everything is dropped.
    Aborting {
        /// 128 and the number of the signal.
        exit_code: u8,
    },
}

/// Watches how far the end has come. It can be cloned and watched from any thread and runtime.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<Phase>);

/// Moves the end forward.
#[derive(Debug)]
pub struct Trigger(watch::Sender<Phase>);

/// A new pair, in the phase [`Phase::Serving`].
#[must_use]
pub fn channel() -> (Trigger, Shutdown) {
    let (sender, receiver) = watch::channel(Phase::Serving);
    (Trigger(sender), Shutdown(receiver))
}

impl Trigger {
    /// Moves on to `phase`; an earlier phase than the present one changes nothing.
    pub fn advance(&self, phase: Phase) {
        self.0.send_if_modified(|present| {
            let is_later = phase > *present;
            if is_later {
                *present = phase;
            }
            is_later
        });
    }
}

impl Shutdown {
    /// How far the end has come.
    #[must_use]
    pub fn phase(&self) -> Phase {
        // Every answer asks. This is one load of a counter while nothing has changed, and no lock that threads share.
        if self.0.has_changed().is_ok_and(|has_changed| !has_changed) { Phase::Serving } else { *self.0.borrow() }
    }

    /// Waits until `phase` or a later one is reached.
    pub async fn reached(&self, phase: Phase) -> Phase {
        let mut receiver = self.0.clone();
        let reached = receiver.wait_for(|present| *present >= phase).await.map(|present| *present);
        match reached {
            Ok(present) => present,
            // The trigger is gone, so no later phase can come.
            Err(_) => std::future::pending().await,
        }
    }

    /// Runs `work` unless the end begins first; then the answer is `None` and the work is dropped.
    pub async fn unless_ended<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            _ = self.reached(Phase::Draining) => None,
            result = work => Some(result),
        }
    }

    /// What `serve` reports at its end.
    ///
    /// # Errors
    /// [`Failure::Aborted`] when a second signal came.
    pub fn outcome(&self) -> Result<(), Failure> {
        match self.phase() {
            Phase::Aborting { exit_code } => Err(Failure::Aborted { exit_code }),
            _ => Ok(()),
        }
    }
}

/// The signals that end a service. They are caught from the moment of [`Signals::catch`]: as process 1 of a container a
/// program that catches nothing cannot be stopped at all.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Catches SIGTERM and SIGINT from now on. It must be called inside a runtime with I/O.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn catch() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Moves the end forward as signals come: the first drains and, after `drain_delay`, stops; the second aborts. It
    /// returns only after the second.
    pub async fn drive(mut self, trigger: &Trigger, drain_delay: Duration) {
        self.next().await;
        tracing::info!(drain_delay_ms = drain_delay.as_millis(), "draining: a signal asked the service to end");
        trigger.advance(Phase::Draining);
        let exit_code = tokio::select! {
            exit_code = self.next() => exit_code,
            () = tokio::time::sleep(drain_delay) => {
                trigger.advance(Phase::Stopping);
                self.next().await
            }
        };
        trigger.advance(Phase::Aborting { exit_code });
    }

    async fn next(&mut self) -> u8 {
        let number = tokio::select! {
            _ = self.terminate.recv() => SignalKind::terminate().as_raw_value(),
            _ = self.interrupt.recv() => SignalKind::interrupt().as_raw_value(),
        };
        128 + u8::try_from(number).unwrap_or(0)
    }
}
