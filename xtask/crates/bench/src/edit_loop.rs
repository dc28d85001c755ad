//! `cargo xtask bench loop`: how long an edit takes to show in the running stack.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use camino::Utf8PathBuf;
use serde_json::json;
use xtask_engine::{Ready, ready};
use xtask_outcome::{Date, Outcome};
use xtask_stack::edit_to_answer;
use xtask_workspace::Context;

use crate::build::{Bench, machine, median};
use crate::document;
use crate::policy::Policy;

const EDITS: usize = 5;
/// Each profile, and the seconds to reach.
const PROFILES: [(&str, f64); 2] = [("dev", 5.0), ("release", 15.0)];

/// `bench loop`.
///
/// # Errors
/// When the stack does not come up, or an edit is not answered.
pub fn measure(context: &Context, write: bool, outcome: &mut Outcome) -> Result<()> {
    let text = format!(
        "bench loop: a clone's stack with the dev profile and with release, {EDITS} edits each; about 10 minutes. Keep the machine quiet"
    );
    context.runner.progress().say(&text);
    let ready = ready(context)?;
    let edit = Policy::read(&context.project)?.visible_edit;
    let bench = Bench::new(context, &ready, true)?;
    let program = Utf8PathBuf::try_from(std::env::current_exe().context("find this program's own file")?)?;
    let timed = |profile: &str| edit_to_answer(context, &program, &bench.checkout, profile, &edit, EDITS);
    let rows =
        PROFILES.iter().map(|(profile, reach)| Ok((*profile, timed(profile)?, *reach))).collect::<Result<Vec<_>>>();
    let ended = bench.end();
    let rows = rows?;
    ended?;
    outcome.checked("edits answered", rows.iter().map(|(_, seconds, _)| seconds.len()).sum());
    for (profile, seconds, reach) in &rows {
        outcome.evidence(*profile, json!({ "seconds": seconds, "reach": reach }));
        outcome.note(format!("{profile}: {:.1} s until an edit shows in the running stack", median(seconds.clone())));
    }
    if write {
        document::write_part(context, document::LOOP, &document(&rows, &edit.service, &ready), outcome)?;
    }
    Ok(())
}

fn document(rows: &[(&str, Vec<f64>, f64)], service: &str, ready: &Ready) -> String {
    let date = Date::today();
    let mut text = format!(
        "Measured on {date} by `cargo xtask bench loop --write`, one run on {}. One line of `{service}` is edited under `cargo xtask up \
         {service} --watch`, and the time is from the file being written to the first answer through the gateway that shows the edit.\n\n\
         | profile | median of {EDITS} | fastest | slowest | to reach |\n|---|---|---|---|---|\n",
        machine(ready)
    );
    for (profile, seconds, reach) in rows {
        let (fastest, slowest) = seconds.iter().fold((f64::MAX, 0.0_f64), |(low, high), s| (low.min(*s), high.max(*s)));
        let middle = median(seconds.clone());
        let verdict = if middle <= *reach { "reached" } else { "missed" };
        let _ =
            writeln!(text, "| {profile} | {middle:.1} s | {fastest:.1} s | {slowest:.1} s | ≤ {reach} s: {verdict} |");
    }
    text
}
