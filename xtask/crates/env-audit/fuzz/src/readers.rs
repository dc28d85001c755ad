//! One reader under libFuzzer, the one that `READER` names.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use xtask_env_audit::readers::{ALL, Reader};

static READER: OnceLock<Reader> = OnceLock::new();

fn chosen() -> Reader {
    let name = std::env::var("READER").unwrap_or_default();
    let known = ALL.iter().find(|(known, _)| *known == name);
    let Some((_, reader)) = known else {
        let names: Vec<_> = ALL.iter().map(|(known, _)| *known).collect();
        panic!("READER is `{name}`; next: set it to one of {}", names.join(", "));
    };
    *reader
}

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    READER.get_or_init(chosen)(&text);
});
