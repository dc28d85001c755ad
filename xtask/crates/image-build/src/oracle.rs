//! The fingerprint against what it stands for. What a builder sees of an image is what the Dockerfiles' own script splits off for
//! it, which the fingerprint does not know; files are then changed at random: where the builder sees a change, the fingerprint
//! has to, and where it sees none, nothing but a manifest may have changed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use xshell::{Shell, cmd};
use xtask_process::{Interrupt, Runner};
use xtask_workspace::{ImagePackage, Project};

use super::fingerprint::{Fingerprint, Hashes};
use super::inputs::{self, Git};
use super::plan::{BuildPlan, ImagePlan, Strategy, tests::plan};
use super::staging;

/// A case takes a third of a second; the slow suite makes more of them.
const CASES: u32 = if cfg!(feature = "engine-tests") { 300 } else { 20 };
const LIMIT_SECONDS: u64 = 60;
/// What no file of this repository has and a workspace may: a build script, what it reads, a file that git ignores.
const MORE_FILES: [(&str, &str); 4] = [
    ("services/user/build.rs", "fn main() { println!(\"cargo:rerun-if-changed=assets\"); }\n"),
    ("services/user/assets/greeting.txt", "hello\n"),
    ("services/kit/src/ignored.rs", "// nobody compiles this\n"),
    (".gitignore", "/target\n.env\n**/ignored.rs\n"),
];

/// A copy of the tracked files, as a repository of its own.
struct Checkout {
    _folder: tempfile::TempDir,
    project: Project,
    files: Vec<Utf8PathBuf>,
    shell: Shell,
    runner: Runner,
    /// What was given to the builder last, and what it saw of it: what is not given to it changes nothing.
    last: RefCell<Option<(Given, Option<Seen>)>>,
}

/// Mode and content of each file.
type Given = BTreeMap<Utf8PathBuf, (u32, Vec<u8>)>;
type Seen = BTreeMap<String, BTreeMap<Utf8PathBuf, Vec<u8>>>;

impl Checkout {
    fn new() -> Self {
        let mut project = Project::load(env!("CARGO_MANIFEST_DIR")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let copy = Utf8Path::from_path(folder.path()).unwrap().to_owned();
        let (shell, runner) =
            (Shell::new().unwrap(), Runner::new(Interrupt::default(), xtask_outcome::Progress::default()));
        shell.change_dir(&project.root);
        let listed =
            runner.read(cmd!(shell, "git ls-files --cached --others --exclude-standard"), LIMIT_SECONDS).unwrap();
        let mut files: Vec<_> =
            listed.lines().map(Utf8PathBuf::from).filter(|file| project.root.join(file).is_file()).collect();
        for file in &files {
            std::fs::create_dir_all(copy.join(file).parent().unwrap()).unwrap();
            std::fs::copy(project.root.join(file), copy.join(file)).unwrap();
        }
        for (file, text) in MORE_FILES {
            std::fs::create_dir_all(copy.join(file).parent().unwrap()).unwrap();
            std::fs::write(copy.join(file), text).unwrap();
            files.push(file.into());
        }
        project.root = copy;
        shell.change_dir(&project.root);
        runner.read(cmd!(shell, "git init --quiet"), LIMIT_SECONDS).unwrap();
        Self { _folder: folder, project, files, shell, runner, last: RefCell::default() }
    }

    fn git(&self) -> Git {
        Git::ask(&self.project, &self.runner, &[]).unwrap()
    }

    /// The fingerprint of each image; `None` when an input cannot be read: such a build ends before anything is skipped.
    fn fingerprints(&self, git: &Git, images: &[ImagePackage]) -> BTreeMap<String, Option<Fingerprint>> {
        let of = |image: &ImagePackage| {
            let (plan, planned) = planned(image);
            let files = inputs::files(&self.project, git, image);
            Fingerprint::of(&mut Hashes::below(&self.project.root), &files, &plan, &planned, "compiler").ok()
        };
        images.iter().map(|image| (image.package.clone(), of(image))).collect()
    }

    /// What the builder sees of each image: its Dockerfile, and what the script splits off for it from the staged inputs. `None`
    /// when the script fails: nothing is built from that.
    fn seen(&self, git: &Git) -> Option<Seen> {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        let (context, split) = (folder.join("context"), folder.join("split"));
        staging::stage(&self.project, &inputs::of_all(&self.project, git), &context).ok()?;
        let given = given(&context);
        if let Some((_, seen)) = self.last.borrow().as_ref().filter(|(last, _)| *last == given) {
            return seen.clone();
        }
        let seen = self.split(&context, &split);
        self.last.replace(Some((given, seen.clone())));
        seen
    }

    fn split(&self, context: &Utf8Path, split: &Utf8Path) -> Option<Seen> {
        let script = context.join("xtask/docker/split-workspace.sh");
        let ended = self.runner.capture(cmd!(self.shell, "sh {script} {context} {split}"), LIMIT_SECONDS).unwrap();
        if !ended.status.success() {
            return None;
        }
        let of = |image: &ImagePackage| {
            let mut seen = BTreeMap::new();
            for part in ["dependencies".into(), "libraries".into(), format!("members/{}", image.package)] {
                add(&mut seen, split, Utf8Path::new(&part));
            }
            // The stage compiles every library, and of those that a program does not link nothing gets into it but, by its
            // manifest, features.
            seen.retain(|path, _| match path.strip_prefix("libraries") {
                Ok(file) => {
                    let is_linked = image.compiled_folders.iter().any(|folder| file.starts_with(folder));
                    is_linked || file.components().count() == 1 || file.file_name() == Some("Cargo.toml")
                }
                Err(_) => true,
            });
            add(&mut seen, context, &image.folder.join("Dockerfile"));
            (image.package.clone(), seen)
        };
        Some(self.project.images.iter().map(of).collect())
    }
}

fn given(context: &Utf8Path) -> Given {
    let mut files = BTreeMap::new();
    add(&mut files, context, Utf8Path::new(""));
    let mode = |file: &Utf8PathBuf| std::fs::metadata(context.join(file)).unwrap().permissions().mode();
    files.into_iter().map(|(file, content)| (file.clone(), (mode(&file), content))).collect()
}

fn add(seen: &mut BTreeMap<Utf8PathBuf, Vec<u8>>, root: &Utf8Path, path: &Utf8Path) {
    if let Ok(entries) = root.join(path).read_dir_utf8() {
        for entry in entries {
            add(seen, root, &path.join(entry.unwrap().file_name()));
        }
    } else if let Ok(content) = std::fs::read(root.join(path)) {
        seen.insert(path.to_owned(), content);
    }
}

fn planned(package: &ImagePackage) -> (BuildPlan, ImagePlan) {
    let plan = plan();
    let mut image = plan.images[0].clone();
    image.name = package.name().to_owned();
    (plan, image)
}

/// Numbers that look random and follow from a seed, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        // Knuth's linear congruential generator; its upper bits are the good ones.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

/// Changes one thing, calls `look`, and puts it back. Gives what was changed, in words.
fn with_a_change(checkout: &Checkout, random: &mut Random, look: impl FnOnce(&str)) {
    let file = &checkout.files[random.below(checkout.files.len())];
    let path = checkout.project.root.join(file);
    let content = std::fs::read(&path).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions();
    let other = path.with_file_name(format!("{}-other.rs", file.file_name().unwrap()));
    match random.below(5) {
        0 if !content.is_empty() => {
            let mut changed = content.clone();
            let at = random.below(changed.len());
            changed[at] ^= 1 << random.below(7);
            std::fs::write(&path, changed).unwrap();
            look(&format!("byte {at} of {file}"));
        }
        1 => {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            look(&format!("the mode of {file}"));
        }
        2 => {
            std::fs::rename(&path, &other).unwrap();
            look(&format!("the name of {file}"));
        }
        3 => {
            std::fs::remove_file(&path).unwrap();
            look(&format!("{file} deleted"));
        }
        _ => {
            std::fs::write(&other, "// new\n").unwrap();
            look(&format!("a file beside {file}"));
        }
    }
    let _ = std::fs::remove_file(&other);
    std::fs::write(&path, content).unwrap();
    std::fs::set_permissions(&path, mode).unwrap();
}

/// The changes on which the fingerprints say something else than the builder's view.
fn disagreements(checkout: &Checkout, images: &[ImagePackage], seed: u64, cases: u32) -> Vec<String> {
    let git = checkout.git();
    let (seen, fingerprints) = (checkout.seen(&git).unwrap(), checkout.fingerprints(&git, images));
    let mut random = Random(seed);
    let mut found = Vec::new();
    for _ in 0..cases {
        with_a_change(checkout, &mut random, |what| {
            // The part of a manifest that changes no dependency, another member's version: built again, from the cache.
            let may_be_superfluous =
                ["Cargo.toml", "Cargo.lock", "split-workspace.sh"].iter().any(|file| what.contains(file));
            let git = checkout.git();
            let (Some(now), changed) = (checkout.seen(&git), checkout.fingerprints(&git, images)) else { return };
            for (package, before) in &seen {
                let (sees, knows) = (now[package] != *before, changed[package] != fingerprints[package]);
                if (sees && !knows) || (knows && !sees && !may_be_superfluous) {
                    found.push(format!(
                        "seed {seed}: {what}: the builder of {package} sees a change: {sees}, the fingerprint: {knows}"
                    ));
                }
            }
        });
    }
    found
}

fn seed() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn the_fingerprint_changes_when_the_builder_sees_a_change_and_not_without_one() {
    let checkout = Checkout::new();
    let found = disagreements(&checkout, &checkout.project.images, seed(), CASES);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_fingerprint_that_forgets_one_folder_is_caught() {
    let checkout = Checkout::new();
    let mut forgetful = checkout.project.images.clone();
    for image in &mut forgetful {
        image.compiled_folders.retain(|folder| *folder == image.folder);
    }
    let source = checkout.project.root.join("services/kit/src/lib.rs");
    let (seen, before) = (checkout.seen(&checkout.git()).unwrap(), checkout.fingerprints(&checkout.git(), &forgetful));
    std::fs::write(&source, "// changed\n").unwrap();
    assert_ne!(checkout.seen(&checkout.git()).unwrap(), seen);
    assert_eq!(checkout.fingerprints(&checkout.git(), &forgetful), before, "the negative control forgets");
}

#[test]
fn a_build_script_and_what_it_reads_are_inputs_and_what_git_ignores_is_a_finding() {
    let checkout = Checkout::new();
    let git = checkout.git();
    let user = checkout.project.select(&["user".into()]).unwrap()[0];
    let files = inputs::files(&checkout.project, &git, user);
    for file in ["services/user/build.rs", "services/user/assets/greeting.txt"] {
        assert!(files.contains(Utf8Path::new(file)), "{file}");
    }
    assert!(!files.contains(Utf8Path::new("services/kit/src/ignored.rs")));
    let found = inputs::judge(&checkout.project, &git, &inputs::of_all(&checkout.project, &git), user);
    assert_eq!((found[0].rule, found[0].place.name.as_str()), ("input-ignored", "services/kit/src/ignored.rs"));
    let seen = &checkout.seen(&checkout.git()).unwrap()["mini-user"];
    assert!(seen.contains_key(Utf8Path::new("members/mini-user/services/user/build.rs")));
    assert!(
        seen.contains_key(Utf8Path::new("dependencies/services/user/build.rs")),
        "its own dependencies are compiled early"
    );
    assert!(!seen.keys().any(|file| file.as_str().contains("ignored")));
}

#[test]
fn a_members_version_and_what_its_manifest_says_of_it_change_no_dependency() {
    let checkout = Checkout::new();
    let dependencies = |seen: &Seen| -> BTreeMap<Utf8PathBuf, Vec<u8>> {
        seen["mini-user"]
            .iter()
            .filter(|(path, _)| path.starts_with("dependencies"))
            .map(|(p, c)| (p.clone(), c.clone()))
            .collect()
    };
    let before = dependencies(&checkout.seen(&checkout.git()).unwrap());
    let manifest = checkout.project.root.join("gateway/Cargo.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let text = text
        .replace("\nversion.workspace = true", "\nversion = \"7.8.9\"")
        .replace("description = ", "# new\ndescription = \"New. \" # ");
    std::fs::write(&manifest, &text).unwrap();
    let lock = checkout.project.root.join("Cargo.lock");
    let locked = std::fs::read_to_string(&lock).unwrap();
    std::fs::write(
        &lock,
        locked.replace("name = \"mini-gateway\"\nversion = \"0.1.0\"", "name = \"mini-gateway\"\nversion = \"7.8.9\""),
    )
    .unwrap();
    let seen = checkout.seen(&checkout.git()).unwrap();
    assert_eq!(dependencies(&seen), before);
    let own = &seen["mini-gateway"][Utf8Path::new("members/mini-gateway/gateway/Cargo.toml")];
    assert!(String::from_utf8_lossy(own).contains("version = \"7.8.9\""));
    let own = &seen["mini-gateway"][Utf8Path::new("members/mini-gateway/Cargo.lock")];
    assert!(String::from_utf8_lossy(own).contains("name = \"mini-gateway\"\nversion = \"7.8.9\""));
    std::fs::write(&manifest, text + "\n[dependencies.extra]\nversion = \"1\"\n").unwrap();
    assert_ne!(dependencies(&checkout.seen(&checkout.git()).unwrap()), before);
}

#[test]
fn what_is_no_file_counts_too() {
    let checkout = Checkout::new();
    let package = &checkout.project.images[0];
    let files = inputs::files(&checkout.project, &checkout.git(), package);
    let (plan, image) = planned(package);
    let of = |plan: &BuildPlan, image: &ImagePlan, compiler: &str| {
        Fingerprint::of(&mut Hashes::below(&checkout.project.root), &files, plan, image, compiler).unwrap()
    };
    let before = of(&plan, &image, "base one");
    let differs = |plan: &BuildPlan, image: &ImagePlan, compiler: &str| before.differences(&of(plan, image, compiler));
    assert!(differs(&plan, &image, "base one").is_empty());
    assert_eq!(differs(&plan, &image, "base two"), ["compiler"]);
    assert_eq!(differs(&BuildPlan { strategy: Strategy::Host, ..plan.clone() }, &image, "base one"), ["strategy"]);
    assert_eq!(differs(&plan, &ImagePlan { version: "9".into(), ..image.clone() }, "base one"), ["version"]);
    assert_eq!(differs(&plan, &ImagePlan { source: None, ..image.clone() }, "base one"), ["source"]);
    let mut other = image.clone();
    other.revision.id = "other".into();
    assert_eq!(differs(&plan, &other, "base one"), ["revision"]);
    let mut other = image.clone();
    other.revision.created = "2030-01-01T00:00:00Z".into();
    assert_eq!(differs(&plan, &other, "base one"), ["created"]);
}

/// Compiles the whole workspace, so it belongs to the slow suite.
#[cfg(feature = "engine-tests")]
#[test]
fn every_file_that_cargo_compiled_into_a_program_is_an_input_of_its_image() {
    const COMPILE_LIMIT_SECONDS: u64 = 1200;
    let project = Project::load(env!("CARGO_MANIFEST_DIR")).unwrap();
    let shell = Shell::new().unwrap();
    shell.change_dir(&project.root);
    let runner = Runner::new(Interrupt::default(), xtask_outcome::Progress::default());
    let target = project.root.join("target");
    let build = cmd!(shell, "cargo build --quiet --locked --bins --target-dir {target}");
    runner.run(build, COMPILE_LIMIT_SECONDS).unwrap();
    for image in &project.images {
        let git = Git::ask(&project, &runner, &[]).unwrap();
        let inputs = inputs::files(&project, &git, image);
        let text = std::fs::read_to_string(target.join("debug").join(format!("{}.d", image.package))).unwrap();
        let (_, files) = text.split_once(": ").unwrap();
        // A blank in a path is written with a backslash before it.
        let files = files.trim().replace("\\ ", "\0");
        let files: Vec<_> = files.split(' ').map(|file| Utf8PathBuf::from(file.replace('\0', " "))).collect();
        assert!(files.len() > 20, "{}: {files:?}", image.package);
        for file in files {
            let relative = file.strip_prefix(&project.root).unwrap_or(&file);
            assert!(inputs.contains(relative), "{}: {relative} is no input", image.package);
        }
    }
}
