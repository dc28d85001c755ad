//! `docs/scans/<image>.md`: a dated record of what a scan saw, for people. Written only on `--write`.

use std::fmt::Write as _;

use super::item::{Item, Kind, name_of};
use super::judge::{UnitReport, Verdict};

/// The record of one unit, and of the Dockerfile that it is made by.
pub(super) fn markdown(verdict: &Verdict, unit: &UnitReport, dockerfile: Option<&str>) -> String {
    let mut text = format!("# Scan of {}\n\n", unit.name);
    let named = verdict.databases.iter().map(|database| {
        // Where there are several, what was covered names each by its key.
        let key = if verdict.databases.len() > 1 { format!(" {}", database.key) } else { String::new() };
        format!("the database{key} of {} ({} days old that day)", database.updated, database.age_days(verdict.today))
    });
    let mut database = named.collect::<Vec<_>>().join(" and ");
    if database.is_empty() {
        "no database of vulnerabilities".clone_into(&mut database);
    }
    let _ = writeln!(
        text,
        "Made on {} by `cargo xtask scan --write` with trivy {} and {database}.\n",
        verdict.today, verdict.trivy_version
    );
    if !unit.id.is_empty() {
        let _ = writeln!(text, "`{}`, id `{}`.\n", unit.reference, unit.id);
    }
    text.push_str("## What was looked at\n\n");
    for line in &unit.seen {
        let _ = writeln!(text, "- {line}");
    }
    for gap in &unit.gaps {
        let _ = writeln!(text, "- **Not covered**: {gap}");
    }
    text.push_str("\n## What was found\n\n");
    let items: Vec<_> =
        verdict.items.iter().filter(|item| item.unit == unit.name || Some(item.unit.as_str()) == dockerfile).collect();
    if items.is_empty() {
        text.push_str("Nothing, in what was looked at.\n");
        return text;
    }
    text.push_str(
        "| severity | what | where | installed | fixed in | comes through | state |\n|---|---|---|---|---|---|---|\n",
    );
    for item in &items {
        let _ = writeln!(text, "{}", row(item));
    }
    let updates: Vec<_> =
        items.iter().filter(|item| !item.update.is_empty()).map(|item| item.update.as_str()).collect();
    if !updates.is_empty() {
        let _ = write!(text, "\nWhat clears it:\n\n```sh\n{}\n```\n", updates.join("\n"));
    }
    text
}

fn row(item: &Item) -> String {
    let name = if item.has_address() { format!("[{}]({})", item.id, item.url) } else { item.id.clone() };
    let title = if item.title.is_empty() { String::new() } else { format!(": {}", plain(&item.title)) };
    let what = format!("{} {name}{title}", name_of(item.kind));
    let through = if item.kind == Kind::Vulnerability { item.path.as_str() } else { "" };
    let cells = [item.severity.name(), &what, &item.subject, &item.installed, &item.fixed_in, through, &item.state];
    format!("| {} |", cells.map(cell).join(" | "))
}

/// An advisory's words are shown as they are: no link, picture or emphasis of its making.
fn plain(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars() {
        if "\\`*_[]!".contains(c) {
            shown.push('\\');
        }
        shown.push(c);
    }
    shown
}

/// A cell ends at a bar, and a tag in it would be read as one.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;").replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::super::item::tests::{items, vulnerability};
    use super::*;

    #[test]
    fn an_advisorys_words_make_no_markup_and_a_missing_title_leaves_no_colon() {
        let mut found = vulnerability("CVE-1", "LOW");
        found.title = "a `b` *c* ![d](https://evil.example) | e".into();
        found.url = "https://avd.example/cve-1)(".into();
        let line = row(&items(vec![found])[0]);
        let words = "| vulnerability CVE-1: a \\`b\\` \\*c\\* \\!\\[d\\](https://evil.example) \\| e |";
        assert!(line.contains(words), "{line}");
        let mut found = vulnerability("CVE-1", "LOW");
        found.title = " \n".into();
        assert!(row(&items(vec![found])[0]).contains("| vulnerability CVE-1 |"));
    }

    #[test]
    fn a_cell_stays_a_cell() {
        assert_eq!(cell(">=1, <2 | x\ny"), ">=1, &lt;2 \\| x y");
    }
}
