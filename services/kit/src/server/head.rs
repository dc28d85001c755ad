//! What hyper cannot tell of a request's head, seen in the bytes before hyper has them: a fragment in the target.
//!
//! `GET /orders#x` has a fragment, which RFC 9112 allows in no request target. The `http` crate cuts it off while parsing, so
//! nobody behind sees it, and another reader of the same bytes may see another path. Here the `#` becomes a byte that no
//! target may have, so that hyper refuses the request as the malformed one that it is. To find the next request line among
//! pipelined requests, heads and lengths are followed; after anything else hyper's own reading tells where a head begins.
//!
//! The preface of HTTP/2 is made a malformed request in the same way: hyper would close the connection without a word.

/// Stands for `#`: a control character, which hyper's parser refuses in a target.
const REFUSED: u8 = 0x7f;
/// How the preface of HTTP/2 begins, which is not a request of any other version.
const PREFACE: &[u8] = b"PRI * HTTP/2";
const PREFACE_TARGET: usize = 4;
/// The longest beginning of a header line that is looked at.
const LINE_LIMIT_BYTES: usize = 64;

/// Follows the bytes of one connection.
#[derive(Debug, Default)]
pub(super) struct HeadScanner {
    place: Place,
    /// The beginning of the header line at hand, which may have come in pieces.
    line: Vec<u8>,
    length: u64,
    is_coded: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    BeforeHead,
    RequestLine,
    Fields,
    Body(u64),
    /// Within a body whose end is not known here.
    Unknown,
}

impl HeadScanner {
    /// Looks at bytes that have just arrived. `is_head` says that no request is under way, so they belong to a head.
    pub(super) fn scan(&mut self, mut bytes: &mut [u8], is_head: bool) {
        if is_head && self.place == Place::Unknown {
            self.place = Place::BeforeHead;
        }
        while !bytes.is_empty() {
            let passed = match self.place {
                Place::BeforeHead => {
                    let blank = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
                    if blank < bytes.len() {
                        self.place = Place::RequestLine;
                        if bytes[blank..].starts_with(PREFACE) {
                            bytes[blank + PREFACE_TARGET] = REFUSED;
                        }
                    }
                    blank
                }
                Place::RequestLine => self.request_line(bytes),
                Place::Fields => self.field(bytes),
                Place::Body(rest) => {
                    let here = usize::try_from(rest).unwrap_or(usize::MAX).min(bytes.len());
                    let rest = rest - here as u64;
                    self.place = if rest == 0 { Place::BeforeHead } else { Place::Body(rest) };
                    here
                }
                Place::Unknown => return,
            };
            bytes = &mut bytes[passed..];
        }
    }

    /// Whether a head has begun and is not complete.
    pub(super) fn is_within_head(&self) -> bool {
        matches!(self.place, Place::RequestLine | Place::Fields)
    }

    fn request_line(&mut self, bytes: &mut [u8]) -> usize {
        let (length, is_whole) = line_length(bytes);
        for byte in bytes[..length].iter_mut().filter(|byte| **byte == b'#') {
            *byte = REFUSED;
        }
        if is_whole {
            (self.place, self.length, self.is_coded) = (Place::Fields, 0, false);
            self.line.clear();
        }
        length
    }

    fn field(&mut self, bytes: &[u8]) -> usize {
        let (length, is_whole) = line_length(bytes);
        let room = LINE_LIMIT_BYTES - self.line.len();
        self.line.extend_from_slice(&bytes[..length.min(room)]);
        if is_whole {
            let line = self.line.trim_ascii();
            if line.is_empty() {
                self.place = match (self.is_coded, self.length) {
                    (true, _) => Place::Unknown,
                    (false, 0) => Place::BeforeHead,
                    (false, length) => Place::Body(length),
                };
            } else if let Some(value) = value_of(line, b"content-length") {
                // What is no number is refused by hyper, so that the place does not matter any more.
                self.length = std::str::from_utf8(value).ok().and_then(|value| value.parse().ok()).unwrap_or_default();
            } else if value_of(line, b"transfer-encoding").is_some() {
                self.is_coded = true;
            }
            self.line.clear();
        }
        length
    }
}

/// The bytes up to and with the end of the line, and whether it is there.
fn line_length(bytes: &[u8]) -> (usize, bool) {
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) => (end + 1, true),
        None => (bytes.len(), false),
    }
}

fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (known, rest) = line.split_at_checked(name.len())?;
    let value = rest.strip_prefix(b":")?;
    known.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What becomes of a text that arrives in pieces of this size.
    fn scanned(text: &str, piece: usize) -> String {
        let mut scanner = HeadScanner::default();
        let mut bytes = text.as_bytes().to_vec();
        for part in bytes.chunks_mut(piece) {
            scanner.scan(part, false);
        }
        String::from_utf8(bytes).unwrap()
    }

    const PIPELINED: &str = "\r\nPOST /a#b HTTP/1.1\r\nX: #\r\nContent-Length: 9\r\n\r\nGET /#x\r\nGET /c#d HTTP/1.1\r\n\r\nGET /e#f HTTP/1.1\n\nGET /g#";

    #[test]
    fn a_fragment_is_found_in_every_request_line_and_nowhere_else() {
        let expected =
            PIPELINED.replace("a#b", "a\x7fb").replace("c#d", "c\x7fd").replace("e#f", "e\x7ff").replace("g#", "g\x7f");
        for piece in 1..PIPELINED.len() {
            assert_eq!(scanned(PIPELINED, piece), expected, "{piece}");
        }
    }

    #[test]
    fn the_preface_of_another_version_is_a_request_that_nobody_takes() {
        assert_eq!(scanned("\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 99), "\r\nPRI \x7f HTTP/2.0\r\n\r\nSM\r\n\r\n");
        let body = "POST / HTTP/1.1\r\nContent-Length: 14\r\n\r\nPRI * HTTP/2.0";
        assert_eq!(scanned(body, 99), body);
    }

    #[test]
    fn a_head_is_complete_after_its_empty_line() {
        let mut scanner = HeadScanner::default();
        for (text, is_within) in [
            ("\r\n", false),
            ("G", true),
            ("ET / HTTP/1.1\r\nHost: a\r\n", true),
            ("\r\n", false),
            ("POST / HTTP/1.1\nContent-Length: 3\n\nGET", false),
            ("GET", true),
        ] {
            scanner.scan(&mut text.as_bytes().to_vec(), false);
            assert_eq!(scanner.is_within_head(), is_within, "{text}");
        }
    }

    #[test]
    fn after_a_coded_body_the_reader_tells_where_a_head_begins() {
        let mut scanner = HeadScanner::default();
        let mut coded = *b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\na#b#c\r\n0\r\n\r\n";
        scanner.scan(&mut coded, true);
        assert!(coded.windows(5).any(|window| window == b"a#b#c"));
        let mut next = *b"GET /# HTTP/1.1\r\n";
        scanner.scan(&mut next, true);
        assert!(!next.contains(&b'#'));
    }

    proptest! {
        #[test]
        fn nothing_but_a_number_sign_is_ever_changed(text in "[a-z#:\\r\\n 0-9]{0,80}", piece in 1_usize..20) {
            let after = scanned(&text, piece);
            prop_assert_eq!(after.replace('\x7f', "#"), text);
        }
    }
}
