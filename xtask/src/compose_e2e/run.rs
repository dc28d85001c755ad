//! One run's own name and folder. The folder's lock lives as long as the process, so a later run can tell a stack whose
//! run was killed from one that is still at work.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::time::SystemTime;

use anyhow::{Context as _, Result, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use xshell::{Shell, cmd};

use crate::context::Context;
use crate::outcome::Stop;
use crate::setup::tools::Tool;

const REMOVE_LIMIT_SECONDS: u64 = 60;
const NAME_PREFIX: &str = "mini-e2e-";
/// The logs of so many runs stay; `faults.sh` makes twenty.
const KEPT_LOGS: usize = 30;

#[derive(Debug)]
pub(crate) struct Run {
    /// The Compose project's name, of lower-case letters, digits and `-`, whatever the checkout's folder is called.
    pub(crate) project: String,
    folder: Utf8PathBuf,
    /// Held, never read.
    _lock: File,
}

impl Run {
    pub(crate) fn begin(context: &Context) -> Result<Self> {
        let nanoseconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.subsec_nanos();
        let project = format!("{NAME_PREFIX}{:x}-{nanoseconds:x}", std::process::id());
        let folder = folder(context).join(&project);
        std::fs::create_dir_all(&folder).with_context(|| format!("create {folder}"))?;
        let lock = File::create(folder.join("lock"))?;
        lock.lock().with_context(|| format!("lock {folder}"))?;
        prune_logs(&self::folder(context), KEPT_LOGS)?;
        Ok(Self { project, folder, _lock: lock })
    }

    pub(crate) fn env_file(&self) -> Utf8PathBuf {
        self.folder.join("env")
    }

    /// Where a stack lies that is not `compose.yaml`.
    pub(crate) fn stack_file(&self) -> Utf8PathBuf {
        self.folder.join("stack.json")
    }

    /// The logs outlive the run.
    pub(crate) fn logs_file(&self, context: &Context) -> Utf8PathBuf {
        context.project.out().join("e2e").join(format!("{}.log", self.project))
    }

    /// The log of the client in one fault case; it outlives the run, too.
    pub(crate) fn client_log(&self, context: &Context, case: &str) -> Utf8PathBuf {
        context.project.out().join("e2e").join(format!("{}.{case}.jsonl", self.project))
    }

    /// What removes this run's stack by hand.
    pub(crate) fn manual_removal(&self) -> String {
        "cargo xtask clean".to_owned()
    }

    /// The stack stays: so does its folder, for its secrets; `clean` removes both.
    pub(crate) fn keep(&self) {
        let _ = std::fs::write(self.folder.join("kept"), "");
    }

    /// Ends a run whose stack is down.
    ///
    /// # Errors
    /// [`Stop::Repository`] names what is left: clean-up is proven, not assumed.
    pub(crate) fn end(&self, context: &Context, docker: &Tool) -> Result<()> {
        let left = Leftovers::of(context, docker, &self.project)?;
        ensure!(
            left.is_empty(),
            Stop::Repository(format!("the tear-down of {} left {}", self.project, left.describe()))
        );
        std::fs::remove_dir_all(&self.folder).with_context(|| format!("remove {}", self.folder))
    }

    /// Removes the stacks of runs of this checkout that were killed, and only those. Gives how many.
    pub(crate) fn remove_leftovers(context: &Context, docker: &Tool) -> Result<usize> {
        Self::remove_where(context, docker, |folder| !folder.join("kept").exists())
    }

    /// As [`Run::remove_leftovers`], with the stacks that were kept on purpose.
    pub(crate) fn remove_all(context: &Context, docker: &Tool) -> Result<usize> {
        Self::remove_where(context, docker, |_| true)
    }

    fn remove_where(context: &Context, docker: &Tool, wanted: impl Fn(&Utf8PathBuf) -> bool) -> Result<usize> {
        let Ok(entries) = folder(context).read_dir_utf8() else { return Ok(0) };
        let mut removed = 0;
        for entry in entries {
            let entry = entry?;
            let (name, folder) = (entry.file_name().to_owned(), entry.into_path());
            if !name.starts_with(NAME_PREFIX) || !folder.is_dir() || !wanted(&folder) {
                continue;
            }
            let lock = File::create(folder.join("lock"))?;
            match lock.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => return Err(error).with_context(|| format!("lock {folder}")),
            }
            eprintln!("removing {name}, left by an earlier run");
            Leftovers::of(context, docker, &name)?.remove(context, docker)?;
            std::fs::remove_dir_all(&folder).with_context(|| format!("remove {folder}"))?;
            removed += 1;
        }
        Ok(removed)
    }
}

fn folder(context: &Context) -> Utf8PathBuf {
    context.project.out().join("e2e")
}

/// Removes the logs of all but the last `kept` runs. A run's files share its name up to the first dot.
fn prune_logs(folder: &Utf8Path, kept: usize) -> Result<()> {
    let mut runs: BTreeMap<String, (SystemTime, Vec<Utf8PathBuf>)> = BTreeMap::new();
    for entry in folder.read_dir_utf8().with_context(|| format!("read {folder}"))? {
        let entry = entry?;
        let Some((run, _)) = entry.file_name().split_once('.') else { continue };
        // Another run may be at its own logs: what is gone by now needs no removal.
        let Ok(metadata) = entry.metadata() else { continue };
        if run.starts_with(NAME_PREFIX) && metadata.is_file() {
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

/// What the engine still has of a Compose project, found by label.
#[derive(Debug)]
pub(crate) struct Leftovers {
    containers: Vec<String>,
    networks: Vec<String>,
    volumes: Vec<String>,
}

impl Leftovers {
    pub(crate) fn of(context: &Context, docker: &Tool, project: &str) -> Result<Self> {
        let shell = Shell::new()?;
        let docker = &docker.program;
        let label = format!("label=com.docker.compose.project={project}");
        let runner = context.runner.for_clean_up();
        let list = |arguments: &[&str]| -> Result<Vec<String>> {
            let text =
                runner.read(cmd!(shell, "{docker} {arguments...} --quiet --filter {label}"), REMOVE_LIMIT_SECONDS)?;
            Ok(text.lines().map(ToOwned::to_owned).collect())
        };
        Ok(Self {
            containers: list(&["ps", "--all"])?,
            networks: list(&["network", "ls"])?,
            volumes: list(&["volume", "ls"])?,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.containers.is_empty() && self.networks.is_empty() && self.volumes.is_empty()
    }

    fn describe(&self) -> String {
        format!(
            "{} containers, {} networks, {} volumes",
            self.containers.len(),
            self.networks.len(),
            self.volumes.len()
        )
    }

    pub(crate) fn remove(&self, context: &Context, docker: &Tool) -> Result<()> {
        let shell = Shell::new()?;
        let docker = &docker.program;
        let runner = context.runner.for_clean_up();
        for (what, ids) in [
            (&["rm", "--force", "--volumes"][..], &self.containers),
            (&["network", "rm"][..], &self.networks),
            (&["volume", "rm"][..], &self.volumes),
        ] {
            if !ids.is_empty() {
                runner.read(cmd!(shell, "{docker} {what...} {ids...}"), REMOVE_LIMIT_SECONDS)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
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
        prune_logs(folder, 2).unwrap();
        let mut left: Vec<_> =
            folder.read_dir_utf8().unwrap().map(|entry| entry.unwrap().file_name().to_owned()).collect();
        left.sort();
        let stay = ["mini-e2e-0-d", "mini-e2e-2-b.burst.jsonl", "mini-e2e-2-b.log", "mini-e2e-3-c.log", "notes.txt"];
        assert_eq!(left, stay);
    }
}
