//! What a container printed and how long it lived, as an observation that holds no value.

use std::collections::BTreeSet;

use serde_json::Value;

use super::plan::Plan;
use super::{Case, Observation};

/// Shorter values, such as `1`, are in every text.
const SHORTEST_LEAK: usize = 10;

/// A container that is to be started.
pub struct Container<'a> {
    /// What it is one of.
    pub plan: &'a Plan,
    /// Its name in the engine.
    pub name: String,
    /// What it is given.
    pub environment: Vec<(String, String)>,
    /// Whether it is also given what libraries read, set to nonsense.
    pub nonsense: bool,
}

/// What a container printed and how it ended, as an observation that holds no value.
pub fn observation(case: Case, exit_code: Option<i64>, container: &Container<'_>, printed: &str) -> Observation {
    // Values made for this run, and the malformed ones given in their place; a default is in every contract.
    let is_looked_for = |name: &str, value: &str| {
        container.plan.made.iter().any(|(made, _)| made == name) && value.trim().len() >= SHORTEST_LEAK
            || matches!(&case, Case::Malformed(malformed) if malformed == name)
    };
    let leaks = |(name, value): &&(String, String)| {
        !value.trim().is_empty() && is_looked_for(name, value) && printed.contains(value.as_str())
    };
    let leaked = container.environment.iter().filter(leaks).map(|(name, _)| name.clone()).collect();
    let mut log: Vec<_> = printed.lines().filter_map(kind_of_line).collect();
    log.sort();
    log.dedup();
    let (named_missing, named_malformed) = named(&case, &container.plan.variables, printed);
    Observation { case, exit_code, seconds: 0.0, named_missing, named_malformed, leaked, log }
}

/// The variables that a program calls missing and malformed: in lines of JSON under these two keys, separated by blanks. Where no line
/// has them, whichever of the contract's variables stands as a word in the text is meant: that it is called one thing and not the
/// other cannot be told there.
fn named(case: &Case, contract: &[String], printed: &str) -> (Vec<String>, Vec<String>) {
    let lines: Vec<Value> = printed.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let under = |key: &str| -> Vec<String> {
        let texts = lines.iter().filter_map(|line| line[key].as_str());
        texts.flat_map(str::split_whitespace).map(ToOwned::to_owned).collect()
    };
    let (missing, malformed) = (under("missing"), under("malformed"));
    if !missing.is_empty() || !malformed.is_empty() {
        return (missing, malformed);
    }
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words: BTreeSet<_> = printed.split(|c| !is_part(c)).collect();
    let found: Vec<_> = contract.iter().filter(|name| words.contains(name.as_str())).cloned().collect();
    match case {
        Case::Documented | Case::Nonsense => (Vec::new(), Vec::new()),
        Case::Malformed(_) | Case::AllMalformed(_) => (Vec::new(), found),
        Case::Missing(_) | Case::Blank(_) | Case::Nothing | Case::NothingButNonsense => (found, Vec::new()),
    }
}

/// A line of a log without what differs from run to run: level, origin, message, and whether its time is in UTC.
fn kind_of_line(line: &str) -> Option<String> {
    let line: Value = serde_json::from_str(line).ok()?;
    let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
    let zone = if text("timestamp").ends_with('Z') { "" } else { "time not in UTC " };
    let message: String = text("message").chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    Some(format!("{zone}{} {} {message}", text("level"), text("target")))
}

/// The time of day in `2026-11-25T03:50:49.123Z`, in seconds.
pub fn seconds_of_day(time: &str) -> Option<f64> {
    let clock = time.split_once('T')?.1.trim_end_matches('Z');
    let mut parts = clock.split(':').map(|part| part.parse::<f64>().ok());
    Some(parts.next()?? * 3600.0 + parts.next()?? * 60.0 + parts.next()??)
}

/// Midnight may lie between the two; the engine may also note the end of a short life before its start.
pub fn duration(start: f64, end: f64) -> f64 {
    const DAY_SECONDS: f64 = 86_400.0;
    let seconds = end - start;
    if seconds < -DAY_SECONDS / 2.0 { seconds + DAY_SECONDS } else { seconds.max(0.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_two_runs_compare_without_their_times_and_numbers() {
        let line = |time: &str, port: u16| {
            format!(
                r#"{{"timestamp":"{time}","level":"INFO","message":"listening on {port}","target":"mini_kit::server"}}"#
            )
        };
        assert_eq!(
            kind_of_line(&line("2026-01-01T00:00:00Z", 8080)),
            kind_of_line(&line("2027-01-01T00:00:00Z", 9999))
        );
        assert_ne!(kind_of_line(&line("2026-01-01T00:00:00Z", 1)), kind_of_line(&line("2026-01-01T14:00:00+14:00", 1)));
        assert_eq!(kind_of_line("no json"), None);
    }

    #[test]
    fn a_fault_is_named_in_json_by_its_kind_and_in_plain_text_by_its_name() {
        let contract = ["URL", "URL_LIMIT", "KEY"].map(str::to_owned);
        let of = |case: Case, text: &str| {
            let (missing, malformed) = named(&case, &contract, text);
            (missing.join(" "), malformed.join(" "))
        };
        let pair = |missing: &str, malformed: &str| (missing.to_owned(), malformed.to_owned());
        let json = r#"{"missing":"URL KEY","malformed":"URL_LIMIT"}"#;
        assert_eq!(of(Case::Nothing, json), pair("URL KEY", "URL_LIMIT"));
        let text = "error: URL_LIMIT is no number";
        assert_eq!(of(Case::Malformed("URL_LIMIT".into()), text), pair("", "URL_LIMIT"));
        assert_eq!(of(Case::Missing("URL".into()), text), pair("URL_LIMIT", ""), "not the one that is missing");
        assert_eq!(of(Case::Nothing, "a bad environment"), pair("", ""));
        assert_eq!(of(Case::Documented, "listens, KEY is set"), pair("", ""));
    }

    #[test]
    fn times_of_the_engine_are_read() {
        assert_eq!(seconds_of_day("2026-11-25T01:00:02.5Z"), Some(3602.5));
        assert_eq!(seconds_of_day("0001-01-01"), None);
        assert!((duration(86_399.0, 1.0) - 2.0).abs() < 0.001);
        assert!(duration(1.001, 1.0).abs() < 0.001);
    }
}
