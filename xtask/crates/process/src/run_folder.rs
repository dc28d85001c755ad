//! A folder per run, locked as long as its process lives, so that a later run can tell what a killed one left.

use std::fs::{File, TryLockError};

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};

use crate::random_hex;

const LOCK: &str = "lock";
const NAME_BYTES: usize = 6;

/// One run's own name and folder.
#[derive(Debug)]
pub struct RunFolder {
    /// The prefix and random digits: lower-case letters, digits and `-`, whatever the checkout's folder is called.
    pub name: String,
    /// Where the run keeps what dies with it.
    pub path: Utf8PathBuf,
    /// Held, never read.
    _lock: File,
}

impl RunFolder {
    /// Makes a folder for a new run. It is filled and locked beside its place and then renamed, so no other run ever sees it
    /// without its lock.
    ///
    /// # Errors
    /// When it cannot be made or locked.
    pub fn begin(parent: &Utf8Path, prefix: &str) -> Result<Self> {
        let name = format!("{prefix}{}", random_hex(NAME_BYTES)?);
        let (staged, path) = (parent.join(format!(".{name}")), parent.join(&name));
        std::fs::create_dir_all(&staged).with_context(|| format!("create {staged}"))?;
        let lock = File::create(staged.join(LOCK)).with_context(|| format!("create the lock of {path}"))?;
        lock.lock().with_context(|| format!("lock {path}"))?;
        std::fs::rename(&staged, &path).with_context(|| format!("create {path}"))?;
        Ok(Self { name, path, _lock: lock })
    }

    /// Removes the folder.
    ///
    /// # Errors
    /// When something in it cannot be removed.
    pub fn end(self) -> Result<()> {
        // Out of sight first: another run must not find half of it.
        let hidden = self.path.with_file_name(format!(".{}", self.name));
        std::fs::rename(&self.path, &hidden).with_context(|| format!("remove {}", self.path))?;
        std::fs::remove_dir_all(&hidden).with_context(|| format!("remove {hidden}"))
    }

    /// The folders that runs left whose processes are gone. Each stays locked as long as the result lives.
    ///
    /// # Errors
    /// When a lock cannot be tried.
    pub fn leftovers(parent: &Utf8Path, prefix: &str) -> Result<Vec<Self>> {
        let Ok(entries) = parent.read_dir_utf8() else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.with_context(|| format!("read {parent}"))?;
            let (name, path) = (entry.file_name().to_owned(), entry.into_path());
            if !name.starts_with(prefix) || !path.is_dir() {
                continue;
            }
            // One that has just ended is gone by now.
            let Ok(lock) = File::open(path.join(LOCK)) else { continue };
            match lock.try_lock() {
                // One that ended between the two looks gives up its lock with its folder.
                Ok(()) if path.join(LOCK).is_file() => found.push(Self { name, path, _lock: lock }),
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error).with_context(|| format!("lock {path}")),
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_at_work_is_left_alone_and_a_killed_one_is_found() {
        let parent = tempfile::tempdir().unwrap();
        let parent = Utf8Path::from_path(parent.path()).unwrap();
        let at_work = RunFolder::begin(parent, "e2e-").unwrap();
        let killed = RunFolder::begin(parent, "e2e-").unwrap();
        let killed_name = killed.name.clone();
        drop(killed);
        RunFolder::begin(parent, "audit-").unwrap();
        let found: Vec<_> = RunFolder::leftovers(parent, "e2e-").unwrap().into_iter().map(|run| run.name).collect();
        assert_eq!(found, [killed_name]);
        at_work.end().unwrap();
    }

    #[test]
    fn folders_are_locked_from_the_moment_they_are_seen() {
        let parent = tempfile::tempdir().unwrap();
        let parent = Utf8Path::from_path(parent.path()).unwrap();
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..200 {
                    RunFolder::begin(parent, "run-").unwrap().end().unwrap();
                }
                over.store(true, std::sync::atomic::Ordering::SeqCst);
            });
            while !over.load(std::sync::atomic::Ordering::SeqCst) {
                assert!(RunFolder::leftovers(parent, "run-").unwrap().is_empty());
            }
        });
    }
}
