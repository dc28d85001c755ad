//! How large an image may be: `policy/images.toml`. Limits decide; growth against the build before is told with the
//! file that grew, and decides nothing: the build before is this machine's own, and a verdict must be the same everywhere.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use toml::Spanned;

use xtask_outcome::{Date, Exception, Exceptions, Finding, Place, Stop};

use crate::image::ImageFacts;
use crate::objection::Objection;
use crate::saved_image::{Kind, texts};

pub(super) const FILE: &str = "images.toml";
/// How many changed files of an image a report names.
const SHOWN_FILES: usize = 20;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Policy {
    /// All layers together may be this much of the program alone, in percent.
    program_share_percent: u64,
    /// A smaller growth than this is not told.
    growth_from_percent: u64,
    /// All files of all layers, per image.
    limit_bytes: BTreeMap<String, u64>,
    #[serde(default)]
    exception: Vec<Spanned<Exception>>,
    /// Where it was read from, for messages and places.
    #[serde(skip)]
    pub(super) file: String,
}

impl Policy {
    /// # Errors
    /// [`Stop::Repository`] for anything that is not understood.
    pub(super) fn parse(file: &str, text: &str) -> Result<Self> {
        let policy: Self = toml::from_str(text).map_err(|error| Stop::Repository(format!("{file}: {error}")))?;
        Ok(Self { file: file.to_owned(), ..policy })
    }

    pub(super) fn exceptions(&self, text: &str, today: Date) -> Exceptions {
        Exceptions::new(&self.file, text, self.exception.clone(), today)
    }

    pub(super) fn has_limit(&self, name: &str) -> bool {
        self.limit_bytes.contains_key(name)
    }

    /// A row for people: the image's size, its limit, and how much it grew since the build before on this machine.
    pub(super) fn row(&self, name: &str, facts: &ImageFacts, before: Option<&ImageFacts>) -> [String; 4] {
        let megabytes = |bytes: u64| format!("{:.2} MB", bytes as f64 / 1e6);
        let grown = match before.map(|before| before.size_bytes) {
            Some(before) if before != facts.size_bytes => {
                format!("{:+.2} %", (facts.size_bytes as f64 / before.max(1) as f64 - 1.0) * 100.0)
            }
            Some(_) => "same".to_owned(),
            None => String::new(),
        };
        let limit = self.limit_bytes.get(name).copied().map(megabytes);
        [name.to_owned(), megabytes(facts.size_bytes), limit.unwrap_or_default(), grown]
    }

    pub(super) fn judge(&self, name: &str, facts: &ImageFacts, before: Option<&ImageFacts>) -> Vec<Objection> {
        let mut found = Vec::new();
        let mut push = |rule, message: String| found.push(Objection::new(rule, "size", message));
        let size = facts.size_bytes;
        match self.limit_bytes.get(name) {
            None => {
                push("image-without-limit", format!("{} has no limit-bytes.{name}; it has {size} bytes", self.file));
            }
            Some(limit) if size > *limit => {
                let blame = before.and_then(|before| largest_growth(before, facts)).unwrap_or_default();
                push("image-too-large", format!("{size} bytes, limit-bytes.{name} is {limit}{blame}"));
            }
            Some(_) => {}
        }
        let program = texts(&facts.config["Entrypoint"]).next().unwrap_or_default();
        let files = facts.files.iter().filter(|file| file.kind == Kind::File && file.path == program);
        let program_bytes = files.map(|file| file.size_bytes).next_back().unwrap_or(0);
        if size * 100 > program_bytes * self.program_share_percent {
            let message = format!(
                "{size} bytes are more than {} % of its program ({program_bytes} bytes)",
                self.program_share_percent
            );
            push("image-more-than-its-program", message);
        }
        found
    }

    /// How much the image grew since the build before, and which file most; nothing below the threshold.
    pub(super) fn growth(&self, before: &ImageFacts, facts: &ImageFacts) -> Option<String> {
        let grown = facts.size_bytes.checked_sub(before.size_bytes)?;
        if grown == 0 || grown * 100 < before.size_bytes * self.growth_from_percent {
            return None;
        }
        Some(format!("{} → {} bytes{}", before.size_bytes, facts.size_bytes, largest_growth(before, facts)?))
    }

    /// An image's sizes for a report: its limit, its size in the build before, and the files whose sizes changed most since.
    pub(super) fn sizes(&self, name: &str, facts: &ImageFacts, before: Option<&ImageFacts>) -> Map<String, Value> {
        let mut changed = before.map(|before| changed(before, facts)).unwrap_or_default();
        changed.sort_by_key(|(_, was, is)| std::cmp::Reverse(is.abs_diff(*was)));
        let file = |(path, was, is): &(String, u64, u64)| json!({ "path": path, "before_bytes": was, "bytes": is });
        let value = json!({
            "limit_bytes": self.limit_bytes.get(name),
            "before_bytes": before.map(|before| before.size_bytes),
            "changed": changed.iter().take(SHOWN_FILES).map(file).collect::<Vec<_>>(),
        });
        value.as_object().cloned().unwrap_or_default()
    }

    /// A limit for an image that does not exist (any more).
    pub(super) fn stale_limits<'a>(&self, images: impl Iterator<Item = &'a str>) -> Vec<Finding> {
        let images: BTreeSet<_> = images.collect();
        let stale = self.limit_bytes.keys().filter(|name| !images.contains(name.as_str()));
        let finding = |name: &String| Finding {
            rule: "image-limit-stale",
            place: Place::new(self.file.as_str()),
            message: format!("limit-bytes.{name} is about no image of this workspace"),
            next_step: "delete it".to_owned(),
        };
        stale.map(finding).collect()
    }
}

/// `; PATH grew most: BEFORE → AFTER bytes`, or nothing when no file grew.
fn largest_growth(before: &ImageFacts, facts: &ImageFacts) -> Option<String> {
    let grown = changed(before, facts).into_iter().filter(|(_, was, is)| is > was);
    let (path, was, is) = grown.max_by_key(|(_, was, is)| is - was)?;
    Some(format!("; {path} grew most: {was} → {is} bytes"))
}

/// The files whose sizes differ, with both sizes; 0 stands for a file that is not there.
fn changed(before: &ImageFacts, facts: &ImageFacts) -> Vec<(String, u64, u64)> {
    let sizes = |facts: &ImageFacts| {
        let mut sizes = BTreeMap::new();
        for file in &facts.files {
            *sizes.entry(file.path.clone()).or_insert(0) += file.size_bytes;
        }
        sizes
    };
    let (old, new) = (sizes(before), sizes(facts));
    let size = |sizes: &BTreeMap<String, u64>, path: &str| sizes.get(path).copied().unwrap_or(0);
    let paths: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let all = paths.into_iter().map(|path| (path.clone(), size(&old, path), size(&new, path)));
    all.filter(|(_, was, is)| was != is).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::tests::facts;
    use crate::saved_image::ImageFile;

    fn policy() -> Policy {
        Policy::parse(
            "images.toml",
            "program-share-percent = 105\ngrowth-from-percent = 2\n[limit-bytes]\nuser = 1_000_000\n",
        )
        .unwrap()
    }

    fn rules(found: &[Objection]) -> Vec<&'static str> {
        found.iter().map(|difference| difference.rule).collect()
    }

    #[test]
    fn an_image_of_its_limit_passes_and_one_byte_more_does_not() {
        let sized = |bytes| {
            let mut facts = facts();
            facts.files[0].size_bytes = bytes;
            facts.size_bytes = bytes;
            rules(&policy().judge("user", &facts, None))
        };
        assert!(sized(1_000_000).is_empty());
        assert_eq!(sized(1_000_001), ["image-too-large"]);
    }

    #[test]
    fn what_stands_beside_the_program_counts_against_it() {
        let with_more = |bytes| {
            let mut facts = facts();
            facts.size_bytes = facts.files[0].size_bytes + bytes;
            rules(&policy().judge("user", &facts, None))
        };
        // The program of the test has 500 000 bytes.
        assert!(with_more(25_000).is_empty());
        assert_eq!(with_more(25_001), ["image-more-than-its-program"]);
    }

    #[test]
    fn growth_from_the_threshold_on_is_blamed_on_a_file_with_both_sizes() {
        let before = facts();
        let grown = |bytes| {
            let mut after = facts();
            after.files[0].size_bytes += bytes;
            after.size_bytes += bytes;
            policy().growth(&before, &after)
        };
        assert_eq!(grown(10_000).unwrap(), "500000 → 510000 bytes; /mini-user grew most: 500000 → 510000 bytes");
        assert_eq!(grown(9_999), None);
        assert_eq!(grown(0), None);
        assert_eq!(
            policy().growth(
                &{
                    let mut larger = facts();
                    larger.size_bytes *= 2;
                    larger
                },
                &before
            ),
            None
        );
    }

    #[test]
    fn a_report_names_limit_size_before_and_the_files_that_changed_most() {
        let (mut before, mut after) = (facts(), facts());
        let beside = |path: &str, size_bytes| ImageFile { path: path.into(), size_bytes, ..facts().files[0].clone() };
        before.files.push(beside("/gone", 5));
        after.files[0].size_bytes += 70;
        after.files.push(beside("/new", 9));
        let sizes = Value::Object(policy().sizes("user", &after, Some(&before)));
        assert_eq!((&sizes["limit_bytes"], &sizes["before_bytes"]), (&json!(1_000_000), &json!(before.size_bytes)));
        let paths: Vec<_> = sizes["changed"].as_array().unwrap().iter().map(|file| file["path"].clone()).collect();
        assert_eq!(paths, [json!("/mini-user"), json!("/new"), json!("/gone")]);
        assert_eq!(sizes["changed"][2], json!({ "path": "/gone", "before_bytes": 5, "bytes": 0 }));
        assert_eq!(policy().sizes("reports", &after, None)["changed"], json!([]));
    }

    #[test]
    fn an_image_without_a_limit_and_a_limit_without_an_image_are_findings() {
        assert_eq!(rules(&policy().judge("reports", &facts(), None)), ["image-without-limit"]);
        assert_eq!(policy().stale_limits(["order"].into_iter())[0].rule, "image-limit-stale");
        assert!(policy().stale_limits(["user"].into_iter()).is_empty());
    }

    #[test]
    fn an_unknown_key_is_an_error_and_this_workspaces_policy_parses() {
        assert!(
            Policy::parse(
                "images.toml",
                "program-share-percent = 105\ngrowth-from-percent = 2\nlimit = 1\n[limit-bytes]\n"
            )
            .is_err()
        );
        let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../policy/images.toml")).unwrap();
        Policy::parse("images.toml", &text).unwrap();
    }
}
