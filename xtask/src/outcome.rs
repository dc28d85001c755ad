//! How a command ended: what it found, what it checked and how much, what it could not check and why.
//!
//! Every command returns an [`Outcome`] or an error; [`Ending`] joins the two, gives the exit code and renders the report.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The version of the reports' form; it changes when a field changes its meaning or goes.
const REPORT_SCHEMA: u32 = 1;

/// Where something stands: a file (with the line where the parser knows it), an image, a container, a variable.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Place {
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<u32>,
}

impl Place {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), line: None }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// Something that a policy does not allow. One type for every command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// The rule's name in kebab case, such as `image-too-large`.
    pub(crate) rule: &'static str,
    pub(crate) place: Place,
    pub(crate) message: String,
    pub(crate) next_step: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]: {}; next: {}", self.place, self.rule, self.message, self.next_step)
    }
}

/// What a command looked at, with a count: a step that checked nothing is not a pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Checked {
    pub(crate) what: String,
    pub(crate) count: u64,
}

/// What a command should have looked at and could not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Unchecked {
    pub(crate) what: String,
    pub(crate) reason: String,
}

/// How a command ended when nothing broke.
#[derive(Debug, Default, Clone, Serialize)]
pub(crate) struct Outcome {
    pub(crate) findings: Vec<Finding>,
    pub(crate) checked: Vec<Checked>,
    pub(crate) unchecked: Vec<Unchecked>,
    /// Image ids, tool versions, times: whatever lets a reader trust or repeat the verdict.
    pub(crate) evidence: BTreeMap<String, Value>,
    /// An unchecked thing is an error: set by `--strict`.
    #[serde(skip)]
    pub(crate) strict: bool,
}

impl Outcome {
    pub(crate) fn checked(&mut self, what: impl Into<String>, count: usize) {
        self.checked.push(Checked { what: what.into(), count: count as u64 });
    }

    pub(crate) fn unchecked(&mut self, what: impl Into<String>, reason: impl Into<String>) {
        self.unchecked.push(Unchecked { what: what.into(), reason: reason.into() });
    }

    pub(crate) fn evidence(&mut self, key: impl Into<String>, value: impl Into<Value>) {
        self.evidence.insert(key.into(), value.into());
    }
}

/// Why a command stopped before its end. The kind decides the exit code; the text is for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The repository's own fault: a compile error, a failed check. Exit 1.
    Repository(String),
    /// Asked for something that does not exist. Exit 2.
    Usage(String),
    /// A tool, base, database or machine is missing or broken. Exit 3.
    Missing(String),
    /// A time limit of xtask's own. Exit 4.
    TimedOut(String),
    /// Ctrl-C (SIGINT, 2), SIGTERM (15) or SIGHUP (1). Exit 128 + the signal.
    Interrupted(i32),
}

impl Stop {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Repository(_) => 1,
            Self::Usage(_) => 2,
            Self::Missing(_) => 3,
            Self::TimedOut(_) => 4,
            Self::Interrupted(signal) => 128 + u8::try_from(*signal).unwrap_or(2),
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repository(text) | Self::Usage(text) | Self::Missing(text) | Self::TimedOut(text) => {
                f.write_str(text)
            }
            Self::Interrupted(signal) => write!(f, "interrupted by signal {signal}"),
        }
    }
}

impl std::error::Error for Stop {}

/// A command's end, whichever way it came.
pub(crate) struct Ending<'a> {
    pub(crate) command: &'a str,
    /// The one line that runs it again.
    pub(crate) rerun: String,
    pub(crate) seconds: f64,
    pub(crate) result: &'a Result<Outcome, anyhow::Error>,
}

impl Ending<'_> {
    /// 0 fine, 1 a finding or the repository's fault, 2 usage, 3 something missing or broken, 4 a time limit, 128+n a signal.
    pub(crate) fn exit_code(&self) -> u8 {
        match self.result {
            Ok(outcome) if !outcome.findings.is_empty() => 1,
            Ok(outcome) if outcome.strict && !outcome.unchecked.is_empty() => 3,
            Ok(_) => 0,
            // An error of no known kind is a broken machine (a full disk, a lost file), never a finding.
            Err(error) => error.chain().find_map(|cause| cause.downcast_ref::<Stop>()).map_or(3, Stop::exit_code),
        }
    }

    fn verdict(&self) -> &'static str {
        match (self.result, self.exit_code()) {
            (Ok(outcome), 0 | 3) if !outcome.unchecked.is_empty() => "incomplete",
            (Ok(_), 0) => "pass",
            (Ok(_), _) => "findings",
            (Err(_), 1) => "failed",
            (Err(_), 2) => "usage",
            (Err(_), 4) => "timed out",
            (Err(_), code) if code > 128 => "interrupted",
            (Err(_), _) => "broken",
        }
    }

    /// The report as it is stored in `target/xtask/reports/<command>.json`.
    pub(crate) fn json(&self) -> Value {
        let mut report = json!({
            "schema": REPORT_SCHEMA,
            "command": self.command,
            "verdict": self.verdict(),
            "exit_code": self.exit_code(),
            "seconds": (self.seconds * 1000.0).round() / 1000.0,
        });
        let more = match self.result {
            Ok(outcome) => serde_json::to_value(outcome).unwrap_or_default(),
            // A wrong command line is not repeated: there may be a password in it that belongs elsewhere.
            Err(error) if self.exit_code() == 2 => json!({ "error": format!("{error:#}") }),
            Err(error) => json!({ "error": format!("{error:#}"), "rerun": self.rerun }),
        };
        if let (Value::Object(report), Value::Object(more)) = (&mut report, more) {
            report.extend(more);
        }
        report
    }

    /// The report for a terminal; the last line is the verdict.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        match self.result {
            Ok(outcome) => {
                for (key, value) in &outcome.evidence {
                    write_evidence(&mut text, key, value, 2);
                }
                for finding in &outcome.findings {
                    let _ = writeln!(text, "finding: {finding}");
                }
                let checked: Vec<_> = outcome.checked.iter().map(|c| format!("{} {}", c.count, c.what)).collect();
                let not_checked: Vec<_> =
                    outcome.unchecked.iter().map(|u| format!("{} not checked ({})", u.what, u.reason)).collect();
                let summary = checked.join(", ");
                let _ = match self.verdict() {
                    "pass" => writeln!(text, "PASS {}: {summary} in {:.1} s", self.command, self.seconds),
                    "incomplete" => {
                        let _ = writeln!(text, "checked: {summary} in {:.1} s", self.seconds);
                        writeln!(text, "INCOMPLETE: {}", not_checked.join("; "))
                    }
                    _ => {
                        for line in not_checked {
                            let _ = writeln!(text, "{line}");
                        }
                        writeln!(text, "FINDINGS {}: {} (checked: {summary})", self.command, outcome.findings.len())
                    }
                };
            }
            Err(error) => {
                let _ = writeln!(text, "{} {}: {error:#}", self.verdict().to_uppercase(), self.command);
                if self.exit_code() != 2 {
                    let _ = writeln!(text, "run it again: {}", self.rerun);
                }
            }
        }
        text
    }

    /// The report for a GitHub job summary.
    pub(crate) fn markdown(&self) -> String {
        format!("### `cargo xtask {}`: {}\n\n```text\n{}```\n", self.command, self.verdict(), self.text())
    }

    /// One GitHub annotation per finding, or one for the error.
    pub(crate) fn annotations(&self) -> Vec<String> {
        match self.result {
            Ok(outcome) => outcome
                .findings
                .iter()
                .map(|finding| {
                    let line = finding.place.line.map(|line| format!(",line={line}")).unwrap_or_default();
                    let message = escape_annotation(&format!("{}; next: {}", finding.message, finding.next_step));
                    format!("::error file={}{line},title={}::{message}", finding.place.name, finding.rule)
                })
                .collect(),
            Err(error) => vec![format!("::error title={}::{}", self.command, escape_annotation(&format!("{error:#}")))],
        }
    }
}

fn write_evidence(text: &mut String, key: &str, value: &Value, indent: usize) {
    let pad = " ".repeat(indent);
    match value {
        Value::Object(map) => {
            let _ = writeln!(text, "{pad}{key}:");
            for (key, value) in map {
                write_evidence(text, key, value, indent + 2);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            let _ = writeln!(text, "{pad}{key}:");
            for item in items {
                let line = match item {
                    Value::Object(map) => {
                        map.iter().map(|(k, v)| format!("{k} {}", plain(v))).collect::<Vec<_>>().join(", ")
                    }
                    other => plain(other),
                };
                let _ = writeln!(text, "{pad}  - {line}");
            }
        }
        Value::Array(items) => {
            let _ = writeln!(text, "{pad}{key}: {}", items.iter().map(plain).collect::<Vec<_>>().join(", "));
        }
        other => {
            let _ = writeln!(text, "{pad}{key}: {}", plain(other));
        }
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

/// Workflow commands end at a line break, and `%` starts an escape in them.
fn escape_annotation(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context as _, anyhow};

    fn ending<'a>(result: &'a Result<Outcome, anyhow::Error>) -> Ending<'a> {
        Ending { command: "scan", rerun: "cargo xtask scan".into(), seconds: 1.0, result }
    }

    fn finding() -> Finding {
        Finding { rule: "r", place: Place::new("p"), message: "100%\nbad".into(), next_step: "mend it".into() }
    }

    #[test]
    fn exit_codes_are_those_of_the_design() {
        let code = |stop: Stop| ending(&Err(anyhow::Error::from(stop).context("while building"))).exit_code();
        assert_eq!(code(Stop::Repository("x".into())), 1);
        assert_eq!(code(Stop::Usage("x".into())), 2);
        assert_eq!(code(Stop::Missing("x".into())), 3);
        assert_eq!(code(Stop::TimedOut("x".into())), 4);
        assert_eq!(code(Stop::Interrupted(2)), 130);
        assert_eq!(code(Stop::Interrupted(15)), 143);
        assert_eq!(ending(&Err(anyhow!("no space left on device"))).exit_code(), 3);
    }

    #[test]
    fn a_finding_fails_and_outranks_what_was_not_checked() {
        let mut outcome = Outcome { strict: true, ..Outcome::default() };
        outcome.unchecked("scan", "no database");
        assert_eq!(ending(&Ok(outcome.clone())).exit_code(), 3);
        outcome.findings.push(finding());
        assert_eq!(ending(&Ok(outcome)).exit_code(), 1);
    }

    #[test]
    fn what_was_not_checked_is_the_last_line() {
        let mut outcome = Outcome::default();
        outcome.checked("images", 2);
        outcome.unchecked("scan", "no database");
        let result = Ok(outcome);
        assert_eq!(ending(&result).exit_code(), 0);
        assert_eq!(ending(&result).text().lines().last(), Some("INCOMPLETE: scan not checked (no database)"));
    }

    #[test]
    fn the_first_error_stays_in_front_and_the_rerun_line_last() {
        let result = Err(Stop::Repository("step login: expected 200, got 500".into())).context("journey");
        let text = ending(&result).text();
        assert!(text.starts_with("FAILED scan: journey: step login"), "{text}");
        assert!(text.ends_with("run it again: cargo xtask scan\n"), "{text}");
    }

    #[test]
    fn annotations_stay_on_one_line() {
        let mut outcome = Outcome::default();
        outcome.findings.push(finding());
        assert_eq!(ending(&Ok(outcome)).annotations(), ["::error file=p,title=r::100%25%0Abad; next: mend it"]);
    }
}
