//! An image as `docker image save` writes it: its configuration, its history and every file of every layer. What a later
//! layer deletes still ships in the earlier one, so it counts; what the engine adds to a container is not in it.

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use xshell::{Shell, cmd};

use crate::outcome::Stop;
use crate::tools::Runner;

const UNPACK_LIMIT_SECONDS: u64 = 120;

/// What an entry of a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    File,
    Directory,
    Symlink,
    Hardlink,
    /// A device, a pipe, or whatever else tar knows.
    Special,
}

/// One entry of a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImageFile {
    /// Absolute, without a slash at its end.
    pub(crate) path: String,
    pub(crate) kind: Kind,
    /// The permission bits, setuid, setgid and sticky included.
    pub(crate) mode: u32,
    /// `uid:gid`.
    pub(crate) owner: String,
    pub(crate) size_bytes: u64,
}

/// The archive, unpacked; layers lowest first.
#[derive(Debug)]
pub(crate) struct Archive {
    /// The runtime configuration: user, entrypoint, variables, labels, healthcheck.
    pub(crate) config: Value,
    /// What made each step, as the builder noted it.
    pub(crate) history: Vec<String>,
    pub(crate) files: Vec<ImageFile>,
    folder: Utf8PathBuf,
    layers: Vec<Utf8PathBuf>,
}

impl Archive {
    /// Reads the archive `file` and unpacks it into `folder`.
    pub(crate) fn read(shell: &Shell, runner: &Runner, file: &Utf8Path, folder: &Utf8Path) -> Result<Self> {
        runner.read(cmd!(shell, "tar -xf {file} -C {folder}"), UNPACK_LIMIT_SECONDS)?;
        let json = |name: &str| -> Result<Value> {
            let bytes =
                std::fs::read(folder.join(name)).with_context(|| format!("read {name} of the image's archive"))?;
            serde_json::from_slice(&bytes).with_context(|| format!("{name} of the image's archive is no JSON"))
        };
        let manifest = json("manifest.json")?;
        let config = manifest[0]["Config"].as_str().context("the image's archive names no configuration")?;
        let config = json(config)?;
        let layers = texts(&manifest[0]["Layers"]).map(|layer| folder.join(layer)).collect::<Vec<_>>();
        let mut files = Vec::new();
        for layer in &layers {
            let list = cmd!(shell, "tar --numeric-owner --quoting-style=escape -tvf {layer}");
            files.extend(parse_listing(&runner.read(list, UNPACK_LIMIT_SECONDS)?));
        }
        let steps = config["history"].as_array().map(Vec::as_slice).unwrap_or_default();
        let history = steps.iter().filter_map(|step| step["created_by"].as_str()).map(ToOwned::to_owned).collect();
        Ok(Self { config: config["config"].clone(), history, files, folder: folder.to_owned(), layers })
    }

    /// The content of a file at the root of the image, as the uppermost layer has it.
    ///
    /// # Errors
    /// [`Stop::Repository`] when no layer has it.
    pub(crate) fn program(&self, shell: &Shell, runner: &Runner, name: &str) -> Result<Vec<u8>> {
        for layer in self.layers.iter().rev() {
            let folder = &self.folder;
            let extracted = runner.capture(cmd!(shell, "tar -xf {layer} -C {folder} {name}"), UNPACK_LIMIT_SECONDS)?;
            if extracted.status.success() {
                return std::fs::read(folder.join(name)).with_context(|| format!("read the program {name}"));
            }
        }
        Err(Stop::Repository(format!("the image holds no /{name}")).into())
    }
}

/// The texts of a JSON list; none when there is no list.
pub(crate) fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().map(Vec::as_slice).unwrap_or_default().iter().filter_map(Value::as_str)
}

/// The entries in the output of `tar --numeric-owner -tvf`, the root itself left out.
fn parse_listing(listing: &str) -> Vec<ImageFile> {
    listing.lines().filter_map(parse_entry).filter(|file| !file.path.is_empty()).collect()
}

/// `mode owner/group size date time name`; a link's target stands behind its name.
fn parse_entry(line: &str) -> Option<ImageFile> {
    let mut rest = line;
    let mut word = || {
        let (word, after) = rest.trim_start().split_once(' ')?;
        rest = after;
        Some(word)
    };
    let (mode, owner, size, _date, _time) = (word()?, word()?, word()?, word()?, word()?);
    let (kind, name) = match mode.chars().next()? {
        '-' => (Kind::File, rest),
        'd' => (Kind::Directory, rest),
        'l' => (Kind::Symlink, rest.split(" -> ").next()?),
        'h' => (Kind::Hardlink, rest.split(" link to ").next()?),
        _ => (Kind::Special, rest),
    };
    let name = name.trim_start_matches("./").trim_matches('/');
    Some(ImageFile {
        path: if name.is_empty() { String::new() } else { format!("/{name}") },
        kind,
        mode: mode_bits(mode),
        owner: owner.replace('/', ":"),
        // A device has its numbers where others have their size.
        size_bytes: size.parse().unwrap_or(0),
    })
}

/// The bits that `-rwsr-xr-t` stands for.
fn mode_bits(text: &str) -> u32 {
    let mut bits = 0;
    for (index, letter) in text.chars().skip(1).take(9).enumerate() {
        let plain = 0o400 >> index;
        let special = [0o4000, 0o2000, 0o1000][index / 3];
        bits |= match letter {
            'r' | 'w' | 'x' => plain,
            's' | 't' => plain | special,
            'S' | 'T' => special,
            _ => 0,
        };
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, kind: Kind, mode: u32, size_bytes: u64) -> ImageFile {
        ImageFile { path: path.into(), kind, mode, owner: "0:0".into(), size_bytes }
    }

    #[test]
    fn a_listing_gives_every_entry_with_its_bits() {
        let listing = "drwxr-xr-x 0/0               0 2026-01-01 00:00 ./
drwxrwxrwt 0/0               0 2026-01-01 00:00 tmp/
-rwxr-xr-x 0/0         4312345 1970-01-01 00:00 mini-user
-rwsr-xr-x 0/0              12 1970-01-01 00:00 a file with blanks
-rwxr-Sr-x 0/0              12 1970-01-01 00:00 usr/bin/wall
lrwxrwxrwx 0/0               0 2026-01-01 00:00 etc/mtab -> /proc/mounts
hrw-r--r-- 0/0               0 2026-01-01 00:00 b link to a
crw-rw-rw- 0/0             1,3 2026-01-01 00:00 dev/null";
        assert_eq!(
            parse_listing(listing),
            [
                file("/tmp", Kind::Directory, 0o1777, 0),
                file("/mini-user", Kind::File, 0o755, 4_312_345),
                file("/a file with blanks", Kind::File, 0o4755, 12),
                file("/usr/bin/wall", Kind::File, 0o2745, 12),
                file("/etc/mtab", Kind::Symlink, 0o777, 0),
                file("/b", Kind::Hardlink, 0o644, 0),
                file("/dev/null", Kind::Special, 0o666, 0),
            ]
        );
    }
}
