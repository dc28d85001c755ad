//! Reads which sources of advisories a trivy database holds, and whether the file is whole.
//!
//! trivy keeps its database in a bbolt file and finds nothing, without a word, for whatever is not in it. The names of the
//! top buckets (`debian 13`, `cargo::RustSec Advisory Database`) say what it knows. Only these are read; the form is
//! described in bbolt's documentation of its pages.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;

use camino::Utf8Path;

const MAGIC: u32 = 0xED0C_DAED;
const FORMAT_VERSION: u32 = 2;
const PAGE_HEADER_BYTES: usize = 16;
/// The fields of a meta page up to its checksum.
const META_BYTES: usize = 56;
const BRANCH: u16 = 0x01;
const LEAF: u16 = 0x02;
const BUCKET: u32 = 0x01;
/// A page with its overflow; the list of sources fits into very little.
const PAGE_LIMIT_BYTES: usize = 16 * 1024 * 1024;
/// The tree of a few hundred names is one or two levels deep.
const DEPTH_LIMIT: usize = 8;

/// What the file says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Contents {
    /// The names of the top buckets, sorted.
    pub(super) buckets: Vec<String>,
    /// The number of the last transaction: it grows with every change.
    pub(super) transaction: u64,
}

/// # Errors
/// Says in words why the file is no whole database.
pub(super) fn read(path: &Utf8Path) -> Result<Contents, String> {
    let mut file = File::open(path).map_err(|error| format!("{path} cannot be read: {error}"))?;
    let length = file.metadata().map_err(|error| format!("{path} cannot be read: {error}"))?.len();
    let mut start = [0; 4096];
    let read = file.read(&mut start).map_err(|error| format!("{path} cannot be read: {error}"))?;
    let first = Meta::read(start.get(..read).unwrap_or_default());
    // Pages are as large as those of the machine that wrote the file; the second meta page stands one page on.
    let page_size = first.as_ref().map_or(4096, |meta| meta.page_size);
    let second =
        page(&file, 1, page_size, PAGE_HEADER_BYTES + META_BYTES + 8).ok().and_then(|bytes| Meta::read(&bytes));
    let meta = first.into_iter().chain(second).max_by_key(|meta| meta.transaction);
    let meta = meta.ok_or_else(|| format!("{path} is no trivy database"))?;
    let expected = meta.pages.saturating_mul(meta.page_size);
    if length < expected {
        return Err(format!("{path} is only half there: {length} of {expected} bytes"));
    }
    let mut buckets = Vec::new();
    collect(&file, &meta, meta.root, 0, &mut buckets).map_err(|problem| format!("{path} is damaged: {problem}"))?;
    buckets.sort();
    Ok(Contents { buckets, transaction: meta.transaction })
}

struct Meta {
    page_size: u64,
    root: u64,
    /// How many pages are in use.
    pages: u64,
    transaction: u64,
}

impl Meta {
    /// `None` for what is no meta page, or one that was not written to its end.
    fn read(page: &[u8]) -> Option<Self> {
        let meta = page.get(PAGE_HEADER_BYTES..)?;
        let whole = checksum(meta.get(..META_BYTES)?) == long(meta, META_BYTES)?;
        let known = word(meta, 0)? == MAGIC && word(meta, 4)? == FORMAT_VERSION;
        let page_size = u64::from(word(meta, 8)?);
        (whole && known && page_size >= 1024).then_some(())?;
        Some(Self { page_size, root: long(meta, 16)?, pages: long(meta, 40)?, transaction: long(meta, 48)? })
    }
}

fn collect(file: &File, meta: &Meta, id: u64, depth: usize, names: &mut Vec<String>) -> Result<(), String> {
    if depth > DEPTH_LIMIT || id >= meta.pages {
        return Err(format!("page {id} cannot be"));
    }
    let header = page(file, id, meta.page_size, PAGE_HEADER_BYTES)?;
    let cut = || format!("page {id} is cut off");
    let overflow = word(&header, 12).ok_or_else(cut)?;
    let size = usize::try_from(meta.page_size.saturating_mul(u64::from(overflow) + 1)).unwrap_or(usize::MAX);
    let bytes = page(file, id, meta.page_size, size.min(PAGE_LIMIT_BYTES))?;
    let (kind, count) = (half(&bytes, 8).ok_or_else(cut)?, half(&bytes, 10).ok_or_else(cut)?);
    for index in 0..usize::from(count) {
        let element = PAGE_HEADER_BYTES + index * 16;
        match kind {
            LEAF if word(&bytes, element).ok_or_else(cut)? & BUCKET != 0 => {
                let (offset, length) = (word(&bytes, element + 4), word(&bytes, element + 8));
                let (offset, length) = (offset.ok_or_else(cut)? as usize, length.ok_or_else(cut)? as usize);
                let name = bytes.get(element + offset..element + offset + length).ok_or_else(cut)?;
                names.push(String::from_utf8_lossy(name).into_owned());
            }
            LEAF => {}
            BRANCH => collect(file, meta, long(&bytes, element + 8).ok_or_else(cut)?, depth + 1, names)?,
            other => return Err(format!("page {id} is of the unknown kind {other}")),
        }
    }
    Ok(())
}

fn page(file: &File, id: u64, page_size: u64, bytes: usize) -> Result<Vec<u8>, String> {
    let mut buffer = vec![0; bytes];
    let read = file.read_exact_at(&mut buffer, id.saturating_mul(page_size));
    read.map_err(|error| format!("page {id} cannot be read: {error}"))?;
    Ok(buffer)
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// FNV-1a, as bbolt computes it over a meta page.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A database file with these top buckets, for tests: two meta pages, a free list, one leaf.
#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "a test writes few bytes")]
pub(super) fn file_with(buckets: &[&str]) -> Vec<u8> {
    const PAGE: usize = 4096;
    let mut file = vec![0; 4 * PAGE];
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    for index in 0..2_u64 {
        let mut meta = Vec::new();
        for value in [MAGIC, FORMAT_VERSION, PAGE as u32, 0] {
            meta.extend(value.to_le_bytes());
        }
        // root page, root sequence, free list page, pages in use, transaction
        for value in [3, 0, 2, 4, 7 + index] {
            meta.extend(u64::to_le_bytes(value));
        }
        meta.extend(checksum(&meta).to_le_bytes());
        put(index as usize * PAGE + PAGE_HEADER_BYTES, &meta);
    }
    let leaf = 3 * PAGE;
    put(leaf + 8, &LEAF.to_le_bytes());
    put(leaf + 10, &(buckets.len() as u16).to_le_bytes());
    let mut name_at = PAGE_HEADER_BYTES + 16 * buckets.len();
    for (index, name) in buckets.iter().enumerate() {
        let element = PAGE_HEADER_BYTES + 16 * index;
        for (field, value) in [BUCKET, (name_at - element) as u32, name.len() as u32, 0].into_iter().enumerate() {
            put(leaf + element + 4 * field, &value.to_le_bytes());
        }
        put(leaf + name_at, name.as_bytes());
        name_at += name.len();
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;
    use camino::Utf8PathBuf;

    fn written(bytes: &[u8]) -> (tempfile::TempDir, Utf8PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(folder.path().join("trivy.db")).unwrap();
        std::fs::write(&path, bytes).unwrap();
        (folder, path)
    }

    #[test]
    fn the_top_buckets_are_what_a_database_knows() {
        let (_folder, path) = written(&file_with(&["cargo::RustSec", "debian 13"]));
        let contents = read(&path).unwrap();
        assert_eq!(contents.buckets, ["cargo::RustSec", "debian 13"]);
        assert_eq!(contents.transaction, 8);
    }

    #[test]
    fn a_half_downloaded_file_is_called_that() {
        let bytes = file_with(&["debian 13"]);
        let (_folder, path) = written(&bytes[..bytes.len() - 100]);
        assert!(read(&path).unwrap_err().contains("only half there"), "{:?}", read(&path));
    }

    #[test]
    fn what_is_no_database_is_refused_and_never_a_panic() {
        for bytes in [&b""[..], b"<html>502 Bad Gateway</html>", &[0; 20_000]] {
            let (_folder, path) = written(bytes);
            assert!(read(&path).unwrap_err().contains("no trivy database"));
        }
        assert!(read(Utf8Path::new("/no/such/file")).unwrap_err().contains("cannot be read"));
    }

    #[test]
    fn damage_in_any_byte_of_the_list_is_no_panic() {
        let bytes = file_with(&["debian 13", "cargo::RustSec"]);
        for at in (3 * 4096..3 * 4096 + 100).chain(0..80) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0xff;
            let (_folder, path) = written(&damaged);
            let _ = read(&path);
        }
    }

    /// Both meta pages with a changed field and a right checksum.
    fn with_meta(field: usize, value: u32) -> Vec<u8> {
        let mut bytes = file_with(&["debian 13"]);
        for page in [0, 4096] {
            let meta = page + PAGE_HEADER_BYTES;
            bytes[meta + field..meta + field + 4].copy_from_slice(&value.to_le_bytes());
            let sum = checksum(&bytes[meta..meta + META_BYTES]);
            bytes[meta + META_BYTES..meta + META_BYTES + 8].copy_from_slice(&sum.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn another_form_or_a_page_of_no_size_is_refused_though_its_checksum_is_right() {
        let (_folder, path) = written(&with_meta(4, FORMAT_VERSION));
        read(&path).unwrap();
        for (field, value) in [(0, 1), (4, 3), (8, 512)] {
            let (_folder, path) = written(&with_meta(field, value));
            assert!(read(&path).unwrap_err().contains("no trivy database"), "{field} {value}");
        }
    }

    #[test]
    fn a_tree_that_leads_into_itself_or_out_of_the_file_is_damage() {
        for target in [3_u64, 4, 5] {
            let mut bytes = file_with(&["debian 13"]);
            let page = 3 * 4096;
            bytes[page + 8..page + 10].copy_from_slice(&BRANCH.to_le_bytes());
            let element = page + PAGE_HEADER_BYTES;
            bytes[element + 8..element + 16].copy_from_slice(&target.to_le_bytes());
            // One page more than is in use, so that page 4 can be read and is none of the tree's.
            bytes.resize(5 * 4096, 0);
            let (_folder, path) = written(&bytes);
            assert!(read(&path).unwrap_err().contains("cannot be"), "{target}");
        }
    }

    #[test]
    fn a_value_among_the_buckets_is_none() {
        let mut bytes = file_with(&["debian 13", "not a bucket"]);
        let second = 3 * 4096 + PAGE_HEADER_BYTES + 16;
        bytes[second..second + 4].copy_from_slice(&0_u32.to_le_bytes());
        let (_folder, path) = written(&bytes);
        assert_eq!(read(&path).unwrap().buckets, ["debian 13"]);
    }

    #[test]
    fn one_meta_page_that_was_not_written_to_its_end_leaves_the_other() {
        let mut bytes = file_with(&["debian 13"]);
        bytes[4096 + 40] ^= 1;
        let (_folder, path) = written(&bytes);
        assert_eq!(read(&path).unwrap().transaction, 7);
    }
}
