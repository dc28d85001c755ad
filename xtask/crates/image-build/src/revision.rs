//! The images of another revision of this repository, built from a work tree of its own by the same code as those of this checkout.

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use xshell::{Shell, cmd};
use xtask_engine::{Ready, Tool};
use xtask_outcome::{Outcome, Stop};
use xtask_process::RunFolder;
use xtask_workspace::Context;

use crate::set::remove;
use crate::{Build, BuiltImage, Choice, ImageSet, Strategy};

const GIT_LIMIT_SECONDS: u64 = 120;
const PREFIX: &str = "revision-";
const CHECKOUT: &str = "checkout";
const SHOWN_DIGITS: usize = 12;
/// What proving an image finds when the program in it is not the one that was built.
const OTHER_PROGRAM: &str = "image-other-program";

/// Builds the images of a revision in the container, as those that ship, under tags of their own: the images of this checkout
/// keep theirs. The work tree is gone afterwards, the tags go with [`ImageSet::end`].
///
/// # Errors
/// [`Stop::Usage`] for a revision that git does not know, [`Stop::Repository`] when it does not build.
pub fn of_revision(context: &Context, ready: &Ready, revision: &str) -> Result<ImageSet> {
    let commit = commit(context, revision)?;
    remove_revisions(context, &ready.docker)?;
    let folder = RunFolder::begin(&parent(context), PREFIX)?;
    let name = name(revision, &commit);
    context.runner.progress().now(&format!("builds the images of {name} in a work tree of its own"));
    let built = built(context, ready, &folder, &commit).with_context(|| format!("the images of {name}"));
    let removed = remove_work_tree(context, &folder.path);
    let temporary = tags(context, &folder.name);
    let set = ImageSet { name, images: Vec::new(), temporary, folder: Some(folder) };
    // The first error stays in front.
    match built.and_then(|images| removed.map(|()| images)) {
        Ok(images) => Ok(ImageSet { images, ..set }),
        Err(error) => {
            if let Err(second) = set.end(context, &ready.docker) {
                context.runner.progress().say(&format!("{second:#}"));
            }
            Err(error)
        }
    }
}

/// Removes what killed runs left of other revisions: their work trees and tags.
///
/// # Errors
/// When git or the engine refuses.
pub fn remove_revisions(context: &Context, docker: &Tool) -> Result<()> {
    for left in RunFolder::leftovers(&parent(context), PREFIX)? {
        remove(context, docker, &tags(context, &left.name))?;
        remove_work_tree(context, &left.path)?;
        left.end()?;
    }
    Ok(())
}

fn parent(context: &Context) -> Utf8PathBuf {
    context.project.out().join("revisions")
}

/// The tags of a run, of the packages of this checkout; a revision may have fewer.
fn tags(context: &Context, run: &str) -> Vec<String> {
    context.project.images.iter().map(|image| format!("{}:{run}", image.package)).collect()
}

fn name(revision: &str, commit: &str) -> String {
    let digits = commit.get(..SHOWN_DIGITS).unwrap_or(commit);
    if commit.starts_with(revision) { digits.to_owned() } else { format!("{revision} ({digits})") }
}

/// The commit that a revision stands for.
///
/// # Errors
/// [`Stop::Usage`] for one that git does not know.
pub fn commit(context: &Context, revision: &str) -> Result<String> {
    let shell = at(&context.project.root)?;
    let wanted = format!("{revision}^{{commit}}");
    let asked = cmd!(shell, "git rev-parse --verify --quiet --end-of-options {wanted}");
    let captured = context.runner.capture(asked, GIT_LIMIT_SECONDS)?;
    if captured.status.success() {
        return Ok(captured.stdout.trim().to_owned());
    }
    let text = format!(
        "`{revision}` is no revision of this repository; next: `git log`, `:TAG` for images in the engine, or the path of an images.lock.json"
    );
    Err(Stop::Usage(text).into())
}

fn built(context: &Context, ready: &Ready, folder: &RunFolder, commit: &str) -> Result<Vec<BuiltImage>> {
    let (shell, checkout) = (at(&context.project.root)?, folder.path.join(CHECKOUT));
    // Where the workspace lies in its repository.
    let prefix = context.runner.read(cmd!(shell, "git rev-parse --show-prefix"), GIT_LIMIT_SECONDS)?;
    let add = cmd!(shell, "git worktree add --quiet --detach {checkout} {commit}");
    context.runner.read(add, GIT_LIMIT_SECONDS)?;
    let project = context.project.in_checkout(&checkout.join(prefix.trim()))?;
    let there = Context { project, runner: context.runner.clone() };
    // What is wrong with that revision was its own business; what counts is that its programs are its own.
    let mut judged = Outcome::default();
    let build = Build { strategy: Choice::By(Strategy::Container), tag: Some(folder.name.clone()), ..Build::default() };
    let images = build.run(&there, ready, &mut judged)?;
    match judged.findings.iter().find(|finding| finding.rule == OTHER_PROGRAM) {
        Some(finding) => Err(Stop::Broken(finding.to_string()).into()),
        None => Ok(images),
    }
}

/// git keeps a note of each work tree, which goes with it.
fn remove_work_tree(context: &Context, folder: &Utf8Path) -> Result<()> {
    let checkout = folder.join(CHECKOUT);
    if !checkout.exists() {
        return Ok(());
    }
    let shell = at(&context.project.root)?;
    let remove = cmd!(shell, "git worktree remove --force {checkout}");
    context.runner.for_clean_up().read(remove, GIT_LIMIT_SECONDS).map(drop)
}

fn at(root: &Utf8Path) -> Result<Shell> {
    let shell = Shell::new()?;
    shell.change_dir(root);
    Ok(shell)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_named_as_it_was_given_and_by_its_commit() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(name("HEAD~1", commit), "HEAD~1 (0123456789ab)");
        assert_eq!(name("0123456", commit), "0123456789ab");
    }
}
