//! `cargo xtask verify`: the main job. Every step whose inputs exist runs; one report at the end.

use anyhow::{Error, Result};
use clap::Args;
use serde_json::Value;

use crate::audit_env;
use crate::build_images::{BuildImages, BuiltImage};
use crate::compose_e2e::ComposeE2e;
use crate::context::Context;
use crate::outcome::{Outcome, Stop};
use crate::push::tree::Tree;
use crate::push::verified::{self, Verified};
use crate::scan::{self, DatabaseOptions};
use crate::setup::{self, Ready};

/// Build the images, scan and audit them, and test the stack end to end: the main job.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// A check that could not be made is an error (exit 3); workflows use this.
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    database: DatabaseOptions,
}

impl Verify {
    pub(crate) fn run(&self, context: &Context) -> Result<Outcome> {
        eprintln!(
            "verify: setup, build-images, scan, audit-env, compose-e2e; 5 to 10 minutes the first time, below one minute when nothing changed"
        );
        verified::forget(&context.project)?;
        // Outside a git repository everything can be verified, and nothing shipped.
        let tree = Tree::read(context).ok();
        let ready = setup::ready(context)?;
        let (outcome, images) = BuildImages::all().build(context, &ready)?;
        let mut whole = Whole { outcome: Outcome { strict: self.strict, ..outcome }, failure: None };
        whole.add("scan", scan::check(context, &ready, &images, &self.database))?;
        whole.add("audit-env", audit_env::check(context, &ready, &images, &audit_env::Options::default()))?;
        whole.add("compose-e2e", ComposeE2e::whole().test(context, &ready, &images))?;
        let mut outcome = whole.end()?;
        if outcome.findings.is_empty() {
            let ready_to_push = record(context, tree, &images, &ready, &outcome)?;
            outcome.evidence("ready_to_push", ready_to_push);
        }
        Ok(outcome)
    }
}

/// Keeps what was verified for `push`, and says whether that can ship it.
fn record(
    context: &Context,
    before: Option<Tree>,
    images: &[BuiltImage],
    ready: &Ready,
    outcome: &Outcome,
) -> Result<String> {
    let Some(before) = before else { return Ok("no: this is no git repository with a commit".to_owned()) };
    if Tree::read(context)? != before {
        return Ok("no: the work tree changed during the run".to_owned());
    }
    let verdict = match (before.changes.is_empty(), outcome.unchecked.is_empty()) {
        (false, _) => format!("no: the work tree differs from its commit ({})", before.described()),
        (true, false) => "only with --allow-incomplete".to_owned(),
        (true, true) => format!("yes: {}", before.head),
    };
    Verified::of(before, images, ready, outcome).store(&context.project)?;
    Ok(verdict)
}

/// The steps' results so far.
struct Whole {
    outcome: Outcome,
    /// The first step that failed as such: the others run all the same.
    failure: Option<Error>,
}

impl Whole {
    /// Takes a step's result in. Only an interrupt ends the job here.
    fn add(&mut self, step: &str, result: Result<Outcome>) -> Result<()> {
        let error = match result {
            Ok(part) => {
                self.outcome.findings.extend(part.findings);
                self.outcome.checked.extend(part.checked);
                self.outcome.unchecked.extend(part.unchecked);
                // What each step says of the machine, the whole has said already.
                let said = &self.outcome.evidence;
                let evidence: serde_json::Map<String, Value> =
                    part.evidence.into_iter().filter(|(key, value)| said.get(key) != Some(value)).collect();
                self.outcome.evidence(step, evidence);
                return Ok(());
            }
            Err(error) => error,
        };
        match error.downcast_ref::<Stop>() {
            Some(Stop::Interrupted(_)) => return Err(error),
            Some(Stop::Missing(_)) => self.outcome.unchecked(step, format!("{error:#}")),
            _ => {
                eprintln!("verify: {step} failed: {error:#}");
                self.failure.get_or_insert(error.context(step.to_owned()));
            }
        }
        Ok(())
    }

    /// A failed step outranks what was not checked. Findings of other steps are said beside it.
    fn end(self) -> Result<Outcome> {
        let Some(failure) = self.failure else { return Ok(self.outcome) };
        for finding in &self.outcome.findings {
            eprintln!("finding: {finding}");
        }
        Err(failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole() -> Whole {
        Whole { outcome: Outcome::default(), failure: None }
    }

    #[test]
    fn a_step_that_something_is_missing_for_is_not_checked_and_the_others_run() {
        let mut whole = whole();
        whole.add("scan", Err(Stop::Missing("no database".into()).into())).unwrap();
        whole.add("audit-env", Ok(Outcome::default())).unwrap();
        let outcome = whole.end().unwrap();
        assert_eq!((outcome.unchecked.len(), outcome.unchecked[0].what.as_str()), (1, "scan"));
    }

    #[test]
    fn a_failed_step_stays_the_headline_and_an_interrupt_ends_it_all() {
        let mut whole = whole();
        whole.add("audit-env", Err(Stop::Repository("first".into()).into())).unwrap();
        whole.add("compose-e2e", Err(Stop::TimedOut("second".into()).into())).unwrap();
        assert!(whole.add("x", Err(Stop::Interrupted(2).into())).is_err());
        assert_eq!(format!("{:#}", whole.end().unwrap_err()), "audit-env: first");
    }
}
