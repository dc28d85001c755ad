//! Findings that were accepted in writing: one type for every policy, and one check of the list itself.
//!
//! A policy file carries them as `[[exception]]` tables. A command asks [`Exceptions::accept`] about each thing it found
//! and [`Exceptions::judge`] at its end: an exception that ran out, that nothing needed, or that is not complete is a finding.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use toml::Spanned;

use crate::outcome::{Finding, Place};

/// Nothing is accepted for longer than this before somebody looks again.
pub(crate) const LONGEST_DAYS: i64 = 90;
/// The end of an exception is told this long before it comes.
const WARNING_DAYS: i64 = 14;
const SECONDS_PER_DAY: u64 = 86_400;

/// One `[[exception]]`. Every field has to be there; a missing one is told as a finding, beside all others.
#[derive(Debug, Clone, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Exception {
    /// What is accepted: the name of a finding's rule, or the id of an advisory or check.
    pub(crate) rule: String,
    /// Where: a path of words with `/` between them, such as `order/smallvec`. It holds for everything below it.
    pub(crate) scope: String,
    pub(crate) reason: String,
    /// Who answers for it: a team.
    pub(crate) owner: String,
    /// The day it was written, `YYYY-MM-DD`.
    pub(crate) created: String,
    /// The first day on which it no longer holds, at most [`LONGEST_DAYS`] after `created`.
    pub(crate) expires: String,
}

impl Exception {
    /// The same path, or one below it: `order` reaches `order/smallvec`, and never `order-archive`.
    pub(crate) fn reaches(&self, scope: &str) -> bool {
        scope.strip_prefix(self.scope.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// What is wrong with the entry as it is written, whatever the day.
    fn problem(&self) -> Option<String> {
        for (name, value) in
            [("rule", &self.rule), ("scope", &self.scope), ("reason", &self.reason), ("owner", &self.owner)]
        {
            if value.trim().is_empty() {
                return Some(format!("has no {name}"));
            }
            if value.trim() != value {
                return Some(format!("has blanks around its {name}"));
            }
        }
        let created = Date::parse(&self.created);
        let expires = Date::parse(&self.expires);
        match (created, expires) {
            (None, _) => Some(format!("was created on `{}`, which is no date of the form YYYY-MM-DD", self.created)),
            (_, None) => Some(format!("expires on `{}`, which is no date of the form YYYY-MM-DD", self.expires)),
            (Some(created), Some(expires)) if expires <= created => Some("expires before it begins".to_owned()),
            (Some(created), Some(expires)) if expires.days_after(created) > LONGEST_DAYS => {
                Some(format!("holds for {} days; the most is {LONGEST_DAYS}", expires.days_after(created)))
            }
            _ => None,
        }
    }
}

/// The exceptions of one policy file on one day.
#[derive(Debug)]
pub(crate) struct Exceptions {
    /// The policy file, relative to the root.
    file: &'static str,
    today: Date,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    exception: Exception,
    line: Option<u32>,
    state: State,
    used: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Holds,
    RanOut,
    Malformed(String),
}

impl Exceptions {
    /// `text` is the policy file that the entries were read from; it turns their positions into lines.
    pub(crate) fn new(file: &'static str, text: &str, entries: Vec<Spanned<Exception>>, today: Date) -> Self {
        let mut list: Vec<Entry> = Vec::new();
        for entry in entries {
            let before = text.get(..entry.span().start);
            let line = before.and_then(|before| u32::try_from(before.matches('\n').count() + 1).ok());
            let exception = entry.into_inner();
            let twin = list
                .iter()
                .any(|other| other.exception.rule == exception.rule && other.exception.scope == exception.scope);
            let state = match (exception.problem(), Date::parse(&exception.created), Date::parse(&exception.expires)) {
                (Some(problem), ..) => State::Malformed(problem),
                _ if twin => State::Malformed("stands there twice".to_owned()),
                (_, Some(created), _) if created > today => State::Malformed("was created in the future".to_owned()),
                (_, _, Some(expires)) if expires <= today => State::RanOut,
                _ => State::Holds,
            };
            list.push(Entry { exception, line, state, used: false });
        }
        Self { file, today, entries: list }
    }

    /// The exception that accepts this, if one holds. Asking marks it as needed, also when it has run out.
    pub(crate) fn accept(&mut self, rule: &str, scope: &str) -> Option<&Exception> {
        let mut accepted = None;
        for entry in &mut self.entries {
            if entry.exception.rule == rule && entry.exception.reaches(scope) {
                entry.used = true;
                if entry.state == State::Holds && accepted.is_none() {
                    accepted = Some(&entry.exception);
                }
            }
        }
        accepted
    }

    /// What is wrong with the list itself. `examined` says whether a run looked at the place that an exception is about:
    /// one for another place cannot be called unneeded.
    pub(crate) fn judge(&self, examined: impl Fn(&Exception) -> bool) -> Vec<Finding> {
        let finding = |entry: &Entry| {
            let about = format!("the exception for {} in {}", entry.exception.rule, entry.exception.scope);
            let (rule, message, next_step) = match &entry.state {
                State::Malformed(problem) => {
                    ("exception-malformed", format!("{about} {problem}"), "complete or correct the entry")
                }
                State::RanOut => (
                    "exception-ran-out",
                    format!("{about} ended on {}", entry.exception.expires),
                    "mend what it accepts and delete it, or decide again with new dates",
                ),
                State::Holds if !entry.used && examined(&entry.exception) => {
                    ("exception-unmatched", format!("{about} accepts nothing that was found"), "delete the entry")
                }
                State::Holds => return None,
            };
            let place = Place { name: self.file.to_owned(), line: entry.line };
            Some(Finding { rule, place, message, next_step: next_step.to_owned() })
        };
        self.entries.iter().filter_map(finding).collect()
    }

    /// Exceptions that end within two weeks, one line each.
    pub(crate) fn ending_soon(&self) -> Vec<String> {
        let line = |entry: &Entry| {
            let exception = &entry.exception;
            let left = Date::parse(&exception.expires)?.days_after(self.today);
            (entry.state == State::Holds && left <= WARNING_DAYS).then(|| {
                let (rule, scope, owner, expires) =
                    (&exception.rule, &exception.scope, &exception.owner, &exception.expires);
                format!("{rule} in {scope} is accepted for {left} more days, until {expires} (owner: {owner})")
            })
        };
        self.entries.iter().filter_map(line).collect()
    }
}

/// A day in the Gregorian calendar, counted from 1970-01-01 (UTC).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Date(i64);

impl Date {
    pub(crate) fn today() -> Self {
        Self::at(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs()))
    }

    fn at(seconds: u64) -> Self {
        Self(i64::try_from(seconds / SECONDS_PER_DAY).unwrap_or(i64::MAX))
    }

    /// Reads `YYYY-MM-DD`, and nothing that is no day of the calendar.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (year, month, day) = (number(parts.next()?, 4)?, number(parts.next()?, 2)?, number(parts.next()?, 2)?);
        // The other way round must give the same day, or there is no such day (30 February, the month 13).
        let date = Self::from_parts(year, month, day);
        (parts.next().is_none() && date.parts() == (year, month, day)).then_some(date)
    }

    /// The day of an RFC 3339 time, in the zone that it is written in: a day more or less decides nothing here.
    pub(crate) fn of_time(text: &str) -> Option<Self> {
        let (day, time) = text.split_at_checked(10)?;
        time.starts_with(['T', 't', ' ']).then(|| Self::parse(day))?
    }

    pub(crate) fn days_after(self, other: Self) -> i64 {
        self.0 - other.0
    }

    /// Years are counted from March, so that the leap day is the last of one.
    fn from_parts(year: i64, month: i64, day: i64) -> Self {
        let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let leap_days = year / 4 - year / 100 + year / 400;
        let day_of_year = (153 * month + 2) / 5 + day - 1;
        // 719468 days lie between 0000-03-01 and 1970-01-01.
        Self(365 * year + leap_days + day_of_year - 719_468)
    }

    fn parts(self) -> (i64, i64, i64) {
        // A year's first guess is never too small by more than the loop corrects.
        let mut year = 1970 + self.0 / 366;
        while Self::from_parts(year + 1, 1, 1).0 <= self.0 {
            year += 1;
        }
        let mut month = 1;
        // The month 13 begins with the next year.
        while Self::from_parts(year, month + 1, 1).0 <= self.0 {
            month += 1;
        }
        (year, month, self.0 - Self::from_parts(year, month, 1).0 + 1)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.parts();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

fn number(text: &str, digits: usize) -> Option<i64> {
    (text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct File {
        #[serde(default)]
        exception: Vec<Spanned<Exception>>,
    }

    const ENTRY: &str = "[[exception]]\nrule = \"CVE-2024-0001\"\nscope = \"order/time\"\nreason = \"no input reaches it\"\nowner = \"platform\"\ncreated = \"2026-01-15\"\nexpires = \"2026-03-01\"\n";

    fn on(today: &str, text: &str) -> Exceptions {
        let file: File = toml::from_str(text).unwrap();
        Exceptions::new("policy.toml", text, file.exception, Date::parse(today).unwrap())
    }

    fn rules(exceptions: &Exceptions) -> Vec<&'static str> {
        exceptions.judge(|_| true).iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn an_exception_holds_until_the_day_it_expires() {
        let mut before = on("2026-02-28", ENTRY);
        assert!(before.accept("CVE-2024-0001", "order/time").is_some());
        assert_eq!(rules(&before), [""; 0]);
        let mut after = on("2026-03-01", ENTRY);
        assert!(after.accept("CVE-2024-0001", "order/time").is_none());
        assert_eq!(rules(&after), ["exception-ran-out"]);
    }

    #[test]
    fn an_exception_for_one_place_hides_nothing_in_another() {
        let mut exceptions = on("2026-02-01", ENTRY);
        assert!(exceptions.accept("CVE-2024-0001", "user/time").is_none());
        assert!(exceptions.accept("CVE-2024-0001", "order").is_none());
        assert!(exceptions.accept("CVE-2024-0001", "order/time-macros").is_none());
        assert!(exceptions.accept("cve-2024-0001", "order/time").is_none());
        assert_eq!(rules(&exceptions), ["exception-unmatched"]);
        assert!(exceptions.accept("CVE-2024-0001", "order/time/0.1.43").is_some());
        assert_eq!(rules(&exceptions), [""; 0]);
    }

    #[test]
    fn an_exception_for_a_place_that_was_not_looked_at_is_not_called_unneeded() {
        assert_eq!(on("2026-02-01", ENTRY).judge(|_| false), []);
    }

    #[test]
    fn an_incomplete_exception_is_a_finding_with_its_line_and_accepts_nothing() {
        let cases = [
            ("owner = \"platform\"\n", "", "has no owner"),
            ("reason = \"no input reaches it\"\n", "reason = \" \"\n", "has no reason"),
            ("created = \"2026-01-15\"", "created = \"yesterday\"", "was created on `yesterday`"),
            ("order/time\"", "order/time \"", "has blanks around its scope"),
            ("expires = \"2026-03-01\"\n", "", "expires on ``"),
            ("2026-03-01", "2026-13-40", "expires on `2026-13-40`"),
            ("2026-03-01", "2026-04-16", "holds for 91 days"),
            ("2026-03-01", "2026-01-15", "expires before it begins"),
            ("created = \"2026-01-15\"", "created = \"2026-02-10\"", "was created in the future"),
        ];
        for (from, to, problem) in cases {
            let text = format!("# policy\n\n{}", ENTRY.replace(from, to));
            let mut exceptions = on("2026-02-01", &text);
            assert!(exceptions.accept("CVE-2024-0001", "order/time").is_none(), "{problem}");
            let findings = exceptions.judge(|_| true);
            assert_eq!(findings.len(), 1, "{problem}");
            assert!(findings[0].message.contains(problem), "{}", findings[0].message);
            assert_eq!((findings[0].rule, findings[0].place.line), ("exception-malformed", Some(3)));
        }
    }

    #[test]
    fn ninety_days_are_allowed_and_a_twin_is_not() {
        assert_eq!(rules(&on("2026-02-01", &ENTRY.replace("2026-03-01", "2026-04-15"))), ["exception-unmatched"]);
        let mut twice = on("2026-02-01", &format!("{ENTRY}{ENTRY}"));
        assert!(twice.accept("CVE-2024-0001", "order/time").is_some());
        assert_eq!(rules(&twice), ["exception-malformed"]);
    }

    #[test]
    fn the_end_is_told_two_weeks_before() {
        assert_eq!(on("2026-02-14", ENTRY).ending_soon(), [""; 0]);
        let soon = on("2026-02-15", ENTRY).ending_soon();
        assert_eq!(
            soon,
            ["CVE-2024-0001 in order/time is accepted for 14 more days, until 2026-03-01 (owner: platform)"]
        );
        assert_eq!(on("2026-03-01", ENTRY).ending_soon(), [""; 0]);
    }

    #[test]
    fn dates_are_days_of_the_calendar() {
        for (text, days) in [("1970-01-01", 0), ("2000-02-29", 11_016), ("2026-03-01", 20_513), ("2100-12-31", 47_846)]
        {
            let date = Date::parse(text).unwrap();
            assert_eq!((date.0, date.to_string().as_str()), (days, text));
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
            "",
        ] {
            assert_eq!(Date::parse(text), None, "{text}");
        }
        assert_eq!(Date::at(20_513 * 86_400), Date::parse("2026-03-01").unwrap());
        assert_eq!(Date::at(20_514 * 86_400 - 1), Date::parse("2026-03-01").unwrap());
        assert_eq!(Date::of_time("2026-08-21T06:28:40Z"), Date::parse("2026-08-21"));
        assert_eq!(Date::of_time("2026-08-21"), None);
        assert_eq!(Date::of_time("yesterday"), None);
    }
}
