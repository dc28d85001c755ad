//! The tables in docs/deployment.md: written from the contracts and compose.yaml, and read back to say what differs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::contract::{Contract, Kind, Variable};
use super::example;
use super::places::{Deployment, Setting};
use super::template::Template;
use super::value_type::ValueType;
use super::view::{View, has_secret_literal};

pub(crate) const BEGIN: &str = "<!-- contract tables: cargo xtask audit-env --write -->";
pub(crate) const END: &str = "<!-- end of contract tables -->";

const EVERY_SERVICE: &str = "Every service";
const COMPOSE: &str = "What Compose takes from its environment";
const HEADER: &str = "| variable | type | when unset | in Compose | description |\n|---|---|---|---|---|\n";
const COMPOSE_HEADER: &str = "| variable | when unset | for |\n|---|---|---|\n";

/// One row of a contract table, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// The cells after the first: type, when unset, in compose.yaml, description.
    pub(crate) cells: Vec<String>,
    pub(crate) first_cell: String,
    /// The line in the document.
    pub(crate) line: u32,
}

/// What somebody without the document begins with.
pub(crate) fn empty_document() -> String {
    format!("# Deployment\n\nWhat each service reads from its environment.\n\n{BEGIN}\n{END}\n")
}

/// The document with its tables made anew, or `None` where it has no place for them.
pub(crate) fn rewrite(document: &str, view: &View<'_>) -> Option<String> {
    let (before, rest) = document.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{}\n{END}{after}", render(view)))
}

/// All tables.
pub(crate) fn render(view: &View<'_>) -> String {
    let mut tables = Vec::new();
    let common = common_rows(view);
    if !common.is_empty() {
        tables.push(table(EVERY_SERVICE, HEADER, &common.iter().map(String::as_str).collect::<Vec<_>>()));
    }
    for image in &view.places.images {
        let rows = rows(view, &image.service, &image.contract);
        let own: Vec<_> = rows.iter().map(String::as_str).filter(|row| !common.iter().any(|one| one == row)).collect();
        tables.push(table(&image.service, HEADER, &own));
    }
    let outside: Vec<_> = example::outside(view)
        .into_iter()
        .map(|one| {
            let when_unset = match (one.required, one.secret, &one.default) {
                (true, ..) => "**Compose stops**".to_owned(),
                (false, false, Some(default)) => format!("`{default}`"),
                _ => "nothing".to_owned(),
            };
            row(&[&format!("`{}`", one.name), &when_unset, &one.purpose])
        })
        .collect();
    tables.push(table(COMPOSE, COMPOSE_HEADER, &outside.iter().map(String::as_str).collect::<Vec<_>>()));
    tables.join("\n")
}

fn table(title: &str, header: &str, rows: &[&str]) -> String {
    format!("### {title}\n\n{header}{}", rows.concat())
}

fn row(cells: &[&str]) -> String {
    let mut text = String::from("|");
    for cell in cells {
        let _ = write!(text, " {} |", cell.replace('|', "\\|"));
    }
    text + "\n"
}

/// The rows that are the same for every service, in the order of the first.
fn common_rows(view: &View<'_>) -> Vec<String> {
    let images = &view.places.images;
    if images.len() < 2 {
        return Vec::new();
    }
    let all: Vec<_> = images.iter().map(|image| rows(view, &image.service, &image.contract)).collect();
    all[0].iter().filter(|row| all.iter().all(|rows| rows.contains(row))).cloned().collect()
}

fn rows(view: &View<'_>, service: &str, contract: &Contract) -> Vec<String> {
    let own = |deployment: &&Deployment| view.own_contract(deployment).is_some_and(|c| c.image == contract.image);
    let deployment = view.stacks.first().and_then(|stack| {
        let named = stack.deployments.iter().find(|deployment| deployment.name == service);
        named.or_else(|| stack.deployments.iter().find(own))
    });
    contract.variables.iter().map(|variable| variable_row(deployment, variable)).collect()
}

fn variable_row(deployment: Option<&Deployment>, variable: &Variable) -> String {
    let name = match variable.file_variant {
        true => format!("`{}` or `{}`", variable.name, variable.file_name()),
        false => format!("`{}`", variable.name),
    };
    let secret = if variable.secret { ", secret" } else { "" };
    let value_type = format!("{}{secret}", variable.value_type);
    let set = deployment.map(|deployment| in_compose(deployment, variable)).unwrap_or_default();
    row(&[&name, &value_type, &variable.when_unset(), &set, &variable.description])
}

/// How compose.yaml sets a variable, without anything that could be secret.
pub(crate) fn in_compose(deployment: &Deployment, variable: &Variable) -> String {
    if variable.file_variant && deployment.setting(&variable.file_name()).is_some() {
        return "a file".to_owned();
    }
    let Some(Setting { value, .. }) = deployment.setting(&variable.name) else { return String::new() };
    if let Some(reference) = value.only_reference() {
        return match reference.default_text().filter(|_| !variable.secret) {
            Some(default) => format!("`${{{}:-{default}}}`", reference.name),
            None => format!("`${{{}}}`", reference.name),
        };
    }
    match value.literal() {
        Some(_) if variable.secret => "in clear".to_owned(),
        Some(text) => format!("`{text}`"),
        None if variable.secret && has_secret_literal(value, variable) => "in clear".to_owned(),
        None => format!("`{}`", shown(value)),
    }
}

/// The value with `${NAME}` for each reference.
fn shown(value: &Template) -> String {
    value.fill(&|name| Some(format!("${{{name}}}")), "").text
}

/// The rows of the document's contract tables by heading, the marker lines in between read over.
pub(crate) fn parse(document: &str) -> BTreeMap<String, Vec<Row>> {
    let mut tables: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    let mut heading = None;
    let mut inside = false;
    for (index, line) in document.lines().enumerate() {
        if line.trim() == BEGIN || line.trim() == END {
            inside = line.trim() == BEGIN;
        } else if let Some(title) = line.strip_prefix("### ").filter(|_| inside) {
            heading = Some(title.trim().to_owned());
        } else if let (true, Some(heading), Some(row)) = (inside, &heading, parse_row(line, index)) {
            tables.entry(heading.clone()).or_default().push(row);
        }
    }
    tables
}

fn parse_row(line: &str, index: usize) -> Option<Row> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    let cells: Vec<_> =
        inner.replace("\\|", "\u{1}").split('|').map(|cell| cell.trim().replace('\u{1}', "|")).collect();
    let (first_cell, cells) = cells.split_first()?;
    let name = first_cell.split('`').nth(1)?.to_owned();
    let line = u32::try_from(index + 1).unwrap_or(u32::MAX);
    Some(Row { name, cells: cells.to_vec(), first_cell: first_cell.clone(), line })
}

/// The contracts that the tables tell, by service: those of every service and its own. The tables name services, no images:
/// a contract's image has the name of its service here.
pub(crate) fn contracts(document: &str) -> BTreeMap<String, Contract> {
    let mut tables = parse(document);
    let common = tables.remove(EVERY_SERVICE).unwrap_or_default();
    tables.remove(COMPOSE);
    tables
        .into_iter()
        .map(|(service, own)| {
            let variables = common.iter().chain(&own).filter_map(variable).collect();
            (service.clone(), Contract { image: service, variables })
        })
        .collect()
}

fn variable(row: &Row) -> Option<Variable> {
    let [value_type, when_unset, _, description] = row.cells.as_slice() else { return None };
    let (value_type, secret) = match value_type.strip_suffix(", secret") {
        Some(value_type) => (value_type, true),
        None => (value_type.as_str(), false),
    };
    let default = when_unset.strip_prefix('`').and_then(|rest| rest.strip_suffix('`'));
    Some(Variable {
        name: row.name.clone(),
        kind: match (default, when_unset.as_str()) {
            (Some(_), _) => Kind::Default,
            (None, "**required**") => Kind::Required,
            _ => Kind::Optional,
        },
        default: default.map(ToOwned::to_owned),
        value_type: ValueType::from(value_type),
        secret,
        file_variant: row.first_cell.contains("_FILE`"),
        description: description.clone(),
    })
}
