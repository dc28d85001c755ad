//! The client's log, and the judge that holds it against the database.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// `UPSTREAM_TIMEOUT` and `REQUEST_TIMEOUT` are 10 s; what is left is for the way.
const REQUEST_LIMIT_MILLISECONDS: u64 = 12_000;
/// A client that is slow on purpose is cut off after `HEADER_READ_TIMEOUT` (5 s).
const SLOW_CLIENT_LIMIT_MILLISECONDS: u64 = 8_000;
/// So many in a row count as "it works again".
const STEADY_SUCCESSES: usize = 5;
const SHOWN: usize = 5;

/// One request of a client, as the client writes it.
#[derive(Debug, Clone, Deserialize)]
pub struct Record {
    pub(super) kind: String,
    /// The idempotency key of a write.
    pub(super) key: Option<String>,
    /// When it ended.
    pub(super) ended_unix_ms: u64,
    /// How long it took.
    ms: u64,
    /// 0 when there was no answer.
    pub(super) status: u16,
    /// The answer is a problem document.
    problem: bool,
    retry_after_seconds: Option<u64>,
    /// The id in the answer to a write.
    id: Option<String>,
}

impl Record {
    /// It was answered as it should be.
    pub fn succeeded(&self) -> bool {
        matches!(self.status, 200 | 201)
    }
}

/// Reads a log. While the client still writes, its last line may be half there.
///
/// # Errors
/// When a whole line is not a record.
pub fn parse(text: &str) -> Result<Vec<Record>> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).with_context(|| format!("read `{line}`"))).collect()
}

/// Milliseconds from `since` until the last failure of any kind, once every kind has worked steadily; `None` before that.
pub fn recovered_after(records: &[Record], kinds: &[String], since_unix_ms: u64) -> Option<u64> {
    let mut last_failure = since_unix_ms;
    for kind in kinds {
        let of_kind: Vec<_> =
            records.iter().filter(|record| record.kind == *kind && record.ended_unix_ms >= since_unix_ms).collect();
        let failed = of_kind.iter().rposition(|record| !record.succeeded());
        if of_kind.len() - failed.map_or(0, |index| index + 1) < STEADY_SUCCESSES {
            return None;
        }
        last_failure = last_failure.max(failed.map_or(0, |index| of_kind[index].ended_unix_ms));
    }
    Some(last_failure - since_unix_ms)
}

/// What 99 of 100 answered requests of these kinds took at most, in milliseconds.
pub(super) fn p99<'a>(records: impl IntoIterator<Item = &'a Record>, kinds: &[String]) -> Option<u64> {
    let answered = records.into_iter().filter(|record| record.status != 0 && kinds.contains(&record.kind));
    let mut times: Vec<_> = answered.map(|record| record.ms).collect();
    times.sort_unstable();
    times.get((times.len() * 99).div_ceil(100).checked_sub(1)?).copied()
}

/// A promise that was not kept: the rule, and what shows it.
pub type Broken = (&'static str, String);

/// Holds the log of one case to its promises: the error statuses that clients may see, and every write. `orders` are the rows of
/// the database: idempotency key and id.
pub fn judge(allowed: &[u16], records: &[Record], orders: &[(String, String)]) -> Vec<Broken> {
    let mut broken = kept_writes(records, orders);
    let mut add = |rule, found: Vec<String>| {
        if !found.is_empty() {
            broken.push((rule, shown(&found)));
        }
    };
    let limit = |record: &Record| {
        if record.kind == "slow" { SLOW_CLIENT_LIMIT_MILLISECONDS } else { REQUEST_LIMIT_MILLISECONDS }
    };
    let late = records.iter().filter(|record| record.ms > limit(record));
    add("request-hung", late.map(|record| format!("{} took {} ms", record.kind, record.ms)).collect());
    let answered = records.iter().filter(|record| record.kind != "slow" && !record.succeeded());
    let undocumented = answered.filter_map(|record| undocumented(allowed, record));
    add("undocumented-error", undocumented.collect());
    broken
}

/// Requests that got no answer, of clients that may lose none; a log without an answer proves nothing.
pub fn lost(client: &str, records: &[Record]) -> Option<Broken> {
    let lost = records.iter().filter(|record| record.status == 0).count();
    match records.len() - lost {
        0 => Some(("nothing-proven", format!("no request of `{client}` was answered"))),
        answered if lost > 0 => {
            Some(("request-lost", format!("{lost} requests of `{client}` got no answer, beside {answered} that did")))
        }
        _ => None,
    }
}

/// Every write answered with 201 exists exactly once, with the id of the answer, and every key got its 201.
fn kept_writes(records: &[Record], orders: &[(String, String)]) -> Vec<Broken> {
    let mut answered: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for record in records {
        let Some(key) = &record.key else { continue };
        let ids = answered.entry(key).or_default();
        if record.status == 201 {
            ids.insert(record.id.as_deref().unwrap_or("(no id)"));
        }
    }
    let mut stored: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (key, id) in orders {
        stored.entry(key).or_default().push(id);
    }
    let (mut lost, mut twice, mut open) = (Vec::new(), Vec::new(), Vec::new());
    for (key, ids) in &answered {
        let rows = stored.remove(key).unwrap_or_default();
        if ids.is_empty() {
            open.push((*key).to_owned());
        }
        if ids.len() > 1 || rows.len() > 1 {
            twice.push(format!("{key}: answered with {ids:?}, stored as {rows:?}"));
        } else if let Some(id) = ids.first()
            && !rows.contains(id)
        {
            lost.push(format!("{key}: answered with {id}, stored as {rows:?}"));
        }
    }
    let unknown: Vec<_> = stored.keys().map(|key| (*key).to_owned()).collect();
    let all =
        [("write-lost", lost), ("write-twice", twice), ("write-unanswered", open), ("write-from-nowhere", unknown)];
    all.into_iter().filter(|(_, found)| !found.is_empty()).map(|(rule, found)| (rule, shown(&found))).collect()
}

fn undocumented(allowed: &[u16], record: &Record) -> Option<String> {
    let (kind, status) = (&record.kind, record.status);
    if !allowed.contains(&status) {
        return Some(format!("{kind} was answered with {status}"));
    }
    if status != 0 && !record.problem {
        return Some(format!("{kind}: {status} without problem details"));
    }
    if matches!(status, 429 | 503) && record.retry_after_seconds.is_none() {
        return Some(format!("{kind}: {status} without Retry-After"));
    }
    None
}

/// The first few, and how many there are.
fn shown(found: &[String]) -> String {
    let first = found.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
    if found.len() > SHOWN { format!("{first}; and {} more", found.len() - SHOWN) } else { first }
}

mod noticed;
pub(super) use self::noticed::{Noticed, Span, noticed};

#[cfg(test)]
mod tests;
