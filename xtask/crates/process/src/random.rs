//! The one source of random bytes.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};

/// Random bytes from the kernel as lower-case hexadecimal digits, two per byte: no character of it needs quoting anywhere.
///
/// # Errors
/// When the kernel gives none.
pub fn random_hex(bytes: usize) -> Result<String> {
    let mut buffer = vec![0_u8; bytes];
    getrandom::fill(&mut buffer).context("ask the kernel for random bytes")?;
    let mut text = String::with_capacity(bytes * 2);
    for byte in buffer {
        write!(text, "{byte:02x}")?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_texts_differ_and_need_no_quoting() {
        let (one, two) = (random_hex(24).unwrap(), random_hex(24).unwrap());
        assert_ne!(one, two);
        assert!(one.len() == 48 && one.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
}
