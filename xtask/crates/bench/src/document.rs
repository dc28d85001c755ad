//! `docs/benchmarks.md`: each benchmark writes its own part and leaves the others.

use anyhow::{Context as _, Result};
use xtask_outcome::Outcome;
use xtask_workspace::Context;

use crate::chart::{self, Bar};

const DOCUMENT: &str = "docs/benchmarks.md";
/// The headings of its parts, in their order; each is written by another benchmark.
pub(crate) const BUILDS: &str = "# Build times";
pub(crate) const LOOP: &str = "## From an edit to the answer";
pub(crate) const PROXY: &str = "## The gateway beside nginx";
/// Written by hand from the log of `xtask/tests/compare.sh`.
const COMPARISON: &str = "## Two image sets";
/// Written by hand from the report of `compose-e2e --soak`.
const SOAK: &str = "## Soak";
const PARTS: [&str; 5] = [BUILDS, LOOP, PROXY, COMPARISON, SOAK];

/// Writes the picture of a part beside the document, and gives the line that shows it there.
pub(crate) fn write_chart(context: &Context, name: &str, title: &str, bars: &[Bar]) -> Result<String> {
    let file = context.project.root.join("docs/benchmarks").join(format!("{name}.svg"));
    std::fs::write(&file, chart::bars(title, bars)).with_context(|| format!("write {file}"))?;
    Ok(format!("\n![{title}](benchmarks/{name}.svg)\n"))
}

/// Replaces one part of the document and leaves the others.
pub(crate) fn write_part(context: &Context, heading: &str, text: &str, outcome: &mut Outcome) -> Result<()> {
    let file = context.project.root.join(DOCUMENT);
    let before = std::fs::read_to_string(&file).unwrap_or_default();
    std::fs::write(&file, with_part(&before, heading, text)).with_context(|| format!("write {file}"))?;
    outcome.evidence("written", DOCUMENT);
    Ok(())
}

fn with_part(document: &str, heading: &str, text: &str) -> String {
    let part_of = |wanted: &str| {
        if wanted == heading {
            return Some(format!("{heading}\n\n{}\n", text.trim()));
        }
        let (_, rest) = document.split_once(wanted)?;
        let end = PARTS.iter().filter_map(|next| rest.find(next)).min().unwrap_or(rest.len());
        Some(format!("{wanted}\n\n{}\n", rest[..end].trim()))
    };
    PARTS.into_iter().filter_map(part_of).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_benchmark_replaces_its_own_part_alone() {
        let builds = with_part("", BUILDS, "old builds");
        let both = with_part(&builds, PROXY, "ratios\n");
        assert_eq!(both, "# Build times\n\nold builds\n\n## The gateway beside nginx\n\nratios\n");
        let all = with_part(&with_part(&both, LOOP, "edits"), BUILDS, "builds");
        let expected = "# Build times\n\nbuilds\n\n## From an edit to the answer\n\nedits\n\n## The gateway beside nginx\n\nratios\n";
        assert_eq!(all, expected);
        for (heading, text) in [(BUILDS, "builds"), (LOOP, "edits"), (PROXY, "ratios")] {
            assert_eq!(with_part(&all, heading, text), all);
        }
        let by_hand = format!("{all}\n{COMPARISON}\n\ntold\n\n{SOAK}\n\nlevel\n");
        assert_eq!(with_part(&by_hand, PROXY, "ratios"), by_hand);
    }
}
