//! The faults that were done to the stack, when they were.

use maud::{Markup, html};
use serde::Deserialize;
use xtask_outcome::Report;

use crate::frame::{Section, scrolled};
use crate::{chart, evidence, words};

/// A fault as `compose-e2e --faults` leaves it in its evidence.
#[derive(Debug, Deserialize)]
struct Fault {
    fault: String,
    promise: String,
    requests: u64,
    failed: u64,
    writes: u64,
    recovered_after_ms: Option<u64>,
    #[serde(default)]
    broken: u64,
}

pub(crate) fn section(report: &Report) -> Option<Section> {
    let faults: Vec<Fault> = evidence::find(report, &["faults", "faults"])?;
    let longest = faults.iter().filter_map(|fault| fault.recovered_after_ms).max().unwrap_or(0) as f64;
    let broken: u64 = faults.iter().map(|fault| fault.broken).sum();
    let body = scrolled("Faults and recoveries", &table(&faults, longest));
    let aside = if broken == 0 {
        words::counted(faults.len(), "fault", "faults")
    } else {
        format!("{} broken promises", words::count(broken))
    };
    Some(Section { id: "faults", title: "Faults", aside, body })
}

fn table(faults: &[Fault], longest: f64) -> Markup {
    html! {
        table {
            caption { "The stack was broken on purpose under a load. A failed request is one that the promise allows, unless it is counted as broken." }
            thead { tr {
                th scope="col" { "Fault" } th scope="col" { "What clients are promised" } th.number scope="col" { "Requests" }
                th.number scope="col" { "Failed" } th.number scope="col" { "Writes" } th.number scope="col" { "Broken promises" }
                th.number scope="col" { "Recovered after" } th.bars scope="col" { "Recovery" }
            } }
            tbody { @for fault in faults { tr {
                th scope="row" { (fault.fault) } td.text { (fault.promise) }
                td.number { (words::count(fault.requests)) } td.number { (words::count(fault.failed)) } td.number { (words::count(fault.writes)) }
                td.number { @if fault.broken == 0 { span.quiet { "0" } } @else { strong.bad { (words::count(fault.broken)) } } }
                td.number { @match fault.recovered_after_ms { Some(ms) => { (words::count(ms)) " ms" }, None => "–" } }
                td.bars { @if let Some(ms) = fault.recovered_after_ms { (chart::gauge(ms as f64, longest, "plain", &[])) } }
            } } }
        }
    }
}
