//! Two image sets side by side: each figure with its interval against the limits.

use maud::{Markup, html};
use serde::Deserialize;
use xtask_outcome::Report;

use crate::frame::{Section, scrolled};
use crate::{chart, evidence, figures, words};

/// Wider than this the axis does not get, whatever the noise of a single figure.
const WIDEST_PERCENT: f64 = 60.0;

#[derive(Debug, Deserialize)]
struct Set {
    name: String,
}

#[derive(Debug, Deserialize)]
struct Compared {
    figure: String,
    verdict: String,
    before: f64,
    after: f64,
    change_percent: f64,
    low_percent: f64,
    high_percent: f64,
    limit_percent: f64,
    smallest_percent: Option<f64>,
    rounds: Vec<(f64, f64)>,
}

pub(crate) fn section(report: &Report) -> Option<Section> {
    let compared: Vec<Compared> = evidence::find(report, &["comparison", "figures"])?;
    let name =
        |part: &str| evidence::find::<Set>(report, &["comparison", part]).map(|set| set.name).unwrap_or_default();
    let rounds = compared.iter().map(|figure| figure.rounds.len()).max().unwrap_or_default();
    let confidence: f64 = evidence::find(report, &["comparison", "confidence_percent"]).unwrap_or_default();
    let machine: Option<String> = evidence::find(report, &["comparison", "machine"]);
    let of = |verdict: &str| compared.iter().filter(|figure| figure.verdict == verdict).count();
    let (worse, better) = (of("worse"), of("better"));
    let body = html! {
        p {
            "Before: " code { (words::short_commits(&name("before"))) } ", after: " code { (words::short_commits(&name("after"))) } ", in "
            (words::counted(rounds, "round", "rounds")) " on the same machine"
            @if let Some(machine) = &machine { ", " (machine) }
            ". All intervals together hold with " (confidence) " % confidence."
        }
        (scrolled("The comparison", &table(&compared)))
    };
    let aside = match (worse, better) {
        (0, 0) => "no difference".to_owned(),
        (worse, 0) => format!("{worse} worse"),
        (0, better) => format!("{better} better"),
        (worse, better) => format!("{worse} worse, {better} better"),
    };
    Some(Section { id: "comparison", title: "Comparison", aside, body })
}

fn table(compared: &[Compared]) -> Markup {
    html! {
        table {
            caption {
                "The bar is the interval of the change, the short mark no change, the long ones the limit in both directions. The last \
                 column is the smallest change for the worse that this run would have called so nine times out of ten."
            }
            thead { tr {
                th scope="col" { "Figure" } th scope="col" { "Verdict" } th.number scope="col" { "Before" }
                th.number scope="col" { "After" } th.number scope="col" { "Change" } th.number scope="col" { "Interval" }
                th.bars scope="col" { "Against the limit" } th.number scope="col" { "Would see" }
            } }
            tbody { @for figure in compared { (row(figure)) } }
        }
    }
}

fn row(figure: &Compared) -> Markup {
    let tone = match figure.verdict.as_str() {
        "worse" => "bad",
        "better" => "good",
        _ => "plain",
    };
    html! { tr {
        th scope="row" { (figure.figure) }
        td { @if tone == "plain" { (figure.verdict) } @else { span.state data-tone=(tone) { (figure.verdict) } } }
        td.number { (figures::measured(&figure.figure, figure.before)) }
        td.number { (figures::measured(&figure.figure, figure.after)) }
        td.number { (signed(figure.change_percent)) }
        td.number { (signed(figure.low_percent)) " … " (signed(figure.high_percent)) }
        td.bars { (bar(figure, tone)) }
        td.number { @match figure.smallest_percent { Some(percent) => (signed(percent)), None => "nothing" } }
    } }
}

/// The interval on an axis from as much less to as much more.
fn bar(figure: &Compared, tone: &str) -> Markup {
    let at = |percent: f64| percent.clamp(-WIDEST_PERCENT, WIDEST_PERCENT) + WIDEST_PERCENT;
    // What is as much faster as the limit is slower: a change by a factor.
    let less = (1.0 / (1.0 + figure.limit_percent / 100.0) - 1.0) * 100.0;
    let marks = [(at(0.0), "before"), (at(less), "limit"), (at(figure.limit_percent), "limit")];
    chart::range(at(figure.low_percent), at(figure.high_percent), 2.0 * WIDEST_PERCENT, tone, &marks)
}

fn signed(percent: f64) -> String {
    let text = if percent.abs() < 100.0 { format!("{percent:+.1} %") } else { format!("{percent:+.0} %") };
    text.replace('-', "−")
}
