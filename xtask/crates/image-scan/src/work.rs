//! The work of a scan: several trivy processes at once, and cargo beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hasher as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};

use super::configuration::Configurations;
use super::resolution::Resolution;
use super::trivy::{Scanned, Subject, Trivy};
use xtask_outcome::Stop;
use xtask_workspace::Context;

/// The unit of everything that Cargo.lock has and no image.
pub(super) const LOCK_UNIT: &str = "Cargo.lock";
/// What the one run over all configurations is called.
pub(super) const CONFIGURATION: &str = "configuration";
/// trivy uses more than one core for parts of its work; more processes than this only share them out.
const MOST_AT_ONCE: usize = 8;

/// Everything that was seen. One thing that could not be looked at leaves the others standing.
#[derive(Debug)]
pub(super) struct Seen {
    /// By unit; the reason where there is no report.
    pub(super) scanned: BTreeMap<String, Result<Scanned, String>>,
    pub(super) configurations: Configurations,
    /// What cargo resolved, per target; or why it could not.
    pub(super) resolutions: BTreeMap<String, Result<Resolution, String>>,
}

pub(super) fn look(
    context: &Context,
    trivy: &Trivy<'_>,
    subjects: &[(String, Subject)],
    configurations: Configurations,
    triples: &BTreeSet<&str>,
) -> Result<Seen> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    let at_once = thread::available_parallelism().map_or(2, usize::from).clamp(2, MOST_AT_ONCE);
    let resolutions = thread::scope(|scope| {
        for _ in 0..at_once.min(subjects.len()) {
            scope.spawn(|| {
                while let Some((unit, subject)) = subjects.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let result = look_at(trivy, subject);
                    results.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((unit.clone(), result));
                }
            });
        }
        let resolve = |triple: &&str| {
            let resolution = Resolution::read(context, triple).map_err(|error| format!("{error:#}"));
            ((*triple).to_owned(), resolution)
        };
        triples.iter().map(resolve).collect()
    });
    let results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut scanned = BTreeMap::new();
    for (unit, result) in results {
        scanned.insert(unit, result?);
    }
    context.runner.interrupt().check()?;
    Ok(Seen { scanned, configurations, resolutions })
}

/// With the list of what is in it, where it is an image: at the end of all, one list after the other would be waited for.
fn look_at(trivy: &Trivy<'_>, subject: &Subject) -> Result<Result<Scanned, String>> {
    let seen = trivy.scan(subject)?;
    if let (Subject::Image { .. }, Ok(scanned @ Scanned { failure: None, .. })) = (subject, &seen) {
        trivy.bill_of_materials(scanned)?;
    }
    Ok(seen)
}

/// The lock file alone in a folder: trivy would take every other one below it, too.
pub(super) fn stage_lock(context: &Context, folder: &Utf8Path) -> Result<Subject> {
    let bytes = std::fs::read(context.project.root.join(LOCK_UNIT))
        .map_err(|error| Stop::Repository(format!("Cargo.lock cannot be read: {error}")))?;
    std::fs::create_dir_all(folder).with_context(|| format!("make the folder {folder}"))?;
    std::fs::write(folder.join(LOCK_UNIT), &bytes).with_context(|| format!("write into {folder}"))?;
    let mut hasher = DefaultHasher::new();
    hasher.write(&bytes);
    Ok(Subject::Lock { folder: folder.to_owned(), content: format!("{:016x}", hasher.finish()) })
}

/// A folder of this run's own, gone afterwards.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) path: Utf8PathBuf,
}

impl Folder {
    pub(super) fn new(context: &Context) -> Result<Self> {
        let path = context.project.out().join("scan").join(format!("staged-{}", std::process::id()));
        std::fs::create_dir_all(&path).with_context(|| format!("make the folder {path}"))?;
        Ok(Self { path })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What stays behind is small and holds no secret; the next run is not hurt by it.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
