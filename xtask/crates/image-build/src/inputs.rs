//! What an image is compiled from: files that git knows or would add, of the members that cargo compiles into it. One answer for
//! what the builder is given, for the fingerprint, for the revision, and for both strategies.

mod copies;
mod git;
mod paths;

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hasher as _};

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use xtask_outcome::{Finding, Place, Stop};
use xtask_workspace::{ImagePackage, Project};

pub(crate) use self::git::{Git, Revision};

/// What decides about every image, where it is there.
const ROOT_FILES: [&str; 6] =
    ["Cargo.toml", "Cargo.lock", "rust-toolchain.toml", "rust-toolchain", ".cargo/config.toml", ".cargo/config"];
/// What the Dockerfiles read of the automation's folder.
const DOCKER_FILES: [&str; 2] = ["docker/split-workspace.sh", "docker/packages.txt"];
/// Folders of a member that cargo reads for other targets than libraries and programs.
const OTHER_TARGETS: [&str; 3] = ["tests", "benches", "examples"];
/// Folders in which every file is read by cargo or by a macro.
const READ_FOLDERS: [&str; 2] = ["src", "migrations"];
const BUILD_SCRIPT: &str = "build.rs";
/// What cargo itself sets for a build script, so that an image's build has it as well.
const SET_BY_CARGO: [&str; 8] = ["TARGET", "HOST", "PROFILE", "OPT_LEVEL", "DEBUG", "NUM_JOBS", "RUSTC", "OUT_DIR"];
const OUTSIDE: &str = "input-outside";
const NOT_THERE: &str = "input-not-there";
const WATCHED: &str = "rerun-if-env-changed=";

/// The files that an image is made from, relative to the root.
pub(crate) fn files(project: &Project, git: &Git, image: &ImagePackage) -> BTreeSet<Utf8PathBuf> {
    let mut files: BTreeSet<_> = root_files(project).collect();
    // Cargo resolves all members together, so each manifest can change what is compiled.
    files.extend(project.members.keys().map(|folder| folder.join("Cargo.toml")));
    files.insert(image.folder.join("Dockerfile"));
    files.extend(git.files.iter().filter(|file| is_source(project, image, file)).cloned());
    files
}

/// Those of all images, and what the Dockerfiles split the workspace with.
pub(crate) fn of_all(project: &Project, git: &Git) -> BTreeSet<Utf8PathBuf> {
    project.images.iter().flat_map(|image| files(project, git, image)).collect()
}

fn root_files(project: &Project) -> impl Iterator<Item = Utf8PathBuf> {
    let docker = DOCKER_FILES.map(|file| project.automation.join(file));
    let files = ROOT_FILES.into_iter().map(Utf8PathBuf::from).chain(docker);
    files.filter(|file| project.root.join(file).is_file())
}

/// Whether a file that git knows is compiled into an image.
fn is_source(project: &Project, image: &ImagePackage, file: &Utf8Path) -> bool {
    let more = image.more_inputs.iter().any(|input| file.starts_with(normal(&image.folder.join(input))));
    let of_member = member_of(project, file)
        .filter(|folder| image.compiled_folders.contains(*folder))
        .is_some_and(|folder| is_part(folder, file));
    (more || of_member) && !is_left_by_an_editor(file)
}

/// The innermost member that a file belongs to.
fn member_of<'a>(project: &'a Project, file: &Utf8Path) -> Option<&'a Utf8PathBuf> {
    project.members.keys().filter(|folder| file.starts_with(folder)).max_by_key(|folder| folder.as_str().len())
}

fn is_part(folder: &Utf8Path, file: &Utf8Path) -> bool {
    let Ok(inside) = file.strip_prefix(folder) else { return false };
    let first = inside.components().next().map(|part| part.as_str()).unwrap_or_default();
    !OTHER_TARGETS.contains(&first) && inside != "Dockerfile"
}

/// What editors and desktops leave beside a file while it is open: locks, swap files, backups, and the probe whether a folder can be
/// written to. None of it is ever compiled.
pub fn is_left_by_an_editor(file: &Utf8Path) -> bool {
    let name = file.file_name().unwrap_or_default();
    let is_vims =
        name == "4913" || name.starts_with('.') && name.rsplit_once(".sw").is_some_and(|(_, rest)| rest.len() == 1);
    let is_emacs = name.starts_with(".#") || name.starts_with('#') && name.ends_with('#');
    let is_others = [".goutputstream-", "._"].iter().any(|start| name.starts_with(start))
        || ["~", ".kate-swp", "___jb_tmp___", "___jb_old___"].iter().any(|end| name.ends_with(end))
        || name == ".DS_Store";
    is_vims || is_emacs || is_others
}

/// Without `..`: `services/user/../../schema` is `schema`.
fn normal(path: &Utf8Path) -> Utf8PathBuf {
    let mut parts = Vec::new();
    for part in path.components() {
        match part.as_str() {
            ".." => drop(parts.pop()),
            "." => {}
            part => parts.push(part),
        }
    }
    parts.into_iter().collect()
}

/// What cargo reads on this machine and no image can be made from. `inputs` are those of all images.
pub(crate) fn judge(
    project: &Project,
    git: &Git,
    inputs: &BTreeSet<Utf8PathBuf>,
    image: &ImagePackage,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |rule, place: &Utf8Path, line, message: String, next_step: String| {
        findings.push(Finding { rule, place: Place { name: place.to_string(), line }, message, next_step });
    };
    let name = image.name();
    for file in git.ignored.iter().filter(|file| is_source(project, image, file) && is_read(project, file)) {
        let message =
            format!("{name}: git ignores this file, so it is in no image, and cargo reads it on this machine");
        add("input-ignored", file, None, message, format!("`git add --force {file}`, or delete it"));
    }
    for path in &image.outside {
        let message = format!("{name} depends on {path}, which only this machine has: no image can be made from it");
        let next =
            "move it into the workspace, or take it from a registry or from a server's git repository".to_owned();
        add(OUTSIDE, &image.folder.join("Cargo.toml"), None, message, next);
    }
    let dockerfile = image.folder.join("Dockerfile");
    let text = std::fs::read_to_string(project.root.join(&dockerfile)).unwrap_or_default();
    for (line, source) in copies::copies(&text) {
        let path = normal(Utf8Path::new(source.trim_start_matches('/')));
        // The program that `--strategy host` compiled lies in a context of its own.
        if path != image.package.as_str() && !inputs.iter().any(|file| file.starts_with(&path)) {
            let message = format!("{name}: `{source}` is copied, and no such file or folder is among the inputs");
            let next = format!(
                "delete the line, or name the file in `inputs` of [package.metadata.image] ({})",
                image.folder.join("Cargo.toml")
            );
            add(NOT_THERE, &dockerfile, Some(line), message, next);
        }
    }
    for folder in &image.compiled_folders {
        let script = folder.join(BUILD_SCRIPT);
        let text = std::fs::read_to_string(project.root.join(&script)).unwrap_or_default();
        for (number, line) in text.lines().enumerate() {
            for variable in watched(line).filter(|variable| !SET_BY_CARGO.contains(variable)) {
                let message = format!(
                    "{name}: the build script watches the variable {variable}, which no build of an image sets: the program can differ from the one on this machine"
                );
                let next = format!("take {variable} from a file of the repository instead");
                add("input-environment", &script, u32::try_from(number + 1).ok(), message, next);
            }
        }
    }
    findings
}

/// Findings after which a build can only fail, later and with other words.
///
/// # Errors
/// [`Stop::Repository`] when there is one.
pub(crate) fn refuse(findings: &[Finding]) -> Result<(), Stop> {
    let fatal = findings.iter().filter(|finding| [OUTSIDE, NOT_THERE].contains(&finding.rule)).count();
    let text = || format!("nothing is built: {fatal} inputs are not there for a builder, see the findings");
    if fatal == 0 { Ok(()) } else { Err(Stop::Repository(text())) }
}

/// Whether cargo, or a macro of a source, reads a file of a member by its place.
fn is_read(project: &Project, file: &Utf8Path) -> bool {
    let inside = member_of(project, file).and_then(|folder| file.strip_prefix(folder).ok());
    let first = inside.and_then(|inside| inside.components().next()).map(|part| part.as_str()).unwrap_or_default();
    READ_FOLDERS.contains(&first) || inside.is_some_and(|inside| inside == BUILD_SCRIPT)
}

fn watched(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices(WATCHED).filter_map(|(at, mark)| {
        let rest = &line[at + mark.len()..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        (end > 0).then(|| &rest[..end])
    })
}

/// A hash over the names and contents of the files of one member. File times play no part. It is good for comparing on one
/// machine; it is no identifier.
pub(crate) fn content_hash(root: &Utf8Path, folder: &Utf8Path, files: &BTreeSet<Utf8PathBuf>) -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    for file in files.iter().filter(|file| file.starts_with(folder)) {
        let content = std::fs::read(root.join(file)).with_context(|| format!("read {file}"))?;
        hasher.write(file.as_str().as_bytes());
        hasher.write_usize(content.len());
        hasher.write(&content);
    }
    Ok(hasher.finish())
}

/// Every image has its Dockerfile, and no image is a part of another: their sources reach the builder one by one.
///
/// # Errors
/// [`Stop::Repository`] names each problem and what to do.
pub fn check_layout(project: &Project) -> Result<()> {
    let mut problems = Vec::new();
    for image in &project.images {
        let dockerfile = image.folder.join("Dockerfile");
        if !project.root.join(&dockerfile).is_file() {
            problems.push(format!(
                "{} is an image by its manifest and has no {dockerfile}; next: copy another image's and change its package",
                image.package
            ));
        }
        for other in project.images.iter().filter(|other| other.package != image.package) {
            if image.compiled_folders.contains(&other.folder) {
                problems.push(format!(
                    "{} is compiled from {}, which is an image itself; next: move what they share into a member without a Dockerfile",
                    image.package, other.package
                ));
            }
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Stop::Repository(problems.join("\n")).into()) }
}

#[cfg(test)]
mod tests {
    use xtask_process::{Interrupt, Runner};

    use super::*;

    fn project() -> Project {
        Project::load(env!("CARGO_MANIFEST_DIR")).unwrap()
    }

    fn git(project: &Project) -> Git {
        Git::ask(project, &Runner::new(Interrupt::default(), xtask_outcome::Progress::default()), &[]).unwrap()
    }

    #[test]
    fn this_workspace_can_be_built_and_has_no_finding() {
        let project = project();
        check_layout(&project).unwrap();
        let git = git(&project);
        let inputs = of_all(&project, &git);
        for image in &project.images {
            assert_eq!(judge(&project, &git, &inputs, image), [], "{}", image.name());
        }
    }

    #[test]
    fn an_image_without_a_dockerfile_is_named_with_what_to_do() {
        let mut project = project();
        project.images[0].folder = "services/reports".into();
        let error = check_layout(&project).unwrap_err().to_string();
        assert!(error.contains("has no services/reports/Dockerfile; next: copy"), "{error}");
    }

    #[test]
    fn documents_and_tests_are_no_inputs_but_every_manifest_is() {
        let project = project();
        let files = files(&project, &git(&project), project.select(&["user".into()]).unwrap()[0]);
        for file in ["xtask/Cargo.toml", "services/kit/src/lib.rs", "services/user/Dockerfile", "Cargo.lock"] {
            assert!(files.contains(Utf8Path::new(file)), "{file}: {files:?}");
        }
        assert!(files.iter().any(|file| file.starts_with("services/user/migrations")), "{files:?}");
        assert!(!files.iter().any(|file| file.as_str().contains("/tests/") || file.starts_with("docs")), "{files:?}");
    }

    #[test]
    fn what_editors_leave_is_no_input() {
        for file in [
            "src/.#lib.rs",
            "src/lib.rs~",
            "src/#lib.rs#",
            "src/.lib.rs.swp",
            "src/.lib.rs.swo",
            "src/4913",
            "src/.lib.rs.kate-swp",
            "src/lib.rs___jb_tmp___",
            "src/.goutputstream-X1",
            "src/._lib.rs",
            "src/.DS_Store",
        ] {
            assert!(is_left_by_an_editor(Utf8Path::new(file)), "{file}");
        }
        for file in ["src/lib.rs", ".cargo/config.toml", "src/.swift", "src/49130", "migrations/0001_x.sql"] {
            assert!(!is_left_by_an_editor(Utf8Path::new(file)), "{file}");
        }
    }

    #[test]
    fn variables_that_a_build_script_watches_are_found() {
        let line = r#"println!("cargo:rerun-if-env-changed=STAMP\ncargo::rerun-if-env-changed=B2");"#;
        assert_eq!(watched(line).collect::<Vec<_>>(), ["STAMP", "B2"]);
        assert_eq!(watched(r#"println!("cargo:rerun-if-env-changed={name}");"#).count(), 0);
    }

    #[test]
    fn a_hash_sees_content_and_not_times() {
        let root = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(root.path()).unwrap();
        std::fs::create_dir_all(root.join("a/src")).unwrap();
        let files: BTreeSet<Utf8PathBuf> = ["a/src/lib.rs".into()].into();
        std::fs::write(root.join("a/src/lib.rs"), "one").unwrap();
        let before = content_hash(root, Utf8Path::new("a"), &files).unwrap();
        let file = std::fs::File::options().write(true).open(root.join("a/src/lib.rs")).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(content_hash(root, Utf8Path::new("a"), &files).unwrap(), before);
        std::fs::write(root.join("a/src/lib.rs"), "two").unwrap();
        assert_ne!(content_hash(root, Utf8Path::new("a"), &files).unwrap(), before);
    }
}
