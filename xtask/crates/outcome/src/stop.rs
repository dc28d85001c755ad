//! Why a step stopped before its end.

use std::fmt;

/// Why a step stopped before its end. The kind decides the exit code; the text is for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// The repository's own fault: a compile error, a failed check. Exit 1.
    Repository(String),
    /// Asked for something that does not exist. Exit 2.
    Usage(String),
    /// A tool, base, database or machine is not there: nothing was tried. Exit 3.
    Absent(String),
    /// Something ran and failed, or answered what nobody understands. Exit 3.
    Broken(String),
    /// A time limit of xtask's own. Exit 4.
    TimedOut(String),
    /// Ctrl-C (SIGINT, 2), SIGTERM (15) or SIGHUP (1). Exit 128 + the signal.
    Interrupted(i32),
}

impl Stop {
    /// The stop that an error is, or was caused by.
    pub fn of(error: &anyhow::Error) -> Option<&Self> {
        error.chain().find_map(|cause| cause.downcast_ref())
    }

    /// Whether an error says that something is not there.
    pub fn is_absent(error: &anyhow::Error) -> bool {
        matches!(Self::of(error), Some(Self::Absent(_)))
    }

    /// The same kind of stop, with more to say; an interrupt has nothing to add.
    #[must_use]
    pub fn with(self, more: &str) -> Self {
        let join = |text: String| format!("{text}{more}");
        match self {
            Self::Repository(text) => Self::Repository(join(text)),
            Self::Usage(text) => Self::Usage(join(text)),
            Self::Absent(text) => Self::Absent(join(text)),
            Self::Broken(text) => Self::Broken(join(text)),
            Self::TimedOut(text) => Self::TimedOut(join(text)),
            Self::Interrupted(signal) => Self::Interrupted(signal),
        }
    }

    /// Whether somebody asked the process to stop.
    pub fn is_interrupt(error: &anyhow::Error) -> bool {
        matches!(Self::of(error), Some(Self::Interrupted(_)))
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repository(text)
            | Self::Usage(text)
            | Self::Absent(text)
            | Self::Broken(text)
            | Self::TimedOut(text) => f.write_str(text),
            Self::Interrupted(signal) => write!(f, "interrupted by signal {signal}"),
        }
    }
}

impl std::error::Error for Stop {}
