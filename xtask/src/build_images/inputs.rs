//! What an image is made from: the files whose newest commit is its revision, and the check that they reach the builder.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hasher as _};

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use xshell::{Shell, cmd};

use crate::outcome::Stop;
use crate::project::{ImagePackage, Project};
use crate::tools::Runner;

const GIT_LIMIT_SECONDS: u64 = 60;
/// What a package's folder gives to the compiler; tests and documents change no image.
const COMPILED_PARTS: [&str; 2] = ["src", "migrations"];

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

/// The paths, relative to the root, that decide what is in an image.
pub(crate) fn input_paths(project: &Project, image: &ImagePackage) -> BTreeSet<Utf8PathBuf> {
    let mut paths: BTreeSet<_> =
        ["Cargo.toml", "Cargo.lock", ".dockerignore"].into_iter().map(Utf8PathBuf::from).collect();
    paths.insert(image.folder.join("Dockerfile"));
    // Cargo resolves all members together, so each manifest can change what is compiled.
    paths.extend(project.member_folders.iter().map(|folder| folder.join("Cargo.toml")));
    for folder in &image.compiled_folders {
        let parts = COMPILED_PARTS.iter().map(|part| folder.join(part));
        paths.extend(parts.filter(|path| project.root.join(path).exists()));
    }
    paths
}

/// Asks git for the revision of an image's inputs. Outside a repository it is `unversioned`.
pub(crate) fn revision(project: &Project, runner: &Runner, image: &ImagePackage) -> Result<Revision> {
    let shell = Shell::new()?;
    shell.change_dir(&project.root);
    let paths = &input_paths(project, image);
    let log = runner.capture(cmd!(shell, "git log -1 --format=%H%x20%cI%x20%ct -- {paths...}"), GIT_LIMIT_SECONDS)?;
    let status =
        runner.capture(cmd!(shell, "git status --porcelain --untracked-files=all -- {paths...}"), GIT_LIMIT_SECONDS)?;
    let words: Vec<_> = log.stdout.split_whitespace().collect();
    let ([id, created, epoch], true) = (words.as_slice(), log.status.success()) else {
        return Ok(Revision { id: "unversioned".to_owned(), created: "1970-01-01T00:00:00Z".to_owned(), epoch: 0 });
    };
    let dirty = if status.stdout.trim().is_empty() { "" } else { "-dirty" };
    let epoch = epoch.parse().with_context(|| format!("git gives no time for {id}"))?;
    Ok(Revision { id: format!("{id}{dirty}"), created: (*created).to_owned(), epoch })
}

/// A hash over the names and contents of everything the compiler takes from a member's folder. File times play no part.
/// It is good for comparing on one machine; it is no identifier.
pub(crate) fn content_hash(root: &Utf8Path, folder: &Utf8Path) -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    let mut pending: Vec<_> =
        COMPILED_PARTS.iter().map(|part| root.join(folder).join(part)).filter(|path| path.exists()).collect();
    pending.push(root.join(folder).join("Cargo.toml"));
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            let entries = path.read_dir_utf8().with_context(|| format!("read the folder {path}"))?;
            let mut children = entries.map(|entry| Ok(entry?.into_path())).collect::<Result<Vec<_>>>()?;
            children.sort();
            pending.extend(children);
        } else {
            let content = std::fs::read(&path).with_context(|| format!("read {path}"))?;
            hasher.write(path.strip_prefix(root).unwrap_or(&path).as_str().as_bytes());
            hasher.write_usize(content.len());
            hasher.write(&content);
        }
    }
    Ok(hasher.finish())
}

/// Every member's manifest must reach the builder, and every image's Dockerfile must copy it: cargo resolves the whole
/// workspace before it looks at what to build.
///
/// # Errors
/// [`Stop::Repository`] names each missing member and where to add it.
pub(crate) fn check_context(project: &Project) -> Result<()> {
    let read =
        |path: &Utf8Path| std::fs::read_to_string(project.root.join(path)).with_context(|| format!("read {path}"));
    let mut problems = Vec::new();
    let ignore = read(Utf8Path::new(".dockerignore"))?;
    let mut admitted: Vec<String> =
        project.member_folders.iter().map(|folder| format!("{folder}/Cargo.toml")).collect();
    for image in &project.images {
        for folder in &image.compiled_folders {
            let parts = COMPILED_PARTS.iter().filter(|part| project.root.join(folder).join(part).exists());
            admitted.extend(parts.map(|part| format!("{folder}/{part}")));
        }
    }
    admitted.sort();
    admitted.dedup();
    for path in &admitted {
        if !ignore.lines().any(|line| line.trim() == format!("!{path}")) {
            problems.push(format!(".dockerignore keeps {path} out of the build; add the line `!{path}`"));
        }
    }
    for image in &project.images {
        let path = image.folder.join("Dockerfile");
        let dockerfile = read(&path)?;
        for folder in &project.member_folders {
            let copy = format!("COPY {folder}/Cargo.toml {folder}/");
            if !dockerfile.lines().any(|line| line.trim() == copy) {
                problems.push(format!(
                    "{path} does not copy the manifest of the member {folder}; add `{copy}` to its dependencies stage"
                ));
            }
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Stop::Repository(problems.join("\n")).into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_workspace_reaches_its_builder() {
        check_context(&Project::load().unwrap()).unwrap();
    }

    #[test]
    fn a_member_that_no_dockerfile_knows_is_named_with_the_place_to_add_it() {
        let mut project = Project::load().unwrap();
        project.member_folders.insert("services/reports".into());
        let error = check_context(&project).unwrap_err().to_string();
        assert!(error.contains("add the line `!services/reports/Cargo.toml`"), "{error}");
        assert!(
            error.contains("services/user/Dockerfile does not copy the manifest of the member services/reports"),
            "{error}"
        );
    }

    #[test]
    fn documents_and_tests_are_no_inputs_but_every_manifest_is() {
        let project = Project::load().unwrap();
        let paths = input_paths(&project, project.select(&["user".into()]).unwrap()[0]);
        assert!(paths.contains(Utf8Path::new("xtask/Cargo.toml")));
        assert!(paths.contains(Utf8Path::new("services/kit/src")));
        assert!(
            !paths.iter().any(|path| path.as_str().contains("tests") || path.as_str().contains("docs")),
            "{paths:?}"
        );
    }

    #[test]
    fn a_hash_sees_content_and_not_times() {
        let root = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(root.path()).unwrap();
        std::fs::create_dir_all(root.join("a/src")).unwrap();
        std::fs::write(root.join("a/Cargo.toml"), "x").unwrap();
        std::fs::write(root.join("a/src/lib.rs"), "one").unwrap();
        let before = content_hash(root, Utf8Path::new("a")).unwrap();
        let file = std::fs::File::options().write(true).open(root.join("a/src/lib.rs")).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(content_hash(root, Utf8Path::new("a")).unwrap(), before);
        std::fs::write(root.join("a/src/lib.rs"), "two").unwrap();
        assert_ne!(content_hash(root, Utf8Path::new("a")).unwrap(), before);
    }
}
