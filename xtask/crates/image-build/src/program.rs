//! Reads a program's bytes: is it really static, does it say what it was built from?

use elf::ElfBytes;
use elf::abi::{DT_NEEDED, PT_INTERP};
use elf::endian::AnyEndian;

/// Where cargo-auditable puts the list of dependencies.
const AUDITABLE_SECTION: &str = ".dep-v0";

/// Why the program would not start in an image that holds nothing else, and why no scanner could see what it is made of.
pub(crate) fn faults(bytes: &[u8]) -> Vec<String> {
    let mut faults = start_faults(bytes);
    let elf = ElfBytes::<AnyEndian>::minimal_parse(bytes).ok();
    if elf.is_some_and(|elf| !matches!(elf.section_header_by_name(AUDITABLE_SECTION), Ok(Some(_)))) {
        faults.push(format!(
            "the program has no {AUDITABLE_SECTION} section: built without cargo-auditable, a scanner sees nothing in it"
        ));
    }
    faults
}

/// Why the program would not start in an image that holds nothing else.
pub(crate) fn start_faults(bytes: &[u8]) -> Vec<String> {
    if bytes.is_empty() {
        return vec!["the program is empty: an empty stand-in was compiled in its place".to_owned()];
    }
    let elf = match ElfBytes::<AnyEndian>::minimal_parse(bytes) {
        Ok(elf) => elf,
        Err(error) => return vec![format!("the program is not an ELF file: {error}")],
    };
    let mut faults = Vec::new();
    let segments = elf.segments();
    if segments.is_none() {
        faults.push("the program has no segments".to_owned());
    }
    if segments.is_some_and(|segments| segments.iter().any(|segment| segment.p_type == PT_INTERP)) {
        faults
            .push("the program is not static: it asks for a dynamic loader, which the image does not have".to_owned());
    }
    match elf.dynamic() {
        Ok(entries) => {
            if entries.is_some_and(|entries| entries.iter().any(|entry| entry.d_tag == DT_NEEDED)) {
                faults.push(
                    "the program is not static: it needs a shared library, which the image does not have".to_owned(),
                );
            }
        }
        Err(error) => faults.push(format!("the program has an unreadable dynamic section: {error}")),
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_needs_a_loader_is_refused_and_every_fault_is_named() {
        let found = faults(&std::fs::read("/bin/ls").unwrap()).join("\n");
        for part in ["dynamic loader", "shared library", ".dep-v0"] {
            assert!(found.contains(part), "{found}");
        }
    }

    #[test]
    fn what_is_not_a_program_is_refused() {
        assert!(faults(b"#!/bin/sh\n")[0].contains("not an ELF file"));
        assert!(faults(b"")[0].contains("empty"));
    }
}
