//! `policy/tools.toml`: which programs are called, from which version on, and where a missing one comes from.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Deserialize;
use xtask_outcome::Stop;
use xtask_workspace::Project;

const FILE: &str = "tools.toml";

/// One program.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ToolPolicy {
    /// The ways to call it, best first: as a plugin of docker or as a program of its own.
    pub(crate) commands: Vec<Vec<String>>,
    /// The arguments that make it print its version; none for a file that is read and never started.
    pub(crate) version: Vec<String>,
    /// The oldest version that this crate works with.
    pub(crate) floor: String,
    /// Versions that must never run, such as those of a supply-chain attack.
    #[serde(default)]
    pub(crate) known_bad: Vec<String>,
    pub(crate) next_step: String,
    #[serde(default)]
    pub(crate) source: Vec<Source>,
}

/// Where a missing program comes from.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Source {
    /// A single file in a package of a Debian suite, from the mirror that the machine itself uses.
    Debian { suite: String, package: String, member: String },
    /// A single file in a wheel on PyPI, pinned by hash (one per architecture).
    Wheel { package: String, version: String, sha256: Vec<String>, member: String },
    /// A program of a crate, compiled with its own lock file.
    Crate { package: String, version: String },
}

/// All programs by name.
///
/// # Errors
/// [`Stop::Repository`] when the file cannot be read or has an unknown key.
pub(crate) fn load(project: &Project) -> Result<BTreeMap<String, ToolPolicy>> {
    let text = project.policy(FILE)?;
    let file = project.policy_file(FILE);
    toml::from_str(&text).map_err(|error| Stop::Repository(format!("{file}: {error}")).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Version;

    #[test]
    fn the_policy_parses_and_every_floor_is_a_version() {
        let policy = load(&Project::load(env!("CARGO_MANIFEST_DIR")).unwrap()).unwrap();
        for (name, tool) in policy {
            assert!(Version::find(&tool.floor).is_some(), "{name}");
            assert!(!tool.commands.is_empty(), "{name}");
        }
    }

    #[test]
    fn what_is_read_and_never_started_is_pinned_by_its_hash() {
        let policy = load(&Project::load(env!("CARGO_MANIFEST_DIR")).unwrap()).unwrap();
        let mut files = policy.iter().filter(|(_, tool)| tool.version.is_empty()).peekable();
        assert!(files.peek().is_some());
        for (name, tool) in files {
            let pinned = |source: &Source| matches!(source, Source::Wheel { sha256, .. } if !sha256.is_empty());
            assert!(!tool.source.is_empty() && tool.source.iter().all(pinned), "{name}");
        }
    }

    #[test]
    fn an_unknown_key_in_the_policy_is_an_error() {
        let text = "[x]\ncommands = [[\"x\"]]\nversion = []\nfloor = \"1.0\"\nnext-step = \"\"\nfloors = 1\n";
        assert!(toml::from_str::<BTreeMap<String, ToolPolicy>>(text).is_err());
    }
}
