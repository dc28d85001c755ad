//! Rows in columns: what people expect to see as a table, once for the screen, for Markdown and for the report.

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Row, TableStyle};
use serde::Serialize;

/// One column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Column {
    /// What stands above it.
    pub name: String,
    /// Its cells are figures, and stand at its right.
    pub is_figure: bool,
}

/// A table for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Table {
    /// The step that it belongs to; empty when it is the command's own.
    pub step: String,
    /// What it shows: `images`.
    pub title: String,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Its rows, with as many cells as there are columns.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows. The name of a column of figures begins with `#`: `["image", "#bytes"]`.
    pub fn new(title: &str, columns: &[&str]) -> Self {
        let column =
            |name: &&str| Column { name: name.trim_start_matches('#').to_owned(), is_figure: name.starts_with('#') };
        Self {
            step: String::new(),
            title: title.to_owned(),
            columns: columns.iter().map(column).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; a missing cell is empty, and one too many is left out.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut cells: Vec<_> = cells.into_iter().collect();
        cells.resize(self.columns.len(), String::new());
        self.rows.push(cells);
    }

    pub(crate) fn within(mut self, step: &str) -> Self {
        self.step = if self.step.is_empty() { step.to_owned() } else { format!("{step}/{}", self.step) };
        self
    }

    /// Its lines, the names of the columns first, at most so wide; a cell with no room is wrapped.
    pub(crate) fn lines(&self, width: Option<usize>) -> Vec<String> {
        let mut table = comfy_table::Table::new();
        table.load_style(TableStyle::new());
        match width.and_then(|width| u16::try_from(width).ok()) {
            Some(width) => table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width),
            None => table.set_content_arrangement(ContentArrangement::Disabled),
        };
        table.set_header(Row::from(self.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>()));
        table.add_rows(self.rows.iter().map(|cells| Row::from(cells.clone())));
        for (index, column) in self.columns.iter().enumerate() {
            if let Some(shown) = table.column_mut(index) {
                shown.set_padding((if index == 0 { 0 } else { 1 }, 1));
                if index == 0 {
                    // A name in pieces is found by nobody.
                    shown.set_constraint(ColumnConstraint::ContentWidth);
                }
                if column.is_figure {
                    shown.set_cell_alignment(CellAlignment::Right);
                }
            }
        }
        table.lines().map(|line| line.trim_end().to_owned()).collect()
    }

    /// As Markdown.
    pub(crate) fn markdown(&self, cell: impl Fn(&str) -> String) -> String {
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let mut text = line(self.columns.iter().map(|column| cell(&column.name)).collect());
        text += &format!(
            "|{}\n",
            self.columns.iter().map(|column| if column.is_figure { "---:|" } else { "---|" }).collect::<String>()
        );
        text.extend(self.rows.iter().map(|cells| line(cells.iter().map(|text| cell(text)).collect())));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new("images", &["image", "#bytes", "note"]);
        table.row(["user".into(), "5".into(), "größe ist ein langes Wort mit vielen Zeichen".into()]);
        table.row(["gateway".into(), "12345".into()]);
        table
    }

    #[test]
    fn figures_stand_at_the_right_and_a_missing_cell_is_empty() {
        insta::assert_snapshot!(table().lines(None).join("\n"), @r"
        image    bytes  note
        user         5  größe ist ein langes Wort mit vielen Zeichen
        gateway  12345
        ");
    }

    #[test]
    fn a_table_fits_a_narrow_terminal() {
        let lines = table().lines(Some(36));
        assert!(lines.iter().all(|line| line.chars().count() <= 36), "{lines:#?}");
        insta::assert_snapshot!(lines.join("\n"), @r"
        image    bytes  note
        user         5  größe ist ein
                        langes Wort mit
                        vielen Zeichen
        gateway  12345
        ");
    }

    #[test]
    fn markdown_has_the_alignment_too() {
        insta::assert_snapshot!(table().markdown(|cell| cell.replace('|', "\\|")), @r"
        | image | bytes | note |
        |---|---:|---|
        | user | 5 | größe ist ein langes Wort mit vielen Zeichen |
        | gateway | 12345 |  |
        ");
    }
}
