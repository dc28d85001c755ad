//! In what do two saved images differ? The first difference, named by file and, in a program, by section.

use std::collections::{BTreeMap, BTreeSet};

use elf::ElfBytes;
use elf::abi::SHT_NOBITS;
use elf::endian::AnyEndian;
use serde_json::Value;

use crate::saved_image::{Entry, SavedImage};

/// The first difference, in words; `None` when there is none.
pub(super) fn difference(one: &SavedImage, other: &SavedImage) -> Option<String> {
    if one.layers.len() != other.layers.len() {
        return Some(format!("one has {} layers, the other {}", one.layers.len(), other.layers.len()));
    }
    for (number, (left, right)) in one.layers.iter().zip(&other.layers).enumerate() {
        if let Some(text) = layer_difference(left, right) {
            return Some(format!("layer {}, {text}", number + 1));
        }
    }
    json_difference("configuration", &one.configuration, &other.configuration)
}

fn layer_difference(one: &[Entry], other: &[Entry]) -> Option<String> {
    let by_path = |entries: &'_ [Entry]| -> BTreeMap<String, usize> {
        entries.iter().enumerate().map(|(index, entry)| (entry.file.path.clone(), index)).collect()
    };
    let (mine, others) = (by_path(one), by_path(other));
    let (my_paths, other_paths): (BTreeSet<_>, BTreeSet<_>) = (mine.keys().collect(), others.keys().collect());
    if let Some(path) = my_paths.symmetric_difference(&other_paths).next() {
        return Some(format!("{path}: only one of them has it"));
    }
    // Contents first: a file that differs usually differs in its size and time, too, and those say less.
    for (path, index) in &mine {
        if let Some(text) = content_difference(&one[*index].content, &other[others[path]].content) {
            return Some(format!("{path}: {text}"));
        }
    }
    let described = |entry: &Entry| {
        let Entry { file, modified, link, .. } = entry;
        let link = link.as_ref().map(|target| format!(" to {target}")).unwrap_or_default();
        format!("{:?} {} mode {:04o} owner {} time {modified}{link}", file.kind, file.path, file.mode, file.owner)
    };
    let mut pairs = one.iter().zip(other).map(|(left, right)| (described(left), described(right)));
    let differing = pairs.find(|(left, right)| left != right);
    differing.map(|(left, right)| format!("an entry reads `{left}` and `{right}`"))
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
    use serde_json::json;

    use super::*;
    use crate::saved_image::tests::{archive, saved};

    fn image(files: Files<'_>, configuration: &Value) -> SavedImage {
        saved(&archive(files, 0), configuration)
    }

    type Files<'a> = &'a [(&'a str, &'a [u8])];

    fn compare(one: (Files<'_>, &Value), other: (Files<'_>, &Value)) -> Option<String> {
        difference(&image(one.0, one.1), &image(other.0, other.1))
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
        let one = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let elf = ElfBytes::<AnyEndian>::minimal_parse(&one).unwrap();
        let header = elf.section_header_by_name(".rodata").unwrap().unwrap();
        let mut other = one.clone();
        other[usize::try_from(header.sh_offset).unwrap()] ^= 1;
        let text = content_difference(&one, &other).unwrap();
        assert!(text.ends_with(", in section .rodata"), "{text}");
    }
}
