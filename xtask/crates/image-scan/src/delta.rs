//! What is new, worse, fixed and unchanged against an earlier scan.

use std::collections::BTreeMap;

use anyhow::Result;
use camino::Utf8Path;
use serde_json::{Value, json};

use super::item::Item;
use super::policy::Severity;
use xtask_outcome::Stop;

/// The things that an earlier scan found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Baseline {
    found: BTreeMap<String, Severity>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Delta {
    pub(super) new: Vec<String>,
    pub(super) worse: Vec<String>,
    pub(super) fixed: Vec<String>,
    pub(super) unchanged: usize,
}

impl Baseline {
    /// Reads the report of an earlier `scan` or `verify`.
    ///
    /// # Errors
    /// [`Stop::Absent`]: the comparison was asked for, so nothing is done without it.
    pub fn read(path: &Utf8Path) -> Result<Self> {
        let refused = |why: String| {
            Stop::Absent(format!("--baseline {path} refused: {why}; next: name a scan.json from target/xtask/reports"))
        };
        let text = std::fs::read_to_string(path).map_err(|error| refused(format!("it cannot be read: {error}")))?;
        let report: Value =
            serde_json::from_str(&text).map_err(|error| refused(format!("it is no report: {error}")))?;
        // `verify` keeps each step's evidence under the step's name.
        let places = ["/evidence/found", "/evidence/scan/found"];
        let found = places.iter().find_map(|place| report.pointer(place).filter(|found| found.is_array()));
        let found = found.ok_or_else(|| refused("it holds no list of what a scan found".to_owned()))?;
        let items: Vec<Item> = serde_json::from_value(found.clone())
            .map_err(|error| refused(format!("its list is of another form: {error}")))?;
        Ok(Self { found: by_key(&items) })
    }

    /// `examined` says which units this run looked at: what it did not look at is not fixed.
    pub(super) fn compare(&self, items: &[Item], examined: impl Fn(&str) -> bool) -> Delta {
        let now = by_key(items);
        let mut delta = Delta::default();
        for (key, severity) in &now {
            match self.found.get(key) {
                None => delta.new.push(format!("{key} ({severity})")),
                Some(before) if severity > before => delta.worse.push(format!("{key} ({before} → {severity})")),
                Some(_) => delta.unchanged += 1,
            }
        }
        for (key, severity) in &self.found {
            let unit = key.split(' ').next().unwrap_or_default();
            if !now.contains_key(key) && examined(unit) {
                delta.fixed.push(format!("{key} ({severity})"));
            }
        }
        delta
    }
}

/// A package that is there in two versions counts once, with the worse of its two.
fn by_key(items: &[Item]) -> BTreeMap<String, Severity> {
    let mut map: BTreeMap<String, Severity> = BTreeMap::new();
    for item in items {
        let severity = map.entry(item.key()).or_insert(item.severity);
        *severity = (*severity).max(item.severity);
    }
    map
}

impl Delta {
    pub(super) fn evidence(&self) -> Value {
        json!({ "new": self.new, "worse": self.worse, "fixed": self.fixed, "unchanged": self.unchanged })
    }
}

#[cfg(test)]
mod tests {
    use super::super::item::tests::{items, vulnerability};
    use super::*;

    fn baseline(items: &[Item]) -> Baseline {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap().join("scan.json");
        std::fs::write(&path, json!({ "evidence": { "found": items } }).to_string()).unwrap();
        Baseline::read(&path).unwrap()
    }

    #[test]
    fn new_worse_fixed_and_unchanged_are_told_apart() {
        let before = items(vec![vulnerability("A", "LOW"), vulnerability("B", "HIGH"), vulnerability("C", "HIGH")]);
        let now = items(vec![vulnerability("A", "HIGH"), vulnerability("B", "HIGH"), vulnerability("D", "LOW")]);
        let delta = baseline(&before).compare(&now, |unit| unit == "order");
        assert_eq!(delta.new, ["order vulnerability D small (low)"]);
        assert_eq!(delta.worse, ["order vulnerability A small (low → high)"]);
        assert_eq!(delta.fixed, ["order vulnerability C small (high)"]);
        assert_eq!(delta.unchanged, 1);
        assert_eq!(baseline(&before).compare(&[], |_| false).fixed, [""; 0]);
    }

    #[test]
    fn the_report_of_verify_is_a_baseline_as_well() {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap().join("verify.json");
        let items = items(vec![vulnerability("A", "LOW")]);
        std::fs::write(&path, json!({ "evidence": { "scan": { "found": items } } }).to_string()).unwrap();
        assert_eq!(Baseline::read(&path).unwrap(), baseline(&items));
    }

    #[test]
    fn a_rebuild_and_an_update_that_does_not_help_are_no_news() {
        let before = items(vec![vulnerability("A", "HIGH")]);
        let mut now = before.clone();
        now[0].installed = "1.6.0-rebuilt".into();
        now[0].state = "accepted until 2026-03-01 by platform".into();
        let delta = baseline(&before).compare(&now, |_| true);
        assert_eq!(delta, Delta { unchanged: 1, ..Delta::default() });
    }

    #[test]
    fn what_is_no_report_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap().join("x.json");
        let refused = || Baseline::read(&path).unwrap_err().to_string();
        assert!(refused().contains("cannot be read"));
        for (text, why) in [("{", "no report"), ("{}", "no list"), (r#"{"evidence":{"found":[{}]}}"#, "another form")] {
            std::fs::write(&path, text).unwrap();
            assert!(refused().contains(why), "{why}");
        }
    }
}
