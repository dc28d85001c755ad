//! In what do two saved images differ? The first difference, named by file and, in a program, by section.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use elf::ElfBytes;
use elf::abi::SHT_NOBITS;
use elf::endian::AnyEndian;
use serde::Deserialize;
use serde_json::Value;
use xshell::{Shell, cmd};

use crate::tools::Runner;

const TAR_LIMIT_SECONDS: u64 = 120;

/// What `docker image save` wrote, unpacked.
#[derive(Debug)]
pub(super) struct Archive {
    folder: Utf8PathBuf,
    configuration: Value,
    layers: Vec<Utf8PathBuf>,
}

/// An entry of the archive's `manifest.json`; both forms of the archive, Docker's own and OCI's, have one.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Manifest {
    config: Utf8PathBuf,
    layers: Vec<Utf8PathBuf>,
}

impl Archive {
    pub(super) fn unpack(runner: &Runner, file: &Utf8Path, folder: &Utf8Path) -> Result<Self> {
        let shell = Shell::new()?;
        shell.create_dir(folder)?;
        runner.read(cmd!(shell, "tar -xf {file} -C {folder}"), TAR_LIMIT_SECONDS)?;
        let text = shell.read_file(folder.join("manifest.json"))?;
        let manifests: Vec<Manifest> = serde_json::from_str(&text).with_context(|| format!("read {file}"))?;
        let manifest = manifests.into_iter().next().with_context(|| format!("{file} holds no image"))?;
        let configuration = serde_json::from_str(&shell.read_file(folder.join(manifest.config))?)?;
        let layers = manifest.layers.into_iter().map(|layer| folder.join(layer)).collect();
        Ok(Self { folder: folder.to_owned(), configuration, layers })
    }
}

/// The first difference, in words; `None` when there is none.
pub(super) fn difference(runner: &Runner, one: &Archive, other: &Archive) -> Result<Option<String>> {
    if one.layers.len() != other.layers.len() {
        return Ok(Some(format!("one has {} layers, the other {}", one.layers.len(), other.layers.len())));
    }
    for (number, (left, right)) in one.layers.iter().zip(&other.layers).enumerate() {
        if fs::read(left)? == fs::read(right)? {
            continue;
        }
        let (left, right) = (Layer::unpack(runner, left, one, number)?, Layer::unpack(runner, right, other, number)?);
        if let Some(text) = left.difference(&right)? {
            return Ok(Some(format!("layer {}, {text}", number + 1)));
        }
    }
    Ok(json_difference("configuration", &one.configuration, &other.configuration))
}

/// A layer's files, and what its archive says of each: mode, owner, size, time, name.
struct Layer {
    folder: Utf8PathBuf,
    entries: String,
}

impl Layer {
    fn unpack(runner: &Runner, file: &Utf8Path, archive: &Archive, number: usize) -> Result<Self> {
        let shell = Shell::new()?;
        let folder = archive.folder.join(format!("layer-{number}"));
        shell.create_dir(&folder)?;
        runner.read(cmd!(shell, "tar -xf {file} -C {folder}"), TAR_LIMIT_SECONDS)?;
        let list = cmd!(shell, "tar --numeric-owner --full-time -tvf {file}");
        Ok(Self { folder, entries: runner.read(list, TAR_LIMIT_SECONDS)? })
    }

    fn difference(&self, other: &Self) -> Result<Option<String>> {
        let (mine, others) = (files(&self.folder)?, files(&other.folder)?);
        if let Some(path) = mine.symmetric_difference(&others).next() {
            return Ok(Some(format!("/{path}: only one of them has it")));
        }
        for path in &mine {
            let (left, right) = (fs::read(self.folder.join(path))?, fs::read(other.folder.join(path))?);
            if let Some(text) = content_difference(&left, &right) {
                return Ok(Some(format!("/{path}: {text}")));
            }
        }
        let lines = self.entries.lines().zip(other.entries.lines());
        let differing = lines.into_iter().find(|(left, right)| left != right);
        Ok(differing.map(|(left, right)| format!("an entry reads `{left}` and `{right}`")))
    }
}

/// The regular files below a folder, by their path in it.
fn files(folder: &Utf8Path) -> Result<BTreeSet<Utf8PathBuf>> {
    let mut found = BTreeSet::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(current) = pending.pop() {
        for entry in current.read_dir_utf8().with_context(|| format!("read the folder {current}"))? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                pending.push(entry.into_path());
            } else if kind.is_file() {
                found.insert(entry.path().strip_prefix(folder)?.to_owned());
            }
        }
    }
    Ok(found)
}

fn content_difference(one: &[u8], other: &[u8]) -> Option<String> {
    if one == other {
        return None;
    }
    let common = one.iter().zip(other).take_while(|(left, right)| left == right).count();
    let section = section_at(one, common as u64).map(|name| format!(", in section {name}")).unwrap_or_default();
    Some(format!("{} and {} bytes, differing from byte {common}{section}", one.len(), other.len()))
}

/// The section of a program that a byte lies in; `None` for what is no program.
fn section_at(bytes: &[u8], offset: u64) -> Option<String> {
    let elf = ElfBytes::<AnyEndian>::minimal_parse(bytes).ok()?;
    let (Some(headers), Some(names)) = elf.section_headers_with_strtab().ok()? else { return None };
    let holds = |start: u64, size: u64| (start..start.saturating_add(size)).contains(&offset);
    let header =
        headers.iter().find(|header| header.sh_type != SHT_NOBITS && holds(header.sh_offset, header.sh_size))?;
    names.get(header.sh_name as usize).ok().map(ToOwned::to_owned)
}

fn json_difference(place: &str, one: &Value, other: &Value) -> Option<String> {
    match (one, other) {
        _ if one == other => None,
        (Value::Object(left), Value::Object(right)) => {
            let names: BTreeSet<_> = left.keys().chain(right.keys()).collect();
            let value =
                |object: &serde_json::Map<String, Value>, name: &str| object.get(name).cloned().unwrap_or_default();
            names
                .into_iter()
                .find_map(|name| json_difference(&format!("{place}.{name}"), &value(left, name), &value(right, name)))
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            let mut pairs = left.iter().zip(right).enumerate();
            pairs.find_map(|(index, (left, right))| json_difference(&format!("{place}[{index}]"), left, right))
        }
        _ => Some(format!("{place} is {one} and {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interrupt::Interrupt;
    use serde_json::json;

    /// Saves an image of one layer in Docker's form, and unpacks it as the real ones are.
    fn image(folder: &Utf8Path, name: &str, files: &[(&str, &[u8])], configuration: &Value) -> Archive {
        let (shell, runner) = (Shell::new().unwrap(), Runner::new(Interrupt::default(), false));
        let (root, saved) = (folder.join(name).join("root"), folder.join(name).join("saved"));
        for (path, content) in files {
            shell.write_file(root.join(path), content).unwrap();
        }
        shell.write_file(saved.join("c.json"), configuration.to_string()).unwrap();
        let manifest = json!([{ "Config": "c.json", "RepoTags": ["x:y"], "Layers": ["l/layer.tar"] }]);
        shell.write_file(saved.join("manifest.json"), manifest.to_string()).unwrap();
        shell.create_dir(saved.join("l")).unwrap();
        let (layer, archive) = (saved.join("l/layer.tar"), folder.join(format!("{name}.tar")));
        cmd!(shell, "tar --mtime=@0 --sort=name -cf {layer} -C {root} .").run().unwrap();
        cmd!(shell, "tar -cf {archive} -C {saved} .").run().unwrap();
        Archive::unpack(&runner, &archive, &folder.join(format!("{name}.unpacked"))).unwrap()
    }

    type Files<'a> = &'a [(&'a str, &'a [u8])];

    fn compare(one: (Files<'_>, &Value), other: (Files<'_>, &Value)) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        let (one, other) = (image(folder, "one", one.0, one.1), image(folder, "other", other.0, other.1));
        difference(&Runner::new(Interrupt::default(), false), &one, &other).unwrap()
    }

    #[test]
    fn the_file_that_differs_is_named_with_the_byte() {
        let text = compare(
            (&[("mini-user", b"same"), ("etc/a b", b"built 10:00")], &json!({})),
            (&[("mini-user", b"same"), ("etc/a b", b"built 10:01")], &json!({})),
        );
        assert_eq!(text.unwrap(), "layer 1, /etc/a b: 11 and 11 bytes, differing from byte 10");
    }

    #[test]
    fn a_file_that_only_one_has_is_named() {
        let text = compare((&[("a", b"")], &json!({})), (&[("a", b""), ("b", b"")], &json!({})));
        assert_eq!(text.unwrap(), "layer 1, /b: only one of them has it");
    }

    #[test]
    fn a_time_in_the_configuration_is_named_by_its_field() {
        let of = |time: &str| json!({ "history": [{ "created": time }], "os": "linux" });
        let text = compare((&[("a", b"")], &of("10:00")), (&[("a", b"")], &of("10:01")));
        assert_eq!(text.unwrap(), r#"configuration.history[0].created is "10:00" and "10:01""#);
    }

    #[test]
    fn equal_images_do_not_differ() {
        let of = json!({ "os": "linux" });
        assert_eq!(compare((&[("a", b"1")], &of), (&[("a", b"1")], &of)), None);
    }

    #[test]
    fn a_difference_in_a_program_is_named_by_its_section() {
        let one = fs::read(std::env::current_exe().unwrap()).unwrap();
        let elf = ElfBytes::<AnyEndian>::minimal_parse(&one).unwrap();
        let header = elf.section_header_by_name(".rodata").unwrap().unwrap();
        let mut other = one.clone();
        other[usize::try_from(header.sh_offset).unwrap()] ^= 1;
        let text = content_difference(&one, &other).unwrap();
        assert!(text.ends_with(", in section .rodata"), "{text}");
    }
}
