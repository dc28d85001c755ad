//! The types of variables, with the rules of `services/kit/src/types/`: a value that a program would refuse is found
//! before anything starts. The live audit holds that the programs refuse what is refused here.

use std::fmt;

use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine as _, alphabet};
use serde::{Deserialize, Serialize};

const YEAR_MILLISECONDS: u64 = 365 * 24 * 3600 * 1000;
const KEY_BYTES: usize = 32;
/// As the programs read a key: with or without padding; bits that no byte needs must be zero, so that a key has one form only.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// Characters without width that are no white space, the byte order mark first.
const INVISIBLE: [char; 6] = ['\u{feff}', '\u{200b}', '\u{200e}', '\u{200f}', '\u{2060}', '\u{ad}'];

/// A type as a contract names it: `url`, `port`, `enum:a|b`, …
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct ValueType(String);

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for ValueType {
    fn from(name: &str) -> Self {
        Self(name.to_owned())
    }
}

impl ValueType {
    pub(crate) fn is_url(&self) -> bool {
        self.0 == "url"
    }

    pub(crate) fn is_key(&self) -> bool {
        self.0 == "base64-32"
    }

    /// Checks a value that is not blank. `secret` tells a URL with a password in it from one that is printed.
    ///
    /// # Errors
    /// Why it is no value of this type; the reason holds no part of the text.
    pub(crate) fn check(&self, text: &str, secret: bool) -> Result<(), String> {
        nothing_unseen(text)?;
        match self.0.as_str() {
            "string" => Ok(()),
            "url" => Url::parse(text).and_then(|url| if secret { Ok(()) } else { url.check_origin() }),
            "port" => port(text),
            "integer" => integer(text),
            "boolean" if matches!(text, "true" | "false") => Ok(()),
            "boolean" => Err("is neither true nor false".to_owned()),
            "duration" => milliseconds(text).map(drop),
            "base64-32" => key(text),
            other => match other.strip_prefix("enum:") {
                Some(words) if words.split('|').any(|word| word == text) => Ok(()),
                Some(words) => Err(format!("is not one of {}", words.replace('|', ", "))),
                None => Err(format!("has the type {other}, which this xtask does not know")),
            },
        }
    }

    /// Texts that no program may take for a value of this type; the live audit tries them.
    pub(crate) fn malformed(&self) -> &'static [&'static str] {
        match self.0.as_str() {
            "url" => &["no url at all", "http://", "//host:1", "http://host:99999", "http://ho st/"],
            "port" => &["70000", "-1", "8o80", "tcp://10.43.1.7:9000", "+80"],
            "integer" => &["many", "-1", "+1", "1.5", "99999999999"],
            "boolean" => &["yes", "1", "TRUE", "on", "truthy"],
            "duration" => &["10", "s", "10 s", "1d", "99999h"],
            "base64-32" => &[
                "AAAA",
                "=====",
                "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
                "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
                "-_-_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE",
            ],
            other if other.starts_with("enum:") => &["no-such-word", "|", "INFO ", "-", "0"],
            _ => &[],
        }
    }
}

/// The parts of a URL, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url<'a> {
    pub(crate) scheme: &'a str,
    pub(crate) user: &'a str,
    pub(crate) password: Option<&'a str>,
    pub(crate) host: &'a str,
    pub(crate) port: Option<u16>,
    pub(crate) path: &'a str,
}

impl<'a> Url<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, String> {
        let no_url = || "is not a URL of the form scheme://host".to_owned();
        let (scheme, rest) = text.split_once("://").ok_or_else(no_url)?;
        let mut letters = scheme.chars();
        let scheme_is_good = letters.next().is_some_and(|first| first.is_ascii_alphabetic())
            && letters.all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '+' | '-' | '.'));
        if !scheme_is_good {
            return Err(no_url());
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (information, address) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = match information.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (information, None),
        };
        let (host, port) = split_port(address)?;
        if host.is_empty() {
            return Err("is a URL without a host".to_owned());
        }
        let forbidden = |c: char| c.is_whitespace() || c.is_control() || "#/<>?@\\^`{|}\"".contains(c);
        if !host.starts_with('[') && host.contains(|c: char| forbidden(c) || c == ':' || c == '%') {
            return Err("is a URL with a character in its host that no host has".to_owned());
        }
        Ok(Self { scheme, user, password, host, port, path })
    }

    /// A URL that is no secret says where another service is, and nothing more.
    fn check_origin(&self) -> Result<(), String> {
        if !self.user.is_empty() || self.password.is_some() {
            return Err("is a URL with user information, which does not belong here".to_owned());
        }
        if !self.scheme.eq_ignore_ascii_case("http") {
            return Err("is not an http URL: services speak plain HTTP on a private network".to_owned());
        }
        if !matches!(self.path, "" | "/") {
            return Err("has a path, a query or a fragment; scheme, host and port are all that is wanted".to_owned());
        }
        Ok(())
    }
}

/// What nobody means to be part of a value and nobody sees. Programs refuse it whatever the type.
fn nothing_unseen(text: &str) -> Result<(), String> {
    let why = if text.contains(INVISIBLE) {
        "contains a byte order mark or another invisible character"
    } else if text.contains(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']) {
        "has more than one line"
    } else if text.trim() != text {
        "begins or ends with white space"
    } else if text.contains(char::is_control) {
        "contains a control character"
    } else {
        return Ok(());
    };
    Err(why.to_owned())
}

fn split_port(address: &str) -> Result<(&str, Option<u16>), String> {
    let bracket = address.rfind(']').map_or(0, |end| end + 1);
    let Some(colon) = address[bracket..].find(':').map(|at| at + bracket) else { return Ok((address, None)) };
    let (host, port) = (&address[..colon], &address[colon + 1..]);
    if port.is_empty() {
        return Ok((host, None));
    }
    match port.parse() {
        Ok(number) if port.bytes().all(|byte| byte.is_ascii_digit()) => Ok((host, Some(number))),
        _ => Err("is a URL whose port is not a port number".to_owned()),
    }
}

fn whole_number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn port(text: &str) -> Result<(), String> {
    if text.starts_with("tcp://") || text.starts_with("udp://") {
        return Err("is the address of a Kubernetes Service, not a port number".to_owned());
    }
    let is_port = whole_number(text).is_some_and(|number| u16::try_from(number).is_ok());
    if is_port { Ok(()) } else { Err("is not a port number, at most 65535".to_owned()) }
}

/// The limits of an integer are not in its contract; the program knows them.
fn integer(text: &str) -> Result<(), String> {
    whole_number(text).map(drop).ok_or_else(|| "is not a whole number".to_owned())
}

/// A duration in milliseconds.
///
/// # Errors
/// Why it is none.
pub(crate) fn milliseconds(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let milliseconds_per_unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("is not a whole number with a unit of ms, s, m or h, such as 500ms or 10s".to_owned()),
    };
    if number.is_empty() {
        return Err("has a unit but no number before it".to_owned());
    }
    let milliseconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(milliseconds_per_unit));
    match milliseconds {
        Some(milliseconds) if milliseconds <= YEAR_MILLISECONDS => Ok(milliseconds),
        _ => Err("is longer than a year".to_owned()),
    }
}

/// 32 bytes in the standard base64 alphabet, with or without padding; bits that no byte needs must be zero.
fn key(text: &str) -> Result<(), String> {
    if text.chars().any(char::is_whitespace) {
        return Err("contains blanks or line breaks".to_owned());
    }
    if text.len() == 2 * KEY_BYTES && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err("is hexadecimal: 32 bytes in the standard base64 alphabet are wanted".to_owned());
    }
    if text.contains(['-', '_']) {
        return Err(
            "is in the URL-safe alphabet (- and _): the standard base64 alphabet (+ and /) is wanted".to_owned()
        );
    }
    let bytes = BASE64.decode(text).map_err(|_| "is not base64 in the standard alphabet".to_owned())?;
    // The length itself is not told: it is a property of a secret.
    if bytes.len() != KEY_BYTES {
        return Err(format!("does not have {KEY_BYTES} bytes after decoding"));
    }
    if bytes.iter().all(|byte| *byte == 0) {
        return Err("consists of zeros only, which is nobody's key".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, text: &str) -> Result<(), String> {
        ValueType::from(name).check(text, false)
    }

    #[test]
    fn every_type_takes_its_own_values() {
        for (name, texts) in [
            ("string", &["x", "two words"][..]),
            ("url", &["http://user:8080", "http://[::1]:80/", "http://host", "HTTP://a.example/"]),
            ("port", &["0", "8080", "65535"]),
            ("integer", &["0", "1024", "4294967295"]),
            ("boolean", &["true", "false"]),
            ("duration", &["500ms", "10s", "15m", "1h", "8760h"]),
            ("enum:a|b", &["a", "b"]),
        ] {
            for text in texts {
                assert_eq!(check(name, text), Ok(()), "{name} {text}");
            }
        }
    }

    #[test]
    fn every_type_refuses_what_the_live_audit_tries() {
        for name in ["url", "port", "integer", "boolean", "duration", "base64-32", "enum:a|b"] {
            let malformed = ValueType::from(name).malformed();
            assert_eq!(malformed.len(), 5, "{name}");
            for text in malformed {
                let reason = check(name, text).unwrap_err();
                assert!(!reason.contains(text) || text.len() < 3, "{name}: {reason}");
            }
        }
    }

    #[test]
    fn what_nobody_sees_is_refused_whatever_the_type() {
        for name in ["string", "url", "port", "integer", "boolean", "duration", "base64-32", "enum:a|b"] {
            for text in [" a", "a ", "a\n", "a\r\nb", "\u{feff}a", "a\u{200b}", "a\tb", "a\u{7f}b", "a\u{2028}b"] {
                assert!(check(name, text).is_err(), "{name} {text:?}");
            }
        }
        assert_eq!(check("string", "two words"), Ok(()));
    }

    #[test]
    fn a_url_that_is_no_secret_is_an_origin() {
        for text in ["http://a.example/x", "http://host?q", "http://host#f", "https://host", "postgres://db"] {
            assert!(check("url", text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_password_is_for_secret_urls_only() {
        let url = ValueType::from("url");
        assert!(url.check("postgres://user:pw@db:5432/user", true).is_ok());
        assert!(url.check("postgres://user:pw@db:5432/user", false).unwrap_err().contains("user information"));
    }

    /// Case H04, with the same verdicts as the kit's own table.
    #[test]
    fn keys_have_one_form_only() {
        let padded = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
        assert_eq!(check("base64-32", padded), Ok(()));
        assert_eq!(check("base64-32", padded.trim_end_matches('=')), Ok(()));
        let long = format!("{padded}{padded}");
        for (text, reason) in [
            ("-_EBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=", "URL-safe"),
            ("AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n", "more than one line"),
            ("AQEBAQEBAQEBAQEB AQEBAQEBAQEBAQEBAQEBAQEBAQE=", "blanks"),
            ("AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQ==", "32 bytes"),
            ("=====", "not base64"),
            ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "zeros"),
            ("0101010101010101010101010101010101010101010101010101010101010101", "hexadecimal"),
            // The last digit carries bits that no byte needs.
            ("AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQF=", "not base64"),
            ("AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE==", "not base64"),
            (&long, "not base64"),
        ] {
            let told = check("base64-32", text).unwrap_err();
            assert!(told.contains(reason), "{text}: {told}");
        }
    }

    #[test]
    fn a_url_gives_its_parts() {
        let url = Url::parse("postgres://user:p@w@user-db:5432/user?sslmode=disable").unwrap();
        assert_eq!((url.scheme, url.user, url.password, url.host), ("postgres", "user", Some("p@w"), "user-db"));
        assert_eq!((url.port, url.path), (Some(5432), "/user?sslmode=disable"));
        assert_eq!(Url::parse("http://[::1]:8080").unwrap().host, "[::1]");
        assert_eq!(Url::parse("http://[::1]").unwrap().port, None);
    }
}
