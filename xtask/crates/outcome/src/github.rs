//! The report for GitHub Actions: a job summary in Markdown, and annotations.

use std::fmt::Write as _;

use crate::{Report, Verdict};

/// GitHub drops a summary that is larger than 1 MiB without a word.
const SUMMARY_LIMIT_BYTES: usize = 1024 * 1024 - 4096;

/// The report as Markdown, below GitHub's limit.
pub fn summary(report: &Report) -> String {
    let mut text = String::new();
    let found =
        if report.findings.is_empty() { String::new() } else { format!(" ({} findings)", report.findings.len()) };
    let _ = writeln!(text, "### `cargo xtask {}`: {}{found}\n", report.command, report.verdict.word());
    let _ = writeln!(text, "{}\n", inline(&report.headline));
    if !report.steps.is_empty() {
        text += "| step | verdict | findings | seconds |\n|---|---|---:|---:|\n";
        for step in &report.steps {
            let verdict = serde_json::to_value(step.verdict).unwrap_or_default();
            let verdict = verdict.as_str().unwrap_or_default().to_owned();
            let _ = writeln!(text, "| {} | {verdict} | {} | {:.1} |", step.name, step.findings, step.seconds);
        }
        text += "\n";
    }
    for failure in &report.failures {
        let step = if failure.step.is_empty() { &report.command } else { &failure.step };
        let _ = writeln!(text, "- **{step} failed**: {}", inline(&failure.message));
    }
    for unchecked in &report.unchecked {
        let _ = writeln!(text, "- **{} not checked**: {}", inline(&unchecked.what), inline(&unchecked.reason));
    }
    let mut rows = String::new();
    let mut left_out = 0;
    for finding in &report.findings {
        let row = format!(
            "| {} | {} | {} | {} |\n",
            cell(&finding.place.to_string()),
            finding.rule,
            cell(&finding.message),
            cell(&finding.next_step)
        );
        if text.len() + rows.len() + row.len() > SUMMARY_LIMIT_BYTES {
            left_out += 1;
        } else {
            rows += &row;
        }
    }
    if !rows.is_empty() {
        text += "\n<details open><summary>Findings</summary>\n\n| where | rule | what | next |\n|---|---|---|---|\n";
        text += &rows;
        text += "\n</details>\n";
    }
    if left_out > 0 {
        let _ =
            writeln!(text, "\n{left_out} more findings are in the JSON report; a job summary has no room for them.");
    }
    if let (Some(rerun), Verdict::Findings | Verdict::Failed | Verdict::Broken | Verdict::TooSlow) =
        (&report.rerun, report.verdict)
    {
        let _ = writeln!(text, "\nRun it again: `{rerun}`");
    }
    cut(text)
}

/// One annotation per finding, failure and unchecked thing. `is_file` says whether a place is a file of the repository:
/// GitHub shows nothing for one that is not.
pub fn annotations(report: &Report, is_file: impl Fn(&str) -> bool) -> Vec<String> {
    let findings = report.findings.iter().map(|finding| {
        let at = if is_file(&finding.place.name) {
            let line = finding.place.line.map(|line| format!(",line={line}")).unwrap_or_default();
            format!("file={}{line},", property(&finding.place.name))
        } else {
            String::new()
        };
        let place = if at.is_empty() { format!("{}: ", finding.place) } else { String::new() };
        let text = message(&format!("{place}{}; next: {}", finding.message, finding.next_step));
        format!("::error {at}title={}::{text}", property(finding.rule))
    });
    let failures = report.failures.iter().map(|failure| {
        let step = if failure.step.is_empty() { &report.command } else { &failure.step };
        format!("::error title={} failed::{}", property(step), message(&failure.message))
    });
    let unchecked = report.unchecked.iter().map(|unchecked| {
        format!("::warning title={} not checked::{}", property(&unchecked.what), message(&unchecked.reason))
    });
    findings.chain(failures).chain(unchecked).collect()
}

/// Workflow commands end at a line break, and `%` starts an escape in them.
fn message(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A property ends at a comma or a colon, too.
fn property(text: &str) -> String {
    message(text).replace(':', "%3A").replace(',', "%2C")
}

fn inline(text: &str) -> String {
    text.replace('\n', "<br>")
}

fn cell(text: &str) -> String {
    inline(text).replace('|', "\\|")
}

fn cut(mut text: String) -> String {
    if text.len() > SUMMARY_LIMIT_BYTES {
        let end = (0..=SUMMARY_LIMIT_BYTES).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text += "\n\n(cut here: a job summary has no room for more)\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Finding, Outcome, Place, Stop};

    fn report(findings: usize) -> Report {
        let mut outcome = Outcome::default();
        for number in 0..findings {
            outcome.findings.push(Finding {
                rule: "r",
                place: Place { name: "compose.yaml".into(), line: Some(3) },
                message: format!("100% |bad|\n{number} {}", "x".repeat(300)),
                next_step: "fix it".into(),
            });
        }
        Report::running("verify", "cargo xtask verify").ended(outcome, 1.0)
    }

    #[test]
    fn six_thousand_findings_fit_into_a_summary_and_what_is_left_out_is_counted() {
        let text = summary(&report(6000));
        assert!(text.len() < 1024 * 1024, "{}", text.len());
        assert!(text.contains("more findings are in the JSON report"));
        let endless = {
            let mut outcome = Outcome::default();
            outcome.fail(&Stop::Broken("ß".repeat(1_000_000)).into());
            summary(&Report::running("verify", "x").ended(outcome, 1.0))
        };
        assert!(endless.len() < 1024 * 1024);
    }

    #[test]
    fn a_table_survives_pipes_and_line_breaks() {
        let text = summary(&report(1));
        assert!(text.contains("| compose.yaml:3 | r | 100% \\|bad\\|<br>0 xxx"), "{text}");
    }

    #[test]
    fn annotations_stay_on_one_line_and_name_only_files() {
        let mut report = report(1);
        report.findings[0].message = "100%\nbad".into();
        assert_eq!(
            annotations(&report, |_| true),
            ["::error file=compose.yaml,line=3,title=r::100%25%0Abad; next: fix it"]
        );
        assert_eq!(annotations(&report, |_| false), ["::error title=r::compose.yaml:3: 100%25%0Abad; next: fix it"]);
    }

    #[test]
    fn failures_and_what_was_not_checked_are_annotated_too() {
        let mut outcome = Outcome::default();
        outcome.step("scan", |_| Err::<(), _>(Stop::Absent("no database".into()).into())).unwrap();
        outcome.step("audit-env", |_| Err::<(), _>(Stop::Broken("docker failed".into()).into())).unwrap();
        let report = Report::running("verify", "cargo xtask verify").ended(outcome, 1.0);
        assert_eq!(
            annotations(&report, |_| true),
            ["::error title=audit-env failed::docker failed", "::warning title=scan not checked::no database"]
        );
    }
}
