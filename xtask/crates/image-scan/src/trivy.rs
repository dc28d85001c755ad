//! Calls trivy and keeps what it said, by what it looked at, which database it used and which version it is.

use std::time::Instant;

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;
use xshell::{Cmd, Shell, cmd};

use super::coverage;
use super::database::Database;
use super::failure::reason;
use super::report::{self, Report};
use xtask_engine::Tool;
use xtask_engine::Version;
use xtask_outcome::Stop;
use xtask_process::put;
use xtask_workspace::Context;

/// A large third-party image takes half a minute on a slow disk.
const SCAN_LIMIT_SECONDS: u64 = 600;
/// Reports of images that are gone are deleted after a while: the folder holds this many at most.
const KEPT_REPORTS: usize = 200;

/// trivy, a Go program, ends after a second: its garbage is left alone until there is a lot of it (docs/decisions/0007-scan.md).
const GO_RUNTIME: [(&str, &str); 2] = [("GOGC", "off"), ("GOMEMLIMIT", "1GiB")];

/// What trivy is asked to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Subject {
    /// An image in the local engine, by id.
    Image { id: String },
    /// A folder that holds a lock file. `content` names what is in it.
    Lock { folder: Utf8PathBuf, content: String },
    /// A folder of Dockerfiles.
    Configuration { folder: Utf8PathBuf, content: String },
}

impl Subject {
    /// Names the content that is looked at, so that a report of it stays true.
    fn key(&self) -> String {
        match self {
            Self::Image { id } => format!("image-{}", id.trim_start_matches("sha256:")),
            Self::Lock { content, .. } => format!("lock-{content}"),
            Self::Configuration { content, .. } => format!("configuration-{content}"),
        }
    }
}

/// A report and how it was had.
#[derive(Debug, Clone)]
pub(super) struct Scanned {
    pub(super) report: Report,
    /// The report as it is kept: what trivy wrote, without anything that quotes.
    pub(super) file: Utf8PathBuf,
    /// Seconds that trivy took, `None` when the report was there already.
    pub(super) seconds: Option<f64>,
    /// trivy ended with a failure; what the report holds is true, and not all there is.
    pub(super) failure: Option<String>,
}

/// trivy with databases, or without one.
#[derive(Debug)]
pub(super) struct Trivy<'a> {
    context: &'a Context,
    tool: Tool,
    databases: &'a [Database],
    /// Reports by what was looked at.
    store: Utf8PathBuf,
    /// trivy reads `trivy.yaml` and `.trivyignore` where it is started: here is none.
    empty: Utf8PathBuf,
}

impl<'a> Trivy<'a> {
    pub(super) fn new(context: &'a Context, tool: Tool, databases: &'a [Database]) -> Result<Self> {
        let root = context.project.out().join("scan");
        let (store, empty) = (root.join("reports"), root.join("empty"));
        for folder in [&store, &empty] {
            std::fs::create_dir_all(folder).with_context(|| format!("make the folder {folder}"))?;
        }
        forget_oldest(&store)?;
        Ok(Self { context, tool, databases, store, empty })
    }

    /// The report on a subject, with what every database knows of it. `Err` in the inner result says why there is none: that is
    /// about this subject alone.
    ///
    /// # Errors
    /// [`Stop::Interrupted`], and a disk that cannot be written.
    pub(super) fn scan(&self, subject: &Subject) -> Result<Result<Scanned, String>> {
        let mut scanned = match self.scan_with(subject, self.databases.first(), true)? {
            Ok(scanned) => scanned,
            Err(why) => return Ok(Err(why)),
        };
        let configuration = matches!(subject, Subject::Configuration { .. });
        // trivy takes one database at a time; another one is asked where it knows something.
        for database in self.databases.iter().skip(1).filter(|_| !configuration) {
            let report = &scanned.report;
            if !report.targets.iter().any(|target| coverage::covers(database, report, target)) {
                continue;
            }
            match self.scan_with(subject, Some(database), false)? {
                Ok(more) => {
                    scanned.report.add_vulnerabilities(more.report);
                    scanned.seconds = [scanned.seconds, more.seconds].into_iter().flatten().reduce(|a, b| a + b);
                    scanned.failure = scanned.failure.or(more.failure);
                }
                Err(why) => {
                    let why = format!("with the database {}: {why}", database.key);
                    scanned.failure = scanned.failure.or(Some(why));
                }
            }
        }
        Ok(Ok(scanned))
    }

    /// `first` looks for secrets, too: they are the same whatever the database.
    fn scan_with(
        &self,
        subject: &Subject,
        database: Option<&Database>,
        first: bool,
    ) -> Result<Result<Scanned, String>> {
        let file = self.store.join(format!("{}.json", self.key(subject, database, first)));
        if let Some(report) = kept(&file) {
            return Ok(Ok(Scanned { report, file, seconds: None, failure: None }));
        }
        let shell = Shell::new()?;
        shell.change_dir(&self.empty);
        let started = Instant::now();
        let captured =
            match self.context.runner.capture(self.command(&shell, subject, database, first), SCAN_LIMIT_SECONDS) {
                Ok(captured) => captured,
                Err(error) if matches!(error.downcast_ref(), Some(Stop::Interrupted(_))) => return Err(error),
                Err(error) => return Ok(Err(format!("{error:#}"))),
            };
        let seconds = started.elapsed().as_secs_f64();
        let failure = (!captured.status.success())
            .then(|| format!("trivy failed with {}: {}", captured.status, reason(&captured)));
        let value = match understand(&captured.stdout) {
            Ok(value) => value,
            Err(problem) => return Ok(Err(failure.unwrap_or(format!("trivy's report {problem}")))),
        };
        let report = match Report::parse(&value) {
            Ok(report) => report,
            Err(problem) => return Ok(Err(failure.unwrap_or(format!("trivy's report {problem}")))),
        };
        // What a failing trivy left is used for this verdict and never for another one.
        if failure.is_none() {
            put(&file, value.to_string())?;
        }
        Ok(Ok(Scanned { report, file, seconds: Some(seconds), failure }))
    }

    fn key(&self, subject: &Subject, database: Option<&Database>, first: bool) -> String {
        let version = Version::find(&self.tool.version).map_or_else(|| "dev".to_owned(), |version| version.to_string());
        let database = match subject {
            Subject::Configuration { .. } => "any",
            _ => database.map_or("none", |database| database.key.as_str()),
        };
        let part = if first { "" } else { "-vulnerabilities" };
        format!("{}-{database}-{version}{part}", subject.key())
    }

    fn command<'s>(&self, shell: &'s Shell, subject: &Subject, database: Option<&Database>, first: bool) -> Cmd<'s> {
        let program = &self.tool.program;
        let scanners = match (database, first) {
            (None, _) => "secret",
            (Some(_), true) => "vuln,secret",
            (Some(_), false) => "vuln",
        };
        let common = ["--quiet", "--format", "json", "--exit-code", "0", "--disable-telemetry", "--skip-version-check"];
        // Without a database the folder is an empty one, and nothing asks for it.
        let cache = database.map_or(&self.empty, |database| &database.folder);
        let database =
            ["--cache-dir", cache.as_str(), "--cache-backend", "memory", "--skip-db-update", "--offline-scan"];
        let command = match subject {
            Subject::Image { id } => {
                let what = ["--image-src", "docker", "--image-config-scanners", "secret", "--list-all-pkgs"];
                cmd!(shell, "{program} image {common...} {database...} {what...} --scanners {scanners} {id}")
            }
            Subject::Lock { folder, .. } => {
                cmd!(shell, "{program} fs {common...} {database...} --list-all-pkgs --scanners vuln {folder}")
            }
            Subject::Configuration { folder, .. } => {
                cmd!(shell, "{program} config {common...} --cache-dir {cache} --skip-check-update {folder}")
            }
        };
        let mut command = alone(command);
        for (name, value) in &self.context.project.environment.engine {
            command = command.env(name, value);
        }
        command
    }

    /// The packages of a scanned image as CycloneDX, kept beside its report.
    ///
    /// # Errors
    /// [`Stop::Broken`] when trivy cannot.
    pub(super) fn bill_of_materials(&self, scanned: &Scanned) -> Result<Utf8PathBuf> {
        let beside = scanned.file.with_extension("cdx.json");
        if beside.is_file() {
            return Ok(beside);
        }
        let shell = Shell::new()?;
        shell.change_dir(&self.empty);
        let (program, from) = (&self.tool.program, &scanned.file);
        let staged = Utf8PathBuf::from(format!("{beside}.{}", std::process::id()));
        let convert = cmd!(shell, "{program} convert --quiet --format cyclonedx --output {staged} {from}");
        let captured = self.context.runner.capture(alone(convert), SCAN_LIMIT_SECONDS)?;
        if !captured.status.success() {
            return Err(
                Stop::Broken(format!("trivy convert failed with {}: {}", captured.status, reason(&captured))).into()
            );
        }
        std::fs::rename(&staged, &beside).with_context(|| format!("put {beside} in its place"))?;
        Ok(beside)
    }

    pub(super) fn has_database(&self) -> bool {
        !self.databases.is_empty()
    }

    pub(super) fn evidence(&self) -> Value {
        self.tool.evidence()
    }
}

/// Without the shell's variables: a TRIVY_… of somebody's must not change a verdict.
fn alone(command: Cmd<'_>) -> Cmd<'_> {
    GO_RUNTIME.iter().fold(command.env_clear(), |command, (name, value)| command.env(name, value))
}

/// A report that was kept; one that is cut off is as good as none.
fn kept(file: &Utf8Path) -> Option<Report> {
    let value: Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    Report::parse(&value).ok()
}

/// trivy's output as JSON, with nothing in it that quotes.
fn understand(stdout: &str) -> Result<Value, String> {
    if stdout.trim().is_empty() {
        return Err("is empty".to_owned());
    }
    let value: Value = serde_json::from_str(stdout).map_err(|error| {
        let kind = if error.is_eof() { "is cut off" } else { "is no JSON" };
        format!("{kind} ({error})")
    })?;
    if !value.is_object() {
        return Err("is no JSON object".to_owned());
    }
    Ok(report::without_quotes(value))
}

fn forget_oldest(store: &Utf8Path) -> Result<()> {
    let mut files = Vec::new();
    for entry in store.read_dir_utf8()? {
        let entry = entry?;
        files.push((entry.metadata().and_then(|metadata| metadata.modified()).ok(), entry.into_path()));
    }
    files.sort();
    for (_, path) in files.iter().take(files.len().saturating_sub(KEPT_REPORTS)) {
        // Another run may have been faster.
        let _ = std::fs::remove_file(path);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_that_is_empty_or_cut_off_is_called_that() {
        assert!(understand(" \n").unwrap_err().contains("is empty"));
        assert!(understand("{\"SchemaVersion\":2,\"Results\":[").unwrap_err().contains("is cut off"));
        assert!(understand("<html>").unwrap_err().contains("is no JSON"));
        for text in ["[]", "1", "null", "\"x\""] {
            assert!(understand(text).unwrap_err().contains("is no JSON object"), "{text}");
        }
    }
}
