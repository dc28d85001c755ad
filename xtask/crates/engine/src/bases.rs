//! The images that others start from or run beside: pulled from a registry or, without one, made from packages.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use camino::Utf8PathBuf;
use serde::Deserialize;
use xshell::{Shell, cmd};
use xtask_outcome::Stop;
use xtask_process::Runner;
use xtask_workspace::Project;

use crate::debian::Archive;
use crate::inspect::{Inspected, inspect};
use crate::{Tool, Toolbox};

const FILE: &str = "bases.toml";
/// What a base was made from, so that another toolchain or recipe makes another base.
const RECIPE_LABEL: &str = "xtask.base.recipe";
const PULL_LIMIT_SECONDS: u64 = 1200;
const MAKE_LIMIT_SECONDS: u64 = 900;
const QUERY_LIMIT_SECONDS: u64 = 60;

/// One image in `policy/bases.toml`.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct BasePolicy {
    /// What a registry has.
    pub remote: String,
    /// What the home-made one is called.
    pub local: String,
    suite: String,
    packages: Vec<String>,
    /// A script in `xtask/bases/` that completes the new system.
    hook: String,
    /// A script that runs before the packages go in.
    early_hook: Option<String>,
    /// Programs of `policy/tools.toml` that a home-made base brings, so that no build has to compile them.
    #[serde(default)]
    programs: Vec<String>,
    /// The build argument of the Dockerfiles that names this base.
    pub build_argument: Option<String>,
    #[serde(default)]
    environment: Vec<String>,
    user: Option<String>,
    entrypoint: Option<Vec<String>>,
    command: Option<Vec<String>>,
    volume: Option<String>,
}

/// A base that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// What it is called in a `FROM`.
    pub reference: String,
    /// `sha256:…`.
    pub id: String,
    /// Made on this machine: no registry knows it, so `--pull` must leave it alone.
    pub local: bool,
}

/// Finds and makes bases.
#[derive(Debug)]
pub struct Bases<'a> {
    project: &'a Project,
    runner: &'a Runner,
    toolbox: &'a Toolbox<'a>,
    docker: Tool,
    policy: BTreeMap<String, BasePolicy>,
    /// What the engine has of the policy's references.
    here: BTreeMap<String, Option<Inspected>>,
}

impl<'a> Bases<'a> {
    /// # Errors
    /// [`Stop::Absent`] when the engine does not answer.
    pub fn new(project: &'a Project, runner: &'a Runner, toolbox: &'a Toolbox<'a>) -> Result<Self> {
        let (docker, policy) = (toolbox.find("docker")?, Self::policy(project)?);
        let references: Vec<_> = policy.values().flat_map(|base| [base.remote.clone(), base.local.clone()]).collect();
        let here = inspect(runner, &docker, &references)?;
        Ok(Self { project, runner, toolbox, docker, policy, here })
    }

    /// `policy/bases.toml`, by name.
    ///
    /// # Errors
    /// [`Stop::Repository`] when it cannot be read or has an unknown key.
    pub fn policy(project: &Project) -> Result<BTreeMap<String, BasePolicy>> {
        let (text, file) = (project.policy(FILE)?, project.policy_file(FILE));
        toml::from_str(&text).map_err(|error| Stop::Repository(format!("{file}: {error}")).into())
    }

    /// The base that images are compiled in: the one with a build argument.
    ///
    /// # Errors
    /// [`Stop::Repository`] when there is none.
    pub fn builder(policy: &BTreeMap<String, BasePolicy>) -> Result<(&str, &str), Stop> {
        let found = policy.iter().find_map(|(name, base)| Some((name.as_str(), base.build_argument.as_deref()?)));
        found.ok_or_else(|| Stop::Repository(format!("policy/{FILE} has no base with a build-argument")))
    }

    /// The base as it stands in the local engine: the pulled one before the home-made one.
    ///
    /// # Errors
    /// [`Stop::Absent`] when neither is there, or when the home-made one is of another toolchain or recipe.
    pub fn find(&self, name: &str) -> Result<Base> {
        let policy = self.known(name)?;
        if let Some(found) = &self.here[&policy.remote] {
            return Ok(Base { reference: policy.remote.clone(), id: found.id.clone(), local: false });
        }
        let next = "next: `cargo xtask setup`";
        match &self.here[&policy.local] {
            Some(found) if found.label(RECIPE_LABEL) == self.recipe(policy)? => {
                Ok(Base { reference: policy.local.clone(), id: found.id.clone(), local: true })
            }
            Some(_) => {
                Err(Stop::Absent(format!("base {name}: {} is of another recipe or toolchain; {next}", policy.local))
                    .into())
            }
            None => Err(Stop::Absent(format!(
                "base {name}: neither {} nor {} is here; {next}",
                policy.remote, policy.local
            ))
            .into()),
        }
    }

    fn known(&self, name: &str) -> Result<&BasePolicy, Stop> {
        self.policy.get(name).ok_or_else(|| Stop::Repository(format!("policy/{FILE} has no base [{name}]")))
    }

    /// As [`Bases::find`], and pulls or makes the base when it is not there.
    pub fn find_or_make(&mut self, name: &str) -> Result<Base> {
        if let Ok(base) = self.find(name) {
            return Ok(base);
        }
        let policy = self.known(name)?;
        let (shell, docker, remote) = (Shell::new()?, &self.docker.program, &policy.remote);
        self.runner.progress().now(&format!("base {name}: asks the registry for {remote}"));
        let pulled = self.runner.capture(cmd!(shell, "{docker} pull --quiet {remote}"), PULL_LIMIT_SECONDS)?;
        if !pulled.status.success() {
            let (why, local) = (pulled.tail(), &policy.local);
            let text = format!("base {name}: no registry ({why}); makes {local} from packages, about 40 s");
            self.runner.progress().now(&text);
            self.make(policy).with_context(|| format!("make base {name}, since {remote} could not be pulled"))?;
        }
        self.here.extend(inspect(self.runner, &self.docker, &[policy.remote.clone(), policy.local.clone()])?);
        self.find(name)
    }

    /// Everything that decides what a home-made base is: the recipe's files, and the host's compiler where it goes in.
    fn recipe(&self, policy: &BasePolicy) -> Result<String> {
        let shell = Shell::new()?;
        let mut text = format!("{policy:?}\n");
        for script in self.scripts(&shell, policy)? {
            text += &shell.read_file(script)?;
        }
        text.extend(policy.programs.iter().map(|name| self.toolbox.pin(name)));
        if policy.build_argument.is_some() {
            text += &self.runner.read(cmd!(shell, "rustc -vV"), QUERY_LIMIT_SECONDS)?;
        }
        let file = self.project.out().join(format!("recipe-{}-{}.txt", policy.hook, std::process::id()));
        shell.write_file(&file, text)?;
        let hash = self.runner.read(cmd!(shell, "git hash-object --no-filters {file}"), QUERY_LIMIT_SECONDS);
        shell.remove_path(&file)?;
        hash
    }

    fn scripts(&self, shell: &Shell, policy: &BasePolicy) -> Result<Vec<Utf8PathBuf>> {
        let folder = self.project.root.join(&self.project.automation).join("bases");
        let stem = policy.hook.trim_end_matches(".sh");
        let mut scripts: Vec<Utf8PathBuf> = shell
            .read_dir(&folder)?
            .into_iter()
            .filter_map(|path| Utf8PathBuf::from_path_buf(path).ok())
            .filter(|path| path.file_name().is_some_and(|name| name.starts_with(stem)))
            .collect();
        scripts.extend(policy.early_hook.iter().map(|name| folder.join(name)));
        Ok(scripts)
    }

    fn make(&self, policy: &BasePolicy) -> Result<()> {
        let shell = Shell::new()?;
        let mmdebstrap = self.toolbox.find_or_fetch("mmdebstrap")?.program;
        let scripts = self.project.root.join(&self.project.automation).join("bases");
        let work = self.project.out().join(format!("bases-{}", std::process::id()));
        shell.create_dir(&work)?;
        let archive = work.join("base.tar");
        let programs = work.join("programs");
        shell.create_dir(&programs)?;
        for name in &policy.programs {
            self.runner.progress().now(&format!("compiles {name} for the base, about 40 s"));
            shell.copy_file(self.toolbox.fetch_pinned(name)?, &programs)?;
        }
        let mirror = Archive::of_this_machine(&shell, &policy.suite)?.one_line();
        let (suite, packages) = (&policy.suite, policy.packages.join(","));
        let mut hooks = vec![format!("--customize-hook={}", scripts.join(&policy.hook))];
        hooks.extend(policy.early_hook.iter().map(|hook| format!("--essential-hook={}", scripts.join(hook))));
        let sysroot = self.runner.read(cmd!(shell, "rustc --print sysroot"), QUERY_LIMIT_SECONDS)?;
        let bootstrap = cmd!(
            shell,
            "{mmdebstrap} --quiet --variant=minbase --include={packages} {hooks...} {suite} {archive} {mirror}"
        )
        .env("RUST_SYSROOT", sysroot)
        .env("PROGRAMS", &programs)
        .env("POSTGRES_ENTRYPOINT", scripts.join("postgres-entrypoint.sh"));
        self.runner.run(bootstrap, MAKE_LIMIT_SECONDS).map_err(|error| match Stop::of(&error) {
            // The repository is not at fault when a mirror is not there.
            Some(Stop::Repository(text)) => Stop::Broken(text.clone()).into(),
            _ => error,
        })?;
        let changes = self.changes(policy)?;
        let (docker, tag) = (&self.docker.program, &policy.local);
        let import = cmd!(shell, "{docker} import {changes...} {archive} {tag}");
        self.runner.read(import, MAKE_LIMIT_SECONDS)?;
        shell.remove_path(&work)?;
        Ok(())
    }

    /// The image configuration as `docker import --change` takes it.
    fn changes(&self, policy: &BasePolicy) -> Result<Vec<String>> {
        let list = |words: &Vec<String>| serde_json::to_string(words).unwrap_or_default();
        let mut lines = vec![format!("LABEL {RECIPE_LABEL}={}", self.recipe(policy)?)];
        lines.extend(policy.environment.iter().map(|variable| format!("ENV {variable}")));
        lines.extend(policy.user.iter().map(|user| format!("USER {user}")));
        lines.extend(policy.entrypoint.iter().map(|words| format!("ENTRYPOINT {}", list(words))));
        lines.extend(policy.command.iter().map(|words| format!("CMD {}", list(words))));
        lines.extend(policy.volume.iter().map(|path| format!("VOLUME {path}")));
        Ok(lines.into_iter().flat_map(|line| ["--change".to_owned(), line]).collect())
    }
}
