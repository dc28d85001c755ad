//! What programs said of their versions, kept as long as their files stay the same: some need a third of a second to say it.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

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

/// The state of each file that decides about an answer, those that are not there included.
pub(super) type Files = Vec<Option<Identity>>;

/// A version, or why the program gave none.
pub(super) type Answer = Result<String, String>;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Known {
    files: Files,
    answer: Answer,
}

#[derive(Debug)]
pub(super) struct KnownVersions {
    store: Utf8PathBuf,
    commands: Mutex<BTreeMap<String, Known>>,
}

impl KnownVersions {
    /// What earlier runs kept in a folder; nothing when that cannot be read.
    pub(super) fn read(folder: &Utf8Path) -> Self {
        let store = folder.join("versions.json");
        let commands = std::fs::read(&store).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self { store, commands: Mutex::new(commands.unwrap_or_default()) }
    }

    pub(super) fn answer(&self, command: &str, files: &Files) -> Option<Answer> {
        self.commands().get(command).filter(|known| known.files == *files).map(|known| known.answer.clone())
    }

    /// An answer that cannot be kept, on a full disk, is asked for again: that is no reason to stop.
    pub(super) fn keep(&self, command: &str, files: Files, answer: Answer) {
        let mut commands = self.commands();
        commands.insert(command.to_owned(), Known { files, answer });
        let _ = serde_json::to_vec(&*commands).map(|bytes| put(&self.store, bytes));
    }

    fn commands(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_holds_until_a_file_changes_comes_or_goes_and_is_known_to_the_next_run() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        let (program, plugin) = (folder.join("tool"), folder.join("plugin"));
        let files = || vec![Identity::of(program.as_std_path()), Identity::of(plugin.as_std_path())];
        let known = || KnownVersions::read(folder).answer("tool plugin", &files());
        std::fs::write(&program, "one").unwrap();
        assert_eq!(known(), None);
        KnownVersions::read(folder).keep("tool plugin", files(), Err("no such plugin".to_owned()));
        assert_eq!(known(), Some(Err("no such plugin".to_owned())));
        std::fs::write(&plugin, "one").unwrap();
        assert_eq!(known(), None);
        KnownVersions::read(folder).keep("tool plugin", files(), Ok("1.0".to_owned()));
        assert_eq!(known(), Some(Ok("1.0".to_owned())));
        std::fs::write(&program, "two!").unwrap();
        assert_eq!(known(), None);
        assert_eq!(KnownVersions::read(folder).answer("tool", &files()), None);
    }
}
