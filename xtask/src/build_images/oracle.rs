//! The fingerprint against what it stands for. What a builder sees of an image is read from its Dockerfile's COPY lines, which
//! the fingerprint does not know; files are then changed at random: where the builder sees a change, the fingerprint has to, and
//! where it sees none, nothing may be built.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use xshell::{Shell, cmd};

use super::fingerprint::Fingerprint;
use super::plan::{BuildPlan, ImagePlan, Strategy, tests::plan};
use super::{inputs, staging};
use crate::interrupt::Interrupt;
use crate::project::{ImagePackage, Project};
use crate::tools::Runner;

const CASES: u32 = 120;
const GIT_LIMIT_SECONDS: u64 = 60;

/// A copy of the tracked files.
struct Checkout {
    _folder: tempfile::TempDir,
    project: Project,
    files: Vec<Utf8PathBuf>,
}

impl Checkout {
    fn new() -> Self {
        let mut project = Project::load().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let copy = Utf8Path::from_path(folder.path()).unwrap().to_owned();
        let shell = Shell::new().unwrap();
        shell.change_dir(&project.root);
        let listed =
            Runner::new(Interrupt::default(), false).read(cmd!(shell, "git ls-files"), GIT_LIMIT_SECONDS).unwrap();
        let files: Vec<_> =
            listed.lines().map(Utf8PathBuf::from).filter(|file| project.root.join(file).is_file()).collect();
        for file in &files {
            std::fs::create_dir_all(copy.join(file).parent().unwrap()).unwrap();
            std::fs::copy(project.root.join(file), copy.join(file)).unwrap();
        }
        project.root = copy;
        Self { _folder: folder, project, files }
    }

    /// `None` when an input cannot be read: such a build ends before anything is skipped.
    fn fingerprint(&self, package: &ImagePackage) -> Option<Fingerprint> {
        let (plan, image) = planned(package);
        Fingerprint::of(&self.project, package, &plan, &image, "compiler").ok()
    }

    /// What the builder sees: the Dockerfile, the ignore file, and every file under the sources of each COPY.
    fn seen(&self, package: &ImagePackage, root: &Utf8Path) -> BTreeMap<Utf8PathBuf, Vec<u8>> {
        let dockerfile = package.folder.join("Dockerfile");
        let text = std::fs::read_to_string(root.join(&dockerfile)).unwrap_or_default();
        let mut seen = BTreeMap::new();
        add(&mut seen, root, &dockerfile);
        add(&mut seen, root, Utf8Path::new(".dockerignore"));
        for line in
            text.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|line| !line.starts_with("--from"))
        {
            let words: Vec<_> = line.split_whitespace().collect();
            for source in words.iter().take(words.len().saturating_sub(1)) {
                add(&mut seen, root, Utf8Path::new(source));
            }
        }
        seen
    }
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

/// The changes on which the fingerprint of `package` says something else than the builder's view of `image`.
fn disagreements(
    checkout: &Checkout,
    image: &ImagePackage,
    package: &ImagePackage,
    seed: u64,
    cases: u32,
) -> Vec<String> {
    let root = &checkout.project.root;
    let (seen, fingerprint) = (checkout.seen(image, root), checkout.fingerprint(package));
    let mut random = Random(seed);
    let mut found = Vec::new();
    for _ in 0..cases {
        with_a_change(checkout, &mut random, |what| {
            let (seen_changed, fingerprint_changed) =
                (checkout.seen(image, root) != seen, checkout.fingerprint(package) != fingerprint);
            if seen_changed != fingerprint_changed {
                found.push(format!("seed {seed}: {what}: the builder sees a change: {seen_changed}, the fingerprint: {fingerprint_changed}"));
            }
        });
    }
    found
}

fn seed() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn the_fingerprint_changes_exactly_when_the_builder_sees_a_change() {
    let checkout = Checkout::new();
    for image in &checkout.project.images {
        assert!(checkout.fingerprint(image).is_some(), "{}", image.package);
        let found = disagreements(&checkout, image, image, seed(), CASES);
        assert!(found.is_empty(), "{}: {found:#?}", image.package);
    }
}

#[test]
fn a_fingerprint_that_forgets_one_folder_is_caught() {
    let checkout = Checkout::new();
    let image = &checkout.project.images[0];
    let mut forgetful = image.clone();
    assert!(forgetful.compiled_folders.remove(Utf8Path::new("services/kit")));
    assert!(!disagreements(&checkout, image, &forgetful, 1, CASES).is_empty());
}

#[test]
fn the_staged_context_shows_the_builder_what_the_checkout_would() {
    let checkout = Checkout::new();
    let staged = tempfile::tempdir().unwrap();
    let staged = Utf8Path::from_path(staged.path()).unwrap();
    let paths =
        checkout.project.images.iter().flat_map(|image| inputs::input_paths(&checkout.project, image)).collect();
    staging::stage(&checkout.project.root, &paths, staged).unwrap();
    for image in &checkout.project.images {
        let seen = checkout.seen(image, &checkout.project.root);
        assert!(seen.len() > 20, "{}: {seen:?}", image.package);
        assert_eq!(checkout.seen(image, staged), seen, "{}", image.package);
    }
}

#[test]
fn what_is_no_file_counts_too() {
    let checkout = Checkout::new();
    let package = &checkout.project.images[0];
    let (plan, image) = planned(package);
    let of = |plan: &BuildPlan, image: &ImagePlan, compiler: &str| {
        Fingerprint::of(&checkout.project, package, plan, image, compiler).unwrap()
    };
    let before = of(&plan, &image, "base one");
    let differs = |plan: &BuildPlan, image: &ImagePlan, compiler: &str| before.differences(&of(plan, image, compiler));
    assert!(differs(&plan, &image, "base one").is_empty());
    assert_eq!(differs(&plan, &image, "base two"), ["compiler"]);
    assert_eq!(differs(&BuildPlan { strategy: Strategy::Host, ..plan.clone() }, &image, "base one"), ["strategy"]);
    assert_eq!(differs(&BuildPlan { version: "9".into(), ..plan.clone() }, &image, "base one"), ["version"]);
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
    let project = Project::load().unwrap();
    let shell = Shell::new().unwrap();
    shell.change_dir(&project.root);
    let runner = Runner::new(Interrupt::default(), false);
    let target = project.root.join("target");
    let build = cmd!(shell, "cargo build --quiet --locked --workspace --bins --target-dir {target}");
    runner.run(build, COMPILE_LIMIT_SECONDS).unwrap();
    for image in &project.images {
        let inputs = inputs::input_paths(&project, image);
        let text = std::fs::read_to_string(target.join("debug").join(format!("{}.d", image.package))).unwrap();
        let (_, files) = text.split_once(": ").unwrap();
        // A blank in a path is written with a backslash before it.
        let files = files.trim().replace("\\ ", "\0");
        let files: Vec<_> = files.split(' ').map(|file| Utf8PathBuf::from(file.replace('\0', " "))).collect();
        assert!(files.len() > 20, "{}: {files:?}", image.package);
        for file in files {
            let relative = file.strip_prefix(&project.root).unwrap_or(&file);
            assert!(
                inputs.iter().any(|input| relative.starts_with(input)),
                "{}: {relative} is no input",
                image.package
            );
        }
    }
}
