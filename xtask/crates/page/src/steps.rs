//! The steps on a time bar.

use maud::{Markup, html};
use xtask_outcome::{Report, Step, StepVerdict};

use crate::frame::{Section, scrolled};
use crate::{chart, words};

pub(crate) fn section(report: &Report) -> Option<Section> {
    if report.steps.is_empty() {
        return None;
    }
    let whole = whole(report);
    let body = html! {
        (chart::strip(&strip(report), whole, &told(report)))
        (scrolled("Steps and their times", &table(report, whole)))
    };
    Some(Section { id: "steps", title: "Steps", aside: words::seconds(report.seconds), body })
}

/// The verdict of a step as a mark and a word.
pub(crate) fn verdict(verdict: StepVerdict) -> Markup {
    html! { span.state data-tone=(tone(verdict)) { (word(verdict)) } }
}

pub(crate) fn word(verdict: StepVerdict) -> &'static str {
    match verdict {
        StepVerdict::Pass => "pass",
        StepVerdict::Incomplete => "incomplete",
        StepVerdict::Findings => "findings",
        StepVerdict::Failed => "failed",
        StepVerdict::NotChecked => "not checked",
    }
}

fn tone(verdict: StepVerdict) -> &'static str {
    match verdict {
        StepVerdict::Pass => "good",
        StepVerdict::Incomplete | StepVerdict::NotChecked => "unsure",
        StepVerdict::Findings | StepVerdict::Failed => "bad",
    }
}

fn table(report: &Report, whole: f64) -> Markup {
    html! {
        table.steps {
            caption { "Each step in the order in which it ran; the bar shows when." }
            thead { tr {
                th scope="col" { "Step" } th scope="col" { "Verdict" }
                th.number scope="col" { "Findings" } th.number scope="col" { "Time" }
                th.bars scope="col" { "When" }
            } }
            tbody {
                @for step in &report.steps {
                    tr {
                        th scope="row" class=(format!("depth{}", depth(step).min(3))) { (own_name(step)) }
                        td { (verdict(step.verdict)) }
                        td.number { (words::count(step.findings as u64)) }
                        td.number { (words::seconds(step.seconds)) }
                        td.bars { (chart::span(step.begins, step.begins + step.seconds, whole, tone(step.verdict))) }
                    }
                }
            }
        }
    }
}

/// The steps of the command itself, which follow each other; their own steps lie within.
fn top(report: &Report) -> impl Iterator<Item = &Step> {
    report.steps.iter().filter(|step| depth(step) == 0)
}

fn strip(report: &Report) -> Vec<(f64, f64, &'static str)> {
    top(report).map(|step| (step.begins, step.begins + step.seconds, tone(step.verdict))).collect()
}

fn told(report: &Report) -> String {
    let steps: Vec<_> = top(report)
        .map(|step| format!("{} {} ({})", step.name, words::seconds(step.seconds), word(step.verdict)))
        .collect();
    format!("Time bar of {}: {}", words::seconds(report.seconds), steps.join(", "))
}

fn whole(report: &Report) -> f64 {
    report.steps.iter().map(|step| step.begins + step.seconds).fold(report.seconds, f64::max)
}

fn depth(step: &Step) -> usize {
    step.name.matches('/').count()
}

fn own_name(step: &Step) -> &str {
    step.name.rsplit('/').next().unwrap_or(&step.name)
}
