//! `up --watch`: an edit is answered by the running stack. What changed is built and put in place of what runs, nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use notify::event::ModifyKind;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use xtask_engine::Ready;
use xtask_image_build::{BuiltImage, is_left_by_an_editor};
use xtask_outcome::{Outcome, Stop};
use xtask_workspace::{Context, Project};

use super::up::{Up, raise};

/// An editor writes a file in several steps, a formatter several files: what comes within this time is one edit.
const QUIET_MILLISECONDS: u64 = 80;
const POLL_MILLISECONDS: u64 = 50;
/// Never sources, and never still.
const SKIPPED: [&str; 2] = ["target", ".git"];

/// Waits for edits until somebody interrupts, which is its ordinary end. A build that fails, or a service that does not come
/// up, is said, and the watch continues; the stack keeps running.
///
/// # Errors
/// When the folders cannot be watched; an interrupt in the middle of an answer.
pub fn watch(context: &Context, ready: &Ready, up: &Up, images: &[BuiltImage], outcome: &mut Outcome) -> Result<()> {
    let mut running: BTreeMap<_, _> = images.iter().map(|image| (image.name.clone(), image.facts.id.clone())).collect();
    let mut context = context.clone();
    let mut edits = Edits::of(&context.project)?;
    let mut answered = 0;
    context.runner.progress().say("watch: waiting for edits; Ctrl-C ends the watch, and the stack keeps running");
    while let Some((paths, since)) = edits.next(&context)? {
        context.runner.progress().say(&format!("watch: {} changed", described(&paths)));
        // A new member or dependency changes what is watched, and a policy what is done.
        if paths.iter().any(|path| is_manifest(&context.project, path)) {
            match Project::load(context.project.root.join(&context.project.automation).as_str()) {
                Ok(project) => {
                    context.project = project;
                    edits = Edits::of(&context.project)?;
                }
                Err(error) => context.runner.progress().say(&format!("watch: {error:#}")),
            }
        }
        answered += usize::from(answer(&context, ready, up, &paths, &mut running, since)?);
        context.runner.progress().say("watch: waiting for edits");
    }
    outcome.checked("edits answered", answered);
    outcome.note("the watch is over, and the stack keeps running; `cargo xtask down` stops it");
    Ok(())
}

/// Builds what the edit changed and swaps it in. Gives whether the stack now runs something else.
fn answer(
    context: &Context,
    ready: &Ready,
    up: &Up,
    paths: &BTreeSet<Utf8PathBuf>,
    running: &mut BTreeMap<String, String>,
    since: Instant,
) -> Result<bool> {
    let mut round = Outcome::default();
    let built = match up.build(context, ready, &mut round) {
        Ok(built) => built,
        Err(error) if Stop::is_interrupt(&error) => return Err(error),
        Err(error) => {
            context.runner.progress().say(&format!("watch: {error:#}\nwatch: the stack keeps running as it was"));
            return Ok(false);
        }
    };
    for finding in &round.findings {
        context.runner.progress().say(&format!("watch: {finding}"));
    }
    let is_new = |image: &&BuiltImage| running.get(&image.name) != Some(&image.facts.id);
    let changed: Vec<_> = built.iter().filter(is_new).map(|image| image.name.clone()).collect();
    let settings = [context.project.stack.file.as_str(), ".env"];
    if changed.is_empty() && !paths.iter().any(|path| settings.contains(&path.as_str())) {
        context.runner.progress().say("watch: that changes no image");
        return Ok(false);
    }
    match raise(context, ready, &built) {
        Ok(_) => {}
        Err(error) if Stop::is_interrupt(&error) => return Err(error),
        Err(error) => {
            context.runner.progress().say(&format!("watch: {error:#}"));
            return Ok(false);
        }
    }
    running.extend(built.into_iter().map(|image| (image.name, image.facts.id)));
    let what = if changed.is_empty() { "the stack".to_owned() } else { changed.join(", ") };
    context
        .runner
        .progress()
        .say(&format!("watch: {what} answers with it, {:.1} s after the edit", since.elapsed().as_secs_f64()));
    Ok(true)
}

/// The files that are edited, as the operating system tells of them.
struct Edits {
    root: Utf8PathBuf,
    events: Receiver<notify::Result<Event>>,
    /// It watches as long as it lives.
    _watcher: RecommendedWatcher,
}

impl Edits {
    fn of(project: &Project) -> Result<Self> {
        let (sender, events) = channel();
        let send = move |event| {
            // Nobody listens any more at the end.
            let _ = sender.send(event);
        };
        let mut watcher = notify::recommended_watcher(send).context("watch the workspace for edits")?;
        for (folder, mode) in folders(project) {
            let path = project.root.join(&folder);
            watcher.watch(path.as_std_path(), mode).with_context(|| format!("watch {path} for edits"))?;
        }
        Ok(Self { root: project.root.clone(), events, _watcher: watcher })
    }

    /// The next edit: its files relative to the root, and when it began. `None` when somebody ends the watch.
    fn next(&self, context: &Context) -> Result<Option<(BTreeSet<Utf8PathBuf>, Instant)>> {
        let mut paths = BTreeSet::new();
        let mut since = Instant::now();
        loop {
            let wait = if paths.is_empty() { POLL_MILLISECONDS } else { QUIET_MILLISECONDS };
            match self.events.recv_timeout(Duration::from_millis(wait)) {
                Ok(event) => {
                    let found: Vec<_> = self.sources(&event.context("watch the workspace for edits")?).collect();
                    if paths.is_empty() {
                        since = Instant::now();
                    }
                    paths.extend(found);
                }
                Err(RecvTimeoutError::Timeout) if !paths.is_empty() => return Ok(Some((paths, since))),
                Err(_) => {}
            }
            if context.runner.interrupt().check().is_err() {
                return Ok(None);
            }
        }
    }

    /// The files of an event that may matter, relative to the root.
    fn sources(&self, event: &Event) -> impl Iterator<Item = Utf8PathBuf> {
        let is_edit = matches!(event.kind, EventKind::Create(_) | EventKind::Remove(_) | EventKind::Modify(_))
            && !matches!(event.kind, EventKind::Modify(ModifyKind::Metadata(_)));
        let paths = event.paths.iter().filter(move |_| is_edit);
        paths.filter_map(|path: &std::path::PathBuf| source(&self.root, path)).collect::<Vec<_>>().into_iter()
    }
}

/// What is watched, and whether with everything below it: the folders that images are compiled from, and the root's own files.
fn folders(project: &Project) -> BTreeMap<Utf8PathBuf, RecursiveMode> {
    let mut folders = BTreeMap::from([(Utf8PathBuf::new(), RecursiveMode::NonRecursive)]);
    let mut add = |folder: &Utf8Path| {
        // A package at the root would bring its build's own output with it.
        let parts = if folder.as_str().is_empty() { vec!["src", "migrations"] } else { vec![""] };
        for part in parts {
            let folder = folder.join(part);
            if project.root.join(&folder).exists() {
                folders.insert(folder, RecursiveMode::Recursive);
            }
        }
    };
    for image in &project.images {
        image.compiled_folders.iter().for_each(|folder| add(folder));
        image.more_inputs.iter().for_each(|input| add(&image.folder.join(input)));
    }
    add(Utf8Path::new(".cargo"));
    add(&project.automation.join("policy"));
    folders
}

/// A path relative to the root, unless it is something that no build reads.
fn source(root: &Utf8Path, path: &Path) -> Option<Utf8PathBuf> {
    let path = Utf8Path::from_path(path)?.strip_prefix(root).ok()?;
    let is_skipped = path.components().any(|part| SKIPPED.contains(&part.as_str()));
    let name = path.file_name()?;
    // Formatters write a file of this kind first, and then put it in its place.
    let is_temporary = name.ends_with(".tmp");
    (!is_skipped && !is_temporary && !is_left_by_an_editor(path)).then(|| path.to_owned())
}

fn is_manifest(project: &Project, path: &Utf8Path) -> bool {
    path.file_name() == Some("Cargo.toml") || path.starts_with(project.automation.join("policy"))
}

fn described(paths: &BTreeSet<Utf8PathBuf>) -> String {
    let first = paths.first().map_or("nothing", |path| path.as_str());
    match paths.len() {
        0 | 1 => first.to_owned(),
        count => format!("{first} and {} more", count - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_build_reads_is_no_edit() {
        let root = Utf8Path::new("/shop");
        let seen = |path: &str| source(root, Path::new(path)).map(Utf8PathBuf::into_string);
        assert_eq!(seen("/shop/services/user/src/lib.rs").as_deref(), Some("services/user/src/lib.rs"));
        assert_eq!(seen("/shop/.env").as_deref(), Some(".env"));
        for path in [
            "/shop/target/xtask/x",
            "/shop/.git/index",
            "/shop/src/.lib.rs.swp",
            "/shop/src/lib.rs~",
            "/shop/src/4913",
            "/other/x",
        ] {
            assert_eq!(seen(path), None, "{path}");
        }
    }

    #[test]
    fn the_folders_of_this_workspace_are_watched_without_what_builds_write() {
        let project = Project::load(env!("CARGO_MANIFEST_DIR")).unwrap();
        let folders = folders(&project);
        assert_eq!(folders[Utf8Path::new("")], RecursiveMode::NonRecursive);
        for image in &project.images {
            assert_eq!(folders[&image.folder], RecursiveMode::Recursive);
        }
        assert!(!folders.keys().any(|folder| folder.starts_with("target")), "{folders:?}");
    }
}
