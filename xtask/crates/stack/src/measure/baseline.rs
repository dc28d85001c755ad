//! docs/testing/baseline.json: one set of figures for each machine, and what has become worse since.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context as _, Result};
use camino::Utf8Path;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Figures, Policy, Tolerance, kind};

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Baselines {
    machines: BTreeMap<String, Baseline>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Baseline {
    date: String,
    figures: Figures,
}

/// A figure that is worse than its baseline allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Regression {
    pub(super) figure: String,
    now: u64,
    before: u64,
}

impl fmt::Display for Regression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, the baseline {}", self.figure, self.now, self.before)
    }
}

/// Reads the file; without one there is no baseline.
pub(super) fn read(file: &Utf8Path) -> Result<Baselines> {
    if !file.exists() {
        return Ok(Baselines::default());
    }
    let text = std::fs::read_to_string(file).with_context(|| format!("read {file}"))?;
    serde_json::from_str(&text).with_context(|| format!("read {file}"))
}

impl Baselines {
    pub(super) fn record(&mut self, machine: &str, date: &str, figures: &Figures) {
        self.machines.insert(machine.to_owned(), Baseline { date: date.to_owned(), figures: figures.clone() });
    }

    pub(super) fn text(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    pub(super) fn date(&self, machine: &str) -> Option<&str> {
        self.machines.get(machine).map(|baseline| baseline.date.as_str())
    }

    /// What each figure is held against, where there is anything: its budget, its baseline, and whether it is worse than that.
    pub(super) fn measures(&self, policy: &Policy, machine: &str, figures: &Figures) -> Value {
        let regressions = self.regressions(policy, machine, figures);
        let baseline = self.machines.get(machine);
        let measure = |name: &String| {
            let budget = policy.get(kind(name)).and_then(|tolerance| tolerance.budget);
            let before = baseline.and_then(|baseline| baseline.figures.get(name));
            let is_worse = regressions.iter().any(|found| found.figure == *name);
            let measure = json!({ "budget": budget, "baseline": before, "regression": is_worse });
            (budget.is_some() || before.is_some()).then(|| (name.clone(), measure))
        };
        Value::Object(figures.keys().filter_map(measure).collect())
    }

    /// What is worse than on the same machine before. Another machine's figures say nothing.
    pub(super) fn regressions(&self, policy: &Policy, machine: &str, figures: &Figures) -> Vec<Regression> {
        let Some(baseline) = self.machines.get(machine) else { return Vec::new() };
        let mut found = Vec::new();
        for (name, &now) in figures {
            let (Some(&before), Some(tolerance)) = (baseline.figures.get(name), policy.get(kind(name))) else {
                continue;
            };
            if worse(now, before, tolerance) {
                found.push(Regression { figure: name.clone(), now, before });
            }
        }
        found
    }
}

/// Beyond the factor and beyond the slack: a small figure may double by chance, a large one may move by more than the slack.
fn worse(now: u64, before: u64, tolerance: &Tolerance) -> bool {
    now > before.saturating_add(tolerance.slack) && now as f64 > before as f64 * tolerance.factor
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        Policy::from([("start-ms".into(), Tolerance { budget: None, factor: 1.5, slack: 40 })])
    }

    fn figures(value: u64) -> Figures {
        Figures::from([("start-ms/user".into(), value)])
    }

    fn known() -> Baselines {
        let mut known = Baselines::default();
        known.record("this", "2026-11-25", &figures(100));
        known
    }

    #[test]
    fn a_figure_is_worse_beyond_both_factor_and_slack() {
        for (now, expected) in [(100, 0), (150, 0), (151, 1), (50, 0)] {
            assert_eq!(known().regressions(&policy(), "this", &figures(now)).len(), expected, "{now}");
        }
        let mut small = Baselines::default();
        small.record("this", "2026-11-25", &figures(10));
        assert_eq!(small.regressions(&policy(), "this", &figures(50)), []);
        assert_eq!(small.regressions(&policy(), "this", &figures(51)).len(), 1);
    }

    #[test]
    fn a_figure_is_shown_with_its_budget_its_baseline_and_whether_it_is_worse() {
        let mut policy = policy();
        policy.insert("idle-kib".into(), Tolerance { budget: Some(20), factor: 2.0, slack: 0 });
        let mut now = figures(151);
        now.extend([("idle-kib/user".into(), 19), ("image-bytes/user".into(), 7)]);
        let measures = known().measures(&policy, "this", &now);
        let start = json!({ "budget": null, "baseline": 100, "regression": true });
        let idle = json!({ "budget": 20, "baseline": null, "regression": false });
        assert_eq!(measures, json!({ "start-ms/user": start, "idle-kib/user": idle }));
    }

    #[test]
    fn another_machine_is_not_compared() {
        assert_eq!(known().regressions(&policy(), "other", &figures(9999)), []);
        assert_eq!((known().date("this"), known().date("other")), (Some("2026-11-25"), None));
    }

    #[test]
    fn what_is_recorded_is_read_again_and_a_file_with_unknown_keys_is_refused() {
        let again: Baselines = serde_json::from_str(&known().text().unwrap()).unwrap();
        assert_eq!(again.regressions(&policy(), "this", &figures(200)).len(), 1);
        assert!(serde_json::from_str::<Baselines>(r#"{"machines":{},"more":1}"#).is_err());
    }
}
