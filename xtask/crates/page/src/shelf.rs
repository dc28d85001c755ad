//! Where a command's report lies: `verify.json`, its page `verify.html`, and `verify.previous.json`, the verdict before.

use anyhow::Result;
use camino::{Utf8Path, Utf8PathBuf};
use xtask_outcome::Report;
use xtask_process::put;

use crate::changes::Earlier;
use crate::page;

/// The files of one command's report, and what stood in them before this run.
#[derive(Debug)]
pub struct Shelf {
    report: Kept,
    page: Kept,
    previous: Kept,
}

/// A file and its content before.
#[derive(Debug)]
struct Kept {
    file: Utf8PathBuf,
    before: Option<Vec<u8>>,
}

impl Shelf {
    /// The shelf of the report that is stored in `file`, which ends in `.json`.
    pub fn open(file: &Utf8Path) -> Self {
        let kept = |extension| Kept::read(file.with_extension(extension));
        Self { report: kept("json"), page: kept("html"), previous: kept("previous.json") }
    }

    /// Writes the report and its page, and keeps the verdict before. May be called again when the report has grown.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn put(&self, report: &Report) -> Result<()> {
        let earlier = self.last_verdict();
        if let Some(earlier) = earlier {
            put(&self.previous.file, earlier)?;
        }
        put(&self.report.file, report.json())?;
        put(&self.page.file, page(report, earlier))
    }

    /// Puts everything back as it was: a command line that was refused is no run.
    pub fn restore(&self) {
        for kept in [&self.report, &self.page, &self.previous] {
            kept.restore();
        }
    }

    /// A report that says `running` is of a killed run: then the one before it counts.
    fn last_verdict(&self) -> Option<&[u8]> {
        let ended = self.report.before.as_deref().filter(|stored| Earlier::read(stored).is_some());
        ended.or(self.previous.before.as_deref())
    }
}

impl Kept {
    fn read(file: Utf8PathBuf) -> Self {
        Self { before: std::fs::read(&file).ok(), file }
    }

    fn restore(&self) {
        // A folder that cannot be written to has not taken the new content either.
        let _ = match &self.before {
            Some(before) => put(&self.file, before),
            None => std::fs::remove_file(&self.file).map_err(Into::into),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xtask_outcome::Outcome;

    fn running() -> Report {
        Report::running("verify", "cargo xtask verify")
    }

    /// A whole run that ends with one note.
    fn run(file: &Utf8Path, note: &str) {
        let shelf = Shelf::open(file);
        shelf.put(&running()).unwrap();
        let mut outcome = Outcome::default();
        outcome.note(note);
        shelf.put(&running().ended(outcome, 1.0)).unwrap();
    }

    fn read(file: &Utf8Path, extension: &str) -> String {
        std::fs::read_to_string(file.with_extension(extension)).unwrap_or_default()
    }

    #[test]
    fn the_verdict_before_stays_also_after_a_killed_run() {
        let folder = tempfile::tempdir().unwrap();
        let file = Utf8Path::from_path(folder.path()).unwrap().join("verify.json");
        run(&file, "first");
        assert_eq!(read(&file, "previous.json"), "");
        assert!(read(&file, "html").contains("the first verdict that is kept here"));
        run(&file, "second");
        assert!(read(&file, "previous.json").contains("first") && read(&file, "json").contains("second"));
        assert!(read(&file, "html").contains("The last verdict"));
        // Killed: it only begins.
        Shelf::open(&file).put(&running()).unwrap();
        assert!(read(&file, "html").contains("Running, or killed"));
        run(&file, "third");
        assert!(read(&file, "previous.json").contains("second"), "{}", read(&file, "previous.json"));
    }

    #[test]
    fn a_refused_command_line_leaves_everything_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let file = Utf8Path::from_path(folder.path()).unwrap().join("verify.json");
        let files = || ["json", "html", "previous.json"].map(|extension| read(&file, extension));
        for _ in 0..3 {
            let before = files();
            let shelf = Shelf::open(&file);
            shelf.put(&running()).unwrap();
            assert_ne!(files(), before);
            shelf.restore();
            assert_eq!(files(), before);
            run(&file, "a run");
        }
    }
}
