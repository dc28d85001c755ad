//! What was measured, against the budget and the baseline of the same machine.

use std::collections::BTreeMap;

use maud::{Markup, html};
use serde::Deserialize;
use xtask_outcome::Report;

use crate::frame::{Section, scrolled};
use crate::{chart, evidence, words};

/// The budget and the baseline of a figure, where there are any.
#[derive(Debug, Default, Deserialize)]
struct Measure {
    #[serde(default)]
    budget: Option<u64>,
    #[serde(default)]
    baseline: Option<u64>,
    /// Worse than the baseline by more than the policy tolerates.
    #[serde(default)]
    regression: bool,
}

pub(crate) fn section(report: &Report) -> Option<Section> {
    let figures: BTreeMap<String, u64> = evidence::find(report, &["figures", "figures"])?;
    let measures: BTreeMap<String, Measure> = evidence::find(report, &["figures", "measures"]).unwrap_or_default();
    let machine: Option<String> = evidence::find(report, &["figures", "machine"]);
    let date: Option<String> = evidence::find(report, &["figures", "baseline", "date"]);
    let mut kinds = BTreeMap::<&str, Vec<(&str, u64)>>::new();
    for (name, value) in &figures {
        let (kind, whose) = name.split_once('/').unwrap_or((name, ""));
        kinds.entry(kind).or_default().push((whose, *value));
    }
    let missed = figures.iter().filter(|(name, value)| is_over(measures.get(*name), **value)).count();
    let body = html! {
        p {
            @if let Some(machine) = &machine { "Measured on " (machine) ". " }
            @match &date { Some(date) => { "The baseline of this machine is of " (date) "." }, None => "There is no baseline of this machine." }
            " No figure fails a run."
        }
        (scrolled("Figures", &table(&kinds, &measures)))
    };
    let aside = if missed == 0 {
        words::counted(figures.len(), "figure", "figures")
    } else {
        format!("{missed} over budget or baseline")
    };
    Some(Section { id: "figures", title: "Performance", aside, body })
}

fn table(kinds: &BTreeMap<&str, Vec<(&str, u64)>>, measures: &BTreeMap<String, Measure>) -> Markup {
    html! {
        table {
            caption { "In a bar the long mark is the budget, the short one the baseline." }
            thead { tr {
                th scope="col" { "Figure" } th scope="col" { "Of" } th.number scope="col" { "Measured" }
                th.number scope="col" { "Budget" } th.number scope="col" { "Baseline" } th.bars scope="col" { "Against both" }
            } }
            tbody { @for (kind, values) in kinds {
                @let whole = whole(kind, values, measures);
                @for (whose, value) in values {
                    @let measure = measures.get(&format!("{kind}/{whose}"));
                    tr {
                        th scope="row" { (title(kind)) } td { (whose) }
                        td.number { @if is_over(measure, *value) { strong.bad { (shown(kind, *value)) } } @else { (shown(kind, *value)) } }
                        td.number { (or_none(kind, measure.and_then(|measure| measure.budget))) }
                        td.number { (or_none(kind, measure.and_then(|measure| measure.baseline))) }
                        td.bars { (bar(measure, *value, whole)) }
                    }
                }
            } }
        }
    }
}

fn bar(measure: Option<&Measure>, value: u64, whole: f64) -> Markup {
    let budget = measure.and_then(|measure| measure.budget).map(|budget| (budget as f64, "limit"));
    let baseline = measure.and_then(|measure| measure.baseline).map(|baseline| (baseline as f64, "before"));
    let marks: Vec<_> = budget.into_iter().chain(baseline).collect();
    chart::gauge(value as f64, whole, if is_over(measure, value) { "bad" } else { "plain" }, &marks)
}

fn is_over(measure: Option<&Measure>, value: u64) -> bool {
    measure.is_some_and(|measure| measure.regression || measure.budget.is_some_and(|budget| value > budget))
}

/// The scale of a kind: all of its figures, budgets and baselines fit.
fn whole(kind: &str, values: &[(&str, u64)], measures: &BTreeMap<String, Measure>) -> f64 {
    let marks = values.iter().filter_map(|(whose, _)| measures.get(&format!("{kind}/{whose}")));
    let marks = marks.flat_map(|measure| [measure.budget, measure.baseline]).flatten();
    values.iter().map(|(_, value)| *value).chain(marks).max().unwrap_or(1) as f64
}

fn or_none(kind: &str, value: Option<u64>) -> Markup {
    html! { @match value { Some(value) => (shown(kind, value)), None => span.quiet { "–" } } }
}

/// The value of a figure by its name, `start-ms/cart`, as a person reads it.
pub(crate) fn measured(name: &str, value: f64) -> String {
    let kind = name.split('/').next().unwrap_or(name);
    if value < 100.0 && !matches!(kind.rsplit('-').next(), Some("kib" | "bytes")) {
        let unit = unit(kind);
        return format!("{value:.1}{unit}");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "what is measured is not negative")]
    let whole = value.round() as u64;
    shown(kind, whole)
}

fn unit(kind: &str) -> &'static str {
    match kind.rsplit('-').next() {
        Some("ms") => " ms",
        Some("us") => " µs",
        _ => "",
    }
}

/// `start-ms` is a time, `idle-kib` a size: the last word of a kind is its unit.
fn shown(kind: &str, value: u64) -> String {
    match kind.rsplit('-').next() {
        Some("ms" | "us") => format!("{}{}", words::count(value), unit(kind)),
        Some("kib") => format!("{:.1} MiB", value as f64 / 1024.0),
        Some("bytes") => words::bytes(value),
        _ => words::count(value),
    }
}

fn title(kind: &str) -> &str {
    kind.rsplit_once('-').map_or(kind, |(name, _)| name)
}
