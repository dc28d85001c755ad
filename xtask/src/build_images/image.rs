//! What a built image is, read from the engine and from the image itself. Facts of an image id never change, so they are
//! kept by it; verdicts over them are made anew each time.

use anyhow::{Context as _, Result};
use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use xshell::{Shell, cmd};

use super::plan::ImagePlan;
use super::program;
use crate::context::Context;
use crate::engine::inspect;
use crate::outcome::Stop;
use crate::setup::tools::Tool;

const ENGINE_LIMIT_SECONDS: u64 = 60;
/// A program that only prints must end long before this.
const PROGRAM_LIMIT_SECONDS: u64 = 20;

/// What is known of one image id.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImageFacts {
    pub(crate) id: String,
    /// The bytes of all files, uncompressed.
    pub(crate) size_bytes: u64,
    /// The paths of all files that the image brings along.
    pub(crate) files: Vec<String>,
    /// `Config` of `docker image inspect`.
    pub(crate) config: Value,
    /// What the program prints for `--version`.
    pub(crate) version_line: String,
    /// What the program prints for `env --format json`: its contract.
    pub(crate) contract: Value,
}

/// Reads images through the engine.
#[derive(Debug)]
pub(crate) struct Images<'a> {
    pub(crate) context: &'a Context,
    pub(crate) docker: &'a Tool,
    shell: Shell,
}

impl<'a> Images<'a> {
    pub(crate) fn new(context: &'a Context, docker: &'a Tool) -> Result<Self> {
        Ok(Self { context, docker, shell: Shell::new()? })
    }

    /// The id that a reference stands for in the local engine.
    pub(crate) fn id(&self, reference: &str) -> Result<Option<String>> {
        let found = inspect(&self.context.runner, self.docker, &[reference.to_owned()])?;
        Ok(found.into_values().flatten().map(|image| image.id).next())
    }

    /// Makes a tag stand for an id.
    pub(crate) fn tag(&self, id: &str, tag: &str) -> Result<()> {
        let docker = &self.docker.program;
        self.context.runner.read(cmd!(self.shell, "{docker} image tag {id} {tag}"), ENGINE_LIMIT_SECONDS).map(drop)
    }

    /// The facts of an image id, read once and kept.
    pub(crate) fn facts(&self, package: &str, id: &str) -> Result<ImageFacts> {
        let store = self.store(id);
        if let Some(known) = std::fs::read(&store).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
            return Ok(known);
        }
        let facts = self.read_facts(package, id)?;
        // Renamed into place: another build may be reading.
        let staged = Utf8PathBuf::from(format!("{store}.{}", std::process::id()));
        self.shell.write_file(&staged, serde_json::to_vec_pretty(&facts)?)?;
        std::fs::rename(&staged, &store).with_context(|| format!("keep the facts of {id}"))?;
        Ok(facts)
    }

    fn store(&self, id: &str) -> Utf8PathBuf {
        self.context.project.out().join("images").join(format!("{}.json", id.trim_start_matches("sha256:")))
    }

    fn read_facts(&self, package: &str, id: &str) -> Result<ImageFacts> {
        let found = inspect(&self.context.runner, self.docker, &[id.to_owned()])?.into_values().flatten().next();
        let found = found.ok_or_else(|| Stop::Missing(format!("{id} is gone from the engine")))?;
        let (files, size_bytes) = self.files(package, id)?;
        let version_line = self.ask(id, &["--version"])?;
        let contract = self.ask(id, &["env", "--format", "json"])?;
        let contract = serde_json::from_str(&contract)
            .map_err(|error| Stop::Repository(format!("{package} env --format json prints no JSON: {error}")))?;
        Ok(ImageFacts { id: id.to_owned(), size_bytes, files, config: found.config, version_line, contract })
    }

    /// Lists the image's files by exporting a container that never runs, and checks the program among them.
    fn files(&self, package: &str, id: &str) -> Result<(Vec<String>, u64)> {
        let (docker, runner) = (&self.docker.program, &self.context.runner);
        let folder = self.context.project.out().join("images").join(format!("export-{package}-{}", std::process::id()));
        self.shell.remove_path(&folder)?;
        self.shell.create_dir(&folder)?;
        let archive = folder.join("files.tar");
        let container = runner.read(cmd!(self.shell, "{docker} create --network none {id}"), ENGINE_LIMIT_SECONDS)?;
        let exported =
            runner.read(cmd!(self.shell, "{docker} export --output {archive} {container}"), ENGINE_LIMIT_SECONDS);
        runner.for_clean_up().read(cmd!(self.shell, "{docker} rm {container}"), ENGINE_LIMIT_SECONDS)?;
        exported?;
        let listing = runner.read(cmd!(self.shell, "tar -tvf {archive}"), ENGINE_LIMIT_SECONDS)?;
        let listed = parse_listing(&listing);
        runner.read(cmd!(self.shell, "tar -xf {archive} -C {folder} {package}"), ENGINE_LIMIT_SECONDS)?;
        program::check(package, &std::fs::read(folder.join(package)).context("read the exported program")?)?;
        self.shell.remove_path(&folder)?;
        Ok((listed.iter().map(|(path, _)| path.clone()).collect(), listed.iter().map(|(_, size)| size).sum()))
    }

    /// Runs the image's program, locked down, and gives what it prints.
    fn ask(&self, id: &str, arguments: &[&str]) -> Result<String> {
        let docker = &self.docker.program;
        let run = cmd!(
            self.shell,
            "{docker} run --rm --network none --read-only --cap-drop ALL --security-opt no-new-privileges {id} {arguments...}"
        );
        let captured = self.context.runner.capture(run, PROGRAM_LIMIT_SECONDS)?;
        if captured.status.success() {
            return Ok(captured.stdout.trim().to_owned());
        }
        let asked = arguments.join(" ");
        Err(Stop::Repository(format!("the image {id} fails on `{asked}` ({}): {}", captured.status, captured.tail()))
            .into())
    }
}

/// What docker itself puts into every container, so that it does not count as the image's.
const ENGINE_FILES: [&str; 6] = [".dockerenv", "dev/", "etc/", "proc/", "sys/", "run/"];

/// The files in the output of `tar -tvf`, with their sizes in bytes.
fn parse_listing(listing: &str) -> Vec<(String, u64)> {
    let mut files = Vec::new();
    for line in listing.lines().filter(|line| !line.starts_with('d')) {
        // mode owner/group size date time name
        let words: Vec<_> = line.split_whitespace().collect();
        let [_, _, size, _, _, name, ..] = words.as_slice() else { continue };
        if !ENGINE_FILES.iter().any(|own| name.starts_with(own)) {
            files.push((format!("/{name}"), size.parse().unwrap_or(0)));
        }
    }
    files
}

/// Proves that an image holds the program that its plan means.
///
/// # Errors
/// [`Stop::Repository`] names the image and what it says of itself instead.
pub(crate) fn check_identity(plan: &ImagePlan, facts: &ImageFacts) -> Result<()> {
    let expected = format!("({})", plan.revision.id);
    if !facts.version_line.starts_with(&plan.package) || !facts.version_line.contains(&expected) {
        let text = format!(
            "{} holds another program than was built: it says `{}`, expected revision {}",
            plan.tag, facts.version_line, plan.revision.id
        );
        return Err(Stop::Repository(text).into());
    }
    if facts.contract["service"] != plan.package.as_str() {
        return Err(
            Stop::Repository(format!("{} prints the contract of {}", plan.tag, facts.contract["service"])).into()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build_images::inputs::Revision;
    use serde_json::json;

    #[test]
    fn a_listing_gives_files_and_sizes_without_the_engines_own() {
        let listing = "-rwxr-xr-x 0/0               0 2026-01-01 00:00 .dockerenv\ndrwxr-xr-x 0/0               0 2026-01-01 00:00 dev/\n-rwxr-xr-x 0/0               0 2026-01-01 00:00 dev/console\n-rwxr-xr-x 0/0         4312345 1970-01-01 00:00 mini-user\nlrwxrwxrwx 0/0               0 2026-01-01 00:00 etc/mtab -> /proc/mounts";
        assert_eq!(parse_listing(listing), [("/mini-user".to_owned(), 4_312_345)]);
    }

    #[test]
    fn an_older_program_under_a_new_tag_is_refused() {
        let plan = ImagePlan {
            name: "user".into(),
            package: "mini-user".into(),
            tag: "mini-user:local".into(),
            dockerfile: "services/user/Dockerfile".into(),
            revision: Revision { id: "new".into(), created: String::new(), epoch: 0 },
        };
        let mut facts = ImageFacts {
            id: "sha256:1".into(),
            size_bytes: 1,
            files: vec![],
            config: Value::Null,
            version_line: "mini-user 0.1.0 (old)".into(),
            contract: json!({ "service": "mini-user" }),
        };
        assert!(check_identity(&plan, &facts).is_err());
        facts.version_line = "mini-user 0.1.0 (new)".into();
        check_identity(&plan, &facts).unwrap();
        facts.version_line = String::new();
        assert!(check_identity(&plan, &facts).is_err());
    }
}
