//! trivy's database of vulnerabilities: where it comes from, how old it is, and what it has data for.

use std::hash::{DefaultHasher, Hasher as _};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;
use serde_json::{Value, json};
use xshell::{Shell, cmd};

use super::bolt;
use super::policy::DatabasePolicy;
use xtask_engine::Tool;
use xtask_outcome::Date;
use xtask_outcome::Stop;
use xtask_process::{Captured, put};
use xtask_workspace::Context;

/// All tries and the waits between them together.
const DOWNLOAD_LIMIT_SECONDS: u64 = 600;
/// A registry that limits requests, or fails for the moment, is asked again after each of these.
const RETRY_WAITS_SECONDS: [u64; 3] = [1, 8, 30];
/// The form of database that trivy has today.
const SCHEMA: u64 = 2;
/// One that is fetched is ten times as large, and its date tells it from every other one.
const HASHED_WHOLE_LIMIT_BYTES: u64 = 64 * 1024 * 1024;
/// Clocks and time zones differ by so much; more is a wrong clock or a made-up date.
const FUTURE_DAYS: i64 = 1;
/// Copies that no run has used for so long are deleted.
const KEPT_DAYS: u64 = 2;

/// A database that can be used, in a folder that only xtask writes to.
#[derive(Debug, Clone)]
pub(super) struct Database {
    /// What trivy takes as its cache folder.
    pub(super) folder: Utf8PathBuf,
    /// Names this content: another database has another key.
    pub(super) key: String,
    pub(super) updated: Date,
    /// What the report says of where it is from.
    pub(super) origin: String,
    buckets: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    version: u64,
    updated_at: String,
}

impl Database {
    /// Looks at a folder of trivy's form: `db/trivy.db` and `db/metadata.json`.
    ///
    /// # Errors
    /// Says in words why it cannot be used.
    fn open(folder: &Utf8Path, origin: &str, today: Date) -> Result<Self, String> {
        let path = folder.join("db/metadata.json");
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{path} cannot be read: {error}"))?;
        let metadata: Metadata =
            serde_json::from_str(&text).map_err(|error| format!("{path} is not what trivy writes: {error}"))?;
        if metadata.version != SCHEMA {
            return Err(format!("{path} is of schema {}, this crate knows {SCHEMA}", metadata.version));
        }
        let updated = Date::of_time(&metadata.updated_at)
            .ok_or_else(|| format!("{path} has no usable date: `{}`", metadata.updated_at))?;
        if updated.days_after(today) > FUTURE_DAYS {
            return Err(format!(
                "{path} says {updated}, which is in the future: its date or this machine's clock is wrong"
            ));
        }
        let file = folder.join("db/trivy.db");
        let contents = bolt::read(&file)?;
        let mut hasher = DefaultHasher::new();
        hasher.write(text.as_bytes());
        hasher.write_u64(contents.transaction);
        let bytes = std::fs::metadata(&file).map_or(0, |metadata| metadata.len());
        hasher.write_u64(bytes);
        // A database that somebody makes may keep its date, its size and its count of changes.
        if bytes <= HASHED_WHOLE_LIMIT_BYTES {
            hasher.write(&std::fs::read(&file).map_err(|error| format!("{file} cannot be read: {error}"))?);
        }
        for bucket in &contents.buckets {
            hasher.write(bucket.as_bytes());
        }
        let key = format!("{updated}-{:016x}", hasher.finish());
        Ok(Self { folder: folder.to_owned(), key, updated, origin: origin.to_owned(), buckets: contents.buckets })
    }

    pub(super) fn age_days(&self, today: Date) -> i64 {
        today.days_after(self.updated).max(0)
    }

    /// Does it know anything about this operating system? trivy itself reports nothing, in both senses, when it does not.
    pub(super) fn covers_system(&self, family: &str, version: &str) -> bool {
        let family = family.to_lowercase();
        let known_as = match family.as_str() {
            "redhat" | "centos" => "red hat",
            "amazon" => "amazon linux",
            "oracle" => "oracle linux",
            other => other,
        };
        self.buckets.iter().map(|bucket| bucket.to_lowercase()).any(|bucket| match bucket.strip_prefix(known_as) {
            Some("") => true,
            Some(rest) => rest.strip_prefix(' ').is_some_and(|release| begins_with_release(version, release)),
            None => false,
        })
    }

    /// Does it know anything about the packages of such a target (`rustbinary`, `gobinary`, …)?
    pub(super) fn covers_language(&self, kind: &str) -> bool {
        let ecosystem = match kind {
            "rustbinary" | "cargo" => "cargo",
            "gobinary" | "gomod" => "go",
            "python-pkg" | "pip" | "poetry" => "pip",
            "node-pkg" | "npm" | "yarn" | "pnpm" => "npm",
            "jar" | "pom" => "maven",
            "gemspec" | "bundler" => "rubygems",
            _ => return false,
        };
        self.buckets.iter().any(|bucket| bucket.split_once("::").is_some_and(|(prefix, _)| prefix == ecosystem))
    }

    pub(super) fn evidence(&self, today: Date) -> Value {
        let mut knows: Vec<_> = self.buckets.iter().filter(|name| name.contains("::") || name.contains(' ')).collect();
        let more = knows.len().saturating_sub(SHOWN_SOURCES);
        knows.truncate(SHOWN_SOURCES);
        json!({
            "origin": self.origin,
            "updated": self.updated.to_string(),
            "age_days": self.age_days(today),
            "key": self.key,
            "knows": knows,
            "knows_also": more,
        })
    }
}

/// What the report says of the databases of a run. Of several, the date is the oldest one's and the key names them all: that is
/// what a verdict stands on.
pub(super) fn evidence(databases: &[Database], today: Date) -> Value {
    let each: Vec<_> = databases.iter().map(|database| database.evidence(today)).collect();
    let Some(oldest) = databases.iter().min_by_key(|database| database.updated) else { return Value::Null };
    if let [one] = each.as_slice() {
        return one.clone();
    }
    let keys: Vec<_> = databases.iter().map(|database| database.key.as_str()).collect();
    json!({
        "origin": format!("{} databases, the oldest by {}", databases.len(), oldest.origin),
        "updated": oldest.updated.to_string(),
        "age_days": oldest.age_days(today),
        "key": keys.join(" "),
        "each": each,
    })
}

const SHOWN_SOURCES: usize = 12;

/// `13.8` begins with the release `13`, and `130` does not.
fn begins_with_release(version: &str, release: &str) -> bool {
    version.strip_prefix(release).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The databases that xtask keeps, under `target/xtask/trivy`.
#[derive(Debug)]
pub(super) struct Databases<'a> {
    context: &'a Context,
    shell: Shell,
    root: Utf8PathBuf,
    today: Date,
}

impl<'a> Databases<'a> {
    pub(super) fn new(context: &'a Context, today: Date) -> Result<Self> {
        let root = context.project.out().join("trivy");
        let shell = Shell::new()?;
        shell.create_dir(&root)?;
        Ok(Self { context, shell, root, today })
    }

    /// The database in a folder that somebody names. It is copied: trivy writes beside it, and the folder may be read-only.
    ///
    /// # Errors
    /// [`Stop::Absent`] when it is not usable: it was asked for, so nothing else is done instead.
    fn copied(&self, folder: &Utf8Path) -> Result<Database> {
        let refused = |why: String| {
            Stop::Absent(format!(
                "--db {folder} refused: {why}; next: name a folder that holds db/trivy.db and db/metadata.json"
            ))
        };
        let theirs = Database::open(folder, "", self.today).map_err(refused)?;
        let ours = self.root.join(&theirs.key);
        if !ours.exists() {
            let staged = self.staging()?;
            for name in ["metadata.json", "trivy.db"] {
                self.shell.copy_file(folder.join("db").join(name), staged.join("db").join(name))?;
            }
            make_writable(&staged)?;
            keep(&staged, &self.root.join(&theirs.key))?;
        }
        Ok(Database::open(&ours, "--db", self.today).map_err(refused)?)
    }

    /// The databases in folders that somebody names, in their order; one that is named twice is one.
    ///
    /// # Errors
    /// As [`Databases::copied`].
    pub(super) fn named(&self, folders: &[Utf8PathBuf]) -> Result<Vec<Database>> {
        let mut databases: Vec<Database> = Vec::new();
        for folder in folders {
            let database = self.copied(folder)?;
            if !databases.iter().any(|known| known.key == database.key) {
                databases.push(database);
            }
        }
        Ok(databases)
    }

    /// The database of one's own, fetched when it is missing or due. `Err` says why there is none.
    pub(super) fn fetched(&self, trivy: &Tool, policy: &DatabasePolicy) -> Result<Result<Database, String>> {
        let current = self.root.join("current");
        let known = std::fs::read_to_string(&current).ok();
        let known = known.and_then(|key| Database::open(&self.root.join(key.trim()), "fetched", self.today).ok());
        let due = !younger_than(&current, Duration::from_secs(u64::from(policy.refresh_hours) * 3600));
        if let (Some(database), false) = (&known, due) {
            return Ok(Ok(database.clone()));
        }
        match (self.fetch(trivy, policy)?, known) {
            (Ok(database), _) => {
                put(&current, &database.key).context("remember the fetched database")?;
                forget_unused(&self.root, &database.key)?;
                Ok(Ok(database))
            }
            (Err(why), Some(database)) => {
                let updated = &database.updated;
                let text = format!("scan: the database could not be renewed ({why}); going on with that of {updated}");
                self.context.runner.progress().say(&text);
                let origin = format!("fetched earlier; could not be renewed: {why}");
                Ok(Ok(Database { origin, ..database }))
            }
            (Err(why), None) => Ok(Err(why)),
        }
    }

    fn fetch(&self, trivy: &Tool, policy: &DatabasePolicy) -> Result<Result<Database, String>> {
        let staged = self.staging()?;
        let program = &trivy.program;
        let repositories: Vec<_> =
            policy.repositories.iter().flat_map(|place| ["--db-repository", place.as_str()]).collect();
        self.context.runner.progress().now("fetches trivy's database, up to 100 MB");
        self.shell.change_dir(&staged);
        let fetch = || {
            let repositories = &repositories;
            cmd!(
                self.shell,
                "{program} image --download-db-only --no-progress --disable-telemetry --skip-version-check --cache-dir {staged} {repositories...}"
            )
        };
        let started = Instant::now();
        let mut captured = self.context.runner.capture(fetch(), DOWNLOAD_LIMIT_SECONDS)?;
        for tries in 1.. {
            let Some(passing) = passing_failure(&captured) else { break };
            let Some((wait_seconds, limit_seconds)) = next_try(tries, started.elapsed().as_secs()) else { break };
            self.context.runner.progress().now(&format!("{passing}; asks again in {wait_seconds} s"));
            self.context.runner.interrupt().sleep(Duration::from_secs(wait_seconds))?;
            captured = self.context.runner.capture(fetch(), limit_seconds)?;
        }
        let opened = if captured.status.success() {
            Database::open(&staged, "fetched", self.today)
        } else {
            Err(why_not_fetched(&captured))
        };
        let kept = match opened {
            Ok(database) => {
                keep(&staged, &self.root.join(&database.key))?;
                Ok(Database { folder: self.root.join(&database.key), ..database })
            }
            Err(why) => Err(why),
        };
        self.shell.remove_path(&staged)?;
        Ok(kept)
    }

    /// A folder of this run's own: two runs at once do not meet.
    fn staging(&self) -> Result<Utf8PathBuf> {
        let folder = self.root.join(format!(".staged-{}", std::process::id()));
        self.shell.remove_path(&folder)?;
        self.shell.create_dir(folder.join("db"))?;
        Ok(folder)
    }
}

/// Puts a whole folder in its place at once. Another run may have been faster, with the same content.
fn keep(staged: &Utf8Path, place: &Utf8Path) -> Result<()> {
    match std::fs::rename(staged, place) {
        Ok(()) => Ok(()),
        Err(_) if place.join("db/trivy.db").is_file() => {
            std::fs::remove_dir_all(staged).with_context(|| format!("remove {staged}"))
        }
        Err(error) => Err(error).with_context(|| format!("put the database at {place}")),
    }
}

/// Removes databases that no run uses any more; a younger one may be another run's.
fn forget_unused(root: &Utf8Path, key: &str) -> Result<()> {
    for entry in root.read_dir_utf8()? {
        let entry = entry?;
        let old = !younger_than(entry.path(), Duration::from_secs(KEPT_DAYS * 86_400));
        if entry.file_name() == key || entry.file_name() == "current" || !old {
            continue;
        }
        let removed = match entry.path().is_dir() {
            true => std::fs::remove_dir_all(entry.path()),
            false => std::fs::remove_file(entry.path()),
        };
        removed.with_context(|| format!("remove {}", entry.path()))?;
    }
    Ok(())
}

fn younger_than(path: &Utf8Path, age: Duration) -> bool {
    let modified = std::fs::metadata(path).and_then(|metadata| metadata.modified());
    modified.is_ok_and(|time| SystemTime::now().duration_since(time).is_ok_and(|passed| passed < age))
}

fn make_writable(folder: &Utf8Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    for name in ["metadata.json", "trivy.db"] {
        let file = folder.join("db").join(name);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644))
            .with_context(|| format!("make {file} writable"))?;
    }
    Ok(())
}

/// After so many tries in so many seconds: how long to wait before the next one, and how long that may take. `None` when it is enough.
fn next_try(tries: usize, elapsed_seconds: u64) -> Option<(u64, u64)> {
    let wait_seconds = *RETRY_WAITS_SECONDS.get(tries.checked_sub(1)?)?;
    let limit_seconds = DOWNLOAD_LIMIT_SECONDS.checked_sub(elapsed_seconds + wait_seconds)?;
    (limit_seconds > 0).then_some((wait_seconds, limit_seconds))
}

/// What is over after a while by itself, in the many words that registries and proxies have for it.
fn passing_failure(captured: &Captured) -> Option<&'static str> {
    if captured.status.success() {
        return None;
    }
    let text = captured.stderr.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    // A status stands alone: the same digits within a digest or a size are none.
    let is_status = |number: &str| text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == number);
    if has(&["toomanyrequests", "too many requests", "rate limit", "ratelimit", "rate exceeded"]) || is_status("429") {
        return Some("the registry limits requests");
    }
    let unavailable =
        ["service unavailable", "bad gateway", "gateway timeout", "gateway time-out", "temporarily unavailable"];
    if has(&unavailable) || ["502", "503", "504"].iter().any(|number| is_status(number)) {
        return Some("the registry is not available for the moment");
    }
    let cut =
        ["connection reset", "broken pipe", "unexpected eof", "tls handshake timeout", "http2: server sent goaway"];
    has(&cut).then_some("the connection to the registry was cut")
}

/// Names the cause where it is a known one, so that nobody looks for it in a wall of log lines.
fn why_not_fetched(captured: &Captured) -> String {
    let text = captured.stderr.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if let Some(passing) = passing_failure(captured) {
        format!("{passing}; next: name a mirror in policy/scan.toml, or try again later")
    } else if has(&["may be in use by another process", "database is locked"]) {
        "another process holds trivy's cache; next: try again when it has ended".to_owned()
    } else if has(&["x509", "certificate"]) {
        "the registry's certificate is not trusted; next: set SSL_CERT_FILE to the proxy's authority".to_owned()
    } else if has(&[
        "no such host",
        "connection refused",
        "timeout",
        "deadline exceeded",
        "unreachable",
        "failed to download",
        "proxyconnect",
        "403",
        "eof",
    ]) {
        "no registry in reach has it; next: `--db DIR` with a copy, or name a mirror in policy/scan.toml".to_owned()
    } else {
        super::failure::reason(captured)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn folder(updated: &str, buckets: &[&str]) -> (tempfile::TempDir, Utf8PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap();
        std::fs::create_dir(path.join("db")).unwrap();
        let metadata = format!(r#"{{"Version":2,"UpdatedAt":"{updated}","NextUpdate":"2999-01-01T00:00:00Z"}}"#);
        std::fs::write(path.join("db/metadata.json"), metadata).unwrap();
        std::fs::write(path.join("db/trivy.db"), bolt::file_with(buckets)).unwrap();
        (folder, path)
    }

    pub(crate) fn database(buckets: &[&str]) -> Database {
        let (_folder, path) = folder("2026-11-20T00:00:00Z", buckets);
        Database::open(&path, "test", today()).unwrap()
    }

    fn today() -> Date {
        Date::parse("2026-11-25").unwrap()
    }

    #[test]
    fn an_age_is_counted_from_the_day_the_data_was_made() {
        let (_folder, path) = folder("2025-11-25T06:28:40Z", &["cargo::RustSec"]);
        assert_eq!(Database::open(&path, "", today()).unwrap().age_days(today()), 365);
    }

    #[test]
    fn a_database_knows_the_systems_and_languages_that_it_has_data_for_and_no_others() {
        let (_folder, path) =
            folder("2026-11-25T00:00:00Z", &["debian 13", "alpine 3.20", "cargo::RustSec", "Red Hat"]);
        let database = Database::open(&path, "", today()).unwrap();
        for (family, version, covered) in [
            ("debian", "13.8", true),
            ("debian", "13", true),
            ("debian", "130", false),
            ("debian", "12.1", false),
            ("alpine", "3.20.1", true),
            ("alpine", "3.2", false),
            ("redhat", "9.4", true),
            ("ubuntu", "24.04", false),
            ("", "", false),
        ] {
            assert_eq!(database.covers_system(family, version), covered, "{family} {version}");
        }
        assert!(database.covers_language("rustbinary"));
        assert!(!database.covers_language("gobinary"));
        assert!(!database.covers_language("something-new"));
    }

    #[test]
    fn each_language_is_looked_for_under_its_own_name() {
        let kinds = [
            ("cargo", ["rustbinary", "cargo"].as_slice()),
            ("go", &["gobinary", "gomod"]),
            ("pip", &["python-pkg", "pip", "poetry"]),
            ("npm", &["node-pkg", "npm", "yarn", "pnpm"]),
            ("maven", &["jar", "pom"]),
            ("rubygems", &["gemspec", "bundler"]),
        ];
        for (ecosystem, _) in kinds {
            let database = database(&[&format!("{ecosystem}::Some Advisories")]);
            for (other, kinds) in kinds {
                for kind in kinds {
                    assert_eq!(database.covers_language(kind), other == ecosystem, "{kind} in {ecosystem}");
                }
            }
        }
    }

    #[test]
    fn a_report_names_the_sources_and_not_the_tables_beside_them() {
        let knows =
            &database(&["cargo::RustSec", "data-source", "debian 13", "vulnerability"]).evidence(today())["knows"];
        assert_eq!(*knows, json!(["cargo::RustSec", "debian 13"]));
    }

    #[test]
    fn a_clock_may_be_a_day_behind() {
        let (_folder, path) = folder("2026-11-26T23:00:00Z", &["cargo::RustSec"]);
        assert_eq!(Database::open(&path, "", today()).unwrap().age_days(today()), 0);
        let (_folder, path) = folder("2026-11-27T00:00:00Z", &["cargo::RustSec"]);
        assert!(Database::open(&path, "", today()).unwrap_err().contains("in the future"));
    }

    fn aged(root: &Utf8Path, name: &str, days: u64) {
        std::fs::create_dir(root.join(name)).unwrap();
        let time = SystemTime::now() - Duration::from_secs(days * 86_400);
        std::fs::File::open(root.join(name)).unwrap().set_modified(time).unwrap();
    }

    #[test]
    fn only_what_is_old_and_not_in_use_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(root.path()).unwrap();
        for (name, days) in [("used", 9), ("current", 9), ("old", 3), ("young", 1)] {
            aged(root, name, days);
        }
        forget_unused(root, "used").unwrap();
        let mut left: Vec<_> =
            root.read_dir_utf8().unwrap().map(|entry| entry.unwrap().file_name().to_owned()).collect();
        left.sort();
        assert_eq!(left, ["current", "used", "young"]);
    }

    #[test]
    fn of_two_runs_that_fetch_the_same_one_keeps_and_the_other_takes_it() {
        let root = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(root.path()).unwrap();
        let staged = |name: &str| {
            std::fs::create_dir_all(root.join(name).join("db")).unwrap();
            std::fs::write(root.join(name).join("db/trivy.db"), name).unwrap();
            root.join(name)
        };
        let place = root.join("key");
        keep(&staged("first"), &place).unwrap();
        let second = staged("second");
        keep(&second, &place).unwrap();
        assert_eq!(std::fs::read_to_string(place.join("db/trivy.db")).unwrap(), "first");
        assert!(!second.exists());
        // Something else that is in the way is no database.
        std::fs::create_dir_all(root.join("other/x")).unwrap();
        assert!(keep(&staged("third"), &root.join("other")).is_err());
    }

    #[test]
    fn a_copy_of_a_read_only_database_can_be_written_to() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_folder, path) = folder("2026-11-20T00:00:00Z", &["cargo::RustSec"]);
        let file = path.join("db/trivy.db");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o444)).unwrap();
        make_writable(&path).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
    }

    #[test]
    fn other_data_is_another_key() {
        let key = |updated: &str, buckets: &[&str]| {
            let (_folder, path) = folder(updated, buckets);
            Database::open(&path, "", today()).unwrap().key
        };
        let one = key("2026-11-25T00:00:00Z", &["cargo::RustSec"]);
        assert_eq!(one, key("2026-11-25T00:00:00Z", &["cargo::RustSec"]));
        assert_ne!(one, key("2026-11-25T00:00:00Z", &["cargo::RustSec", "debian 13"]));
        assert_ne!(one, key("2026-11-25T06:00:00Z", &["cargo::RustSec"]));
        let (_folder, path) = folder("2026-11-25T00:00:00Z", &["cargo::RustSec"]);
        let file = path.join("db/trivy.db");
        let mut bytes = std::fs::read(&file).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&file, bytes).unwrap();
        assert_ne!(one, Database::open(&path, "", today()).unwrap().key);
    }

    #[test]
    fn what_cannot_be_a_database_says_why() {
        let problem = |change: &dyn Fn(&Utf8Path)| {
            let (_folder, path) = folder("2026-11-20T00:00:00Z", &["cargo::RustSec"]);
            change(&path);
            Database::open(&path, "", today()).unwrap_err()
        };
        let metadata =
            |text: &'static str| move |path: &Utf8Path| std::fs::write(path.join("db/metadata.json"), text).unwrap();
        assert!(problem(&metadata("{")).contains("not what trivy writes"));
        assert!(problem(&metadata(r#"{"Version":1,"UpdatedAt":"2026-11-20T00:00:00Z"}"#)).contains("schema 1"));
        assert!(problem(&metadata(r#"{"Version":2,"UpdatedAt":"0000"}"#)).contains("no usable date"));
        assert!(problem(&metadata(r#"{"Version":2,"UpdatedAt":"2026-11-28T00:00:00Z"}"#)).contains("in the future"));
        assert!(problem(&|path| std::fs::remove_file(path.join("db/trivy.db")).unwrap()).contains("cannot be read"));
        assert!(
            problem(&|path| std::fs::remove_file(path.join("db/metadata.json")).unwrap()).contains("cannot be read")
        );
    }

    #[test]
    fn a_failed_download_is_called_by_its_cause() {
        let why = |stderr: &str| {
            let status = std::os::unix::process::ExitStatusExt::from_raw(256);
            why_not_fetched(&Captured { status, stdout: String::new(), stderr: stderr.to_owned() })
        };
        assert!(why("FATAL OCI repository error: TOOMANYREQUESTS: retry-after").contains("limits requests"));
        assert!(why("cache may be in use by another process: timeout").contains("another process"));
        assert!(why("tls: failed to verify certificate: x509: signed by unknown authority").contains("SSL_CERT_FILE"));
        assert!(why("dial tcp: lookup registry: no such host").contains("--db DIR"));
        assert!(why("FATAL something else").contains("something else"));
    }

    #[test]
    fn all_tries_together_stay_within_the_limit_and_are_four_at_most() {
        assert_eq!(
            [1, 2, 3, 4].map(|tries| next_try(tries, 0).map(|(wait, _)| wait)),
            [Some(1), Some(8), Some(30), None]
        );
        for elapsed in [0, 500, 569, 570, 599, 600, 10_000] {
            for tries in 1..6 {
                let ends = next_try(tries, elapsed).map_or(0, |(wait, limit)| elapsed + wait + limit);
                assert!(ends <= DOWNLOAD_LIMIT_SECONDS, "{tries} {elapsed}");
            }
        }
        assert_eq!((next_try(3, 570), next_try(3, 569), next_try(0, 0)), (None, Some((30, 1)), None));
    }

    #[test]
    fn what_passes_by_itself_is_asked_for_again_in_whatever_words_and_nothing_else_is() {
        let passing = |code: i32, stderr: &str| {
            let status = std::os::unix::process::ExitStatusExt::from_raw(code << 8);
            passing_failure(&Captured { status, stdout: String::new(), stderr: stderr.to_owned() })
        };
        for (text, words) in [
            ("OCI repository error: TOOMANYREQUESTS: retry-after: 1.2ms", "limits requests"),
            ("GET https://registry.example/v2/: unexpected status code 429 Too Many Requests", "limits requests"),
            ("unexpected http status: 429", "limits requests"),
            ("HTTP/1.1 429", "limits requests"),
            ("You have reached your pull rate limit", "limits requests"),
            ("denied: API Rate Limit exceeded", "limits requests"),
            ("Rate exceeded", "limits requests"),
            ("unexpected status code 503 Service Unavailable", "not available"),
            ("received unexpected HTTP status: 502 Bad Gateway", "not available"),
            ("504 Gateway Time-out", "not available"),
            ("read tcp 10.0.0.1:1->10.0.0.2:443: read: connection reset by peer", "was cut"),
            ("failed to copy: unexpected EOF", "was cut"),
            ("net/http: TLS handshake timeout", "was cut"),
        ] {
            assert!(passing(1, text).is_some_and(|said| said.contains(words)), "{text}: {:?}", passing(1, text));
            // A warning of one that came through all the same is none.
            assert_eq!(passing(0, text), None);
        }
        for text in [
            "dial tcp: lookup registry.example: no such host",
            "connect: connection refused",
            "403 Forbidden",
            "404 Not Found: manifest unknown",
            "x509: certificate signed by unknown authority",
            "sha256:4290503502 does not match, got 429503 bytes",
        ] {
            assert_eq!(passing(1, text), None, "{text}");
        }
    }
}
