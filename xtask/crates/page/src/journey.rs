//! The journey: each request with its latency.

use maud::{Markup, html};
use serde::Deserialize;
use xtask_outcome::Report;

use crate::frame::{Section, scrolled};
use crate::{chart, evidence, words};

/// A request as the client prints it.
#[derive(Debug, Clone, Deserialize)]
struct Request {
    step: String,
    method: String,
    path: String,
    status: Option<u16>,
    ms: f64,
}

pub(crate) fn section(report: &Report) -> Option<Section> {
    let requests: Vec<Request> =
        evidence::find(report, &["journey", "steps"]).or_else(|| evidence::find(report, &["journey"]))?;
    let slowest = requests.iter().map(|request| request.ms).fold(0.0, f64::max);
    let mut times: Vec<_> = requests.iter().map(|request| request.ms).collect();
    times.sort_by(f64::total_cmp);
    let median = times.get(times.len() / 2).copied()?;
    let body = html! {
        p { "Half of the requests were answered within " (milliseconds(median)) ", the slowest after " (milliseconds(slowest)) "." }
        (scrolled("The journey's requests", &table(&requests, slowest)))
    };
    Some(Section {
        id: "journey",
        title: "Journey",
        aside: words::counted(requests.len(), "request", "requests"),
        body,
    })
}

fn table(requests: &[Request], slowest: f64) -> Markup {
    html! {
        table {
            caption { "In the order in which they were sent, one after the other." }
            thead { tr {
                th scope="col" { "Step" } th scope="col" { "Request" } th.number scope="col" { "Status" }
                th.number scope="col" { "Latency" } th.bars scope="col" { "Latency" }
            } }
            tbody { @for request in requests { tr {
                th scope="row" { (request.step) }
                td { code { (request.method) " " (request.path) } }
                td.number { @match request.status { Some(status) => (status), None => "none" } }
                td.number { (milliseconds(request.ms)) }
                td.bars { (chart::gauge(request.ms, slowest, "plain", &[])) }
            } } }
        }
    }
}

fn milliseconds(ms: f64) -> String {
    if ms < 10.0 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") }
}
