//! What the verdict rests on: tools, bases, notes.

use std::collections::BTreeMap;

use maud::{Markup, html};
use serde::Deserialize;
use xtask_outcome::Report;

use crate::frame::{Section, scrolled};
use crate::{evidence, words};

const MOST_NOTES: usize = 300;
const LONGEST_NOTE: usize = 1000;

#[derive(Debug, Deserialize)]
struct Tool {
    version: String,
    origin: String,
}

#[derive(Debug, Deserialize)]
struct Base {
    reference: String,
    id: String,
    /// No registry has it.
    made_here: bool,
}

pub(crate) fn section(report: &Report) -> Option<Section> {
    let tools: BTreeMap<String, Tool> = evidence::find(report, &["tools"]).unwrap_or_default();
    let bases: BTreeMap<String, Base> = evidence::find(report, &["bases"]).unwrap_or_default();
    if tools.is_empty() && bases.is_empty() && report.notes.is_empty() {
        return None;
    }
    let body = html! {
        @if !tools.is_empty() { (scrolled("Tools", &tools_table(&tools))) }
        @if !bases.is_empty() { (scrolled("Base images", &bases_table(&bases))) }
        @if !report.notes.is_empty() {
            details { summary { "Notes " span.aside { (words::count(report.notes.len() as u64)) } }
                ul.notes { @for note in report.notes.iter().take(MOST_NOTES) { li { (words::bounded(note, LONGEST_NOTE)) } } }
                @if report.notes.len() > MOST_NOTES { p.quiet { (words::count((report.notes.len() - MOST_NOTES) as u64)) " more are in the JSON." } }
            }
        }
    };
    Some(Section { id: "made-with", title: "Made with", aside: String::new(), body })
}

fn tools_table(tools: &BTreeMap<String, Tool>) -> Markup {
    html! {
        table {
            caption { "The programs that were used." }
            thead { tr { th scope="col" { "Tool" } th scope="col" { "Version" } th scope="col" { "From" } } }
            tbody { @for (name, tool) in tools { tr { th scope="row" { (name) } td { (tool.version) } td { (tool.origin) } } } }
        }
    }
}

fn bases_table(bases: &BTreeMap<String, Base>) -> Markup {
    html! {
        table {
            caption { "The images that others start from or run beside." }
            thead { tr { th scope="col" { "Base" } th scope="col" { "Reference" } th scope="col" { "From" } th scope="col" { "Id" } } }
            tbody { @for (name, base) in bases { tr {
                th scope="row" { (name) } td { code { (base.reference) } }
                td { @if base.made_here { "made on this machine" } @else { "a registry" } }
                td { code title=(base.id) { (words::short(&base.id)) } }
            } } }
        }
    }
}
