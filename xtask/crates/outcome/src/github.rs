//! The report for GitHub Actions: a job summary in Markdown, and annotations.

use std::fmt::Write as _;

use crate::{Report, Verdict};

/// GitHub drops a summary that is larger than 1 MiB without a word.
const SUMMARY_LIMIT_BYTES: usize = 1024 * 1024 - 4096;
/// What ends a table, and says what it leaves out.
const FOLD_BYTES: usize = 256;

/// The report as Markdown, below GitHub's limit: what has no room is counted.
pub fn summary(report: &Report) -> String {
    let word = report.verdict.word();
    let mut text =
        format!("## {} `cargo xtask {}`: {word}\n\n{}\n\n", mark(word), report.command, inline(&report.headline));
    if !report.steps.is_empty() {
        text += "| | step | verdict | checked | findings | seconds |\n|---|---|---|---|---:|---:|\n";
        for step in &report.steps {
            let word = step.verdict.word();
            let (mark, verdict) = (mark(word), word.replace('-', " "));
            let checked: Vec<_> = step.checked.iter().map(ToString::to_string).collect();
            let (name, checked) = (cell(&step.name), cell(&checked.join(", ")));
            let (findings, seconds) = (step.findings, step.seconds);
            let _ = writeln!(text, "| {mark} | {name} | {verdict} | {checked} | {findings} | {seconds:.1} |");
        }
        text += "\n";
    }
    for failure in &report.failures {
        let step = if failure.step.is_empty() { &report.command } else { &failure.step };
        let _ = writeln!(text, "- **{} failed**: {}", inline(step), inline(&failure.message));
    }
    if let (Some(rerun), Verdict::Findings | Verdict::Failed | Verdict::Broken | Verdict::TooSlow) =
        (&report.rerun, report.verdict)
    {
        let _ = writeln!(text, "\nRun it again:\n\n```sh\n{rerun}\n```");
    }
    let findings = report.findings.iter().map(|finding| {
        let (place, rule) = (cell(&finding.place.to_string()), finding.rule);
        format!("| {place} | {rule} | {} | {} |\n", cell(&finding.message), cell(&finding.next_step))
    });
    let head = "| where | rule | what | next |\n|---|---|---|---|\n";
    fold(&mut text, ("Findings", true), head, findings);
    let unchecked = report.unchecked.iter().map(|one| format!("| {} | {} |\n", cell(&one.what), cell(&one.reason)));
    fold(&mut text, ("Not checked", true), "| what | why |\n|---|---|\n", unchecked);
    for table in &report.tables {
        let markdown = table.markdown(cell);
        let mut lines = markdown.split_inclusive('\n');
        let head: String = lines.by_ref().take(2).collect();
        fold(&mut text, (&table.title, false), &head, lines.map(ToOwned::to_owned));
    }
    cut(text)
}

/// A table that can be folded, with the rows that there is room for.
fn fold(text: &mut String, (title, is_open): (&str, bool), head: &str, rows: impl Iterator<Item = String>) {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return;
    }
    let open = if is_open { " open" } else { "" };
    let _ = write!(text, "\n<details{open}><summary>{}</summary>\n\n{head}", inline(title));
    let mut left_out = 0;
    for row in rows {
        if left_out > 0 || text.len() + row.len() > SUMMARY_LIMIT_BYTES - FOLD_BYTES {
            left_out += 1;
        } else {
            *text += &row;
        }
    }
    if left_out > 0 {
        let _ = writeln!(text, "\n{left_out} more are in the JSON report; a job summary has no room for them.");
    }
    *text += "\n</details>\n";
}

fn mark(word: &str) -> &'static str {
    match word {
        "pass" => "✅",
        "incomplete" | "not-checked" => "⚠️",
        _ => "❌",
    }
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

/// Text that Markdown takes as it is; what stands between backticks is code already.
fn inline(text: &str) -> String {
    let is_paired = text.matches('`').count().is_multiple_of(2);
    let part = |(at, part): (usize, &str)| {
        if is_paired && at % 2 == 1 {
            return part.replace('\n', " ");
        }
        // No tag, emphasis or link of an advisory's or a tool's making.
        let text = part.replace('&', "&amp;").replace('<', "&lt;").replace('*', "\\*");
        text.replace('[', "\\[").replace('\n', "<br>")
    };
    text.split('`').enumerate().map(part).collect::<Vec<_>>().join("`")
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
        assert!(text.contains(" more are in the JSON report"));
        assert!(text.trim_end().ends_with("</details>"), "the last table is closed");
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
    fn what_others_wrote_becomes_no_link_picture_or_tag() {
        let text = "[fix](https://evil.example) ![x](y) <img> *now* `a[0]`";
        assert_eq!(cell(text), "\\[fix](https://evil.example) !\\[x](y) &lt;img> \\*now\\* `a[0]`");
    }

    #[test]
    fn a_summary_is_markdown_with_tables_that_fold() {
        let mut outcome = Outcome::default();
        let step = |part: &mut Outcome| {
            part.checked("images scanned", 5);
            part.unchecked(
                "Debian's packages",
                "no data, see <https://example.org>; next: `cargo xtask scan --db <DIR>`",
            );
            let mut table = crate::Table::new("images", &["image", "#size"]);
            table.row(["user".into(), "4.2 MB".into()]);
            part.table(table);
            Ok(())
        };
        outcome.step("scan", step).unwrap();
        let mut report = Report::running("verify", "cargo xtask verify").ended(outcome, 1.0);
        report.steps[0].seconds = 0.5;
        insta::assert_snapshot!(summary(&report), @r"
        ## ⚠️ `cargo xtask verify`: incomplete

        Debian's packages not checked (no data, see &lt;https://example.org>; next: `cargo xtask scan --db <DIR>`)

        | | step | verdict | checked | findings | seconds |
        |---|---|---|---|---:|---:|
        | ⚠️ | scan | incomplete | 5 images scanned | 0 | 0.5 |


        <details open><summary>Not checked</summary>

        | what | why |
        |---|---|
        | Debian's packages | no data, see &lt;https://example.org>; next: `cargo xtask scan --db <DIR>` |

        </details>

        <details><summary>images</summary>

        | image | size |
        |---|---:|
        | user | 4.2 MB |

        </details>
        ");
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
