//! Where a report goes: its file, GitHub's job summary and annotations; and the log of what ran.

use std::fs::File;
use std::io::Write as _;

use anyhow::{Context as _, Result};
use camino::Utf8PathBuf;
use xtask_outcome::{Outcome, Progress, Report, Verdict, github};
use xtask_page::Shelf;
use xtask_workspace::Project;

/// `target/xtask/reports/<command>.json` and the page beside it: they say `running` from the start, so that no crash leaves an old
/// verdict behind.
pub(crate) struct Journal {
    shelf: Shelf,
    report: Report,
}

impl Journal {
    pub(crate) fn begin(project: &Project, report: Report, outcome: &mut Outcome) -> Self {
        let shelf = Shelf::open(&reports(project).join(format!("{}.json", report.command)));
        if let Err(error) = shelf.put(&report) {
            outcome.broken("report", format!("{error:#}"));
        }
        Self { shelf, report }
    }

    /// The report and the page, each with its path from the root.
    pub(crate) fn files(&self, project: &Project) -> [(&'static str, String); 2] {
        let file = reports(project).join(&self.report.command);
        [("report", "json"), ("page", "html")].map(|(what, kind)| (what, project.from_root(&file.with_extension(kind))))
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

/// `target/xtask/logs/<command>.log`: every step and every program of this run. Gives its path from the root.
///
/// # Errors
/// When the file cannot be made; nothing else depends on it.
pub(crate) fn keep_log(project: &Project, command: &str, progress: &Progress) -> Result<String> {
    let file = project.out().join("logs").join(format!("{command}.log"));
    std::fs::create_dir_all(file.with_file_name(""))?;
    progress.keep(File::create(&file).with_context(|| format!("create {file}"))?);
    Ok(project.from_root(&file))
}

fn reports(project: &Project) -> Utf8PathBuf {
    project.out().join("reports")
}

/// In GitHub Actions: the job summary, and annotations on standard error.
pub(crate) fn to_github(project: &Project, report: &Report, progress: &Progress) {
    if let Some(file) = &project.environment.github_step_summary {
        let written = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(file)
            .and_then(|mut file| file.write_all(github::summary(report).as_bytes()));
        if let Err(error) = written {
            progress.say(&format!("the job summary {file} could not be written: {error}"));
        }
    }
    if project.environment.github_actions {
        for line in github::annotations(report, |name| project.root.join(name).is_file()) {
            progress.say(&line);
        }
    }
}
