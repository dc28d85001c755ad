//! What each type of variable accepts.

use std::time::Duration;

use mini_kit::contract::Value;
use mini_kit::types::{BindAddress, HttpOrigin, Integer, LogLevel, Pause, Port};
use proptest::prelude::*;

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
fn origins_have_scheme_host_and_port_and_nothing_else() {
    for (text, host) in [
        ("http://product:8080", "product:8080"),
        ("http://product:8080/", "product:8080"),
        ("HTTP://product", "product"),
        ("http://127.0.0.1:80", "127.0.0.1:80"),
        ("http://[::1]:3", "[::1]:3"),
        ("http://product.shop.svc.cluster.local", "product.shop.svc.cluster.local"),
    ] {
        assert_eq!(HttpOrigin::parse(text).unwrap().host(), host);
    }
    for (text, why) in [
        ("product:8080", "not a URL"),
        ("/path", "not a URL"),
        ("https://product", "without TLS"),
        ("ftp://product", "not an http URL"),
        ("http://", "without a host"),
        ("http:///", "without a host"),
        ("http://u:p@h/", "user information"),
        ("http://u@h", "user information"),
        ("http://h:99999", "HTTP cannot carry"),
        ("http://h:", "HTTP cannot carry"),
        ("http://h\u{fc}lle", "HTTP cannot carry"),
        ("http://h/path", "path"),
        ("http://h//", "path"),
        ("http://h?a=b", "query"),
        ("http://h/#x", "fragment"),
        ("http://h\\x", "path"),
    ] {
        let reason = reason::<HttpOrigin>(text);
        assert!(reason.contains(why), "{text}: {reason}");
    }
    let origin = HttpOrigin::parse("http://product:8080").unwrap();
    assert_eq!(origin.uri("/products?a=b".parse().unwrap()), "http://product:8080/products?a=b");
}

proptest! {
    #[test]
    fn no_text_makes_a_parser_panic(text in "\\PC*") {
        let _ = Duration::parse(&text);
        let _ = Port::parse(&text);
        let _ = Integer::<0, 9>::parse(&text);
        let _ = BindAddress::parse(&text);
        let _ = HttpOrigin::parse(&text);
    }

    #[test]
    fn a_duration_means_what_it_says(number in 1_u64..8760, unit in prop::sample::select(vec![("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)])) {
        let (name, milliseconds) = unit;
        prop_assert_eq!(Duration::parse(&format!("{number}{name}")), Ok(Duration::from_millis(number * milliseconds)));
    }
}
