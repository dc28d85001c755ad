//! The verdict, first and in words, with what was not checked.

use maud::{Markup, html};
use serde::Deserialize;
use xtask_outcome::{Failure, Report, Verdict};

use crate::frame::{Section, command};
use crate::{evidence, words};

/// A message of a failed step may quote a whole log.
const LONGEST_MESSAGE: usize = 4000;
const MOST_LISTED: usize = 200;

/// The commit that was looked at.
#[derive(Debug, Deserialize)]
struct Commit {
    head: String,
    /// In how many files the work tree differs from it.
    changed_files: usize,
}

/// Good, to be looked at, or bad: the colour, which never says it alone.
pub(crate) fn tone(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "good",
        Verdict::Running | Verdict::Incomplete => "unsure",
        _ => "bad",
    }
}

/// The head of the page.
pub(crate) fn banner(report: &Report) -> Markup {
    html! {
        header.banner data-tone=(tone(report.verdict)) {
            div.inner {
                p.command { code { (command(report)) } }
                div id="verdict" tabindex="-1" {
                    h1 { (mark(report.verdict)) span { (heading(report.verdict)) } }
                    p.lead { (sentence(report)) }
                }
                (facts(report))
                @if !report.failures.is_empty() { (failures(&report.failures)) }
                @if !report.unchecked.is_empty() { (unchecked(report)) }
                @if let Some(rerun) = report.rerun.as_ref().filter(|_| report.verdict != Verdict::Pass) {
                    p.again { "Run it again: " code { (rerun) } }
                }
            }
        }
    }
}

/// What was looked at, with its counts.
pub(crate) fn checked(report: &Report) -> Option<Section> {
    if report.checked.is_empty() {
        return None;
    }
    let body = html! {
        dl.counts {
            @for one in &report.checked {
                div { dt { (one.what) } dd { (words::count(one.count)) } }
            }
        }
    };
    Some(Section { id: "checked", title: "What was checked", aside: report.checked.len().to_string(), body })
}

fn heading(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Running => "Running, or killed",
        Verdict::Pass => "Pass",
        Verdict::Incomplete => "Incomplete",
        Verdict::Findings => "Findings",
        Verdict::Failed => "Failed",
        Verdict::Usage => "Wrong command line",
        Verdict::Broken => "Broken",
        Verdict::TooSlow => "Too slow",
        Verdict::Interrupted => "Interrupted",
        Verdict::Panicked => "Fault of xtask",
    }
}

fn sentence(report: &Report) -> String {
    let unchecked = words::counted(report.unchecked.len(), "check was not made", "checks were not made");
    let findings = words::counted(report.findings.len(), "finding", "findings");
    match report.verdict {
        Verdict::Running => "The command has begun and not ended; if it no longer runs, it was killed.".to_owned(),
        Verdict::Pass => "Everything was checked, and nothing was found.".to_owned(),
        Verdict::Incomplete => format!("Nothing was found, but {unchecked}."),
        Verdict::Findings if report.unchecked.is_empty() => format!("{findings} that a policy does not allow."),
        Verdict::Findings => format!("{findings} that a policy does not allow, and {unchecked}."),
        _ => {
            let first = words::bounded(&report.headline, LONGEST_MESSAGE);
            let first = first.lines().next().unwrap_or_default().to_owned();
            if report.findings.is_empty() { first } else { format!("{first} ({findings} beside it)") }
        }
    }
}

fn facts(report: &Report) -> Markup {
    let commit = evidence::find::<Commit>(report, &["commit"]);
    let engine = evidence::find::<String>(report, &["engine"]);
    html! {
        dl.facts {
            div { dt { "Findings" } dd { (words::count(report.findings.len() as u64)) } }
            div { dt { "Failed steps" } dd { (words::count(report.failures.len() as u64)) } }
            div { dt { "Not checked" } dd { (words::count(report.unchecked.len() as u64)) } }
            div { dt { "Took" } dd { (words::seconds(report.seconds)) } }
            div { dt { "Exit code" } dd { @match report.exit_code { Some(code) => (code), None => "–" } } }
            @if let Some(commit) = commit {
                div.wide { dt { "Commit" } dd {
                    code { (words::short(&commit.head)) }
                    @if commit.changed_files > 0 {
                        " and " (words::counted(commit.changed_files, "changed file", "changed files"))
                    }
                } }
            }
            div.wide { dt { "Began" } dd { time datetime=(report.started) { (words::time(&report.started)) } } }
            @if let Some(engine) = engine { div.wide { dt { "Engine" } dd { "Docker " (engine) } } }
        }
    }
}

fn failures(failures: &[Failure]) -> Markup {
    html! {
        h2 { "What failed" }
        ul.told {
            @for failure in failures.iter().take(MOST_LISTED) {
                li {
                    @if !failure.step.is_empty() { strong { (failure.step) } }
                    pre { (words::bounded(&failure.message, LONGEST_MESSAGE)) }
                }
            }
        }
        (more(failures.len()))
    }
}

fn unchecked(report: &Report) -> Markup {
    html! {
        h2 { "What was not checked" }
        ul.told {
            @for one in report.unchecked.iter().take(MOST_LISTED) {
                li { strong { (one.what) } " – " (words::bounded(&one.reason, LONGEST_MESSAGE)) }
            }
        }
        (more(report.unchecked.len()))
    }
}

fn more(all: usize) -> Markup {
    html! {
        @if let Some(more) = all.checked_sub(MOST_LISTED).filter(|more| *more > 0) {
            p.quiet { (words::count(more as u64)) " more are in the JSON." }
        }
    }
}

/// A tick, a dash or a cross; the heading beside it says the same.
fn mark(verdict: Verdict) -> Markup {
    let path = match tone(verdict) {
        "good" => "M6 12.5l4 4 8-9",
        "unsure" => "M6.5 12h11",
        _ => "M7 7l10 10M17 7L7 17",
    };
    html! {
        svg.mark viewBox="0 0 24 24" aria-hidden="true" focusable="false" {
            circle cx="12" cy="12" r="11" {}
            path d=(path) {}
        }
    }
}
