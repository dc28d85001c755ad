//! Variables that take one of a few words.

use crate::contract::{Reason, Value};

/// How much a service writes about its own work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Only what went wrong.
    Error,
    /// Also what may go wrong soon.
    Warn,
    /// Also one line for every request.
    Info,
    /// Also steps within a request.
    Debug,
    /// Everything.
    Trace,
}

impl Value for LogLevel {
    const TYPE: &'static str = "enum:error|warn|info|debug|trace";

    fn parse(text: &str) -> Result<Self, Reason> {
        match text {
            "error" => Ok(Self::Error),
            "warn" => Ok(Self::Warn),
            "info" => Ok(Self::Info),
            "debug" => Ok(Self::Debug),
            "trace" => Ok(Self::Trace),
            _ => Err("is not one of error, warn, info, debug, trace".into()),
        }
    }
}
