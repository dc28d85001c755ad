//! `policy/performance.toml`: what a figure is held against.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Deserialize;
use xtask_outcome::Stop;
use xtask_workspace::Project;

const FILE: &str = "performance.toml";

/// What is tolerated of each kind of figure.
pub(super) type Policy = BTreeMap<String, Tolerance>;

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tolerance {
    pub(super) budget: Option<u64>,
    pub(super) factor: f64,
    pub(super) slack: u64,
}

/// How two image sets are compared.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ComparisonPolicy {
    /// How sure it is that the intervals of all figures of a run hold at once.
    pub(crate) confidence_percent: f64,
    /// By kind; what is not here is not compared.
    pub(crate) figures: BTreeMap<String, FigureLimits>,
}

/// What a change of a figure has to be for anybody to care.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct FigureLimits {
    pub(crate) limit_percent: f64,
    /// In the unit of the figure.
    pub(crate) floor: f64,
    #[serde(default)]
    pub(crate) more_is_better: bool,
}

#[derive(Debug, Deserialize)]
struct File {
    comparison: Option<ComparisonPolicy>,
    /// Everything else is a kind of figure, whose own keys are known.
    #[serde(flatten)]
    kinds: Policy,
}

pub(super) fn policy(project: &Project) -> Result<Policy> {
    Ok(read(project)?.kinds)
}

/// # Errors
/// [`Stop::Repository`] where the policy says nothing of comparisons, or something that makes no sense.
pub(crate) fn comparison(project: &Project) -> Result<ComparisonPolicy> {
    let file = project.policy_file(FILE);
    let policy = read(project)?.comparison.ok_or_else(|| {
        Stop::Repository(format!(
            "{file} has no [comparison], so nobody knows what a difference is; next: copy it from xtask"
        ))
    })?;
    checked(policy).map_err(|what| Stop::Repository(format!("{file}: [comparison]: {what}")).into())
}

fn read(project: &Project) -> Result<File> {
    let (text, file) = (project.policy(FILE)?, project.policy_file(FILE));
    parse(&text).map_err(|error| Stop::Repository(format!("{file}: {error}")).into())
}

fn parse(text: &str) -> Result<File, toml::de::Error> {
    toml::from_str(text)
}

/// What no type says.
fn checked(policy: ComparisonPolicy) -> Result<ComparisonPolicy, String> {
    if !(50.0..100.0).contains(&policy.confidence_percent) {
        return Err(format!("confidence-percent = {} is not from 50 to below 100", policy.confidence_percent));
    }
    let is_sound = |limits: &FigureLimits| limits.limit_percent > 0.0 && limits.floor >= 0.0;
    match policy.figures.iter().find(|(_, limits)| !is_sound(limits)) {
        Some((name, _)) => Err(format!("{name}: limit-percent has to be above 0, floor at least 0")),
        None => Ok(policy),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPARISON: &str = "[comparison]\nconfidence-percent = 95\n[comparison.figures]\n";

    #[test]
    fn the_policy_knows_every_kind_of_figure() {
        let project = Project::load(env!("CARGO_MANIFEST_DIR")).unwrap();
        let (kinds, compared) = (policy(&project).unwrap(), comparison(&project).unwrap().figures);
        for name in ["start-ms", "idle-kib", "peak-kib", "image-bytes", "journey-ms"] {
            assert!(kinds.contains_key(name) && compared.contains_key(name), "{name}");
        }
        for name in ["requests-per-second", "p50-us", "p95-us", "p99-us", "cpu-us", "start-cpu-ms"] {
            assert!(compared.contains_key(name), "{name}");
        }
        assert!(compared["requests-per-second"].more_is_better && !compared["p50-us"].more_is_better);
    }

    #[test]
    fn a_key_that_nobody_knows_is_an_error_wherever_it_stands() {
        assert!(parse(COMPARISON).is_ok());
        for more in [
            "[start-ms]\nfactor = 1.0\nslack = 1\nmore = 1\n".to_owned(),
            "more = 1\n".to_owned(),
            COMPARISON.replace("[comparison.figures]", "more = 1\n[comparison.figures]"),
            format!("{COMPARISON}x-ms = {{ limit-percent = 1, floor = 1, more = 1 }}\n"),
        ] {
            assert!(parse(&more).is_err(), "{more}");
        }
    }

    #[test]
    fn limits_that_mean_nothing_are_refused() {
        let check = |text: &str| checked(parse(text).unwrap().comparison.unwrap());
        assert!(check(COMPARISON).is_ok());
        assert!(check(&COMPARISON.replace("95", "100")).unwrap_err().contains("confidence-percent"));
        let zero = format!("{COMPARISON}x-ms = {{ limit-percent = 0, floor = 1 }}\n");
        assert!(check(&zero).unwrap_err().starts_with("x-ms: "));
    }
}
