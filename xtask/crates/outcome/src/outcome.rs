//! The growing value: findings, failed steps, what was checked and what was not.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use anyhow::Error;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Finding, Progress, Stop, Table};

/// What a command looked at, with a count: a step that checked nothing is not a pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Checked {
    /// In the plural, as it stands behind the count: `images`.
    pub what: String,
    /// How many.
    pub count: u64,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.count, self.what)
    }
}

/// What a command should have looked at and could not, because something is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Unchecked {
    /// What was not looked at.
    pub what: String,
    /// What is not there.
    pub reason: String,
}

/// How a step came to stop before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// The repository's own fault.
    Failed,
    /// The command line asked for something that does not exist.
    Usage,
    /// A tool, base, database or machine is not there.
    Absent,
    /// Something ran and failed.
    Broken,
    /// A time limit of xtask's own.
    TooSlow,
    /// By this signal.
    Interrupted,
    /// A fault of xtask itself.
    Panicked,
}

/// A step that did not come to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Failure {
    /// The steps that lead to it, outermost first: `compose-e2e/journey`. Empty when it is the command itself.
    pub step: String,
    /// How it came to stop.
    pub ending: Ending,
    /// Why, and what to do.
    pub message: String,
    /// What the process exits with if nothing outranks it.
    pub exit_code: u8,
}

impl Failure {
    /// # Panics
    /// Never; an error of no known kind (a full disk, a lost file) is a broken machine.
    fn of(error: &Error) -> Self {
        let (ending, exit_code) = match Stop::of(error) {
            Some(Stop::Repository(_)) => (Ending::Failed, 1),
            Some(Stop::Usage(_)) => (Ending::Usage, 2),
            Some(Stop::Absent(_)) => (Ending::Absent, 3),
            Some(Stop::Broken(_)) | None => (Ending::Broken, 3),
            Some(Stop::TimedOut(_)) => (Ending::TooSlow, 4),
            Some(Stop::Interrupted(signal)) => (Ending::Interrupted, 128 + u8::try_from(*signal).unwrap_or(2)),
        };
        Self { step: String::new(), ending, message: format!("{error:#}"), exit_code }
    }

    fn of_panic(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        let message = format!("xtask panicked: {}", text.unwrap_or_else(|| "without a message".to_owned()));
        Self { step: String::new(), ending: Ending::Panicked, message, exit_code: 5 }
    }

    fn within(mut self, step: &str) -> Self {
        self.step = if self.step.is_empty() { step.to_owned() } else { format!("{step}/{}", self.step) };
        self
    }
}

/// How a step ended, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum StepVerdict {
    /// It came to its end, has no finding, and looked at everything.
    Pass,
    /// It came to its end and has no finding; something was not looked at.
    Incomplete,
    /// It has findings.
    Findings,
    /// It did not come to its end.
    Failed,
    /// Something it needs is not there.
    NotChecked,
}

impl StepVerdict {
    /// The word as the report has it: `not-checked`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Incomplete => "incomplete",
            Self::Findings => "findings",
            Self::Failed => "failed",
            Self::NotChecked => "not-checked",
        }
    }
}

/// One step of a command, in the order in which they ran.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Step {
    /// `scan`; a step of a step is `compose-e2e/journey`.
    pub name: String,
    /// How it ended.
    pub verdict: StepVerdict,
    /// How many findings it has.
    pub findings: usize,
    /// Where these stand in the report's `findings`, counted from 0; two steps may have found the same thing.
    pub found: Vec<usize>,
    /// When it began, in seconds after the command did.
    pub begins: f64,
    /// What it looked at.
    pub checked: Vec<Checked>,
    /// How many things it should have looked at and could not.
    pub unchecked: usize,
    /// How long it took.
    pub seconds: f64,
}

impl Step {
    /// What it found, could not check and checked, in one line: `2 findings, 1 not checked, 4 images`.
    pub(crate) fn said(&self) -> String {
        let counted = |count: usize, one: &str, many: &str| match count {
            0 => None,
            1 => Some(format!("1 {one}")),
            _ => Some(format!("{count} {many}")),
        };
        let found = counted(self.findings, "finding", "findings");
        let unchecked = counted(self.unchecked, "not checked", "not checked");
        let checked = self.checked.iter().map(Checked::to_string);
        found.into_iter().chain(unchecked).chain(checked).collect::<Vec<_>>().join(", ")
    }
}

/// When a command or a step began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Begun(Instant);

impl Default for Begun {
    fn default() -> Self {
        Self(Instant::now())
    }
}

/// Everything that a command has to say, from its first second on. An error never takes anything out of it.
#[derive(Debug, Default, Clone)]
pub struct Outcome {
    /// What the policies do not allow.
    pub findings: Vec<Finding>,
    /// Steps that did not come to their end, the first cause first.
    pub failures: Vec<Failure>,
    /// What was looked at.
    pub checked: Vec<Checked>,
    /// What was not, and why.
    pub unchecked: Vec<Unchecked>,
    /// The steps that ran.
    pub steps: Vec<Step>,
    /// What a person should read who asked for nothing more: a plan, an address, an exception that ends soon.
    pub notes: Vec<String>,
    /// Image ids, tool versions, times: whatever lets a reader trust or repeat the verdict.
    pub evidence: BTreeMap<String, Value>,
    /// What people expect to see as a table: images with their sizes, what a scan covered.
    pub tables: Vec<Table>,
    /// The command to run next, when all is well.
    pub next: Option<String>,
    /// An unchecked thing is an error: set by `--strict`.
    pub strict: bool,
    pub(crate) begun: Begun,
    /// Where it is shown what runs.
    pub progress: Progress,
}

impl Outcome {
    /// Adds to what was looked at.
    pub fn checked(&mut self, what: impl Into<String>, count: usize) {
        self.checked.push(Checked { what: what.into(), count: count as u64 });
    }

    /// Says what was not looked at, and why.
    pub fn unchecked(&mut self, what: impl Into<String>, reason: impl Into<String>) {
        self.unchecked.push(Unchecked { what: what.into(), reason: reason.into() });
    }

    /// Says something that a person should read.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Adds a table for people.
    pub fn table(&mut self, table: Table) {
        self.tables.push(table);
    }

    /// Adds evidence under a key, in place of what stood there.
    pub fn evidence(&mut self, key: impl Into<String>, value: impl Into<Value>) {
        self.evidence.insert(key.into(), value.into());
    }

    /// Records that a check ran and broke, where the others go on.
    pub fn broken(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.failures.push(Failure { step: what.into(), ending: Ending::Broken, message: why.into(), exit_code: 3 });
    }

    /// Records that this command or step stopped before its end.
    pub fn fail(&mut self, error: &Error) {
        self.failures.push(Failure::of(error));
    }

    /// Runs a whole command. An error or a panic is recorded beside what it found.
    pub fn command(&mut self, run: impl FnOnce(&mut Self) -> Result<(), Error>) {
        match catch_unwind(AssertUnwindSafe(|| run(self))) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.fail(&error),
            Err(panic) => self.failures.push(Failure::of_panic(panic.as_ref())),
        }
    }

    /// Runs a step. What it found stays whatever comes of it; an error or a panic is recorded beside it, and something that
    /// is not there makes the step "not checked". `None` when it did not come to its end.
    ///
    /// # Errors
    /// An interrupt alone: it ends the command, with all that was found so far.
    pub fn step<T>(&mut self, name: &str, run: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<Option<T>, Error> {
        let (mut part, begins) = self.begin(name);
        let result = catch_unwind(AssertUnwindSafe(|| run(&mut part)));
        let mut absent = false;
        let (value, interrupt) = match result {
            Ok(Ok(value)) => (Some(value), None),
            Ok(Err(error)) if Stop::is_interrupt(&error) => (None, Some(error)),
            Ok(Err(error)) if Stop::is_absent(&error) => {
                absent = true;
                part.unchecked(name, format!("{error:#}"));
                (None, None)
            }
            Ok(Err(error)) => {
                part.fail(&error);
                (None, None)
            }
            Err(panic) => {
                part.failures.push(Failure::of_panic(panic.as_ref()));
                (None, None)
            }
        };
        let verdict = if interrupt.is_some() { StepVerdict::Failed } else { part.step_verdict(absent) };
        self.end(name, verdict, begins, part);
        interrupt.map_or(Ok(value), Err)
    }

    /// Runs a step without which the command cannot go on.
    ///
    /// # Errors
    /// Whatever ended the step; the command ends with it.
    pub fn needed_step<T>(&mut self, name: &str, run: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        let (mut part, begins) = self.begin(name);
        let result = run(&mut part);
        let verdict = if result.is_err() { StepVerdict::Failed } else { part.step_verdict(false) };
        self.end(name, verdict, begins, part);
        result
    }

    /// What the step is to find, and when it begins, in seconds after this.
    fn begin(&self, name: &str) -> (Self, f64) {
        self.progress.begin(name);
        (Self { progress: self.progress.clone(), ..Self::default() }, self.begun.0.elapsed().as_secs_f64())
    }

    fn end(&mut self, name: &str, verdict: StepVerdict, begins: f64, part: Self) {
        let step = Step {
            name: name.to_owned(),
            verdict,
            findings: part.findings.len(),
            found: (0..part.findings.len()).collect(),
            checked: part.checked.clone(),
            unchecked: part.unchecked.len(),
            begins,
            seconds: part.begun.0.elapsed().as_secs_f64(),
        };
        self.progress.end(verdict.word(), &step.said());
        self.absorb(step, part);
    }

    fn step_verdict(&self, absent: bool) -> StepVerdict {
        if !self.failures.is_empty() {
            StepVerdict::Failed
        } else if !self.findings.is_empty() {
            StepVerdict::Findings
        } else if absent {
            StepVerdict::NotChecked
        } else if !self.unchecked.is_empty() {
            StepVerdict::Incomplete
        } else {
            StepVerdict::Pass
        }
    }

    /// Takes the result of a step in.
    fn absorb(&mut self, step: Step, part: Self) {
        // Two steps may trip over the same thing; it is still one thing to fix.
        let places: Vec<_> = part.findings.into_iter().map(|finding| self.place_of(finding)).collect();
        let here = |inner: Step, name: String, begins: f64| Step {
            name,
            found: inner.found.iter().map(|index| places[*index]).collect(),
            begins: rounded(begins),
            seconds: rounded(inner.seconds),
            ..inner
        };
        let (name, begins) = (step.name.clone(), step.begins);
        self.steps.push(here(step, name.clone(), begins));
        self.steps.extend(part.steps.into_iter().map(|inner| {
            let (inside, begins) = (format!("{name}/{}", inner.name), begins + inner.begins);
            here(inner, inside, begins)
        }));
        self.failures.extend(part.failures.into_iter().map(|failure| failure.within(&name)));
        self.notes.extend(part.notes);
        self.tables.extend(part.tables.into_iter().map(|table| table.within(&name)));
        self.checked.extend(part.checked);
        self.unchecked.extend(part.unchecked);
        // What each step says of the machine, the whole has said already.
        let said = &self.evidence;
        let evidence: serde_json::Map<String, Value> =
            part.evidence.into_iter().filter(|(key, value)| said.get(key) != Some(value)).collect();
        if !evidence.is_empty() {
            self.evidence(name, evidence);
        }
    }

    /// Where a finding stands, added if it is new.
    fn place_of(&mut self, finding: Finding) -> usize {
        self.findings.iter().position(|known| *known == finding).unwrap_or_else(|| {
            self.findings.push(finding);
            self.findings.len() - 1
        })
    }

    /// Nothing was found, nothing failed, and nothing was left unchecked.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty() && self.failures.is_empty() && self.unchecked.is_empty()
    }

    /// 0 fine; 1 a finding or the repository's own fault; 2 usage; 3 something is missing or broken; 4 a time limit; 5 a fault
    /// of xtask itself; 128 + n a signal. An interrupt outranks all, a fault of xtask the rest; then 1 beats 2 beats 3 beats 4.
    pub fn exit_code(&self) -> u8 {
        let codes = || self.failures.iter().map(|failure| failure.exit_code);
        if let Some(worst) = codes().filter(|code| *code >= 5).max() {
            return worst;
        }
        let findings = (!self.findings.is_empty()).then_some(1);
        let strict = (self.strict && !self.unchecked.is_empty()).then_some(3);
        codes().chain(findings).chain(strict).min().unwrap_or(0)
    }
}

/// Milliseconds are enough for a reader.
pub(crate) fn rounded(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;
    use crate::Place;

    fn finding(rule: &'static str) -> Finding {
        Finding { rule, place: Place::new("p"), message: "m".into(), next_step: "n".into() }
    }

    fn code(stop: Stop) -> u8 {
        let mut outcome = Outcome::default();
        outcome.fail(&Error::from(stop).context("while building"));
        outcome.exit_code()
    }

    #[test]
    fn exit_codes_are_those_of_the_design() {
        assert_eq!(Outcome::default().exit_code(), 0);
        assert_eq!(code(Stop::Repository("x".into())), 1);
        assert_eq!(code(Stop::Usage("x".into())), 2);
        assert_eq!(code(Stop::Absent("x".into())), 3);
        assert_eq!(code(Stop::Broken("x".into())), 3);
        assert_eq!(code(Stop::TimedOut("x".into())), 4);
        assert_eq!(code(Stop::Interrupted(2)), 130);
        assert_eq!(code(Stop::Interrupted(15)), 143);
        let mut full_disk = Outcome::default();
        full_disk.fail(&anyhow!("no space left on device"));
        assert_eq!(full_disk.exit_code(), 3);
    }

    #[test]
    fn one_beats_three_beats_four_and_an_interrupt_beats_all() {
        let mut outcome = Outcome { strict: true, ..Outcome::default() };
        outcome.fail(&Stop::TimedOut("late".into()).into());
        assert_eq!(outcome.exit_code(), 4);
        outcome.unchecked("scan", "no database");
        assert_eq!(outcome.exit_code(), 3);
        outcome.findings.push(finding("r"));
        assert_eq!(outcome.exit_code(), 1);
        outcome.fail(&Stop::Interrupted(2).into());
        assert_eq!(outcome.exit_code(), 130);
    }

    #[test]
    fn a_step_that_fails_keeps_what_it_found_and_the_next_one_runs() {
        let mut outcome = Outcome::default();
        let first = outcome.step("audit-env", |part| {
            part.findings.push(finding("static"));
            part.checked("places", 3);
            Err::<(), _>(Stop::Broken("docker run failed".into()).into())
        });
        assert!(first.unwrap().is_none());
        let second = outcome.step("compose-e2e", |part| {
            part.findings.push(finding("hardening"));
            Ok(1)
        });
        assert_eq!(second.unwrap(), Some(1));
        let rules: Vec<_> = outcome.findings.iter().map(|finding| finding.rule).collect();
        assert_eq!(rules, ["static", "hardening"]);
        assert_eq!((outcome.failures[0].step.as_str(), outcome.failures[0].ending), ("audit-env", Ending::Broken));
        assert!(outcome.unchecked.is_empty(), "a broken check is never `not checked`");
        let verdicts: Vec<_> = outcome.steps.iter().map(|step| step.verdict).collect();
        assert_eq!(verdicts, [StepVerdict::Failed, StepVerdict::Findings]);
        assert_eq!(outcome.exit_code(), 1);
    }

    #[test]
    fn what_is_not_there_is_not_checked_and_no_failure() {
        let mut outcome = Outcome::default();
        outcome.step("scan", |_| Err::<(), _>(Stop::Absent("no database".into()).into())).unwrap();
        assert_eq!((outcome.unchecked[0].what.as_str(), outcome.failures.len()), ("scan", 0));
        assert_eq!(outcome.steps[0].verdict, StepVerdict::NotChecked);
        assert_eq!(outcome.exit_code(), 0);
    }

    #[test]
    fn an_interrupt_ends_the_command_and_keeps_what_was_found() {
        let mut outcome = Outcome::default();
        let result = outcome.step("e2e", |part| {
            part.findings.push(finding("r"));
            Err::<(), _>(Stop::Interrupted(2).into())
        });
        assert!(result.is_err());
        assert_eq!(outcome.findings.len(), 1);
    }

    #[test]
    fn a_panic_is_a_failed_step_and_exit_5() {
        let mut outcome = Outcome::default();
        outcome.step("audit-env", |_| if true { panic!("byte index 3") } else { Ok(()) }).unwrap();
        assert_eq!((outcome.failures[0].ending, outcome.exit_code()), (Ending::Panicked, 5));
        assert!(outcome.failures[0].message.contains("byte index 3"), "{:?}", outcome.failures);
    }

    #[test]
    fn steps_within_steps_say_where_they_stand() {
        let mut outcome = Outcome::default();
        outcome
            .step("compose-e2e", |part| part.step("journey", |_| Err::<(), _>(anyhow!("got 500"))).map(drop))
            .unwrap();
        assert_eq!(outcome.failures[0].step, "compose-e2e/journey");
        assert_eq!(outcome.steps[0].verdict, StepVerdict::Failed);
        assert_eq!(outcome.steps[1].name, "compose-e2e/journey");
    }

    #[test]
    fn the_same_finding_of_two_steps_is_one() {
        let mut outcome = Outcome::default();
        for step in ["a", "b"] {
            outcome
                .step(step, |part| {
                    part.findings.push(finding("r"));
                    Ok(())
                })
                .unwrap();
        }
        assert_eq!(outcome.findings.len(), 1);
        assert_eq!(outcome.steps.iter().map(|step| step.found.clone()).collect::<Vec<_>>(), [[0], [0]]);
    }

    #[test]
    fn each_step_points_at_what_it_found_and_says_when_it_began() {
        let mut outcome = Outcome::default();
        outcome.findings.push(finding("first"));
        let run = |part: &mut Outcome| {
            part.findings.push(finding("outer"));
            part.step("inner", |part| {
                part.findings.extend(["inner", "first"].map(finding));
                Ok(())
            })
            .map(drop)
        };
        outcome.step("outer", run).unwrap();
        let rules = |step: &Step| step.found.iter().map(|index| outcome.findings[*index].rule).collect::<Vec<_>>();
        assert_eq!(rules(&outcome.steps[0]), ["outer", "inner", "first"]);
        assert_eq!(rules(&outcome.steps[1]), ["inner", "first"]);
        let [outer, inner] = &outcome.steps[..] else { panic!("{:?}", outcome.steps) };
        assert!(outer.begins >= 0.0 && inner.begins >= outer.begins, "{:?}", outcome.steps);
    }
}
