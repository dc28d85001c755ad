//! The one way to write a file: whole, or not at all.

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};

use anyhow::{Context as _, Result};
use camino::Utf8Path;
use tempfile::Builder;

/// Writes a file that its readers see whole: beside it first, then renamed into its place. Folders are made as needed.
///
/// # Errors
/// When the folder cannot be made or the file cannot be written; what stood there before is then still there.
pub fn put(path: &Utf8Path, content: impl AsRef<[u8]>) -> Result<()> {
    put_with_mode(path, content.as_ref(), 0o644).with_context(|| format!("write {path}"))
}

fn put_with_mode(path: &Utf8Path, content: &[u8], mode: u32) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_str().is_empty()).unwrap_or(Utf8Path::new("."));
    std::fs::create_dir_all(folder)?;
    // A new file with the wanted mode, whatever the umask says, and gone again if this does not come to its end.
    let mut file = Builder::new().prefix(".xtask-").permissions(Permissions::from_mode(mode)).tempfile_in(folder)?;
    file.write_all(content)?;
    // The error alone: what it is about holds the file, which has to go now.
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Writes a file that only its owner reads.
///
/// # Errors
/// When there is such a file already: secrets are never replaced behind somebody's back.
pub fn put_new_secret(path: &Utf8Path, content: &str) -> Result<()> {
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.with_context(|| format!("create {path}"))?;
    let written = file.write_all(content.as_bytes()).with_context(|| format!("write {path}"));
    if written.is_err() {
        // Half a file of secrets would be taken for the whole by the next run.
        let _ = std::fs::remove_file(path);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, camino::Utf8PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = camino::Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap();
        (folder, path)
    }

    #[test]
    fn a_file_is_replaced_whole_and_nothing_else_is_left() {
        let (_guard, folder) = folder();
        let file = folder.join("new/report.json");
        put(&file, "one").unwrap();
        put(&file, "two").unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "two");
        assert_eq!(std::fs::read_dir(folder.join("new")).unwrap().count(), 1);
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named_and_the_old_one_stays() {
        let (_guard, folder) = folder();
        std::fs::create_dir(folder.join("taken")).unwrap();
        let error = put(&folder.join("taken"), "x").unwrap_err();
        assert!(format!("{error:#}").contains("taken"), "{error:#}");
        assert!(folder.join("taken").is_dir());
        let left: Vec<_> = folder.read_dir_utf8().unwrap().map(|entry| entry.unwrap().file_name().to_owned()).collect();
        assert_eq!(left, ["taken"]);
    }

    #[test]
    fn a_secret_is_its_owners_alone_and_never_replaced() {
        let (_guard, folder) = folder();
        let file = folder.join("env");
        put_new_secret(&file, "A=1\n").unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(put_new_secret(&file, "A=2\n").is_err());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "A=1\n");
    }
}
