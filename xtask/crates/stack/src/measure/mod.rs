//! What a run measures: start-up, memory, the journey's times, image sizes. Figures are compared with the baseline of the same
//! machine only, and fail nothing: a regression is a TODO with a date.

mod baseline;
mod cpu;
mod document;
mod edits;
mod level;
mod memory;
mod policy;
mod start;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

pub(super) use self::cpu::used_nanoseconds;
pub use self::edits::{VisibleEdit, edit_to_answer};
pub(super) use self::level::Slope;
pub(super) use self::memory::{IDLE, PEAK, resident};
pub(super) use self::policy::{ComparisonPolicy, FigureLimits, comparison};
use self::policy::{Policy, Tolerance, policy};
pub(super) use self::start::{KIND as START, start_ups, start_ups_together};
use xtask_engine::Ready;
use xtask_image_build::BuiltImage;
use xtask_outcome::{Date, Outcome};
use xtask_process::put;
use xtask_workspace::Context;

/// Figures by name: the kind, and after a `/` whose it is, such as `start-ms/user`.
pub(super) type Figures = BTreeMap<String, u64>;

/// The kind of a figure: what stands before the `/`.
pub(super) fn kind(name: &str) -> &str {
    name.split('/').next().unwrap_or(name)
}

/// The middle and the longest step of the journey.
pub(super) fn journey(steps: &[Value]) -> Figures {
    let mut times: Vec<_> = steps.iter().filter_map(|step| step["ms"].as_f64()).collect();
    times.sort_by(f64::total_cmp);
    let rounded = |time: Option<&f64>| {
        let time = Duration::from_secs_f64(time.copied().unwrap_or_default() / 1000.0);
        u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
    };
    [("median", times.get(times.len() / 2)), ("slowest", times.last())]
        .map(|(name, time)| (format!("journey-ms/{name}"), rounded(time)))
        .into()
}

pub(super) fn image_sizes(images: &[BuiltImage]) -> Figures {
    images.iter().map(|image| (format!("image-bytes/{}", image.name), image.facts.size_bytes)).collect()
}

/// Compares, says, and writes what it was told to write.
pub(super) fn report(
    context: &Context,
    ready: &Ready,
    figures: &Figures,
    record: bool,
    write: bool,
    outcome: &mut Outcome,
) -> Result<()> {
    let date = Date::today().to_string();
    let machine = machine(&ready.engine);
    let file = |name: &str| context.project.root.join("docs/testing").join(name);
    let (policy, mut known) = (policy(&context.project)?, baseline::read(&file("baseline.json"))?);
    if record {
        known.record(&machine, &date, figures);
        put(&file("baseline.json"), &known.text()?)?;
    }
    let regressions = known.regressions(&policy, &machine, figures);
    if write {
        let todos = std::fs::read_to_string(file("regressions.md")).unwrap_or_default();
        put(&file("regressions.md"), document::todos(&todos, &machine, &date, &regressions))?;
        put(
            &file("performance.md"),
            document::performance(&policy, &context.project.stack.probe.ready, figures, &machine, &date),
        )?;
    }
    outcome.checked("figures measured", figures.len());
    outcome.evidence("figures", json!(figures));
    outcome.evidence("measures", known.measures(&policy, &machine, figures));
    outcome.evidence("machine", machine.as_str());
    let compared = match known.date(&machine) {
        Some(date) => {
            json!({ "date": date, "regressions": regressions.iter().map(ToString::to_string).collect::<Vec<_>>() })
        }
        None => json!("off because there is none of this machine; --record makes one"),
    };
    outcome.evidence("baseline", compared);
    outcome.evidence("over_budget", document::over_budget(&policy, figures));
    Ok(())
}

pub(super) fn machine(engine: &str) -> String {
    let read = |file| std::fs::read_to_string(file).unwrap_or_default();
    let value = |text: &str, name: &str| -> Option<String> {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split(':').nth(1)?.trim().to_owned())
    };
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let model = value(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let kib = value(&read("/proc/meminfo"), "MemTotal").and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    let gib = kib.map(|kib| format!(", {} GiB", kib.div_ceil(1024 * 1024))).unwrap_or_default();
    format!("{processors} × {model}{gib}, engine {engine}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journey_gives_its_middle_and_its_slowest_step() {
        let steps = [json!({"ms": 1.2}), json!({"ms": 40.0}), json!({"ms": 2.5})];
        let expected = Figures::from([("journey-ms/median".into(), 2), ("journey-ms/slowest".into(), 40)]);
        assert_eq!(journey(&steps), expected);
    }
}
