//! The report for a terminal: its last line is the verdict.

use std::fmt::Write as _;

use serde_json::Value;

use crate::{Report, Verdict};

impl Report {
    /// The report for a terminal, with its evidence when asked for. The last line is the verdict or, when something went
    /// wrong, the line that runs it again.
    pub fn text(&self, with_evidence: bool) -> String {
        let mut text = String::new();
        if with_evidence {
            for (key, value) in &self.evidence {
                write_evidence(&mut text, key, value, 2);
            }
        }
        for note in &self.notes {
            let _ = writeln!(text, "{note}");
        }
        for finding in &self.findings {
            let _ = writeln!(text, "finding: {finding}");
        }
        for failure in &self.failures {
            let step = if failure.step.is_empty() { &self.command } else { &failure.step };
            let _ = writeln!(text, "failed: {step}: {}", failure.message);
        }
        for unchecked in &self.unchecked {
            let _ = writeln!(text, "not checked: {} ({})", unchecked.what, unchecked.reason);
        }
        let (command, seconds, checked) = (&self.command, self.seconds, self.summary());
        let _ = match self.verdict {
            Verdict::Pass => writeln!(text, "PASS {command}: {checked} in {seconds:.1} s"),
            Verdict::Incomplete => {
                let _ = writeln!(text, "checked: {checked} in {seconds:.1} s");
                writeln!(text, "INCOMPLETE: {}", self.headline)
            }
            Verdict::Findings => writeln!(text, "FINDINGS {command}: {} (checked: {checked})", self.findings.len()),
            _ => {
                let found = if self.findings.is_empty() {
                    String::new()
                } else {
                    format!(" ({} findings)", self.findings.len())
                };
                writeln!(text, "{} {command}{found}: {}", self.verdict.word().to_uppercase(), self.headline)
            }
        };
        if let (Some(rerun), false) =
            (&self.rerun, matches!(self.verdict, Verdict::Pass | Verdict::Incomplete | Verdict::Findings))
        {
            let _ = writeln!(text, "run it again: {rerun}");
        }
        text
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

#[cfg(test)]
mod tests {
    use crate::{Finding, Outcome, Place, Stop};

    use super::*;

    fn text(outcome: Outcome) -> String {
        Report::running("verify", "cargo xtask verify").ended(outcome, 1.0).text(false)
    }

    fn finding(rule: &'static str) -> Finding {
        Finding {
            rule,
            place: Place { name: "compose.yaml".into(), line: Some(7) },
            message: "m".into(),
            next_step: "n".into(),
        }
    }

    #[test]
    fn a_pass_is_one_line() {
        let mut outcome = Outcome::default();
        outcome.checked("images", 4);
        insta::assert_snapshot!(text(outcome), @"PASS verify: 4 images in 1.0 s");
    }

    #[test]
    fn what_was_not_checked_is_the_last_line() {
        let mut outcome = Outcome::default();
        outcome.checked("images", 2);
        outcome.unchecked("scan", "no database");
        insta::assert_snapshot!(text(outcome), @r"
        not checked: scan (no database)
        checked: 2 images in 1.0 s
        INCOMPLETE: scan not checked (no database)
        ");
    }

    #[test]
    fn findings_and_failures_stand_side_by_side_and_the_rerun_line_last() {
        let mut outcome = Outcome::default();
        outcome.findings.push(finding("image-user"));
        outcome
            .step("audit-env", |part| {
                part.findings.push(finding("missing-variable"));
                Err::<(), _>(Stop::Broken("`docker run` failed".into()).into())
            })
            .unwrap();
        outcome.unchecked("scan", "no database");
        insta::assert_snapshot!(text(outcome), @r"
        finding: compose.yaml:7 [image-user]: m; next: n
        finding: compose.yaml:7 [missing-variable]: m; next: n
        failed: audit-env: `docker run` failed
        not checked: scan (no database)
        FAILED verify (2 findings): audit-env: `docker run` failed
        run it again: cargo xtask verify
        ");
    }

    #[test]
    fn evidence_is_printed_when_asked_for() {
        let mut outcome = Outcome::default();
        outcome.evidence("tools", serde_json::json!({ "docker": [{ "version": "28" }], "names": ["a", "b"] }));
        let report = Report::running("setup", "cargo xtask setup").ended(outcome, 1.0);
        insta::assert_snapshot!(report.text(true), @r"
          tools:
            docker:
              - version 28
            names: a, b
        PASS setup: nothing in 1.0 s
        ");
    }
}
