//! What the scan found and what it covered.

use std::collections::BTreeMap;

use maud::{Markup, html};
use serde::Deserialize;
use xtask_outcome::Report;

use crate::frame::{Section, scrolled};
use crate::{evidence, words};

const MOST_SHOWN: usize = 1000;
/// Worst first; what nobody rated counts as the worst.
const SEVERITIES: [&str; 5] = ["unknown", "critical", "high", "medium", "low"];

#[derive(Debug, Deserialize)]
struct Database {
    origin: String,
    updated: String,
    age_days: i64,
}

/// One image, lock file or Dockerfile.
#[derive(Debug, Deserialize)]
struct Unit {
    policy: String,
    seen: String,
    not_covered: Option<String>,
}

/// One thing that was found, and what the policy says of it.
#[derive(Debug, Deserialize)]
struct Item {
    kind: String,
    unit: String,
    id: String,
    severity: String,
    subject: String,
    #[serde(default)]
    installed: String,
    #[serde(default)]
    fixed_in: String,
    state: String,
}

pub(crate) fn section(report: &Report) -> Option<Section> {
    let covered: BTreeMap<String, Unit> = evidence::find(report, &["covered"])?;
    let items: Vec<Item> = evidence::find(report, &["found"]).unwrap_or_default();
    let database: Option<Database> = evidence::find(report, &["database"]);
    let body = html! {
        p { @match &database {
            Some(database) => {
                "Vulnerabilities as of " (database.updated) ", " (words::counted(usize::try_from(database.age_days).unwrap_or(0), "day", "days"))
                " old, from " code { (database.origin) } "."
            },
            None => strong { "There was no database: vulnerabilities were not looked for." },
        } }
        (scrolled("What was scanned", &units(&covered, &items)))
        @if !items.is_empty() { (list(&items)) }
    };
    let aside = words::counted(items.len(), "thing found", "things found");
    Some(Section { id: "scan", title: "Scan", aside, body })
}

fn units(covered: &BTreeMap<String, Unit>, items: &[Item]) -> Markup {
    let count =
        |unit: &str, severity: &str| items.iter().filter(|item| item.unit == unit && item.severity == severity).count();
    html! {
        table {
            caption { "Everything that was found by severity, whether or not the policy fails it." }
            thead { tr {
                th scope="col" { "Scanned" } th scope="col" { "Policy" }
                @for severity in SEVERITIES { th.number scope="col" { (severity) } }
                th scope="col" { "Covered" }
            } }
            tbody { @for (name, unit) in covered { tr {
                th scope="row" { (name) }
                td { (unit.policy) }
                @for severity in SEVERITIES { @let count = count(name, severity);
                    td.number { @if count == 0 { span.quiet { "0" } } @else { strong { (words::count(count as u64)) } } }
                }
                td.text { (unit.seen) @if let Some(gap) = &unit.not_covered { br; strong { "Not covered: " } (gap) } }
            } } }
        }
    }
}

fn list(items: &[Item]) -> Markup {
    let rank = |item: &Item| SEVERITIES.iter().position(|severity| *severity == item.severity);
    let mut sorted: Vec<_> = items.iter().collect();
    // What fails first, then the worst.
    sorted.sort_by_key(|item| (item.state != "fails", rank(item)));
    html! {
        details { summary { "Each thing that was found" }
            (scrolled("Each thing that was found", &html! {
                table {
                    caption { "What fails comes first; the policy says why the rest does not." }
                    thead { tr {
                        @for head in ["Id", "Severity", "In", "What", "Installed", "Fixed in", "State"] { th scope="col" { (head) } }
                    } }
                    tbody { @for item in sorted.iter().take(MOST_SHOWN) { tr {
                        th scope="row" { code { (item.id) } }
                        td { span.severity data-severity=(item.severity) { (item.severity) } }
                        td { (item.unit) }
                        td { (words::bounded(&item.subject, 200)) @if item.kind != "vulnerability" { " (" (item.kind) ")" } }
                        td { (item.installed) } td { (item.fixed_in) } td { (item.state) }
                    } } }
                }
            }))
            @if items.len() > MOST_SHOWN { p.quiet { (words::count((items.len() - MOST_SHOWN) as u64)) " more are in the JSON." } }
        }
    }
}
