//! Why a service ended.

use crate::config::Faults;

/// Why a service ended other than by serving to the end.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The environment does not meet the contract.
    #[error("{0}")]
    Configuration(Faults),
    /// The service that the healthcheck asked does not answer as it should.
    #[error("unhealthy: {why}")]
    Unhealthy {
        /// What was asked and what came back, in one line.
        why: String,
    },
    /// Something that it needs did not work.
    #[error("{what}")]
    Broken {
        /// What was tried, on what. The cause follows after a colon.
        what: String,
        /// Why it did not work.
        #[source]
        cause: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// A second signal asked it to end at once.
    #[error("ended at once by a second signal")]
    Aborted {
        /// 128 and the number of the signal, as shells report it.
        exit_code: u8,
    },
}

impl Failure {
    /// A failure with its cause.
    pub fn caused(what: impl Into<String>, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Broken { what: what.into(), cause: Some(cause.into()) }
    }

    /// A failure that is its own explanation.
    pub fn plain(what: impl Into<String>) -> Self {
        Self::Broken { what: what.into(), cause: None }
    }

    /// The whole chain of causes in one line.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut error: &dyn std::error::Error = self;
        while let Some(source) = error.source() {
            text.push_str(": ");
            text.push_str(&source.to_string());
            error = source;
        }
        text
    }
}
