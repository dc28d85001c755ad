//! docs/deployment.md tells the contracts, all of them and nothing else.

use crate::nearest::hint;
use crate::tables::{self, Row};
use crate::view::{About, Findings, View};
use xtask_outcome::Place;

const FILE: &str = "docs/deployment.md";
const NEXT: &str = "cargo xtask audit-env --write";
const COLUMNS: [&str; 5] = ["variable", "type", "when unset", "in Compose", "description"];

pub(super) fn check(view: &View<'_>, findings: &mut Findings) {
    if !view.places.is_whole() {
        return;
    }
    let whole = Place::new(FILE);
    let about = About { place: &whole, service: "", variable: "" };
    let Some(document) = &view.places.document else {
        findings.add("stale-document", &about, "there is no docs/deployment.md", NEXT);
        return;
    };
    let Some(expected) = tables::rewrite(document, view) else {
        let next = format!("put the lines `{}` and `{}` into it", tables::BEGIN, tables::END);
        findings.add("stale-document", &about, "it has no place for the tables of the contracts", next);
        return;
    };
    if expected == *document {
        return;
    }
    let before = findings.found.len();
    let is_explained = compare(document, &expected, findings);
    if findings.found.len() == before && !is_explained {
        findings.add("stale-document", &about, "its tables are not what the contracts and the Compose file give", NEXT);
    }
}

/// Gives whether a difference follows from something that is found elsewhere.
fn compare(document: &str, expected: &str, findings: &mut Findings) -> bool {
    let mut is_explained = false;
    let (written, wanted) = (tables::parse(document), tables::parse(expected));
    let nothing = Vec::new();
    for (heading, rows) in &written {
        let known = wanted.get(heading).unwrap_or(&nothing);
        for row in rows {
            let place = Place { name: FILE.to_owned(), line: Some(row.line) };
            let about = About { place: &place, service: heading, variable: &row.name };
            match known.iter().find(|other| other.name == row.name) {
                Some(other) => is_explained |= differing_row(row, other, heading, &about, findings),
                None => {
                    let hint = hint(&row.name, known.iter().map(|row| row.name.as_str()));
                    let message = format!("it documents {} for {heading}, which does not exist there{hint}", row.name);
                    findings.add("documented-but-gone", &about, message, NEXT);
                }
            }
        }
    }
    for (heading, rows) in &wanted {
        let Some(known) = written.get(heading) else {
            let place = Place::new(FILE);
            let about = About { place: &place, service: heading, variable: "" };
            findings.add("undocumented-variable", &about, format!("it has no table `{heading}`"), NEXT);
            continue;
        };
        for row in rows.iter().filter(|row| !known.iter().any(|other| other.name == row.name)) {
            let place = Place::new(FILE);
            let about = About { place: &place, service: heading, variable: &row.name };
            let message = format!("it does not document {} for {heading}", row.name);
            findings.add("undocumented-variable", &about, message, NEXT);
        }
    }
    is_explained
}

fn differing_row(row: &Row, expected: &Row, heading: &str, about: &About<'_>, findings: &mut Findings) -> bool {
    let mut is_explained = false;
    let here = std::iter::once(&row.first_cell).chain(&row.cells);
    let there = std::iter::once(&expected.first_cell).chain(&expected.cells);
    for ((column, here), there) in COLUMNS.iter().zip(here).zip(there) {
        if here == there {
            continue;
        }
        let name = &row.name;
        // Stale because of something that is found where it stands.
        let is_of_compose = |scope: &str| scope.ends_with(&format!("/{heading}/{name}")) && !scope.starts_with(FILE);
        if *column == COLUMNS[3] && findings.found.iter().any(|found| is_of_compose(&found.scope)) {
            is_explained = true;
            continue;
        }
        let (rule, message) = match *column {
            "when unset" => {
                ("different-default", format!("{name} of {heading} is {here} when unset here and {there} in truth"))
            }
            other => ("stale-document", format!("the column `{other}` of {name} for {heading} is out of date")),
        };
        findings.add(rule, about, message, NEXT);
    }
    is_explained
}
