//! Durations: a whole number and a unit.

use std::time::Duration;

use crate::contract::{Reason, Value};

/// The longest duration. Deadlines are sums of instants and durations, and one that overflows would panic.
const LIMIT: Duration = Duration::from_secs(365 * 24 * 3600);

/// A limit on time. Zero is refused: a service whose requests, connections or tokens may last no time cannot do anything,
/// and elsewhere zero often means "no limit", which must not be what somebody believes to have set.
impl Value for Duration {
    const TYPE: &'static str = "duration";

    fn parse(text: &str) -> Result<Self, Reason> {
        match parse(text)? {
            Self::ZERO => Err("is zero; the least is 1ms".into()),
            duration => Ok(duration),
        }
    }
}

/// A pause, which may also be none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause(Duration);

impl Pause {
    /// How long it is.
    #[must_use]
    pub fn get(self) -> Duration {
        self.0
    }
}

impl Value for Pause {
    const TYPE: &'static str = Duration::TYPE;

    fn parse(text: &str) -> Result<Self, Reason> {
        parse(text).map(Self)
    }
}

/// Reads `500ms`, `10s`, `15m` or `1h`: digits, then the unit, nothing between or around.
fn parse(text: &str) -> Result<Duration, Reason> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let milliseconds_per_unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("is not a whole number with a unit of ms, s, m or h, such as 500ms or 10s".into()),
    };
    if number.is_empty() {
        return Err("has a unit but no number before it".into());
    }
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(milliseconds_per_unit))
        .map(Duration::from_millis)
        .filter(|duration| *duration <= LIMIT)
        .ok_or_else(|| "is longer than a year".into())
}
