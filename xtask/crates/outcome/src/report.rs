//! The report as a contract: the same keys whatever the ending. `docs/report.schema.json` is generated from these types.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::outcome::rounded;
use crate::{Checked, Failure, Finding, Outcome, Step, Table, Unchecked, date};

/// The version of the report's form. It changes when a key goes or changes its meaning; docs/decisions/ says why.
pub const SCHEMA: u32 = 2;

/// How a command ended, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It has begun and not ended: a report that still says so was left by a crash.
    Running,
    /// Everything was checked and nothing found.
    Pass,
    /// Nothing was found, and something was not checked.
    Incomplete,
    /// A policy does not allow what was found.
    Findings,
    /// The repository's own fault.
    Failed,
    /// The command line asked for something that does not exist.
    Usage,
    /// A tool, base, database or machine is missing or broken.
    Broken,
    /// A time limit of xtask's own.
    TooSlow,
    /// Somebody stopped it.
    Interrupted,
    /// A fault of xtask itself.
    Panicked,
}

impl Verdict {
    /// The word as the report has it: `too-slow`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Pass => "pass",
            Self::Incomplete => "incomplete",
            Self::Findings => "findings",
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::Broken => "broken",
            Self::TooSlow => "too-slow",
            Self::Interrupted => "interrupted",
            Self::Panicked => "panicked",
        }
    }

    fn of(outcome: &Outcome) -> Self {
        match outcome.exit_code() {
            0 if outcome.unchecked.is_empty() => Self::Pass,
            0 => Self::Incomplete,
            1 if outcome.failures.is_empty() => Self::Findings,
            1 => Self::Failed,
            2 => Self::Usage,
            3 if outcome.failures.is_empty() => Self::Incomplete,
            3 => Self::Broken,
            4 => Self::TooSlow,
            5 => Self::Panicked,
            _ => Self::Interrupted,
        }
    }
}

/// What a command leaves in `target/xtask/reports/<command>.json` and prints with `--format json`.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Report {
    /// The version of this form.
    pub schema: u32,
    /// `verify`, or empty when the command line named no command.
    pub command: String,
    /// How it ended.
    pub verdict: Verdict,
    /// What the process exits with; null while it runs.
    pub exit_code: Option<u8>,
    /// The first cause, or what was checked, in one line.
    pub headline: String,
    /// When it began: RFC 3339, UTC.
    pub started: String,
    /// How long it took.
    pub seconds: f64,
    /// The command line that runs it again; null for a wrong one, which may hold a secret that belongs elsewhere.
    pub rerun: Option<String>,
    /// What the policies do not allow.
    pub findings: Vec<Finding>,
    /// Steps that did not come to their end, the first cause first.
    pub failures: Vec<Failure>,
    /// What was looked at.
    pub checked: Vec<Checked>,
    /// What was not, and why.
    pub unchecked: Vec<Unchecked>,
    /// The steps that ran, in order.
    pub steps: Vec<Step>,
    /// What a person should read beside the verdict.
    pub notes: Vec<String>,
    /// What people expect to see as a table.
    pub tables: Vec<Table>,
    /// The command to run next; null when there is none, and when something went wrong: then `rerun` is.
    pub next: Option<String>,
    /// Image ids, tool versions, times: whatever lets a reader trust or repeat the verdict. Its keys depend on the command.
    pub evidence: BTreeMap<String, Value>,
}

impl Report {
    /// The report of a command that has begun.
    pub fn running(command: &str, rerun: &str) -> Self {
        Self {
            schema: SCHEMA,
            command: command.to_owned(),
            verdict: Verdict::Running,
            exit_code: None,
            headline: "running".to_owned(),
            started: date::now(),
            seconds: 0.0,
            rerun: Some(rerun.to_owned()),
            findings: Vec::new(),
            failures: Vec::new(),
            checked: Vec::new(),
            unchecked: Vec::new(),
            steps: Vec::new(),
            notes: Vec::new(),
            tables: Vec::new(),
            next: None,
            evidence: BTreeMap::new(),
        }
    }

    /// The same command's report at its end.
    #[must_use]
    pub fn ended(self, outcome: Outcome, seconds: f64) -> Self {
        let verdict = Verdict::of(&outcome);
        Self {
            verdict,
            exit_code: Some(outcome.exit_code()),
            headline: headline(verdict, &outcome),
            seconds: rounded(seconds),
            rerun: self.rerun.filter(|_| verdict != Verdict::Usage),
            findings: outcome.findings,
            failures: outcome.failures,
            checked: outcome.checked,
            unchecked: outcome.unchecked,
            steps: outcome.steps,
            notes: outcome.notes,
            tables: outcome.tables,
            next: outcome.next.filter(|_| matches!(verdict, Verdict::Pass | Verdict::Incomplete)),
            evidence: outcome.evidence,
            ..self
        }
    }

    /// What the process exits with.
    pub fn exit_code(&self) -> u8 {
        self.exit_code.unwrap_or(5)
    }

    /// As it is stored and printed.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

pub(crate) fn summary(checked: &[Checked]) -> String {
    let parts: Vec<_> = checked.iter().map(ToString::to_string).collect();
    if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") }
}

/// The first cause. A failure comes before findings: it says what stopped.
fn headline(verdict: Verdict, outcome: &Outcome) -> String {
    // What ended the command outranks what went wrong before.
    let decisive = match verdict {
        Verdict::Interrupted | Verdict::Panicked => {
            outcome.failures.iter().find(|failure| failure.exit_code == outcome.exit_code())
        }
        _ => outcome.failures.first(),
    };
    if let Some(failure) = decisive {
        let step = if failure.step.is_empty() { String::new() } else { format!("{}: ", failure.step) };
        return format!("{step}{}", failure.message);
    }
    match (outcome.findings.as_slice(), outcome.unchecked.as_slice()) {
        ([], []) => format!("checked {}", summary(&outcome.checked)),
        ([], unchecked) => {
            let parts: Vec<_> =
                unchecked.iter().map(|one| format!("{} not checked ({})", one.what, one.reason)).collect();
            parts.join("; ")
        }
        ([one], _) => one.to_string(),
        (findings, _) => format!("{} findings, the first: {}", findings.len(), findings[0]),
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;
    use crate::{Place, Stop};

    fn report(outcome: Outcome) -> Report {
        Report::running("scan", "cargo xtask scan").ended(outcome, 1.23456)
    }

    fn keys(report: &Report) -> Vec<String> {
        let value: Value = serde_json::from_str(&report.json()).unwrap();
        value.as_object().unwrap().keys().cloned().collect()
    }

    #[test]
    fn the_keys_are_the_same_whatever_the_ending() {
        let running = Report::running("scan", "cargo xtask scan");
        let mut broken = Outcome::default();
        broken.fail(&Stop::Broken("x".into()).into());
        assert_eq!(keys(&running), keys(&report(Outcome::default())));
        assert_eq!(keys(&running), keys(&report(broken)));
    }

    #[test]
    fn the_schema_in_docs_is_the_one_of_these_types() {
        let schema = serde_json::to_string_pretty(&schemars::schema_for!(Report)).unwrap() + "\n";
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs/report.schema.json");
        if option_env!("UPDATE_SCHEMA").is_some() {
            std::fs::write(file, &schema).unwrap();
        }
        let stored = std::fs::read_to_string(file).unwrap_or_default();
        assert!(stored == schema, "stale; next: UPDATE_SCHEMA=1 cargo test -p xtask-outcome");
    }

    #[test]
    fn a_wrong_command_line_is_not_repeated() {
        let mut outcome = Outcome::default();
        outcome.fail(&Stop::Usage("there is no image `usr`".into()).into());
        let report = report(outcome);
        assert_eq!((report.verdict, report.exit_code, report.rerun), (Verdict::Usage, Some(2), None));
    }

    #[test]
    fn the_first_cause_is_the_headline() {
        let mut outcome = Outcome::default();
        let failed = Err::<(), _>(Stop::Repository("step login: expected 200, got 500".into())).context("journey");
        outcome.step("compose-e2e", |_| failed).unwrap();
        outcome.step("later", |_| Err::<(), _>(Stop::Broken("down failed".into()).into())).unwrap();
        let report = report(outcome);
        assert_eq!(report.headline, "compose-e2e: journey: step login: expected 200, got 500");
        assert_eq!(report.verdict, Verdict::Failed);
    }

    #[test]
    fn an_interrupt_is_the_headline_whatever_failed_before() {
        let mut outcome = Outcome::default();
        outcome.fail(&Stop::Broken("x".into()).into());
        outcome.fail(&Stop::Interrupted(15).into());
        let report = report(outcome);
        assert_eq!((report.verdict, report.headline.as_str()), (Verdict::Interrupted, "interrupted by signal 15"));
    }

    #[test]
    fn what_was_not_checked_is_incomplete_also_when_strict() {
        for (strict, code) in [(false, 0), (true, 3)] {
            let mut outcome = Outcome { strict, ..Outcome::default() };
            outcome.unchecked("scan", "no database");
            let report = report(outcome);
            assert_eq!((report.verdict, report.exit_code), (Verdict::Incomplete, Some(code)));
            assert_eq!(report.headline, "scan not checked (no database)");
        }
    }

    #[test]
    fn one_finding_is_told_whole_and_several_are_counted() {
        let finding = Finding { rule: "r", place: Place::new("p"), message: "m".into(), next_step: "n".into() };
        let mut outcome = Outcome::default();
        outcome.findings.push(finding.clone());
        assert_eq!(report(outcome.clone()).headline, "p [r]: m; next: n");
        outcome.findings.push(finding);
        assert_eq!(report(outcome).headline, "2 findings, the first: p [r]: m; next: n");
    }
}
