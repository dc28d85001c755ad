//! What the builder is given: copies of the inputs whose file times follow from their content.
//!
//! The builder keeps the files of an earlier context and asks only for those whose size or time differ. A file that was
//! edited, restored or checked out with its old time and length is then taken from the earlier context, and the image
//! holds the wrong program. A time that is a hash of the content cannot be the same for another content.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};

use xtask_workspace::Project;

use super::fingerprint::hash;

/// Times from 2001 to 2018, always in the past; with the nanoseconds they carry 58 bits of the hash.
const FIRST_SECOND: u64 = 1_000_000_000;
const SECONDS: u64 = 1 << 29;
const NANOSECONDS: u64 = 1_000_000_000;

/// Makes `folder` hold exactly the given files of `root`, and an empty source for every target of a member that no image is
/// compiled from: cargo reads those manifests all the same.
pub(crate) fn stage(project: &Project, files: &BTreeSet<Utf8PathBuf>, folder: &Utf8Path) -> Result<()> {
    // Two builds at once stage the same folder: neither may take the other's half-written file for one that is superfluous.
    let beside = folder.with_extension("lock");
    std::fs::create_dir_all(folder).with_context(|| format!("create {folder}"))?;
    let lock = std::fs::File::create(&beside).with_context(|| format!("create {beside}"))?;
    lock.lock().with_context(|| format!("lock {beside}"))?;
    let mut wanted = files.clone();
    for path in files {
        let content = std::fs::read(project.root.join(path)).with_context(|| format!("read {path}"))?;
        put(&folder.join(path), &content, 0o644)?;
    }
    for (source, is_library) in project.members.values().flat_map(|member| &member.targets) {
        if wanted.insert(source.clone()) {
            put(&folder.join(source), if *is_library { b"" } else { b"fn main() {}\n" }, 0o644)?;
        }
    }
    remove_others(folder, folder, &wanted)
}

/// Puts a file in its place, whole, with the time that follows from its content; leaves one alone that is there already.
pub(crate) fn put(path: &Utf8Path, content: &[u8], mode: u32) -> Result<()> {
    let time = time_of(content);
    let same_time =
        || std::fs::metadata(path).and_then(|metadata| metadata.modified()).is_ok_and(|modified| modified == time);
    if same_time() && std::fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    let parent = path.parent().context("a staged file has a folder")?;
    std::fs::create_dir_all(parent).with_context(|| format!("create {parent}"))?;
    let staged = parent.join(format!(".{}.{}", path.file_name().unwrap_or_default(), std::process::id()));
    std::fs::write(&staged, content).with_context(|| format!("write {staged}"))?;
    std::fs::set_permissions(&staged, std::fs::Permissions::from_mode(mode))?;
    std::fs::File::options().write(true).open(&staged)?.set_modified(time)?;
    std::fs::rename(&staged, path).with_context(|| format!("put {path} in its place"))
}

fn time_of(content: &[u8]) -> SystemTime {
    let hash = hash(content);
    let whole = Duration::from_secs(FIRST_SECOND + hash % SECONDS);
    SystemTime::UNIX_EPOCH + whole + Duration::from_nanos((hash / SECONDS) % NANOSECONDS)
}

fn remove_others(base: &Utf8Path, folder: &Utf8Path, wanted: &BTreeSet<Utf8PathBuf>) -> Result<()> {
    for entry in folder.read_dir_utf8().with_context(|| format!("read the folder {folder}"))? {
        let path = entry?.into_path();
        let relative = path.strip_prefix(base)?;
        if path.is_dir() && wanted.iter().any(|file| file.starts_with(relative)) {
            remove_others(base, &path, wanted)?;
        } else if path.is_dir() {
            std::fs::remove_dir_all(&path).with_context(|| format!("remove {path}"))?;
        } else if !wanted.contains(relative) {
            std::fs::remove_file(&path).with_context(|| format!("remove {path}"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modified(path: &Utf8Path) -> SystemTime {
        std::fs::metadata(path).unwrap().modified().unwrap()
    }

    /// A workspace with one member that no image is compiled from.
    fn project(root: &Utf8Path) -> Project {
        let mut project = Project::load(env!("CARGO_MANIFEST_DIR")).unwrap();
        project.root = root.to_owned();
        project.members.retain(|folder, _| folder == "e2e");
        project
    }

    #[test]
    fn the_staged_time_follows_the_content_whatever_the_time_of_the_source() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        let (root, staged) = (folder.join("root"), folder.join("staged"));
        std::fs::create_dir_all(root.join("src")).unwrap();
        let source = root.join("src/lib.rs");
        let stage_with = |content: &str| {
            std::fs::write(&source, content).unwrap();
            let file = std::fs::File::options().write(true).open(&source).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
            stage(&project(&root), &BTreeSet::from(["src/lib.rs".into()]), &staged).unwrap();
            (std::fs::read_to_string(staged.join("src/lib.rs")).unwrap(), modified(&staged.join("src/lib.rs")))
        };
        let one = stage_with("EDIT-ONE");
        let two = stage_with("EDIT-TWO");
        assert_eq!((one.0.as_str(), two.0.as_str()), ("EDIT-ONE", "EDIT-TWO"));
        assert_ne!(one.1, two.1, "the same length and the same source time, and still another staged time");
        assert_eq!(stage_with("EDIT-ONE"), one);
        assert!(two.1 < SystemTime::now(), "never newer than what is compiled from it");
    }

    #[test]
    fn what_is_no_input_any_more_is_removed_and_other_members_are_empty() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        let (root, staged) = (folder.join("root"), folder.join("staged"));
        for path in ["a/src", "b/src"] {
            std::fs::create_dir_all(root.join(path)).unwrap();
            std::fs::write(root.join(path).join("lib.rs"), path).unwrap();
        }
        stage(&project(&root), &BTreeSet::from(["a/src/lib.rs".into(), "b/src/lib.rs".into()]), &staged).unwrap();
        std::fs::write(root.join("a/src/new.rs"), "").unwrap();
        std::fs::remove_file(root.join("a/src/lib.rs")).unwrap();
        stage(&project(&root), &BTreeSet::from(["a/src/new.rs".into()]), &staged).unwrap();
        assert!(
            staged.join("a/src/new.rs").exists() && !staged.join("a/src/lib.rs").exists() && !staged.join("b").exists()
        );
        assert_eq!(std::fs::read_to_string(staged.join("e2e/src/main.rs")).unwrap(), "fn main() {}\n");
    }
}
