//! W3C Trace Context: the ids by which tracing systems follow a request from program to program.
//!
//! <https://www.w3.org/TR/trace-context/>. The programs of the shop record no spans of their own; they take part, so that the
//! trace of whoever calls does not end at the door, and write the trace's id into their logs.

use std::cell::Cell;
use std::fmt::Write as _;
use std::hash::{BuildHasher as _, RandomState};

use http::{HeaderMap, HeaderName, HeaderValue};

/// The header with the ids.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The header with what tracing systems say to each other.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The length of version 00: `00-<32 digits>-<16 digits>-<2 digits>`.
const LENGTH: usize = 55;
/// The most of `tracestate` that is passed on; the standard asks for 512 at least.
const STATE_LIMIT_BYTES: usize = 512;

/// In place, so that it can be copied without asking for memory.
type TraceId = [u8; 32];

/// Where in a trace a request stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// 32 lower-case hexadecimal digits, not all zero.
    trace_id: TraceId,
    /// 2 digits. Of them only the first bit is passed on: whether the caller records.
    is_sampled: bool,
    state: Option<HeaderValue>,
}

impl TraceContext {
    /// The trace that a request belongs to, or a new one when it names none or none that can be read.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let parent = match (values.next(), values.next()) {
            (Some(only), None) => only.to_str().ok().and_then(parse),
            _ => None,
        };
        match parent {
            Some((trace_id, is_sampled)) => Self { trace_id, is_sampled, state: state(headers) },
            // A state without its parent belongs to no trace.
            None => Self { trace_id: new_trace_id(), is_sampled: false, state: None },
        }
    }

    /// The id of the trace, 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> &str {
        std::str::from_utf8(&self.trace_id).unwrap_or_default()
    }

    /// Writes the headers for the next program, with a new id for the step from here to there.
    pub fn write(&self, headers: &mut HeaderMap) {
        let mut parent = *b"00-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx-xxxxxxxxxxxxxxxx-00";
        parent[3..35].copy_from_slice(&self.trace_id);
        write_hexadecimal(&mut parent[36..52], random().max(1));
        parent[LENGTH - 1] += u8::from(self.is_sampled);
        headers.insert(TRACEPARENT, HeaderValue::from_bytes(&parent).expect("digits and hyphens"));
        match &self.state {
            Some(state) => headers.insert(TRACESTATE, state.clone()),
            None => headers.remove(TRACESTATE),
        };
    }
}

/// The id of the trace and whether it is sampled. Versions to come may say more behind what is known.
fn parse(text: &str) -> Option<(TraceId, bool)> {
    let (known, rest) = text.split_at_checked(LENGTH)?;
    let mut parts = known.split('-');
    let (version, trace_id, parent_id, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |part: &str, length| {
        part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let is_known = match version {
        "00" => rest.is_empty(),
        "ff" => false,
        later => is_hex(later, 2) && (rest.is_empty() || rest.starts_with('-')),
    };
    let has_ids = [(trace_id, 32), (parent_id, 16)]
        .into_iter()
        .all(|(id, length)| is_hex(id, length) && id.bytes().any(|byte| byte != b'0'));
    let is_whole = is_known && has_ids && is_hex(flags, 2) && parts.next().is_none();
    let flags = u8::from_str_radix(flags, 16).ok()?;
    let trace_id = trace_id.as_bytes().try_into().ok()?;
    is_whole.then_some((trace_id, flags & 1 == 1))
}

fn state(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut lines = headers.get_all(TRACESTATE).iter();
    let (first, more) = (lines.next()?, lines);
    let mut text = first.to_str().ok()?.to_owned();
    for line in more {
        write!(text, ",{}", line.to_str().ok()?).ok()?;
    }
    // Cut at the end of an entry it would be valid too; but who sends more than the standard asks for loses all of it.
    let is_short = !text.trim().is_empty() && text.len() <= STATE_LIMIT_BYTES;
    is_short.then(|| HeaderValue::try_from(text).ok()).flatten()
}

fn new_trace_id() -> TraceId {
    let mut id = [0; 32];
    write_hexadecimal(&mut id[..16], random());
    write_hexadecimal(&mut id[16..], random().max(1));
    id
}

/// The last digits of a number, as many as there is room for.
fn write_hexadecimal(digits: &mut [u8], number: u64) {
    let mut rest = number;
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[usize::from(rest.to_le_bytes()[0] & 15)];
        rest >>= 4;
    }
}

/// A number that nobody has had before and nobody can tell beforehand, without asking the system each time: in a static
/// program that is a system call for every id. It is not for secrets.
///
/// Each thread has a keyed hash (SipHash) of its own, with a key from the system, and hashes 0, 1, 2 and so on.
pub(crate) fn random() -> u64 {
    thread_local! {
        static KEY: RandomState = RandomState::new();
        static COUNT: Cell<u64> = const { Cell::new(0) };
    }
    let count = COUNT.replace(COUNT.get().wrapping_add(1));
    KEY.with(|key| key.hash_one(count))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn of(lines: &[(HeaderName, &str)]) -> TraceContext {
        let headers = lines.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect();
        TraceContext::from_headers(&headers)
    }

    fn written(context: &TraceContext) -> (String, Option<String>) {
        let mut headers = HeaderMap::new();
        headers.insert(TRACESTATE, HeaderValue::from_static("stale=1"));
        context.write(&mut headers);
        let text = |name| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        (text(&TRACEPARENT).unwrap(), text(&TRACESTATE))
    }

    #[test]
    fn a_trace_goes_on_with_a_new_step() {
        let context = of(&[(TRACEPARENT, PARENT), (TRACESTATE, "a=1"), (TRACESTATE, "b=2")]);
        let (parent, state) = written(&context);
        assert!(parent.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && parent.ends_with("-01"), "{parent}");
        assert_ne!(parent, PARENT);
        assert_eq!(state.as_deref(), Some("a=1,b=2"));
        assert_ne!(written(&context).0, parent, "each call is a step of its own");
    }

    #[test]
    fn what_cannot_be_read_begins_a_new_trace_without_its_state() {
        let upper = PARENT.to_uppercase();
        let zeros = PARENT.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32));
        let no_parent = PARENT.replace("b7ad6b7169203331", &"0".repeat(16));
        let longer = format!("{PARENT}-00");
        for bad in [
            "",
            "00",
            &PARENT[..54],
            &PARENT.replace("00-", "ff-"),
            &upper,
            &zeros,
            &no_parent,
            &longer,
            &format!(" {PARENT}x"),
        ] {
            let context = of(&[(TRACEPARENT, bad), (TRACESTATE, "a=1")]);
            assert_ne!(context.trace_id(), "0af7651916cd43dd8448eb211c80319c", "{bad}");
            assert_eq!(written(&context).1, None);
        }
        let twice = of(&[(TRACEPARENT, PARENT), (TRACEPARENT, PARENT)]);
        assert_ne!(twice.trace_id(), "0af7651916cd43dd8448eb211c80319c");
    }

    #[test]
    fn a_later_version_may_say_more() {
        for later in [PARENT.replace("00-", "cc-"), format!("{}-what-comes", PARENT.replace("00-", "01-"))] {
            let context = of(&[(TRACEPARENT, &later)]);
            assert_eq!(context.trace_id(), "0af7651916cd43dd8448eb211c80319c", "{later}");
            assert!(written(&context).0.starts_with("00-"));
        }
        assert_ne!(of(&[(TRACEPARENT, &format!("{}x", PARENT.replace("00-", "01-")))]).trace_id(), &PARENT[3..35]);
    }

    #[test]
    fn a_state_that_is_too_long_is_not_passed_on() {
        let long = format!("a={}", "x".repeat(STATE_LIMIT_BYTES));
        assert_eq!(written(&of(&[(TRACEPARENT, PARENT), (TRACESTATE, &long)])).1, None);
    }

    #[test]
    fn ids_do_not_repeat_from_thread_to_thread() {
        let make = || (0..1000).map(|_| random()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(make)).collect();
        let mut all: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 4000);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(text in "[0-9a-f-]{0,60}") {
            let context = of(&[(TRACEPARENT, &text)]);
            let again = of(&[(TRACEPARENT, &written(&context).0)]);
            prop_assert_eq!(again.trace_id(), context.trace_id());
        }
    }
}
