//! What git says of the files: which it knows, which it ignores, and which commit touched some of them last.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use xshell::{Shell, cmd};
use xtask_outcome::Stop;
use xtask_process::Runner;
use xtask_workspace::{ImagePackage, Project};

use super::{is_left_by_an_editor, pathspecs};

const GIT_LIMIT_SECONDS: u64 = 60;
/// Folders that hold no source, for a workspace that git does not know.
const NEVER_SOURCES: [&str; 2] = ["target", ".git"];

/// The state of an image's inputs in git.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Revision {
    /// The newest commit that touched an input, `-dirty` behind it when the work tree differs.
    pub(crate) id: String,
    /// That commit's time, RFC 3339.
    pub(crate) created: String,
    /// The same in seconds since 1970.
    pub(crate) epoch: i64,
}

/// What git knows of the workspace, asked once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Git {
    /// Files that are there and that git knows or would add, relative to the root.
    pub(crate) files: BTreeSet<Utf8PathBuf>,
    /// Files in members' folders that it ignores.
    pub(crate) ignored: BTreeSet<Utf8PathBuf>,
    /// What makes the revisions less than they seem, in words.
    pub(crate) doubt: Option<String>,
    is_repository: bool,
}

impl Git {
    /// # Errors
    /// [`Stop::Broken`] when git refuses the checkout.
    pub(crate) fn ask(project: &Project, runner: &Runner) -> Result<Self> {
        let shell = at(project)?;
        let shallow = runner.capture(cmd!(shell, "git rev-parse --is-shallow-repository"), GIT_LIMIT_SECONDS)?;
        if !shallow.status.success() {
            return without(project, &shallow.stderr);
        }
        let list = |arguments: &[&str], folders: &[&str]| -> Result<BTreeSet<Utf8PathBuf>> {
            let command = cmd!(shell, "git ls-files -z --exclude-standard {arguments...} -- {folders...}");
            let text = runner.read(command, GIT_LIMIT_SECONDS)?;
            Ok(text.split('\0').filter(|name| !name.is_empty()).map(Utf8PathBuf::from).collect())
        };
        let compiled: BTreeSet<_> = project.images.iter().flat_map(|image| &image.compiled_folders).collect();
        let folders: Vec<_> = compiled.iter().map(|folder| folder.as_str()).collect();
        let is_there = |file: &Utf8PathBuf| project.root.join(file).is_file();
        let files = list(&["--cached", "--others"], &[])?.into_iter().filter(is_there).collect();
        let ignored = list(&["--others", "--ignored"], &folders)?.into_iter().filter(is_there).collect();
        let doubt = (shallow.stdout.trim() == "true").then(|| {
            "this is a shallow clone, where every revision may be the oldest commit that is here; next: `git fetch --unshallow` (in GitHub Actions `fetch-depth: 0`)".to_owned()
        });
        Ok(Self { files, ignored, doubt, is_repository: true })
    }

    /// The revision of an image's inputs. Outside a repository it is `unversioned`.
    pub(crate) fn revision(&self, project: &Project, runner: &Runner, image: &ImagePackage) -> Result<Revision> {
        let unversioned =
            || Revision { id: "unversioned".to_owned(), created: "1970-01-01T00:00:00Z".to_owned(), epoch: 0 };
        if !self.is_repository {
            return Ok(unversioned());
        }
        let shell = at(project)?;
        let paths = &pathspecs(project, image);
        let log = cmd!(shell, "git log -1 --format=%H%x20%cI%x20%ct -- {paths...}");
        let log = runner.capture(log, GIT_LIMIT_SECONDS)?;
        let words: Vec<_> = log.stdout.split_whitespace().collect();
        // A repository without a commit.
        let ([id, created, epoch], true) = (words.as_slice(), log.status.success()) else { return Ok(unversioned()) };
        let status = cmd!(shell, "git status --porcelain -z --untracked-files=all -- {paths...}");
        let status = runner.read(status, GIT_LIMIT_SECONDS)?;
        let dirty = if changes(project, &status).next().is_some() { "-dirty" } else { "" };
        let epoch = epoch.parse().with_context(|| format!("git gives no time for {id}"))?;
        Ok(Revision { id: format!("{id}{dirty}"), created: (*created).to_owned(), epoch })
    }
}

/// The changes in `git status --porcelain -z` that can change an image: no editor's file, no link that leads nowhere.
fn changes<'a>(project: &'a Project, status: &'a str) -> impl Iterator<Item = &'a str> {
    status.split('\0').filter(move |entry| {
        let Some((kind, path)) = entry.split_at_checked(3) else { return false };
        let path = Utf8Path::new(path);
        !kind.starts_with("??") || (!is_left_by_an_editor(path) && project.root.join(path).is_file())
    })
}

/// Where a workspace's source lives: the address of git's origin, for people and without credentials.
pub(crate) fn origin(project: &Project, runner: &Runner) -> Result<Option<String>> {
    let shell = at(project)?;
    let asked = runner.capture(cmd!(shell, "git remote get-url origin"), GIT_LIMIT_SECONDS)?;
    Ok(asked.status.success().then(|| web_address(asked.stdout.trim())).flatten())
}

/// `git@host:team/shop.git` and `https://user:token@host/team/shop.git` are `https://host/team/shop`.
fn web_address(remote: &str) -> Option<String> {
    let rest = match remote.split_once("://") {
        Some(("https" | "http" | "ssh" | "git", rest)) => rest.to_owned(),
        Some(_) => return None,
        // The short form of ssh; a path on this machine has no host.
        None => {
            let (host, path) = remote.split_once(':')?;
            if host.contains('/') {
                return None;
            }
            format!("{host}/{path}")
        }
    };
    let (authority, path) = rest.split_once('/')?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    Some(format!("https://{host}/{}", path.trim_end_matches('/').trim_end_matches(".git")))
}

/// Without a repository every file counts; a checkout that git does not trust is no reason to guess.
fn without(project: &Project, words: &str) -> Result<Git> {
    if words.contains("dubious ownership") {
        let text = format!(
            "git refuses this checkout, which belongs to another user, so nobody can say what goes into an image; next: git config --global --add safe.directory {}",
            project.root
        );
        return Err(Stop::Broken(text).into());
    }
    if !words.contains("not a git repository") {
        return Err(Stop::Broken(format!("git does not answer: {}", words.trim())).into());
    }
    let mut files = BTreeSet::new();
    walk(&project.root, Utf8Path::new(""), &mut files)?;
    let doubt = Some("this is not a git repository: the images' revision is `unversioned`".to_owned());
    Ok(Git { files, ignored: BTreeSet::new(), doubt, is_repository: false })
}

fn walk(root: &Utf8Path, folder: &Utf8Path, files: &mut BTreeSet<Utf8PathBuf>) -> Result<()> {
    for entry in root.join(folder).read_dir_utf8().with_context(|| format!("read the folder {folder}"))? {
        let entry = entry?;
        let path = folder.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() && !NEVER_SOURCES.contains(&entry.file_name()) {
            walk(root, &path, files)?;
        } else if root.join(&path).is_file() {
            files.insert(path);
        }
    }
    Ok(())
}

fn at(project: &Project) -> Result<Shell> {
    let shell = Shell::new()?;
    shell.change_dir(&project.root);
    Ok(shell)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_an_address_for_people_without_credentials() {
        for (remote, address) in [
            ("git@github.com:team/shop.git", Some("https://github.com/team/shop")),
            ("https://user:S3CR3T@host.example/team/shop.git", Some("https://host.example/team/shop")),
            ("ssh://git@host.example:2222/team/shop", Some("https://host.example:2222/team/shop")),
            ("/srv/git/shop.git", None),
            ("../shop", None),
            ("file:///srv/shop", None),
            ("", None),
        ] {
            assert_eq!(web_address(remote).as_deref(), address, "{remote}");
        }
    }

    #[test]
    fn a_shallow_clone_is_a_doubt_with_the_command_that_helps_and_a_whole_one_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        let (shell, runner) = (
            Shell::new().unwrap(),
            Runner::new(xtask_process::Interrupt::default(), xtask_outcome::Progress::default()),
        );
        shell.change_dir(folder);
        let git = |line: &str| runner.read(cmd!(shell, "sh -c {line}"), GIT_LIMIT_SECONDS).unwrap();
        let commit = "git -c user.name=x -c user.email=x@example.org -C whole commit --quiet --allow-empty -m";
        git(&format!("git init --quiet whole && {commit} one && {commit} two"));
        git("git clone --quiet --depth 1 \"file://$PWD/whole\" shallow");
        let mut project = Project::load(env!("CARGO_MANIFEST_DIR")).unwrap();
        let mut doubt = |name: &str| {
            project.root = folder.join(name);
            Git::ask(&project, &runner).unwrap().doubt
        };
        assert!(doubt("shallow").unwrap().contains("next: `git fetch --unshallow`"));
        assert_eq!(doubt("whole"), None);
    }

    #[test]
    fn a_checkout_that_git_refuses_gets_the_command_that_helps() {
        let project = Project::load(env!("CARGO_MANIFEST_DIR")).unwrap();
        let error = without(&project, "fatal: detected dubious ownership in repository at '/x'").unwrap_err();
        assert!(error.to_string().contains("git config --global --add safe.directory"), "{error}");
        assert!(without(&project, "fatal: bad config line 1").is_err());
        let outside = without(&project, "fatal: not a git repository").unwrap();
        assert!(outside.doubt.is_some() && outside.files.contains(Utf8Path::new("Cargo.toml")));
    }
}
