//! Keys of 32 bytes as base64.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use mini_kit::contract::Reason;

const KEY_BYTES: usize = 32;
const HEX_DIGITS: usize = 2 * KEY_BYTES;

/// The standard alphabet of RFC 4648 §4 with or without padding; bits that no byte needs must be zero, so that a key
/// has one form only.
const STANDARD: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Decodes a key of exactly 32 bytes.
///
/// # Errors
/// What the text is instead, as far as that can be told: hexadecimal digits, the URL-safe alphabet, blanks, another
/// length, only zeros.
pub fn decode_key(text: &str) -> Result<[u8; KEY_BYTES], Reason> {
    if text.chars().any(char::is_whitespace) {
        return Err("contains blanks or line breaks".into());
    }
    if text.len() == HEX_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err("is hexadecimal: 32 bytes in the standard base64 alphabet are wanted".into());
    }
    if text.contains(['-', '_']) {
        return Err("is in the URL-safe alphabet (- and _): the standard base64 alphabet (+ and /) is wanted".into());
    }
    let bytes = STANDARD.decode(text).map_err(|_| "is not base64 in the standard alphabet")?;
    let key: [u8; KEY_BYTES] =
        bytes.try_into().map_err(|_| format!("does not have {KEY_BYTES} bytes after decoding"))?;
    if key == [0; KEY_BYTES] {
        return Err("consists of zeros only, which is nobody's key".into());
    }
    Ok(key)
}
