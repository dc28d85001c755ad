//! What programs said of their versions, kept as long as their files stay the same: some need a third of a second to say it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use xtask_process::put;

/// Tells one state of a file from another. The time of the inode's last change cannot be set by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    bytes: u64,
    changed_seconds: i64,
    changed_nanoseconds: i64,
}

impl Identity {
    /// `None` when there is no such file.
    pub(super) fn of(program: &Path) -> Option<Self> {
        let file = std::fs::metadata(program).ok()?;
        Some(Self {
            device: file.dev(),
            inode: file.ino(),
            bytes: file.size(),
            changed_seconds: file.ctime(),
            changed_nanoseconds: file.ctime_nsec(),
        })
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Known {
    file: Identity,
    version: String,
}

#[derive(Debug)]
pub(super) struct KnownVersions {
    store: Utf8PathBuf,
    programs: RefCell<BTreeMap<String, Known>>,
}

impl KnownVersions {
    /// What earlier runs kept in a folder; nothing when that cannot be read.
    pub(super) fn read(folder: &Utf8Path) -> Self {
        let store = folder.join("versions.json");
        let programs = std::fs::read(&store).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self { store, programs: RefCell::new(programs.unwrap_or_default()) }
    }

    pub(super) fn version(&self, program: &Path, file: &Identity) -> Option<String> {
        let programs = self.programs.borrow();
        programs.get(&*program.to_string_lossy()).filter(|known| known.file == *file).map(|known| known.version.clone())
    }

    /// A version that cannot be kept, on a full disk, is asked for again: that is no reason to stop.
    pub(super) fn keep(&self, program: &Path, file: Identity, version: String) {
        let mut programs = self.programs.borrow_mut();
        programs.insert(program.to_string_lossy().into_owned(), Known { file, version });
        let _ = serde_json::to_vec(&*programs).map(|bytes| put(&self.store, bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_holds_until_the_file_changes_and_is_known_to_the_next_run() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        let program = folder.join("tool");
        std::fs::write(&program, "one").unwrap();
        let program = program.as_std_path();
        let file = Identity::of(program).unwrap();
        let known = KnownVersions::read(folder);
        assert_eq!(known.version(program, &file), None);
        known.keep(program, file.clone(), "1.0".to_owned());
        assert_eq!(KnownVersions::read(folder).version(program, &file), Some("1.0".to_owned()));
        std::fs::write(program, "two!").unwrap();
        let changed = Identity::of(program).unwrap();
        assert_eq!(KnownVersions::read(folder).version(program, &changed), None);
    }
}
