//! One line of the log, put together by hand.
//!
//! A program that answers tens of thousands of requests a second writes as many lines, all of them alike. This way costs a
//! fraction of what an event of `tracing` does: no fields are collected, no values are visited, nothing is allocated. The lines
//! look like all others.

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::writer::Writer;
use crate::client::push_address;
use crate::types::LogLevel;

/// The level of the log as a number, 0 as long as there is none.
static LEVEL: AtomicU8 = AtomicU8::new(0);

const SECONDS_PER_DAY: u64 = 86_400;

/// A line that is being put together.
#[derive(Debug)]
pub struct Line<'a>(&'a mut String);

struct Buffer {
    text: String,
    /// The second whose date and time of day are `date`.
    second: u64,
    date: String,
}

thread_local! {
    static BUFFER: RefCell<Buffer> =
        const { RefCell::new(Buffer { text: String::new(), second: u64::MAX, date: String::new() }) };
}

/// From now on lines of this level are written.
pub(super) fn start(level: LogLevel) {
    LEVEL.store(number(level), Ordering::Relaxed);
}

fn number(level: LogLevel) -> u8 {
    match level {
        LogLevel::Error => 1,
        LogLevel::Warn => 2,
        LogLevel::Info => 3,
        LogLevel::Debug => 4,
        LogLevel::Trace => 5,
    }
}

/// Writes a line, unless the log leaves its level out: `fill` adds what it has to say.
pub fn write(level: LogLevel, target: &str, message: &str, fill: impl FnOnce(&mut Line<'_>)) {
    if number(level) > LEVEL.load(Ordering::Relaxed) {
        return;
    }
    BUFFER.with_borrow_mut(|buffer| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let line = buffer.line(since, level, target, message, fill);
        // The writer never fails: nobody is left to be told.
        let _ = Writer.write_all(line.as_bytes());
    });
}

impl Buffer {
    fn line(
        &mut self,
        since: Duration,
        level: LogLevel,
        target: &str,
        message: &str,
        fill: impl FnOnce(&mut Line<'_>),
    ) -> &str {
        if since.as_secs() != self.second {
            self.second = since.as_secs();
            self.date.clear();
            let _ = write_date(&mut self.date, self.second);
        }
        let text = &mut self.text;
        text.clear();
        text.push_str("{\"timestamp\":\"");
        text.push_str(&self.date);
        text.push('.');
        digits::<6>(text, since.subsec_micros());
        text.push_str("Z\",\"level\":\"");
        text.push_str(match level {
            LogLevel::Error => "ERROR",
            LogLevel::Warn => "WARN",
            LogLevel::Info => "INFO",
            LogLevel::Debug => "DEBUG",
            LogLevel::Trace => "TRACE",
        });
        text.push('"');
        let mut line = Line(text);
        line.text("message", message);
        fill(&mut line);
        line.text("target", target);
        text.push_str("}\n");
        text
    }
}

impl Line<'_> {
    /// A text. `name` is written as it is.
    pub fn text(&mut self, name: &str, value: &str) {
        self.begin(name);
        // Every byte is looked at, even after one that is not plain: the compiler then does sixteen at a time.
        let is_plain = |byte: u8| (b' '..=b'~').contains(&byte) & (byte != b'"') & (byte != b'\\');
        if value.bytes().fold(true, |plain, byte| plain & is_plain(byte)) {
            self.0.push('"');
            self.0.push_str(value);
            self.0.push('"');
        } else {
            // A text can always be written as JSON.
            self.0.push_str(&serde_json::to_string(value).unwrap_or_default());
        }
    }

    /// An address.
    pub fn address(&mut self, name: &str, value: IpAddr) {
        self.begin(name);
        self.0.push('"');
        push_address(self.0, value);
        self.0.push('"');
    }

    /// A number.
    pub fn number(&mut self, name: &str, value: u64) {
        self.begin(name);
        self.0.push_str(itoa::Buffer::new().format(value));
    }

    /// A length of time in milliseconds, to the microsecond.
    pub fn milliseconds(&mut self, name: &str, value: Duration) {
        self.begin(name);
        self.0.push_str(itoa::Buffer::new().format(value.as_millis()));
        self.0.push('.');
        digits::<3>(self.0, value.subsec_micros() % 1000);
    }

    fn begin(&mut self, name: &str) {
        self.0.push_str(",\"");
        self.0.push_str(name);
        self.0.push_str("\":");
    }
}

/// The last digits of a number, as many as asked for.
fn digits<const COUNT: usize>(text: &mut String, number: u32) {
    let mut rest = number;
    let mut digits = [b'0'; COUNT];
    for digit in digits.iter_mut().rev() {
        *digit += u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
    }
    text.push_str(std::str::from_utf8(&digits).unwrap_or_default());
}

/// Writes `2026-02-28T23:59:59` for a second since 1970, in UTC.
fn write_date(text: &mut String, second: u64) -> fmt::Result {
    let (mut day, of_day) = (second / SECONDS_PER_DAY, second % SECONDS_PER_DAY);
    let mut year = 1970_u64;
    // Once a second at most, so the years are simply counted off.
    while day >= days_in_year(year) {
        day -= days_in_year(year);
        year += 1;
    }
    let february = days_in_year(year) - 337;
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if day < length {
            break;
        }
        day -= length;
        month += 1;
    }
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    write!(text, "{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}", day + 1)
}

fn days_in_year(year: u64) -> u64 {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    if is_leap { 366 } else { 365 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn line(since: Duration, fill: impl FnOnce(&mut Line<'_>)) -> String {
        let mut buffer = Buffer { text: String::new(), second: u64::MAX, date: String::new() };
        buffer.line(since, LogLevel::Info, "mini_kit::x", "a request", fill).to_owned()
    }

    #[test]
    fn a_line_looks_like_those_of_events() {
        let by_event = super::super::written(LogLevel::Info, || {
            tracing::info!(target: "mini_kit::x", status = 200, path = "/a\"b", "a request");
        });
        let by_hand = line(Duration::from_micros(1_772_323_199_000_042), |line| {
            line.number("status", 200);
            line.text("path", "/a\"b");
        });
        assert!(by_hand.starts_with("{\"timestamp\":\"2026-02-28T23:59:59.000042Z\",\"level\":\"INFO\","), "{by_hand}");
        let without_time = |text: &str| {
            let mut line: Value = serde_json::from_str(text).unwrap();
            let time = line.as_object_mut().unwrap().remove("timestamp").unwrap();
            assert_eq!(time.as_str().unwrap().len(), "2026-02-28T23:59:59.000042Z".len());
            line
        };
        assert_eq!(without_time(&by_hand), without_time(&by_event));
        assert!(by_hand.ends_with("}\n") && by_hand.lines().count() == 1);
    }

    #[test]
    fn every_value_is_json() {
        let text = line(Duration::ZERO, |line| {
            line.address("client", std::net::Ipv4Addr::LOCALHOST.into());
            line.milliseconds("duration_ms", Duration::from_micros(12_003));
            line.milliseconds("whole", Duration::from_secs(2));
        });
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&value["client"], &value["duration_ms"]), (&Value::from("127.0.0.1"), &Value::from(12.003)));
        assert_eq!(
            (&value["whole"], &value["timestamp"]),
            (&Value::from(2000.0), &Value::from("1970-01-01T00:00:00.000000Z"))
        );
    }

    proptest! {
        #[test]
        fn whatever_a_text_holds_is_read_back(text in any::<String>()) {
            let line = line(Duration::ZERO, |line| line.text("path", &text));
            prop_assert_eq!(line.lines().count(), 1);
            let value: Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(value["path"].as_str().unwrap(), text);
        }

        /// Against the crate that writes the dates of all other lines.
        #[test]
        fn a_date_is_that_of_the_calendar(second in 0_u64..253_402_300_800) {
            let mut text = String::new();
            write_date(&mut text, second).unwrap();
            let date = time::OffsetDateTime::from_unix_timestamp(second.try_into().unwrap()).unwrap();
            prop_assert_eq!(text + "Z", date.format(&time::format_description::well_known::Rfc3339).unwrap());
        }
    }
}
