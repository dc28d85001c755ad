//! Where a report goes: standard output, its file, GitHub's job summary and annotations.

use std::ffi::OsString;
use std::io::Write as _;

use clap::ValueEnum;
use xtask_outcome::{Outcome, Report, Verdict, github};
use xtask_page::Shelf;
use xtask_workspace::Project;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Text,
    Json,
}

/// Whether a command line that is not understood asks for JSON.
pub(crate) fn asks_for_json(arguments: &[OsString]) -> bool {
    let pairs = arguments.windows(2);
    arguments.iter().any(|word| word == "--format=json")
        || pairs.into_iter().any(|pair| pair[0] == "--format" && pair[1] == "json")
}

/// Prints the result on standard output.
pub(crate) fn print(report: &Report, format: Format, with_evidence: bool) {
    let shown = match format {
        Format::Text => report.text(with_evidence),
        Format::Json => report.json(),
    };
    // A closed pipe (`| head`) is the reader's choice and no error.
    let _ = std::io::stdout().write_all(shown.as_bytes());
}

/// `target/xtask/reports/<command>.json` and the page beside it: they say `running` from the start, so that no crash leaves an old
/// verdict behind.
pub(crate) struct Journal {
    shelf: Shelf,
    report: Report,
}

impl Journal {
    pub(crate) fn begin(project: &Project, report: Report, outcome: &mut Outcome) -> Self {
        let file = project.out().join("reports").join(format!("{}.json", report.command));
        let shelf = Shelf::open(&file);
        if let Err(error) = shelf.put(&report) {
            outcome.broken("report", format!("{error:#}"));
        }
        Self { shelf, report }
    }

    /// Writes the report of the end, and gives it.
    pub(crate) fn end(self, outcome: Outcome, seconds: f64) -> Report {
        let report = self.report.clone().ended(outcome.clone(), seconds);
        if report.verdict == Verdict::Usage {
            self.shelf.restore();
            return report;
        }
        match self.shelf.put(&report) {
            Ok(()) => report,
            // A verdict that nobody can read later is not a pass.
            Err(error) => {
                let mut outcome = outcome;
                outcome.broken("report", format!("{error:#}"));
                self.report.ended(outcome, seconds)
            }
        }
    }
}

/// In GitHub Actions: the job summary, and annotations on standard error.
pub(crate) fn to_github(project: &Project, report: &Report) {
    if let Some(file) = &project.environment.github_step_summary {
        let written = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(file)
            .and_then(|mut file| file.write_all(github::summary(report).as_bytes()));
        if let Err(error) = written {
            eprintln!("the job summary {file} could not be written: {error}");
        }
    }
    if project.environment.github_actions {
        for line in github::annotations(report, |name| project.root.join(name).is_file()) {
            eprintln!("{line}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_asked_for_in_both_spellings() {
        let asks = |words: &[&str]| asks_for_json(&words.iter().map(OsString::from).collect::<Vec<_>>());
        assert!(asks(&["xtask", "--format", "json", "nope"]) && asks(&["xtask", "nope", "--format=json"]));
        assert!(!asks(&["xtask", "--format", "text", "json"]) && !asks(&["xtask"]));
    }
}
