//! `--strategy host`: one cargo build with the developer's own toolchain, and the programs checked before they go in. With the
//! dev profile it is cargo's own incremental build.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use xshell::{Shell, cmd};

use super::inputs::content_hash;
use super::plan::{BuildPlan, Strategy};
use super::{native, program, staging};
use xtask_engine::Toolbox;
use xtask_outcome::Stop;
use xtask_workspace::Context;

const COMPILE_LIMIT_SECONDS: u64 = 1800;
const QUERY_LIMIT_SECONDS: u64 = 60;
/// Between the flags in CARGO_ENCODED_RUSTFLAGS: blanks would break a path with blanks.
const FLAG_SEPARATOR: &str = "\u{1f}";
/// As in the Dockerfiles, which say why: both strategies mean the same program.
const FLAGS: [&str; 2] = ["-Ctarget-feature=+crt-static", "--cfg=getrandom_backend=\"linux_raw\""];
/// A static program unpacks its own relocations, with its C library's code: glibc can since this version. Elsewhere they stay as they
/// are, and the program is larger by that.
const PACKED_RELOCATIONS: &str = "-Clink-arg=-Wl,-z,pack-relative-relocs";
const UNPACKS_SINCE_GLIBC: (u32, u32) = (2, 36);

/// Compiles the planned programs and gives the folder that holds them, and nothing else.
///
/// # Errors
/// [`Stop::Repository`] for a compile error or a program that is not static; [`Stop::Absent`] where the machine's C library
/// has no static half.
pub(crate) fn compile(
    context: &Context,
    toolbox: &Toolbox<'_>,
    files: &BTreeSet<Utf8PathBuf>,
    plan: &BuildPlan,
) -> Result<Utf8PathBuf> {
    let shell = Shell::new()?;
    // The copy that the builder would get: both strategies compile the same files.
    shell.change_dir(&plan.inputs);
    let target = context.project.out().join("host");
    let triple = host_triple(context, &shell)?;
    let compiled = Compiled { target: &target, triple: &triple, profile: Profile::of(plan.strategy) };
    compiled.forget_changed_members(context, &plan.inputs, files)?;

    let mut bins = Vec::new();
    for image in &plan.images {
        bins.extend(["--bin".to_owned(), image.package.clone()]);
    }
    let mut build = match compiled.profile {
        Profile::Release => {
            let auditable = toolbox.find_or_fetch("cargo-auditable")?.program;
            cmd!(
                shell,
                "{auditable} auditable build --release --locked {bins...} --target {triple} --target-dir {target}"
            )
        }
        // Symbols stay for a panic's trace; the rest of the debug information would make the image ten times its size.
        Profile::Dev => cmd!(shell, "cargo build --locked {bins...} --target {triple} --target-dir {target}")
            .env("CARGO_PROFILE_DEV_STRIP", "debuginfo")
            .env("CARGO_INCREMENTAL", "1"),
    }
    .env("CARGO_ENCODED_RUSTFLAGS", flags(context)?);
    for image in &plan.images {
        let prefix = image.package.to_uppercase().replace('-', "_");
        build = build
            .env(format!("{prefix}_REVISION"), &image.revision.id)
            .env(format!("{prefix}_CREATED"), &image.revision.created);
    }
    let line = build.to_string();
    let output = context.runner.watch(build, COMPILE_LIMIT_SECONDS).context("compile the services on the host")?;
    if !output.status.success() {
        let text = native::next_step(&output.stdout, plan.strategy);
        return Err(Stop::Repository(text.unwrap_or_else(|| format!("`{line}` failed with {}", output.status))).into());
    }

    let programs = context.project.out().join("programs");
    shell.create_dir(&programs)?;
    for image in &plan.images {
        let built = compiled.folder().join(&image.package);
        let bytes = std::fs::read(&built).with_context(|| format!("read {built}"))?;
        let faults = match compiled.profile {
            Profile::Release => program::faults(&bytes),
            Profile::Dev => program::start_faults(&bytes),
        };
        if let Some(fault) = faults.first() {
            return Err(Stop::Repository(format!("{}: {fault}", image.package)).into());
        }
        staging::put(&programs.join(&image.package), &bytes, 0o755)?;
    }
    Ok(programs)
}

/// Cargo's profiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Profile {
    Release,
    Dev,
}

impl Profile {
    fn of(strategy: Strategy) -> Self {
        if strategy == Strategy::Dev { Self::Dev } else { Self::Release }
    }

    /// What cargo calls its folder.
    fn folder(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Dev => "debug",
        }
    }
}

/// What decides a host-built program beside its sources: the compiler, the flags that it is given here, and every
/// configuration file that cargo reads for this workspace. Good for hashing; a person's file may hold what is not for showing.
pub(crate) fn compiler(context: &Context) -> Result<String> {
    let shell = Shell::new()?;
    let mut text = context.runner.read(cmd!(shell, "rustc -vV"), QUERY_LIMIT_SECONDS)?;
    text += &flags(context)?;
    let home = context.project.environment.cargo_home.as_deref();
    text += &cargo_configuration(&context.project.root, home);
    Ok(text)
}

/// The files that cargo merges, nearest first: those of the folders above, then the person's own.
fn cargo_configuration(root: &Utf8Path, home: Option<&Utf8Path>) -> String {
    let folders = root.ancestors().map(|folder| folder.join(".cargo")).chain(home.map(Utf8Path::to_owned));
    let files = folders.flat_map(|folder| ["config.toml", "config"].map(|name| folder.join(name)));
    files.filter_map(|file| Some(format!("{file}\n{}\n", std::fs::read_to_string(&file).ok()?))).collect()
}

fn host_triple(context: &Context, shell: &Shell) -> Result<String> {
    let text = context.runner.read(cmd!(shell, "rustc -vV"), QUERY_LIMIT_SECONDS)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc -vV names its host")?;
    if host.ends_with("-linux-gnu") || host.ends_with("-linux-musl") {
        return Ok(host.to_owned());
    }
    let text =
        format!("--strategy host refused: {host} programs do not run in a Linux image; next: --strategy container");
    Err(Stop::Absent(text).into())
}

/// The Dockerfiles' flags, with this machine's paths taken out of the program.
fn flags(context: &Context) -> Result<String> {
    let home = context.project.environment.cargo_home.as_deref().context("neither CARGO_HOME nor HOME is set")?;
    let shell = Shell::new()?;
    // musl has no answer, and may be missing altogether.
    let libc = context.runner.capture(cmd!(shell, "getconf GNU_LIBC_VERSION"), QUERY_LIMIT_SECONDS);
    let unpacks = libc.is_ok_and(|answer| glibc(&answer.stdout).is_some_and(|version| version >= UNPACKS_SINCE_GLIBC));
    Ok(flags_in(home, unpacks).join(FLAG_SEPARATOR))
}

/// The version in `glibc 2.41`.
fn glibc(answer: &str) -> Option<(u32, u32)> {
    let (major, minor) = answer.trim().strip_prefix("glibc ")?.split_once('.')?;
    let minor = minor.split('.').next().unwrap_or_default();
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn flags_in(cargo_home: &Utf8Path, unpacks: bool) -> Vec<String> {
    let remap = |from, to| format!("--remap-path-prefix={cargo_home}/{from}={to}");
    let remaps = [remap("registry/src", "registry"), remap("git/checkouts", "git")];
    let packed = unpacks.then(|| PACKED_RELOCATIONS.to_owned());
    FLAGS.map(ToOwned::to_owned).into_iter().chain(packed).chain(remaps).collect()
}

/// What cargo keeps of one profile.
struct Compiled<'a> {
    target: &'a Utf8Path,
    triple: &'a str,
    profile: Profile,
}

impl Compiled<'_> {
    fn folder(&self) -> Utf8PathBuf {
        self.target.join(self.triple).join(self.profile.folder())
    }

    /// Cargo compares file times; an older checkout or a restored file can be newer in truth and older by its time. So what
    /// cargo knows of a member is deleted whenever the member's content is not what the last build compiled. What the compiler
    /// keeps for its next incremental run goes by content, and stays.
    fn forget_changed_members(
        &self,
        context: &Context,
        inputs: &Utf8Path,
        files: &BTreeSet<Utf8PathBuf>,
    ) -> Result<()> {
        let record = self.target.join(format!("members-{}.json", self.profile.folder()));
        let known: BTreeMap<String, u64> =
            std::fs::read_to_string(&record).ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        let mut now = BTreeMap::new();
        for (folder, member) in &context.project.members {
            now.insert(member.package.clone(), content_hash(inputs, folder, files)?);
        }
        let fingerprints = self.folder().join(".fingerprint");
        for (package, hash) in &now {
            if known.get(package) == Some(hash) || !fingerprints.is_dir() {
                continue;
            }
            let prefix = format!("{package}-");
            for entry in fingerprints.read_dir_utf8()? {
                let entry = entry?;
                if entry.file_name().starts_with(&prefix) {
                    std::fs::remove_dir_all(entry.path())?;
                }
            }
        }
        std::fs::create_dir_all(self.target)?;
        // Written before the build: a build that is cut short leaves cargo without fingerprints, which is the safe side.
        std::fs::write(&record, serde_json::to_string(&now)?).with_context(|| format!("write {record}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xtask_workspace::Project;

    #[test]
    fn the_host_compiles_with_the_flags_of_every_dockerfile() {
        let project = Project::load(env!("CARGO_MANIFEST_DIR")).unwrap();
        for image in &project.images {
            let text = std::fs::read_to_string(project.root.join(&image.folder).join("Dockerfile")).unwrap();
            let line = text.lines().find_map(|line| line.trim().strip_prefix("RUSTFLAGS=\"")).unwrap();
            let flags = line.strip_suffix('"').unwrap().replace("\\\"", "\"");
            assert_eq!(flags_in("/cargo".into(), true), flags.split(' ').collect::<Vec<_>>(), "{}", image.package);
        }
    }

    #[test]
    fn a_c_library_that_cannot_unpack_relocations_gets_none() {
        assert_eq!([glibc("glibc 2.36\n"), glibc("glibc 2.4.1"), glibc("musl")], [Some((2, 36)), Some((2, 4)), None]);
        assert!(glibc("glibc 2.35").unwrap() < UNPACKS_SINCE_GLIBC);
        assert!(!flags_in("/cargo".into(), false).iter().any(|flag| flag == PACKED_RELOCATIONS));
    }

    #[test]
    fn every_file_that_configures_cargo_decides_the_program() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        let (root, home) = (folder.join("a/shop"), folder.join("home"));
        let read = || cargo_configuration(&root, Some(&home));
        let mut before = read();
        for file in ["a/shop/.cargo/config.toml", "a/.cargo/config", "home/config.toml"] {
            let path = folder.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "[profile.release]\nopt-level = 0\n").unwrap();
            assert_ne!(read(), before, "{file}");
            before = read();
        }
    }
}
