//! Keys as text.

use mini_kit_api::token::decode_key;
use proptest::prelude::*;

#[test]
fn keys_have_32_bytes_in_standard_base64() {
    let padded = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";
    let unpadded = padded.trim_end_matches('=');
    assert_eq!(decode_key(padded).unwrap(), decode_key(unpadded).unwrap());
    let with_slash = "//79/Pv6+fj39vX08/Lx8O/u7ezr6uno5+bl5OPi4eA=";
    decode_key(with_slash).unwrap();
    let zeros = format!("{}=", "A".repeat(43));
    let hex = "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20";
    for (text, why) in [
        (with_slash.replace('/', "_").replace('+', "-").as_str(), "URL-safe"),
        (format!("{padded}\n").as_str(), "blanks"),
        (format!("{} {}", &padded[..20], &padded[20..]).as_str(), "blanks"),
        ("AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHw==", "does not have 32 bytes"),
        ("=====", "not base64"),
        (zeros.as_str(), "zeros"),
        (hex, "hexadecimal"),
        // The last two bits of this text belong to no byte; accepting them would give one key several forms.
        ("AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyB=", "not base64"),
    ] {
        let reason = decode_key(text).expect_err(text).into_owned();
        assert!(reason.contains(why), "{text}: {reason}");
    }
}

proptest! {
    #[test]
    fn a_key_survives_its_text(bytes in any::<[u8; 32]>().prop_filter("not all zeros", |bytes| *bytes != [0; 32])) {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(bytes);
        prop_assert_eq!(decode_key(&text), Ok(bytes));
        prop_assert_eq!(decode_key(text.trim_end_matches('=')), Ok(bytes));
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC*") {
        let _ = decode_key(&text);
    }
}
