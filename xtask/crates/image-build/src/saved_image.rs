//! An image as `docker image save` writes it: its configuration, its history and every file of every layer. What a later
//! layer deletes still ships in the earlier one, so it counts; what the engine adds to a container is not in it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};

use anyhow::{Context as _, Result, bail};
use camino::Utf8Path;
use flate2::read::GzDecoder;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tar::EntryType;
use xtask_outcome::Stop;

/// No image that xtask builds comes near; a larger archive is somebody else's, and would not fit into memory.
const ARCHIVE_LIMIT_BYTES: u64 = 1024 * 1024 * 1024;
const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// What an entry of a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Directory,
    /// A symbolic link.
    Symlink,
    /// Another name of a file.
    Hardlink,
    /// A device, a pipe, or whatever else tar knows.
    Special,
}

/// One entry of a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageFile {
    /// Absolute, without a slash at its end.
    pub path: String,
    /// What it is.
    pub kind: Kind,
    /// The permission bits, setuid, setgid and sticky included.
    pub mode: u32,
    /// `uid:gid`.
    pub owner: String,
    /// The size of its content; 0 for what has none.
    pub size_bytes: u64,
}

/// An entry with what the facts of an image leave out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) file: ImageFile,
    /// Seconds since 1970.
    pub(crate) modified: u64,
    /// The target of a link.
    pub(crate) link: Option<String>,
    pub(crate) content: Vec<u8>,
}

/// The image; layers lowest first.
#[derive(Debug)]
pub(crate) struct SavedImage {
    /// The whole configuration, as the image has it.
    pub(crate) configuration: Value,
    pub(crate) layers: Vec<Vec<Entry>>,
}

/// An entry of the archive's `manifest.json`; both forms of the archive, Docker's own and OCI's, have one.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Manifest {
    config: String,
    layers: Vec<String>,
}

impl SavedImage {
    /// Reads the archive.
    ///
    /// # Errors
    /// When it is not what `docker image save` writes.
    pub(crate) fn read(file: &Utf8Path) -> Result<Self> {
        let archive = File::open(file).with_context(|| format!("open {file}"))?;
        Self::from_archive(BufReader::new(archive)).with_context(|| format!("read the saved image {file}"))
    }

    fn from_archive(archive: impl Read) -> Result<Self> {
        let parts = Parts::of(archive)?;
        let manifests: Vec<Manifest> =
            serde_json::from_slice(parts.get("manifest.json")?).context("manifest.json is not what docker writes")?;
        let manifest = manifests.into_iter().next().context("it holds no image")?;
        let configuration = serde_json::from_slice(parts.get(&manifest.config)?).context("read its configuration")?;
        let layers = manifest
            .layers
            .iter()
            .map(|name| layer(parts.get(name)?).with_context(|| format!("read the layer {name}")));
        Ok(Self { configuration, layers: layers.collect::<Result<_>>()? })
    }

    /// User, entrypoint, variables, labels, healthcheck.
    pub(crate) fn config(&self) -> &Value {
        &self.configuration["config"]
    }

    /// What made each step, as the builder noted it.
    pub(crate) fn history(&self) -> Vec<String> {
        let steps = self.configuration["history"].as_array().map(Vec::as_slice).unwrap_or_default();
        steps.iter().filter_map(|step| step["created_by"].as_str()).map(ToOwned::to_owned).collect()
    }

    /// Every entry of every layer.
    pub(crate) fn files(&self) -> Vec<ImageFile> {
        self.layers.iter().flatten().map(|entry| entry.file.clone()).collect()
    }

    /// The content of a file, as the uppermost layer has it.
    ///
    /// # Errors
    /// [`Stop::Repository`] when no layer has it.
    pub(crate) fn content(&self, path: &str) -> Result<&[u8], Stop> {
        let mut found = self.layers.iter().rev().flatten();
        let found = found.find(|entry| entry.file.path == path && entry.file.kind == Kind::File);
        found
            .map(|entry| entry.content.as_slice())
            .ok_or_else(|| Stop::Repository(format!("the image holds no {path}")))
    }
}

/// The files of the outer archive, and the links by which one layer stands for another.
#[derive(Debug, Default)]
struct Parts {
    files: BTreeMap<String, Vec<u8>>,
    links: BTreeMap<String, String>,
}

impl Parts {
    fn of(archive: impl Read) -> Result<Self> {
        let mut parts = Self::default();
        let mut left = ARCHIVE_LIMIT_BYTES;
        for entry in tar::Archive::new(archive).entries()? {
            let mut entry = entry?;
            let name = name_of(&entry.path_bytes());
            match entry.header().entry_type() {
                EntryType::Regular | EntryType::Continuous => {
                    left = left.checked_sub(entry.size()).context("it is larger than 1 GiB")?;
                    let mut content = Vec::new();
                    entry.read_to_end(&mut content)?;
                    parts.files.insert(name, content);
                }
                EntryType::Symlink | EntryType::Link => {
                    let target = entry.link_name_bytes().map(|target| name_of(&target)).unwrap_or_default();
                    parts.links.insert(name, target);
                }
                _ => {}
            }
        }
        Ok(parts)
    }

    fn get(&self, name: &str) -> Result<&[u8]> {
        let target = self.links.get(name).map(|target| {
            // `layer.tar` of one layer may be a link `../ID/layer.tar` to another's.
            let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
            target.strip_prefix("../").map_or_else(|| format!("{folder}/{target}"), ToOwned::to_owned)
        });
        let name = target.as_deref().unwrap_or(name);
        self.files.get(name).map(Vec::as_slice).with_context(|| format!("it holds no {name}"))
    }
}

/// Uncompressed as old engines write it, or with gzip as image stores keep it.
fn layer(bytes: &[u8]) -> Result<Vec<Entry>> {
    if bytes.starts_with(ZSTD) {
        bail!("it is compressed with zstd, which xtask does not read");
    }
    if bytes.starts_with(GZIP) { entries(GzDecoder::new(bytes).take(ARCHIVE_LIMIT_BYTES)) } else { entries(bytes) }
}

fn entries(layer: impl Read) -> Result<Vec<Entry>> {
    let mut found = Vec::new();
    for entry in tar::Archive::new(layer).entries()? {
        let mut entry = entry?;
        let name = name_of(&entry.path_bytes());
        if name.is_empty() {
            // The root itself.
            continue;
        }
        let link = entry.link_name_bytes().map(|target| String::from_utf8_lossy(&target).into_owned());
        let (mode, modified, uid, gid) = {
            let header = entry.header();
            (header.mode()? & 0o7777, header.mtime()?, header.uid()?, header.gid()?)
        };
        let kind = kind_of(entry.header().entry_type());
        let mut content = Vec::new();
        if kind == Kind::File {
            entry.read_to_end(&mut content)?;
        }
        let file = ImageFile {
            path: format!("/{name}"),
            kind,
            mode,
            owner: format!("{uid}:{gid}"),
            size_bytes: content.len() as u64,
        };
        found.push(Entry { file, modified, link, content });
    }
    Ok(found)
}

fn kind_of(entry: EntryType) -> Kind {
    match entry {
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => Kind::File,
        EntryType::Directory => Kind::Directory,
        EntryType::Symlink => Kind::Symlink,
        EntryType::Link => Kind::Hardlink,
        _ => Kind::Special,
    }
}

/// `./a/b/` is `a/b`.
fn name_of(path: &[u8]) -> String {
    let path = String::from_utf8_lossy(path);
    let path = path.trim_start_matches("./").trim_matches('/');
    if path == "." { String::new() } else { path.to_owned() }
}

/// The texts of a JSON list; none when there is no list.
pub(crate) fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().map(Vec::as_slice).unwrap_or_default().iter().filter_map(Value::as_str)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use serde_json::json;
    use tar::{Builder, Header};

    use super::*;

    fn header(kind: EntryType, mode: u32, size: u64, modified: u64) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size);
        header.set_mtime(modified);
        header.set_uid(0);
        header.set_gid(0);
        header
    }

    /// A tar archive of regular files.
    pub(crate) fn archive(files: &[(&str, &[u8])], modified: u64) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = header(EntryType::Regular, 0o755, content.len() as u64, modified);
            builder.append_data(&mut header, path, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    /// An image of one layer in Docker's form.
    pub(crate) fn saved(layer: &[u8], configuration: &Value) -> SavedImage {
        let manifest = json!([{ "Config": "c.json", "RepoTags": ["x:y"], "Layers": ["l/layer.tar"] }]).to_string();
        let configuration = configuration.to_string();
        let files =
            [("c.json", configuration.as_bytes()), ("manifest.json", manifest.as_bytes()), ("l/layer.tar", layer)];
        SavedImage::from_archive(archive(&files, 0).as_slice()).unwrap()
    }

    #[test]
    fn a_layer_gives_every_entry_with_its_bits() {
        let mut builder = Builder::new(Vec::new());
        let mut add = |path: &str, kind, mode, link: Option<&str>, content: &[u8]| {
            let mut header = header(kind, mode, content.len() as u64, 0);
            match link {
                Some(link) => builder.append_link(&mut header, path, link).unwrap(),
                None => builder.append_data(&mut header, path, content).unwrap(),
            }
        };
        add("tmp/", EntryType::Directory, 0o1777, None, b"");
        add("mini-user", EntryType::Regular, 0o755, None, b"program");
        add("a file with blanks -> and arrows", EntryType::Regular, 0o4755, None, b"x");
        add("etc/mtab", EntryType::Symlink, 0o777, Some("/proc/mounts"), b"");
        add("b", EntryType::Link, 0o644, Some("a"), b"");
        add("dev/null", EntryType::Char, 0o666, None, b"");
        let image = saved(&builder.into_inner().unwrap(), &json!({ "config": {} }));
        let file = |path: &str, kind, mode, size_bytes| ImageFile {
            path: path.into(),
            kind,
            mode,
            owner: "0:0".into(),
            size_bytes,
        };
        assert_eq!(
            image.files(),
            [
                file("/tmp", Kind::Directory, 0o1777, 0),
                file("/mini-user", Kind::File, 0o755, 7),
                file("/a file with blanks -> and arrows", Kind::File, 0o4755, 1),
                file("/etc/mtab", Kind::Symlink, 0o777, 0),
                file("/b", Kind::Hardlink, 0o644, 0),
                file("/dev/null", Kind::Special, 0o666, 0),
            ]
        );
        assert_eq!(image.content("/mini-user").unwrap(), b"program");
        assert!(image.content("/b").is_err());
    }

    #[test]
    fn a_compressed_layer_is_read_and_one_that_cannot_be_is_named() {
        let plain = archive(&[("x", b"1")], 0);
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&plain).unwrap();
        let image = saved(&encoder.finish().unwrap(), &json!({ "config": {} }));
        assert_eq!(image.content("/x").unwrap(), b"1");
        let error = format!("{:#}", layer(&[0x28, 0xb5, 0x2f, 0xfd, 0]).unwrap_err());
        assert!(error.contains("zstd"), "{error}");
    }

    #[test]
    fn a_layer_that_stands_for_another_is_found() {
        let manifest = json!([{ "Config": "c.json", "Layers": ["one/layer.tar", "two/layer.tar"] }]).to_string();
        let layer = archive(&[("x", b"1")], 0);
        let mut builder = Builder::new(Vec::new());
        let files: [(&str, &[u8]); 3] =
            [("c.json", b"{\"config\":{}}"), ("manifest.json", manifest.as_bytes()), ("one/layer.tar", &layer)];
        for (path, content) in files {
            builder
                .append_data(&mut header(EntryType::Regular, 0o644, content.len() as u64, 0), path, content)
                .unwrap();
        }
        builder.append_link(&mut header(EntryType::Symlink, 0o777, 0, 0), "two/layer.tar", "../one/layer.tar").unwrap();
        let image = SavedImage::from_archive(builder.into_inner().unwrap().as_slice()).unwrap();
        assert_eq!(image.layers.len(), 2);
        assert_eq!(image.layers[0], image.layers[1]);
    }

    #[test]
    fn what_docker_did_not_write_is_refused() {
        for bytes in [&b""[..], b"no archive", &archive(&[("manifest.json", b"[]")], 0), &archive(&[("x", b"")], 0)] {
            assert!(SavedImage::from_archive(bytes).is_err());
        }
    }
}
