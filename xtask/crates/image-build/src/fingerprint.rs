//! Everything that can change an image, hashed by content: unchanged, and the image still there, means nothing to do.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hasher as _};

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::plan::{BuildPlan, ImagePlan, Strategy};
use xtask_workspace::Project;

/// Per input (a file, the base, the strategy, …) the SHA-256 of its content, in hexadecimal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fingerprint(BTreeMap<String, String>);

/// What the last build of an image was made from, and the image id that it gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Built {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) id: String,
    /// The image id of the build before, if it was another: growth is told against it.
    #[serde(default)]
    pub(crate) previous: Option<String>,
}

impl Built {
    /// The record of a build that follows `last`. An image that came out the same keeps what it was compared with.
    pub(crate) fn after(last: Option<Self>, fingerprint: Fingerprint, id: String) -> Self {
        let previous = last.and_then(|last| if last.id == id { last.previous } else { Some(last.id) });
        Self { fingerprint, id, previous }
    }
}

/// The hashes of files below a folder, each read once: most inputs are those of several images.
#[derive(Debug)]
pub(crate) struct Hashes<'a> {
    root: &'a Utf8Path,
    known: BTreeMap<Utf8PathBuf, String>,
}

impl<'a> Hashes<'a> {
    pub(crate) fn below(root: &'a Utf8Path) -> Self {
        Self { root, known: BTreeMap::new() }
    }

    fn of(&mut self, file: &Utf8Path) -> Result<String> {
        if let Some(known) = self.known.get(file) {
            return Ok(known.clone());
        }
        let hash = sha256(&std::fs::read(self.root.join(file)).with_context(|| format!("read {file}"))?);
        self.known.insert(file.to_owned(), hash.clone());
        Ok(hash)
    }
}

impl Fingerprint {
    /// Hashes every input of one planned image. `compiler` is what decides a program beside the sources: the base's image id, and
    /// for a host build what `rustc -vV` says.
    pub(crate) fn of(
        hashes: &mut Hashes<'_>,
        files: &BTreeSet<Utf8PathBuf>,
        plan: &BuildPlan,
        image: &ImagePlan,
        compiler: &str,
    ) -> Result<Self> {
        let mut inputs = BTreeMap::new();
        for path in files {
            inputs.insert(path.to_string(), hashes.of(path)?);
        }
        let mut add = |name: &str, text: &str| inputs.insert(name.to_owned(), sha256(text.as_bytes()));
        add("strategy", plan.strategy.name());
        add("compiler", compiler);
        add("version", &image.version);
        add("source", image.source.as_deref().unwrap_or_default());
        add("platform", plan.platform.as_deref().unwrap_or_default());
        // The revision is in the program: a commit that leaves the content alone still changes what it says.
        add("revision", &image.revision.id);
        add("created", &image.revision.created);
        Ok(Self(inputs))
    }

    /// One SHA-256 over all inputs, each a line `NAME=HASH` in the order of names: `sha256:…`.
    pub(crate) fn digest(&self) -> String {
        let lines: String = self.0.iter().map(|(name, hash)| format!("{name}={hash}\n")).collect();
        format!("sha256:{}", sha256(lines.as_bytes()))
    }

    /// The names of the inputs that differ, sorted.
    pub(crate) fn differences(&self, other: &Self) -> Vec<String> {
        let names = self.0.keys().chain(other.0.keys());
        let mut changed: Vec<_> = names.filter(|name| self.0.get(*name) != other.0.get(*name)).cloned().collect();
        changed.sort();
        changed.dedup();
        changed
    }
}

fn sha256(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// 64 bits that differ for different contents; stable for one build of xtask.
pub(crate) fn hash(content: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write_usize(content.len());
    hasher.write(content);
    hasher.finish()
}

/// The record of the last build of each image, one file per image and strategy, so that two builds at once do not meet.
#[derive(Debug)]
pub(crate) struct Records {
    folder: Utf8PathBuf,
    strategy: Strategy,
}

impl Records {
    pub(crate) fn new(project: &Project, strategy: Strategy) -> Self {
        Self { folder: project.out().join("built"), strategy }
    }

    fn file(&self, name: &str) -> Utf8PathBuf {
        self.folder.join(format!("{name}-{}.json", self.strategy.name()))
    }

    /// The strategy by which an image was built last, whatever it was built by before.
    pub(crate) fn chosen(project: &Project, name: &str) -> Option<Strategy> {
        let file = project.out().join("built").join(format!("{name}.strategy"));
        Strategy::from_name(std::fs::read_to_string(file).ok()?.trim())
    }

    /// From now on this is the strategy of that image.
    pub(crate) fn choose(&self, name: &str) -> Result<()> {
        xtask_process::put(&self.folder.join(format!("{name}.strategy")), self.strategy.name())
    }

    /// What is known of the last build; nothing when the record is missing or of another form.
    pub(crate) fn last(&self, name: &str) -> Option<Built> {
        serde_json::from_slice(&std::fs::read(self.file(name)).ok()?).ok()
    }

    pub(crate) fn store(&self, name: &str, built: &Built) -> Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        let staged = self.folder.join(format!(".{name}.{}", std::process::id()));
        std::fs::write(&staged, serde_json::to_vec(built)?)?;
        std::fs::rename(&staged, self.file(name)).with_context(|| format!("record the build of {name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(inputs: &[(&str, &str)]) -> Fingerprint {
        Fingerprint(inputs.iter().map(|(name, content)| ((*name).to_owned(), sha256(content.as_bytes()))).collect())
    }

    #[test]
    fn a_build_is_compared_with_the_last_one_that_gave_another_image() {
        let build = |last, id: &str| Built::after(last, Fingerprint::default(), id.to_owned());
        let first = build(None, "one");
        assert_eq!(first.previous, None);
        let second = build(Some(first), "two");
        assert_eq!(second.previous.as_deref(), Some("one"));
        assert_eq!(build(Some(second), "two").previous.as_deref(), Some("one"));
    }

    #[test]
    fn differences_name_what_changed_came_and_went() {
        let old = fingerprint(&[("Cargo.lock", "1"), ("services/user/src/gone.rs", "x"), ("strategy", "host")]);
        let new = fingerprint(&[("Cargo.lock", "2"), ("services/user/src/new.rs", "x"), ("strategy", "host")]);
        assert_eq!(old.differences(&new), ["Cargo.lock", "services/user/src/gone.rs", "services/user/src/new.rs"]);
        assert!(old.differences(&old).is_empty());
        assert_ne!(old.digest(), new.digest());
        assert_eq!(old.digest(), old.clone().digest());
    }
}
