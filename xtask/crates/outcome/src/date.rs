//! Days, as policies write them.

use std::fmt;

use time::format_description::well_known::Rfc3339;
use time::{Month, OffsetDateTime};

/// A day of the calendar, from 1970 on, written `YYYY-MM-DD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date(time::Date);

impl Date {
    /// Today, in UTC.
    pub fn today() -> Self {
        Self(OffsetDateTime::now_utc().date())
    }

    /// Reads `YYYY-MM-DD`, and nothing that is not a day of the calendar.
    pub fn parse(text: &str) -> Option<Self> {
        let (year, month, day) =
            (text.get(..4)?, text.get(4..7)?.strip_prefix('-')?, text.get(7..)?.strip_prefix('-')?);
        let date = time::Date::from_calendar_date(
            number(year, 4)?.into(),
            Month::try_from(u8::try_from(number(month, 2)?).ok()?).ok()?,
            u8::try_from(number(day, 2)?).ok()?,
        );
        date.ok().filter(|date| date.year() >= 1970).map(Self)
    }

    /// The day of an RFC 3339 time, in the zone that it is written in: a day more or less decides nothing here.
    pub fn of_time(text: &str) -> Option<Self> {
        OffsetDateTime::parse(text, &Rfc3339).ok().map(|time| Self(time.date()))
    }

    /// How many days this one comes after another.
    pub fn days_after(self, other: Self) -> i64 {
        (self.0 - other.0).whole_days()
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.0.year(), u8::from(self.0.month()), self.0.day())
    }
}

fn number(text: &str, digits: usize) -> Option<u16> {
    (text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

/// This moment as RFC 3339, in UTC, to the second.
pub(crate) fn now() -> String {
    let now = OffsetDateTime::now_utc();
    now.replace_nanosecond(0).ok().and_then(|now| now.format(&Rfc3339).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_days_of_the_calendar_are_dates() {
        for text in ["1970-01-01", "2000-02-29", "2026-03-01", "2100-12-31"] {
            assert_eq!(Date::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "2026-02-29",
            "2100-02-29",
            "2026-13-01",
            "2026-00-10",
            "2026-04-31",
            "2026-4-1",
            "26-04-01",
            "+026-04-01",
            "2026-04-01x",
            "2026-04-01-01",
            "2026-04-00",
            "1969-12-31",
            "größe-04-01",
            "",
        ] {
            assert_eq!(Date::parse(text), None, "{text}");
        }
    }

    #[test]
    fn days_are_counted_across_leap_years() {
        let days = |a: &str, b: &str| Date::parse(a).unwrap().days_after(Date::parse(b).unwrap());
        assert_eq!(days("2024-03-01", "2024-02-28"), 2);
        assert_eq!(days("2026-01-15", "2026-04-15"), -90);
    }

    #[test]
    fn a_time_has_a_day() {
        assert_eq!(Date::of_time("2026-08-21T06:28:40Z"), Date::parse("2026-08-21"));
        assert_eq!(Date::of_time("2026-08-21T06:28:40.123456789+02:00"), Date::parse("2026-08-21"));
        assert_eq!(Date::of_time("2026-08-21"), None);
        assert_eq!(Date::of_time("yesterday"), None);
        assert!(Date::of_time(&now()).is_some());
    }
}
