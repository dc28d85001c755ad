//! What changed since the verdict before: the reports of two runs side by side.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;
use xtask_outcome::{Report, Unchecked};

use crate::frame::{Section, scrolled};
use crate::images::{self, Image, change};
use crate::{evidence, words};

const MOST_LISTED: usize = 50;
const DEEPEST: usize = 4;

/// What is compared of an earlier report; the rest of it is left alone.
#[derive(Debug, Deserialize)]
pub(crate) struct Earlier {
    verdict: String,
    started: String,
    seconds: f64,
    findings: Vec<EarlierFinding>,
    unchecked: Vec<Unchecked>,
    evidence: Value,
}

#[derive(Debug, Deserialize)]
struct EarlierFinding {
    rule: String,
    place: EarlierPlace,
    message: String,
}

#[derive(Debug, Deserialize)]
struct EarlierPlace {
    name: String,
}

impl Earlier {
    /// `None` for what is no report of an ended command: it has nothing to compare.
    pub(crate) fn read(stored: &[u8]) -> Option<Self> {
        let earlier: Self = serde_json::from_slice(stored).ok()?;
        (earlier.verdict != "running").then_some(earlier)
    }

    fn images(&self) -> Vec<Image> {
        evidence::below(&self.evidence, &["images"], DEEPEST).unwrap_or_default()
    }
}

/// What came and what went, each as one line.
#[derive(Debug, Default, PartialEq, Eq)]
struct Change {
    came: Vec<String>,
    went: Vec<String>,
}

impl Change {
    fn between(before: &BTreeSet<String>, now: &BTreeSet<String>) -> Self {
        Self { came: now.difference(before).cloned().collect(), went: before.difference(now).cloned().collect() }
    }
}

pub(crate) fn section(report: &Report, earlier: Option<&Earlier>) -> Option<Section> {
    let Some(earlier) = earlier else {
        let body = html! { p { "This is the first verdict that is kept here; the next one is compared with it." } };
        let is_worth_it = report.command == "verify" && report.exit_code.is_some();
        return is_worth_it.then_some(Section { id: "changes", title: "Changes", aside: String::new(), body });
    };
    let (findings, unchecked) = (findings(report, earlier), unchecked(report, earlier));
    let images = changed_images(report, earlier);
    let is_same = report.verdict.word() == earlier.verdict
        && findings == Change::default()
        && unchecked == Change::default()
        && images.is_empty();
    let body = html! {
        p {
            "The last verdict, of " (words::time(&earlier.started)) ", was " strong { (earlier.verdict) } " after "
            (words::seconds(earlier.seconds)) "; this one took " (words::seconds(report.seconds)) "."
            @if is_same { " Nothing that was found, left out or built differs." }
        }
        (listed("New findings", &findings.came))
        (listed("Findings that are gone", &findings.went))
        (listed("No longer checked", &unchecked.came))
        (listed("Checked again", &unchecked.went))
        @if !images.is_empty() { (scrolled("Images that changed", &table(&images))) }
    };
    let aside = match (is_same, report.verdict.word()) {
        (true, _) => "none".to_owned(),
        (false, now) if now == earlier.verdict => "same verdict".to_owned(),
        (false, now) => format!("{} → {now}", earlier.verdict),
    };
    Some(Section { id: "changes", title: "Changes", aside, body })
}

/// By rule, place and message: the line moves with every edit above it.
fn findings(report: &Report, earlier: &Earlier) -> Change {
    let line = |rule: &str, place: &str, message: &str| format!("{place} [{rule}]: {}", words::bounded(message, 300));
    let before = earlier.findings.iter().map(|one| line(&one.rule, &one.place.name, &one.message)).collect();
    let now = report.findings.iter().map(|one| line(one.rule, &one.place.name, &one.message)).collect();
    Change::between(&before, &now)
}

/// By name: the reason may hold a time.
fn unchecked(report: &Report, earlier: &Earlier) -> Change {
    let names = |list: &[Unchecked]| list.iter().map(|one| one.what.clone()).collect();
    Change::between(&names(&earlier.unchecked), &names(&report.unchecked))
}

/// Each image of either run whose id is another now, with its sizes.
fn changed_images(report: &Report, earlier: &Earlier) -> BTreeMap<String, (Option<u64>, Option<u64>)> {
    let by_name =
        |images: Vec<Image>| images.into_iter().map(|one| (one.name.clone(), one)).collect::<BTreeMap<_, _>>();
    let (before, now) = (by_name(earlier.images()), by_name(images::of(report)));
    if before.is_empty() || now.is_empty() {
        return BTreeMap::new();
    }
    let names: BTreeSet<_> = before.keys().chain(now.keys()).cloned().collect();
    let id = |images: &BTreeMap<String, Image>, name: &str| images.get(name).map(|image| image.id.clone());
    let differs = names.into_iter().filter(|name| id(&before, name) != id(&now, name));
    let bytes = |images: &BTreeMap<String, Image>, name: &str| images.get(name).map(|image| image.bytes);
    differs.map(|name| (name.clone(), (bytes(&before, &name), bytes(&now, &name)))).collect()
}

fn listed(title: &str, lines: &[String]) -> Markup {
    html! {
        @if !lines.is_empty() {
            h3 { (title) " " span.aside { (words::count(lines.len() as u64)) } }
            ul.notes { @for line in lines.iter().take(MOST_LISTED) { li { (line) } } }
            @if lines.len() > MOST_LISTED { p.quiet { (words::count((lines.len() - MOST_LISTED) as u64)) " more." } }
        }
    }
}

fn table(images: &BTreeMap<String, (Option<u64>, Option<u64>)>) -> Markup {
    let size = |bytes: &Option<u64>| bytes.map_or_else(|| "–".to_owned(), words::bytes);
    html! {
        table {
            caption { "Images that were built again since." }
            thead { tr {
                th scope="col" { "Image" } th.number scope="col" { "Last verdict" } th.number scope="col" { "Now" }
                th.number scope="col" { "Change" }
            } }
            tbody { @for (name, (before, now)) in images { tr {
                th scope="row" { (name) } td.number { (size(before)) } td.number { (size(now)) }
                td.number { @match (before, now) {
                    (Some(before), Some(now)) => (change(*before, *now)), (None, _) => "new", (_, None) => "gone",
                } }
            } } }
        }
    }
}
