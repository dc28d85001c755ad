//! Findings that were accepted in writing: one type for every policy, and one check of the list itself.
//!
//! A policy file carries them as `[[exception]]` tables. A command asks [`Exceptions::accept`] about each thing it found
//! and [`Exceptions::judge`] at its end: an exception that ran out, that nothing needed, or that is not complete is a finding.

use serde::Deserialize;
use toml::Spanned;

use crate::{Date, Finding, Place};

/// Nothing is accepted for longer than this before somebody looks again.
pub const LONGEST_DAYS: i64 = 90;
/// The end of an exception is announced this long before it comes.
const WARNING_DAYS: i64 = 14;

/// Why a vulnerability does not affect an image, in the words of OpenVEX 0.2.0.
const JUSTIFICATIONS: [&str; 5] = [
    "component_not_present",
    "vulnerable_code_not_present",
    "vulnerable_code_not_in_execute_path",
    "vulnerable_code_cannot_be_controlled_by_adversary",
    "inline_mitigations_already_exist",
];

/// One `[[exception]]`. Every field but the justification has to be there; a missing one is reported as a finding, beside all
/// others.
#[derive(Debug, Clone, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Exception {
    /// What is accepted: the name of a finding's rule, or the id of an advisory or check.
    pub rule: String,
    /// Where: a path of words with `/` between them, such as `order/smallvec`. It holds for everything below it.
    pub scope: String,
    /// Why, in a sentence.
    pub reason: String,
    /// Who answers for it: a team.
    pub owner: String,
    /// The day it was written, `YYYY-MM-DD`.
    pub created: String,
    /// The first day on which it no longer holds, at most [`LONGEST_DAYS`] after `created`.
    pub expires: String,
    /// For a vulnerability that does not affect the image at all: why, as one of OpenVEX's five labels.
    pub justification: Option<String>,
}

impl Exception {
    /// The same path, or one below it: `order` reaches `order/smallvec`, and never `order-archive`.
    pub fn reaches(&self, scope: &str) -> bool {
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
        if let Some(word) = self.justification.as_deref().filter(|word| !JUSTIFICATIONS.contains(word)) {
            return Some(format!("has the justification `{word}`; OpenVEX knows {}", JUSTIFICATIONS.join(", ")));
        }
        let created = Date::parse(&self.created);
        let expires = Date::parse(&self.expires);
        match (created, expires) {
            (None, _) => Some(format!("was created on `{}`, which is not a date of the form YYYY-MM-DD", self.created)),
            (_, None) => Some(format!("expires on `{}`, which is not a date of the form YYYY-MM-DD", self.expires)),
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
pub struct Exceptions {
    /// The policy file, relative to the root.
    file: String,
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
    pub fn new(file: impl Into<String>, text: &str, entries: Vec<Spanned<Exception>>, today: Date) -> Self {
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
        Self { file: file.into(), today, entries: list }
    }

    /// The exception that accepts this, if one holds. Asking marks it as needed, also when it has run out.
    pub fn accept(&mut self, rule: &str, scope: &str) -> Option<&Exception> {
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
    pub fn judge(&self, examined: impl Fn(&Exception) -> bool) -> Vec<Finding> {
        let finding = |entry: &Entry| {
            let about = format!("the exception for {} in {}", entry.exception.rule, entry.exception.scope);
            let (rule, message, next_step) = match &entry.state {
                State::Malformed(problem) => {
                    ("exception-malformed", format!("{about} {problem}"), "complete or correct the entry")
                }
                State::RanOut => (
                    "exception-ran-out",
                    format!("{about} ended on {}", entry.exception.expires),
                    "fix what it accepts and delete the entry, or decide again with new dates",
                ),
                State::Holds if !entry.used && examined(&entry.exception) => {
                    ("exception-unmatched", format!("{about} accepts nothing that was found"), "delete the entry")
                }
                State::Holds => return None,
            };
            let place = Place { name: self.file.clone(), line: entry.line };
            Some(Finding { rule, place, message, next_step: next_step.to_owned() })
        };
        self.entries.iter().filter_map(finding).collect()
    }

    /// Exceptions that end within two weeks, one line each.
    pub fn ending_soon(&self) -> Vec<String> {
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
}
