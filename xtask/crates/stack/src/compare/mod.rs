//! `compose-e2e --compare`: two image sets under the same Compose file, measured on this machine in alternating rounds.

mod report;
mod side;
mod statistics;

use std::thread;

use anyhow::{Result, bail};
use serde_json::{Value, json};
use xtask_engine::Ready;
use xtask_image_build::{BuiltImage, ImageSet};
use xtask_outcome::{Finding, Outcome, Place, Table};
use xtask_workspace::Context;

use self::report::{Figure, Part};
use self::side::{Measured, Side};
use crate::client::Client;
use crate::measure;
use crate::run::remove_runs;

/// So few that an interval says something, and so many that a person waits for.
pub const FEWEST_ROUNDS: u16 = 3;
/// As above.
pub const MOST_ROUNDS: u16 = 100;
/// After so many rounds both stacks are brought up again on fresh volumes.
const ROUNDS_PER_STACK: usize = 8;

/// Two image sets and how often they are measured.
#[derive(Debug, Clone, Copy)]
pub struct Comparison<'a> {
    /// What the other is compared with.
    pub before: &'a ImageSet,
    /// What may be better or worse.
    pub after: &'a ImageSet,
    /// How often both are measured.
    pub rounds: u16,
}

/// One round: what was measured of each, before and after.
type Pair = [Measured; 2];

impl Comparison<'_> {
    /// Measures both and gives a table that says of each figure whether it is better, worse or neither. Both stacks are torn down
    /// whatever happens.
    ///
    /// # Errors
    /// When one of the two does not come up, or the journey fails on one.
    pub fn run(&self, context: &Context, ready: &Ready, outcome: &mut Outcome) -> Result<Table> {
        let policy = measure::comparison(&context.project)?;
        let client = Client::compile_optimised(context)?;
        remove_runs(context, &ready.docker, false)?;
        self.tell(context, outcome);
        let rounds = usize::from(self.rounds);
        let mut pairs: Vec<Pair> = Vec::new();
        while pairs.len() < rounds {
            let count = ROUNDS_PER_STACK.min(rounds - pairs.len());
            self.with_fresh_volumes(context, ready, &client, pairs.len()..pairs.len() + count, &mut pairs)?;
        }
        outcome.checked("rounds measured", pairs.len());
        let requests = |part: &Measured| usize::try_from(part.requests).unwrap_or(usize::MAX);
        outcome.checked("requests sent", pairs.iter().flatten().map(requests).sum());
        outcome.findings.extend(failed_requests(&pairs));
        let figures = report::figures(&pairs, &policy);
        outcome.checked("figures compared", figures.len());
        self.leave_out(context, &pairs, outcome);
        outcome.findings.extend(figures.iter().filter_map(|figure| report::finding(figure, &policy)));
        outcome.evidence("machine", measure::machine(&ready.engine));
        outcome.evidence("confidence_percent", policy.confidence_percent);
        outcome.evidence("figures", figures.iter().map(Figure::evidence).collect::<Value>());
        Ok(report::table(&figures))
    }

    /// Which sets they are, and whether there can be a difference at all.
    fn tell(&self, context: &Context, outcome: &mut Outcome) {
        let ids = |set: &ImageSet| set.images.iter().map(|image| (image.name.clone(), json!(image.facts.id))).collect();
        let set = |set: &ImageSet| json!({ "name": set.name, "images": Value::Object(ids(set)) });
        outcome.evidence("before", set(self.before));
        outcome.evidence("after", set(self.after));
        outcome.evidence("rounds", self.rounds);
        let same = |image: &&BuiltImage| self.before.images.iter().any(|other| other.facts.id == image.facts.id);
        if self.after.images.iter().all(|image| same(&image)) {
            outcome.note("both sets are the same images: what differs is noise");
        }
        let Self { before, after, rounds } = self;
        let text = format!(
            "compares {} (before) with {} (after) in {rounds} rounds of about ten seconds",
            before.name, after.name
        );
        context.runner.progress().detail(&text);
    }

    /// Both stacks, up at the same time and measured one after the other, so that each pair is made in the same minute.
    fn with_fresh_volumes(
        &self,
        context: &Context,
        ready: &Ready,
        client: &Client,
        rounds: std::ops::Range<usize>,
        pairs: &mut Vec<Pair>,
    ) -> Result<()> {
        let mut sides = Vec::new();
        for (part, set) in [(Part::Before, self.before), (Part::After, self.after)] {
            sides.push(Side::begin(context, ready, client, part, set)?);
        }
        context.runner.interrupt().on_second(Some("cargo xtask clean".to_owned()));
        let measured = at_once(&mut sides, Side::up).and_then(|()| {
            for round in rounds {
                context.runner.progress().now(&format!("round {} of {}", round + 1, self.rounds));
                pairs.push(pair(&mut sides, round)?);
            }
            Ok(())
        });
        if measured.is_err() {
            sides.iter().for_each(Side::show_evidence);
        }
        let down = at_once(&mut sides, Side::down);
        let ended: Vec<Result<()>> = sides.into_iter().map(Side::end).collect();
        context.runner.interrupt().on_second(None);
        // The first error stays in front.
        measured.and(down).and(ended.into_iter().collect())
    }

    /// What the policy or the machine leaves out.
    fn leave_out(&self, context: &Context, pairs: &[Pair], outcome: &mut Outcome) {
        if context.project.stack.comparison.is_none() {
            outcome.unchecked("the load's figures", "policy/stack.toml has no [comparison]; next: docs/adopting.md");
        }
        let has =
            |kind: &str| pairs.iter().flatten().all(|part| part.figures.keys().any(|name| measure::kind(name) == kind));
        if !has(measure::START) {
            outcome.unchecked("the start of services", "their addresses are not reached from here");
        }
        if context.project.stack.comparison.is_some() && !has(side::CPU) {
            outcome.unchecked("processor time", "the engine runs on another machine");
        }
    }
}

/// Who is measured when in a round: whoever goes first finds the machine as the last one left it, so they take turns.
pub fn turns(round: usize, count: usize) -> Vec<usize> {
    let order = 0..count;
    if round.is_multiple_of(2) { order.collect() } else { order.rev().collect() }
}

fn pair(sides: &mut [Side<'_>], round: usize) -> Result<Pair> {
    let mut pair = Pair::default();
    for at in turns(round, pair.len()) {
        pair[at] = sides[at].measure()?;
    }
    Ok(pair)
}

/// Does something to both stacks at once. Gives the first error when both are done.
fn at_once<'a>(sides: &mut [Side<'a>], work: fn(&mut Side<'a>) -> Result<()>) -> Result<()> {
    thread::scope(|scope| {
        let threads: Vec<_> = sides.iter_mut().map(|side| scope.spawn(move || work(side))).collect();
        let ended =
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| bail!("the thread of a stack panicked")));
        ended.collect::<Vec<_>>().into_iter().collect()
    })
}

/// Requests of the load that were not answered as they should be. Where that happened before, too, nobody made it worse.
fn failed_requests(pairs: &[Pair]) -> Option<Finding> {
    let failed = |at: usize| pairs.iter().map(|pair| pair[at].failed).sum::<u64>();
    let (before, after) = (failed(0), failed(1));
    (after > before).then(|| Finding {
        rule: "comparison-requests-failed",
        place: Place::new("load"),
        message: format!("{after} requests of the load failed, {before} before"),
        next_step: "read the services' logs: cargo xtask up, then cargo xtask logs".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_every_second_round_the_last_goes_first() {
        assert_eq!([turns(0, 2), turns(1, 2), turns(2, 2)], [[0, 1], [1, 0], [0, 1]]);
        assert_eq!(turns(3, 3), [2, 1, 0]);
    }

    #[test]
    fn failed_requests_are_a_finding_when_there_are_more_than_before() {
        let part = |failed| Measured { failed, ..Measured::default() };
        assert_eq!(failed_requests(&[[part(0), part(0)], [part(2), part(2)]]), None);
        let found = failed_requests(&[[part(0), part(1)], [part(0), part(2)]]).unwrap();
        assert_eq!(found.message, "3 requests of the load failed, 0 before");
    }
}
