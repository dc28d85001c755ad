//! What each type of variable accepts.

use std::time::Duration;

use mini_kit::contract::Value;
use mini_kit::types::{BindAddress, Integer, LogLevel, Pause, Port, decode_key};
use proptest::prelude::*;
use url::Url;

fn reason<T: Value>(text: &str) -> String {
    match T::parse(text) {
        Ok(_) => panic!("{text:?} is accepted"),
        Err(reason) => reason.into_owned(),
    }
}

#[test]
fn durations_have_a_whole_number_and_a_unit() {
    for (text, milliseconds) in [("500ms", 500), ("10s", 10_000), ("15m", 900_000), ("1h", 3_600_000)] {
        assert_eq!(Duration::parse(text).unwrap(), Duration::from_millis(milliseconds));
    }
    for text in
        ["", "10", "s", "-1s", "+1s", "1.5s", "1 s", " 1s", "1s ", "1d", "1S", "1µs", "99999999999999999999s", "9999h"]
    {
        reason::<Duration>(text);
    }
}

#[test]
fn a_limit_on_time_is_above_zero_and_a_pause_may_be_none() {
    for text in ["0ms", "0s", "00h"] {
        assert!(reason::<Duration>(text).contains("the least is 1ms"));
        assert_eq!(Pause::parse(text).unwrap().get(), Duration::ZERO);
    }
    assert_eq!(Pause::parse("20ms").unwrap().get(), Duration::from_millis(20));
    reason::<Pause>("20");
    assert_eq!(Pause::TYPE, "duration");
}

#[test]
fn ports_from_service_links_are_explained() {
    assert_eq!(Port::parse("8080").unwrap().get(), 8080);
    for text in ["-1", "+80", "65536", "8080/tcp", "x", "8 0"] {
        reason::<Port>(text);
    }
    let hint = reason::<Port>("tcp://10.0.0.1:80");
    assert!(hint.contains("Kubernetes") && hint.contains("enableServiceLinks") && !hint.contains("10.0.0.1"), "{hint}");
}

#[test]
fn the_other_types_take_one_form_only() {
    assert_eq!(Integer::<1, 10>::parse("10").unwrap().get(), 10);
    for text in ["0", "11", "1e1", "0x1", "１"] {
        reason::<Integer<1, 10>>(text);
    }
    assert!(bool::parse("true").unwrap() && !bool::parse("false").unwrap());
    for text in ["1", "yes", "True"] {
        reason::<bool>(text);
    }
    assert_eq!(LogLevel::parse("warn").unwrap(), LogLevel::Warn);
    reason::<LogLevel>("WARN");
    for text in ["0.0.0.0", "::", "[::]", "127.0.0.1"] {
        BindAddress::parse(text).unwrap();
    }
    for text in ["localhost", "0.0.0.0:80", "[::"] {
        reason::<BindAddress>(text);
    }
}

#[test]
fn urls_have_a_host_and_no_user_information() {
    Url::parse("http://product:8080").unwrap();
    for text in ["product:8080", "/path", "http://", "http://u:p@h/", "http://u@h/", "http://h:99999/", "mailto:a@b"] {
        reason::<Url>(text);
    }
}

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
    fn no_text_makes_a_parser_panic(text in "\\PC*") {
        let _ = Duration::parse(&text);
        let _ = Port::parse(&text);
        let _ = Integer::<0, 9>::parse(&text);
        let _ = BindAddress::parse(&text);
        let _ = <Url as Value>::parse(&text);
        let _ = decode_key(&text);
    }

    #[test]
    fn a_duration_means_what_it_says(number in 1_u64..8760, unit in prop::sample::select(vec![("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)])) {
        let (name, milliseconds) = unit;
        prop_assert_eq!(Duration::parse(&format!("{number}{name}")), Ok(Duration::from_millis(number * milliseconds)));
    }
}
