//! When a client that goes on until it is told has gone on for long enough.

use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Until {
    /// It ends when this file exists.
    #[arg(long)]
    until: PathBuf,
    /// It ends after this time in any case.
    #[arg(long)]
    limit_seconds: u64,
}

/// The moment when it is over.
pub(crate) struct End<'a> {
    file: &'a Path,
    deadline: Instant,
    /// Who started this.
    parent: u32,
}

impl Until {
    pub(crate) fn begin(&self) -> End<'_> {
        let deadline = Instant::now() + Duration::from_secs(self.limit_seconds);
        End { file: &self.until, deadline, parent: parent_id() }
    }
}

impl End<'_> {
    pub(crate) fn reached(&self) -> bool {
        self.file.exists() || Instant::now() > self.deadline || self.orphaned()
    }

    /// Whoever started this was killed: nobody reads the log any more, and the stack is being removed.
    pub(crate) fn orphaned(&self) -> bool {
        parent_id() != self.parent
    }
}
