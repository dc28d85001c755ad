//! Fetches single programs into `target/xtask/tools` with the machine's own package clients. Nothing is installed.

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use xshell::{Shell, cmd};

use crate::clients::need_on_path;
use crate::debian::Archive;
use crate::tool_policy::Source;
use xtask_outcome::Stop;
use xtask_process::Runner;
use xtask_workspace::Project;

const DOWNLOAD_LIMIT_SECONDS: u64 = 600;
const COMPILE_LIMIT_SECONDS: u64 = 900;

/// Puts the program at `target`, whole or not at all.
///
/// # Errors
/// [`Stop::Absent`] names the client that is missing; the download's own failure otherwise.
pub(crate) fn fetch(project: &Project, runner: &Runner, source: &Source, target: &Utf8Path) -> Result<()> {
    let shell = Shell::new()?;
    let work = project.out().join(format!("fetch-{}", std::process::id()));
    let folder = target.parent().context("a tool has a folder")?;
    shell.remove_path(&work)?;
    shell.create_dir(&work)?;
    shell.create_dir(folder)?;
    let file = match source {
        Source::Debian { suite, package, member } => {
            let archive = Archive::of_this_machine(&shell, suite)?;
            archive.download(project, runner, package, &work)?.join(member)
        }
        Source::Wheel { package, version, sha256, member } => {
            wheel(project, runner, &work, &format!("{package}=={version}"), sha256)?.join(member)
        }
        Source::Crate { package, version } => install_crate(runner, &work, package, version)?.join("bin").join(package),
    };
    if !file.is_file() {
        return Err(Stop::Broken(format!("the download holds no {}", file.file_name().unwrap_or_default())).into());
    }
    // On the same file system, so a rename: a half-written program never stands at `target`.
    let staged = Utf8PathBuf::from(format!("{target}.{}", std::process::id()));
    shell.copy_file(&file, &staged)?;
    make_executable(&staged)?;
    std::fs::rename(&staged, target).with_context(|| format!("put {target} in its place"))?;
    shell.remove_path(&work)?;
    Ok(())
}

/// Downloads a wheel, checked against its hash by pip, and unpacks it.
fn wheel(project: &Project, runner: &Runner, work: &Utf8Path, pinned: &str, sha256: &[String]) -> Result<Utf8PathBuf> {
    need_on_path(project, &["python3"])?;
    let shell = Shell::new()?;
    shell.change_dir(work);
    let hashes: String = sha256.iter().map(|hash| format!(" --hash=sha256:{hash}")).collect();
    shell.write_file(work.join("requirements.txt"), format!("{pinned}{hashes}\n"))?;
    let pip = cmd!(
        shell,
        "python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes -r requirements.txt"
    );
    runner.run(pip, DOWNLOAD_LIMIT_SECONDS).with_context(|| format!("download {pinned} from PyPI"))?;
    let wheels: Vec<_> =
        shell.read_dir(work)?.into_iter().filter(|path| path.extension().is_some_and(|e| e == "whl")).collect();
    let [wheel] = wheels.as_slice() else {
        return Err(Stop::Broken(format!("pip left {} wheels for {pinned}, expected one", wheels.len())).into());
    };
    runner.read(cmd!(shell, "python3 -m zipfile -e {wheel} unpacked"), DOWNLOAD_LIMIT_SECONDS)?;
    Ok(work.join("unpacked"))
}

/// Compiles a program that needs nothing of the system it runs on: a base of another distribution gets it, too.
fn install_crate(runner: &Runner, work: &Utf8Path, package: &str, version: &str) -> Result<Utf8PathBuf> {
    let shell = Shell::new()?;
    let root = work.join("root");
    // A target folder and flags of its own: the workspace's are not this program's.
    let target = work.join("target");
    let install = cmd!(
        shell,
        "cargo install --quiet --locked --version {version} --root {root} --target host-tuple --target-dir {target} --no-track {package}"
    );
    runner.run(install.env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static"), COMPILE_LIMIT_SECONDS)?;
    Ok(root)
}

fn make_executable(file: &Utf8Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755))
        .with_context(|| format!("make {file} executable"))
}
