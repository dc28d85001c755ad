//! Writes a plan whole or not at all.

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use xtask_process::put;

use crate::plan::{Change, Plan};

/// What was written, to be kept or taken back.
#[derive(Debug)]
pub struct Written<'a> {
    root: &'a Utf8Path,
    /// What is there again when it is taken back.
    undo: Vec<(Utf8PathBuf, Option<String>)>,
}

impl<'a> Written<'a> {
    /// Writes all files of a plan.
    ///
    /// # Errors
    /// When one cannot be written; those before it are then as they were.
    pub fn write(root: &'a Utf8Path, plan: &Plan) -> Result<Self> {
        let mut written = Self { root, undo: Vec::new() };
        for Change { file, before, after } in &plan.changes {
            written.undo.push((file.clone(), before.clone()));
            let path = root.join(file);
            let made = path
                .parent()
                .map_or(Ok(()), std::fs::create_dir_all)
                .with_context(|| format!("create the folder of {file}"));
            if let Err(error) = made.and_then(|()| put(&path, after)) {
                written.take_back();
                return Err(error.context("nothing is left of what was written before"));
            }
        }
        Ok(written)
    }

    /// Remembers a file that a program is about to change.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn remember(&mut self, file: &str) -> Result<()> {
        let text = std::fs::read_to_string(self.root.join(file)).with_context(|| format!("read {file}"))?;
        self.undo.push((file.into(), Some(text)));
        Ok(())
    }

    /// Everything is as it was before: new files go, with the folders that they leave empty, and edited ones have their old text.
    pub fn take_back(&self) {
        for (file, before) in self.undo.iter().rev() {
            let path = self.root.join(file);
            if let Some(text) = before {
                let _ = put(&path, text);
                continue;
            }
            let _ = std::fs::remove_file(&path);
            for folder in path.ancestors().skip(1).take_while(|folder| *folder != self.root) {
                // One that is not empty stays, and so do those above it.
                if std::fs::remove_dir(folder).is_err() {
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_written_takes_all_others_back() {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        std::fs::write(root.join("edited"), "old").unwrap();
        std::fs::write(root.join("in-the-way"), "").unwrap();
        let change = |file: &str, before: Option<&str>| Change {
            file: file.into(),
            before: before.map(str::to_owned),
            after: "new".to_owned(),
        };
        let mut plan = Plan {
            folder: "a".into(),
            changes: vec![change("edited", Some("old")), change("a/b/c", None), change("in-the-way/x", None)],
        };
        assert!(Written::write(root, &plan).is_err());
        let left: Vec<_> = root.read_dir_utf8().unwrap().map(|entry| entry.unwrap().file_name().to_owned()).collect();
        assert_eq!(left.len(), 2, "{left:?}");
        assert_eq!(std::fs::read_to_string(root.join("edited")).unwrap(), "old");
        plan.changes.pop();
        let written = Written::write(root, &plan).unwrap();
        assert_eq!(std::fs::read_to_string(root.join("a/b/c")).unwrap(), "new");
        written.take_back();
        assert!(!root.join("a").exists());
    }
}
