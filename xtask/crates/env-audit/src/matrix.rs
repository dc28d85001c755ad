//! One table per service: its variables against the places. It says where a value comes from, never what a secret is.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use xtask_outcome::Table;

use super::contract::Variable;
use super::places::{Deployment, ImagePlace};
use super::tables;
use super::view::View;

const CONTRACT: &str = "contract";
const SAME: &str = "same";

/// One image's variables against every place, a row per variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matrix {
    /// `user`.
    pub service: String,
    /// The places, after the variable itself.
    pub places: Vec<String>,
    /// Each variable and what each place says of it; empty where it says nothing.
    pub rows: Vec<(String, Vec<String>)>,
}

impl Matrix {
    pub(crate) fn of(view: &View<'_>, image: &ImagePlace) -> Self {
        let documented = view.places.document.as_deref().map(tables::contracts).unwrap_or_default();
        let documented = documented.get(&image.service);
        let of_this = |deployment: &&Deployment| {
            view.own_contract(deployment).is_some_and(|contract| contract.image == image.contract.image)
        };
        let deployments: Vec<_> = view
            .deployments()
            .filter(|(_, deployment)| of_this(deployment))
            .map(|(stack, deployment)| {
                let is_named_alike = deployment.name == image.service;
                let name =
                    if is_named_alike { stack.file.clone() } else { format!("{} {}", stack.file, deployment.name) };
                (name, deployment)
            })
            .collect();
        let mut places = vec![CONTRACT.to_owned(), "image".to_owned()];
        places.extend(deployments.iter().map(|(name, _)| name.clone()));
        places.extend([".env".to_owned(), "docs".to_owned()]);
        let row = |variable: &Variable| {
            let mut cells = vec![contract_cell(variable), image_cell(image, variable)];
            cells.extend(
                deployments.iter().map(|(_, deployment)| tables::in_compose(deployment, variable).replace('`', "")),
            );
            cells.push(deployments.first().map(|(_, one)| env_cell(view, one, variable)).unwrap_or_default());
            let is_documented = documented.is_some_and(|contract| contract.variable(&variable.name) == Some(variable));
            cells.push(if is_documented { SAME } else { "differs" }.to_owned());
            (variable.name.clone(), cells)
        };
        let rows = image.contract.variables.iter().map(row).collect();
        Self { service: image.service.clone(), places, rows }
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        let row = |(name, cells): &(String, Vec<String>)| {
            let cells = self.places.iter().zip(cells).filter(|(_, cell)| !cell.is_empty());
            (name.clone(), cells.map(|(place, cell)| (place.clone(), json!(cell))).collect::<Map<_, _>>().into())
        };
        Value::Object(self.rows.iter().map(row).collect())
    }

    /// As a Markdown table.
    pub fn markdown(&self) -> String {
        let mut text = format!("### {}\n\n| variable | {} |\n|", self.service, self.places.join(" | "));
        text += &"---|".repeat(self.places.len() + 1);
        for (name, cells) in &self.rows {
            let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
            let _ = write!(text, "\n| {name} | {} |", cells.join(" | "));
        }
        text + "\n"
    }

    /// For the screen: the variable, its contract, and the places that say more than the contract does.
    pub fn table(&self) -> Table {
        let is_shown =
            |column: &usize| self.rows.iter().any(|(_, cells)| !matches!(cells[*column].as_str(), "" | SAME));
        let columns: Vec<_> = (0..self.places.len()).filter(is_shown).collect();
        let names = columns.iter().map(|column| self.places[*column].as_str());
        let names: Vec<_> = std::iter::once("variable").chain(names).collect();
        let mut table = Table::new(&self.service, &names);
        for (name, cells) in &self.rows {
            table.row(std::iter::once(name.clone()).chain(columns.iter().map(|column| cells[*column].clone())));
        }
        table
    }

    /// The same in columns for a terminal.
    pub fn text(&self) -> String {
        let head = (self.service.clone(), self.places.clone());
        let lines: Vec<Vec<&str>> = std::iter::once(&head)
            .chain(&self.rows)
            .map(|(name, cells)| std::iter::once(name.as_str()).chain(cells.iter().map(String::as_str)).collect())
            .collect();
        // A place that says nothing about any variable takes no room.
        let is_shown = |column: usize| lines[1..].iter().any(|line| !line[column].is_empty());
        let columns: Vec<_> = (0..=self.places.len()).filter(|column| is_shown(*column)).collect();
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
        let mut text = String::new();
        for line in &lines {
            let mut written = String::new();
            for column in &columns {
                let _ = write!(written, "{:width$}  ", line[*column], width = width(*column));
            }
            let _ = writeln!(text, "{}", written.trim_end());
        }
        text
    }
}

fn contract_cell(variable: &Variable) -> String {
    let when_unset = variable.when_unset().replace(['*', '`'], "");
    if variable.secret { format!("{when_unset}, secret") } else { when_unset }
}

fn image_cell(image: &ImagePlace, variable: &Variable) -> String {
    let entries =
        image.config["Env"].as_array().into_iter().flatten().filter_map(|entry| entry.as_str()?.split_once('='));
    let set = entries.into_iter().find(|(name, _)| *name == variable.name).map(|(_, value)| value);
    match set {
        Some(_) if variable.secret => "set".to_owned(),
        Some(value) => value.to_owned(),
        None => String::new(),
    }
}

/// Whether this machine's `.env` gives what the deployment takes from it.
fn env_cell(view: &View<'_>, deployment: &Deployment, variable: &Variable) -> String {
    let Some(env) = &view.env else { return String::new() };
    let Some(setting) = deployment.setting(&variable.name) else { return String::new() };
    let references = setting.value.references();
    if references.is_empty() {
        return String::new();
    }
    let is_set = references.iter().all(|reference| env.value(&reference.name).is_some_and(|v| !v.trim().is_empty()));
    if is_set { "set" } else { "not set" }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_that_say_nothing_are_left_out_and_the_rest_lines_up() {
        let matrix = Matrix {
            service: "user".into(),
            places: vec!["contract".into(), "image".into(), "compose.yaml".into()],
            rows: vec![
                ("PORT".into(), vec!["8080".into(), String::new(), String::new()]),
                ("LONG_NAME".into(), vec!["required".into(), String::new(), "X|Y".into()]),
            ],
        };
        assert_eq!(matrix.text(), "user       contract  compose.yaml\nPORT       8080\nLONG_NAME  required  X|Y\n");
        assert!(matrix.markdown().ends_with("| LONG_NAME | required |  | X\\|Y |\n"), "{}", matrix.markdown());
        assert_eq!(matrix.json()["PORT"], json!({ "contract": "8080" }));
    }
}
