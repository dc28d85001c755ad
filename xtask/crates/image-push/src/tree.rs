//! What git says of the checkout: only a clean one, at one commit, can be shipped.

use anyhow::Result;
use serde_json::{Value, json};
use xshell::{Shell, cmd};

use xtask_outcome::Stop;
use xtask_workspace::Context;

const GIT_LIMIT_SECONDS: u64 = 60;
/// As many changed files as a message names.
const NAMED_CHANGES: usize = 5;

/// The state of the checkout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// The commit, in full.
    pub head: String,
    /// What differs from it, files that git does not know included.
    pub changes: Vec<String>,
}

impl Tree {
    /// # Errors
    /// [`Stop::Broken`] outside a repository, or in one without a commit.
    pub fn read(context: &Context) -> Result<Self> {
        let shell = shell_at_root(context)?;
        let runner = &context.runner;
        let head = runner.read(cmd!(shell, "git rev-parse --verify HEAD"), GIT_LIMIT_SECONDS)?;
        let shallow = runner.read(cmd!(shell, "git rev-parse --is-shallow-repository"), GIT_LIMIT_SECONDS)?;
        if shallow == "true" {
            let text = "refused: a shallow clone does not know which commit made an image; next: `git fetch --unshallow` (in GitHub Actions `fetch-depth: 0`), then `cargo xtask verify`";
            return Err(Stop::Absent(text.to_owned()).into());
        }
        let status = runner.read(cmd!(shell, "git status --porcelain --untracked-files=normal"), GIT_LIMIT_SECONDS)?;
        Ok(Self { head, changes: status.lines().map(|line| line.trim().to_owned()).collect() })
    }

    /// The commit for a report, and in how many files the work tree differs from it.
    pub fn evidence(&self) -> Value {
        json!({ "head": self.head, "changed_files": self.changes.len() })
    }

    /// The changes for a message: the first few, and how many more there are.
    pub fn described(&self) -> String {
        let named: Vec<_> = self.changes.iter().take(NAMED_CHANGES).cloned().collect();
        let more = self.changes.len().saturating_sub(NAMED_CHANGES);
        if more == 0 { named.join(", ") } else { format!("{}, and {more} more", named.join(", ")) }
    }
}

/// The branch that is checked out, and the tags of the commit.
pub(super) fn names(context: &Context) -> Result<(Option<String>, Vec<String>)> {
    let shell = shell_at_root(context)?;
    let runner = &context.runner;
    // Fails on a detached HEAD, which has no branch.
    let branch = runner.capture(cmd!(shell, "git symbolic-ref --quiet --short HEAD"), GIT_LIMIT_SECONDS)?;
    let tags = runner.read(cmd!(shell, "git tag --points-at HEAD"), GIT_LIMIT_SECONDS)?;
    let branch = branch.status.success().then(|| branch.stdout.trim().to_owned());
    Ok((branch, tags.lines().map(ToOwned::to_owned).collect()))
}

/// Whether a commit is `head` or one that it comes from. One that this checkout does not know is not.
pub(super) fn is_ancestor(context: &Context, commit: &str, head: &str) -> Result<bool> {
    // A label is somebody else's text: only a commit's id reaches git.
    if commit.is_empty() || !commit.chars().all(|c| c.is_ascii_hexdigit()) {
        return Ok(false);
    }
    let shell = shell_at_root(context)?;
    let asked = cmd!(shell, "git merge-base --is-ancestor {commit} {head}");
    Ok(context.runner.capture(asked, GIT_LIMIT_SECONDS)?.status.success())
}

fn shell_at_root(context: &Context) -> Result<Shell, Stop> {
    let shell = Shell::new().map_err(|error| Stop::Broken(error.to_string()))?;
    shell.change_dir(&context.project.root);
    Ok(shell)
}
