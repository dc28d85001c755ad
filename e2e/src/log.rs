//! The client's own log, against which the shop is held afterwards: one JSON object a line, written before the next request.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::client::Attempt;

pub(crate) struct Log(Mutex<File>);

impl Log {
    pub(crate) fn create(path: &Path) -> Result<Self> {
        Ok(Self(Mutex::new(File::create(path).with_context(|| format!("create {}", path.display()))?)))
    }

    /// Writes how a request went; `key` is its idempotency key, if it has one.
    pub(crate) fn write(&self, kind: &str, key: Option<&str>, attempt: &Attempt) -> Result<()> {
        let record = json!({
            "kind": kind,
            "key": key,
            "ended_unix_ms": unix_milliseconds(),
            "ms": attempt.milliseconds,
            "status": attempt.status,
            "problem": attempt.problem,
            "retry_after_seconds": attempt.retry_after_seconds,
            // Of an answer to an order: its id. Of a log-in the body is a token, which is in no log.
            "id": key.and_then(|_| attempt.body["id"].as_str()),
        });
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // One call for the whole line: a reader may look at any time.
        file.write_all(format!("{record}\n").as_bytes()).context("write the client's log")
    }
}

pub(crate) fn unix_milliseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
