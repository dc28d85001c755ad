//! Reads a program's bytes: is it really static, does it say what it was built from?

use elf::ElfBytes;
use elf::abi::{DT_NEEDED, PT_INTERP};
use elf::endian::AnyEndian;

use crate::outcome::Stop;

/// Where cargo-auditable puts the list of dependencies.
const AUDITABLE_SECTION: &str = ".dep-v0";

/// # Errors
/// [`Stop::Repository`] when the program needs a loader or a library (it would not start in an image that holds nothing
/// else), or when no scanner could see what it is made of.
pub(crate) fn check(name: &str, bytes: &[u8]) -> Result<(), Stop> {
    let problem = |text: String| Stop::Repository(format!("the program {name} {text}"));
    let elf =
        ElfBytes::<AnyEndian>::minimal_parse(bytes).map_err(|error| problem(format!("is no ELF file: {error}")))?;
    let segments = elf.segments().ok_or_else(|| problem("has no segments".to_owned()))?;
    if segments.iter().any(|segment| segment.p_type == PT_INTERP) {
        return Err(problem("is not static: it asks for a dynamic loader, which the image does not have".to_owned()));
    }
    let dynamic = elf.dynamic().map_err(|error| problem(format!("has an unreadable dynamic section: {error}")))?;
    if dynamic.is_some_and(|entries| entries.iter().any(|entry| entry.d_tag == DT_NEEDED)) {
        return Err(problem("is not static: it needs a shared library, which the image does not have".to_owned()));
    }
    match elf.section_header_by_name(AUDITABLE_SECTION) {
        Ok(Some(_)) => Ok(()),
        _ => Err(problem(format!(
            "has no {AUDITABLE_SECTION} section: built without cargo-auditable, a scanner sees nothing in it"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_needs_a_loader_is_refused() {
        let bytes = std::fs::read("/bin/ls").unwrap();
        let Err(Stop::Repository(text)) = check("ls", &bytes) else { panic!("accepted") };
        assert!(text.contains("dynamic loader"), "{text}");
    }

    #[test]
    fn what_is_no_program_is_refused() {
        assert!(check("x", b"#!/bin/sh\n").is_err());
        assert!(check("x", b"").is_err());
    }
}
