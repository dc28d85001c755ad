//! What git says of the files: which it knows, which it ignores, and which commit touched some of them last.

use std::collections::{BTreeMap, BTreeSet};
use std::thread::{self, ScopedJoinHandle};

use anyhow::{Context as _, Result, anyhow};
use camino::{Utf8Path, Utf8PathBuf};
use xshell::{Shell, cmd};
use xtask_outcome::Stop;
use xtask_process::{Captured, Runner};
use xtask_workspace::{ImagePackage, Project};

use super::is_left_by_an_editor;
use super::paths::Paths;

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

impl Revision {
    /// Outside a repository, and in one without a commit.
    fn unversioned() -> Self {
        Self { id: "unversioned".to_owned(), created: "1970-01-01T00:00:00Z".to_owned(), epoch: 0 }
    }
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
    /// Where the workspace's source lives: the address of git's origin, for people and without credentials.
    pub(crate) origin: Option<String>,
    /// By the package of each image that was asked for.
    revisions: BTreeMap<String, Revision>,
}

impl Git {
    /// Asks for the files of the workspace, and for the revisions of these images.
    ///
    /// # Errors
    /// [`Stop::Broken`] when git refuses the checkout.
    pub(crate) fn ask(project: &Project, runner: &Runner, images: &[&ImagePackage]) -> Result<Self> {
        let compiled: BTreeSet<_> = project.images.iter().flat_map(|image| &image.compiled_folders).collect();
        let compiled: Vec<_> = compiled.into_iter().map(ToString::to_string).collect();
        let paths: Vec<_> = images.iter().map(|image| Paths::of(project, image)).collect();
        let mut questions = vec![
            words("rev-parse --is-shallow-repository --show-prefix"),
            words("ls-files -z --cached"),
            [words("ls-files -z --exclude-standard --others --ignored --"), compiled].concat(),
            // A rename would be one entry with two paths.
            words("status --porcelain -z --no-renames --untracked-files=all -- ."),
            words("remote get-url origin"),
        ];
        let log = words("log -1 --format=%H%x20%cI%x20%ct --");
        questions.extend(paths.iter().map(|paths| [log.clone(), paths.pathspecs()].concat()));
        let mut answers = at_once(project, runner, &questions)?.into_iter();
        let mut next = || answers.next().context("git answers each question");
        let repository = next()?;
        if !repository.status.success() {
            return without(project, images, &repository.stderr);
        }
        let mut lines = repository.stdout.lines();
        let (shallow, prefix) = (lines.next(), lines.next().unwrap_or_default());
        let is_there = |file: &&str| project.root.join(file).is_file();
        let (cached, ignored, status) = (read(&next()?)?, read(&next()?)?, read(&next()?)?);
        let changes: Vec<_> = split(&status).filter_map(|entry| Change::of(entry, prefix)).collect();
        let added = changes.iter().filter(|change| change.is_untracked).map(|change| change.path.as_str());
        let files = split(&cached).chain(added).filter(is_there).map(Utf8PathBuf::from).collect();
        let ignored = split(&ignored).filter(is_there).map(Utf8PathBuf::from).collect();
        let origin = next()?;
        let origin = origin.status.success().then(|| web_address(origin.stdout.trim())).flatten();
        let mut revisions = BTreeMap::new();
        for (image, paths) in images.iter().zip(&paths) {
            let is_dirty =
                changes.iter().any(|change| paths.cover(&change.path) && change.can_change_an_image(project));
            revisions.insert(image.package.clone(), revision(&next()?, is_dirty)?);
        }
        let doubt = (shallow == Some("true")).then(|| {
            "this is a shallow clone, where every revision may be the oldest commit that is here; next: `git fetch --unshallow` (in GitHub Actions `fetch-depth: 0`)".to_owned()
        });
        Ok(Self { files, ignored, doubt, origin, revisions })
    }

    /// The revision of an image's inputs. Outside a repository it is `unversioned`.
    pub(crate) fn revision(&self, image: &ImagePackage) -> Result<Revision> {
        let found = self.revisions.get(&image.package).cloned();
        found.with_context(|| format!("git was not asked for the revision of {}", image.package))
    }
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(ToOwned::to_owned).collect()
}

/// Asks git all questions at the same time; each takes longer to start than to answer.
fn at_once(project: &Project, runner: &Runner, questions: &[Vec<String>]) -> Result<Vec<Captured>> {
    let ask = |arguments: &Vec<String>| {
        let shell = Shell::new()?;
        shell.change_dir(&project.root);
        runner.capture(cmd!(shell, "git {arguments...}"), GIT_LIMIT_SECONDS)
    };
    thread::scope(|scope| {
        let threads: Vec<_> = questions.iter().map(|question| scope.spawn(move || ask(question))).collect();
        let answers = threads.into_iter().map(ScopedJoinHandle::join);
        answers.map(|answer| answer.unwrap_or_else(|_| Err(anyhow!("a thread that asked git panicked")))).collect()
    })
}

fn read(answer: &Captured) -> Result<String> {
    if answer.status.success() {
        return Ok(answer.stdout.clone());
    }
    Err(Stop::Broken(format!("git does not answer: {}", answer.tail())).into())
}

fn split(names: &str) -> impl Iterator<Item = &str> {
    names.split('\0').filter(|name| !name.is_empty())
}

/// What `git log` said of the newest commit, together with the state of the work tree.
fn revision(log: &Captured, is_dirty: bool) -> Result<Revision> {
    let words: Vec<_> = log.stdout.split_whitespace().collect();
    // A repository without a commit.
    let ([id, created, epoch], true) = (words.as_slice(), log.status.success()) else {
        return Ok(Revision::unversioned());
    };
    let dirty = if is_dirty { "-dirty" } else { "" };
    let epoch = epoch.parse().with_context(|| format!("git gives no time for {id}"))?;
    Ok(Revision { id: format!("{id}{dirty}"), created: (*created).to_owned(), epoch })
}

/// An entry of `git status --porcelain -z`.
#[derive(Debug)]
struct Change {
    path: Utf8PathBuf,
    is_untracked: bool,
}

impl Change {
    /// `prefix` is where the workspace lies in its repository, by whose root git names the paths.
    fn of(entry: &str, prefix: &str) -> Option<Self> {
        let (kind, path) = entry.split_at_checked(3)?;
        Some(Self { path: path.strip_prefix(prefix)?.into(), is_untracked: kind.starts_with("??") })
    }

    /// No editor's file, and no link that leads nowhere.
    fn can_change_an_image(&self, project: &Project) -> bool {
        !self.is_untracked || (!is_left_by_an_editor(&self.path) && project.root.join(&self.path).is_file())
    }
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
fn without(project: &Project, images: &[&ImagePackage], words: &str) -> Result<Git> {
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
    let revisions = images.iter().map(|image| (image.package.clone(), Revision::unversioned())).collect();
    Ok(Git { files, ignored: BTreeSet::new(), doubt, origin: None, revisions })
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

    fn runner() -> Runner {
        Runner::new(xtask_process::Interrupt::default(), xtask_outcome::Progress::default())
    }

    /// Only what lies in the workspace and is compiled into the image counts, wherever the workspace lies in its repository.
    #[test]
    fn an_image_is_dirty_when_one_of_its_inputs_differs_from_the_commit() {
        let folder = tempfile::tempdir().unwrap();
        let repository = Utf8Path::from_path(folder.path()).unwrap();
        for below in ["", "a b/shop/"] {
            let root = repository.join(below);
            let mut project = Project::load(env!("CARGO_MANIFEST_DIR")).unwrap();
            let user = project.select(&["user".into()]).unwrap()[0].clone();
            project.root = root.clone();
            let (shell, runner) = (Shell::new().unwrap(), runner());
            shell.change_dir(repository);
            let git = |line: &str| runner.read(cmd!(shell, "sh -c {line}"), GIT_LIMIT_SECONDS).unwrap();
            git("rm -rf .git * && git init --quiet");
            let source = root.join("services/user/src/lib.rs");
            shell.write_file(&source, "").unwrap();
            let revision = || Git::ask(&project, &runner, &[&user]).unwrap().revision(&user).unwrap();
            assert_eq!(revision(), Revision::unversioned());
            git("git add . && git -c user.name=x -c user.email=x@example.org commit --quiet -m one");
            let commit = git("git rev-parse HEAD");
            let dirty = format!("{commit}-dirty");
            assert_eq!(revision().id, commit, "{below}");
            for (file, is_input) in [
                ("services/user/src/new.rs", true),
                ("services/user/src/.new.rs.swp", false),
                ("services/user/tests/new.rs", false),
                ("services/product/src/new.rs", false),
                ("README.md", false),
            ] {
                shell.write_file(root.join(file), "").unwrap();
                assert_eq!(revision().id, *if is_input { &dirty } else { &commit }, "{below}{file}");
                assert!(Git::ask(&project, &runner, &[]).unwrap().files.contains(Utf8Path::new(file)), "{below}{file}");
                shell.remove_path(root.join(file)).unwrap();
            }
            git(&format!("git mv '{below}services/user/src/lib.rs' '{below}services/user/src/other.rs'"));
            assert_eq!(revision().id, dirty, "{below}");
        }
    }

    #[test]
    fn what_an_image_is_made_from_is_what_git_takes_its_pathspecs_for() {
        let project = Project::load(env!("CARGO_MANIFEST_DIR")).unwrap();
        let listed = |specs: &[String]| -> Vec<String> {
            let question = [words("ls-files -z --"), specs.to_vec()].concat();
            split(&read(&at_once(&project, &runner(), &[question]).unwrap()[0]).unwrap())
                .map(ToOwned::to_owned)
                .collect()
        };
        let all = listed(&[]);
        assert!(!all.is_empty());
        for image in &project.images {
            let paths = Paths::of(&project, image);
            let covered: Vec<_> = all.iter().filter(|file| paths.cover(Utf8Path::new(file))).cloned().collect();
            assert_eq!(listed(&paths.pathspecs()), covered, "{}", image.package);
        }
    }

    #[test]
    fn a_shallow_clone_is_a_doubt_with_the_command_that_helps_and_a_whole_one_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        let (shell, runner) = (Shell::new().unwrap(), runner());
        shell.change_dir(folder);
        let git = |line: &str| runner.read(cmd!(shell, "sh -c {line}"), GIT_LIMIT_SECONDS).unwrap();
        let commit = "git -c user.name=x -c user.email=x@example.org -C whole commit --quiet --allow-empty -m";
        git(&format!("git init --quiet whole && {commit} one && {commit} two"));
        git("git clone --quiet --depth 1 \"file://$PWD/whole\" shallow");
        let mut project = Project::load(env!("CARGO_MANIFEST_DIR")).unwrap();
        let mut doubt = |name: &str| {
            project.root = folder.join(name);
            Git::ask(&project, &runner, &[]).unwrap().doubt
        };
        assert!(doubt("shallow").unwrap().contains("next: `git fetch --unshallow`"));
        assert_eq!(doubt("whole"), None);
    }

    #[test]
    fn a_checkout_that_git_refuses_gets_the_command_that_helps() {
        let project = Project::load(env!("CARGO_MANIFEST_DIR")).unwrap();
        let error = without(&project, &[], "fatal: detected dubious ownership in repository at '/x'").unwrap_err();
        assert!(error.to_string().contains("git config --global --add safe.directory"), "{error}");
        assert!(without(&project, &[], "fatal: bad config line 1").is_err());
        let outside = without(&project, &[], "fatal: not a git repository").unwrap();
        assert!(outside.doubt.is_some() && outside.files.contains(Utf8Path::new("Cargo.toml")));
    }
}
