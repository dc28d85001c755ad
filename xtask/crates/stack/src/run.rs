//! One run of the stack's test: its own name and folder, its logs, and what it leaves in the engine.

use std::collections::BTreeMap;
use std::time::SystemTime;

use anyhow::{Context as _, Result, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use xtask_engine::Tool;
use xtask_outcome::Stop;
use xtask_process::RunFolder;
use xtask_workspace::Context;

use crate::leftovers::Leftovers;

/// The logs of so many runs stay; `faults.sh` makes twenty.
const KEPT_LOGS: usize = 30;

/// One run.
#[derive(Debug)]
pub(crate) struct Run {
    folder: RunFolder,
}

impl Run {
    pub(crate) fn begin(context: &Context) -> Result<Self> {
        let folder = RunFolder::begin(&parent(context), &prefix(context))?;
        prune_logs(&parent(context), &prefix(context), KEPT_LOGS)?;
        Ok(Self { folder })
    }

    /// The Compose project's name.
    pub(crate) fn project(&self) -> &str {
        &self.folder.name
    }

    pub(crate) fn env_file(&self) -> Utf8PathBuf {
        self.folder.path.join("env")
    }

    /// Where a stack lies that is not the workspace's own file.
    pub(crate) fn stack_file(&self) -> Utf8PathBuf {
        self.folder.path.join("stack.json")
    }

    /// What is added to the Compose file.
    pub(crate) fn more_file(&self) -> Utf8PathBuf {
        self.folder.path.join("more.json")
    }

    /// What the client keeps from one call to the next.
    pub(crate) fn state_file(&self) -> Utf8PathBuf {
        self.folder.path.join("client-state")
    }

    /// The logs outlive the run.
    pub(crate) fn logs_file(&self, context: &Context) -> Utf8PathBuf {
        parent(context).join(format!("{}.log", self.project()))
    }

    /// The log of the client in one fault case; it outlives the run, too.
    pub(crate) fn client_log(&self, context: &Context, case: &str) -> Utf8PathBuf {
        parent(context).join(format!("{}.{case}.jsonl", self.project()))
    }

    /// The stack stays: so does its folder, for its secrets; `clean` removes both.
    pub(crate) fn keep(&self) {
        let _ = std::fs::write(self.folder.path.join("kept"), "");
    }

    /// Ends a run whose stack is down.
    ///
    /// # Errors
    /// [`Stop::Broken`] names what is left: clean-up is proven, not assumed.
    pub(crate) fn end(self, context: &Context, docker: &Tool) -> Result<()> {
        let left = Leftovers::of(context, docker, self.project())?;
        ensure!(
            left.is_empty(),
            Stop::Broken(format!(
                "the tear-down of {} left {}; next: cargo xtask clean",
                self.project(),
                left.describe()
            ))
        );
        self.folder.end()
    }
}

/// Removes the stacks of runs of this checkout that were killed, and only those; with `kept` also those that were kept on
/// purpose. Gives how many.
///
/// # Errors
/// When the engine refuses, or a folder cannot be removed.
pub fn remove_runs(context: &Context, docker: &Tool, kept: bool) -> Result<usize> {
    let mut removed = 0;
    for folder in RunFolder::leftovers(&parent(context), &prefix(context))? {
        if !kept && folder.path.join("kept").exists() {
            continue;
        }
        context.runner.progress().now(&format!("removes {}, left by an earlier run", folder.name));
        Leftovers::of(context, docker, &folder.name)?.remove(context, docker)?;
        folder.end()?;
        removed += 1;
    }
    Ok(removed)
}

fn parent(context: &Context) -> Utf8PathBuf {
    context.project.out().join("e2e")
}

fn prefix(context: &Context) -> String {
    format!("{}-e2e-", context.project.stack.project)
}

/// Removes the logs of all but the last `kept` runs. A run's files share its name up to the first dot.
fn prune_logs(folder: &Utf8Path, prefix: &str, kept: usize) -> Result<()> {
    let mut runs: BTreeMap<String, (SystemTime, Vec<Utf8PathBuf>)> = BTreeMap::new();
    for entry in folder.read_dir_utf8().with_context(|| format!("read {folder}"))? {
        let entry = entry?;
        let Some((run, _)) = entry.file_name().split_once('.') else { continue };
        // Another run may be at its own logs: what is gone by now needs no removal.
        let Ok(metadata) = entry.metadata() else { continue };
        if run.starts_with(prefix) && metadata.is_file() {
            let (newest, files) = runs.entry(run.to_owned()).or_insert((SystemTime::UNIX_EPOCH, Vec::new()));
            *newest = (*newest).max(metadata.modified()?);
            files.push(entry.into_path());
        }
    }
    let mut runs: Vec<_> = runs.into_values().collect();
    runs.sort_by_key(|(newest, _)| std::cmp::Reverse(*newest));
    for file in runs.iter().skip(kept).flat_map(|(_, files)| files) {
        let _ = std::fs::remove_file(file);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_logs_of_the_last_runs_stay_and_nothing_else_goes() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        let write = |name: &str, age_seconds: u64| {
            let file = File::create(folder.join(name)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age_seconds)).unwrap();
        };
        write("mini-e2e-1-a.log", 300);
        // One file of the run is old, but the run is not.
        write("mini-e2e-2-b.burst.jsonl", 400);
        write("mini-e2e-2-b.log", 100);
        write("mini-e2e-3-c.log", 50);
        write("mini-e2e-1-a.burst.slow.jsonl", 299);
        write("notes.txt", 9000);
        std::fs::create_dir(folder.join("mini-e2e-0-d")).unwrap();
        prune_logs(folder, "mini-e2e-", 2).unwrap();
        let mut left: Vec<_> =
            folder.read_dir_utf8().unwrap().map(|entry| entry.unwrap().file_name().to_owned()).collect();
        left.sort();
        let stay = ["mini-e2e-0-d", "mini-e2e-2-b.burst.jsonl", "mini-e2e-2-b.log", "mini-e2e-3-c.log", "notes.txt"];
        assert_eq!(left, stay);
    }
}
