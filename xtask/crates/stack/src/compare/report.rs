//! What a comparison says: a row for each figure, a finding for each that is worse, and all rounds as evidence.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use xtask_outcome::{Finding, Place, Table};

use super::Pair;
use super::statistics::{Compared, Limits, Verdict, compare};
use crate::measure::{ComparisonPolicy, FigureLimits, kind};

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Before,
    After,
}

impl Part {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
        }
    }
}

/// A figure, its rounds and what they say.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Figure {
    name: String,
    limits: FigureLimits,
    rounds: Vec<(f64, f64)>,
    compared: Compared,
}

/// Compares every figure that both sides have in every round and that the policy names, by kind.
pub(super) fn figures(pairs: &[Pair], policy: &ComparisonPolicy) -> Vec<Figure> {
    let mut rounds: BTreeMap<&String, Vec<(f64, f64)>> = BTreeMap::new();
    for [before, after] in pairs {
        for (name, before) in &before.figures {
            if let Some(after) = after.figures.get(name) {
                rounds.entry(name).or_default().push((*before, *after));
            }
        }
    }
    rounds.retain(|name, rounds| rounds.len() == pairs.len() && policy.figures.contains_key(kind(name)));
    // So many intervals hold at once with the policy's confidence when each may miss its share of the doubt (Bonferroni).
    let doubt = (1.0 - policy.confidence_percent / 100.0) / rounds.len().max(1) as f64;
    let figure = |(name, rounds): (&String, Vec<(f64, f64)>)| {
        let limits = policy.figures[kind(name)];
        let share = limits.limit_percent / 100.0;
        let limits_of = Limits { share, floor: limits.floor, more_is_better: limits.more_is_better };
        let compared = compare(&rounds, &limits_of, doubt)?;
        Some(Figure { name: name.clone(), limits, rounds, compared })
    };
    rounds.into_iter().filter_map(figure).collect()
}

impl Figure {
    pub(super) fn evidence(&self) -> Value {
        let Compared { before, after, change, low, high, smallest, verdict } = self.compared;
        json!({
            "figure": self.name, "verdict": verdict.word(), "before": rounded(before), "after": rounded(after),
            "change_percent": percent(change), "low_percent": percent(low), "high_percent": percent(high),
            "limit_percent": self.limits.limit_percent, "floor": self.limits.floor, "more_is_better": self.limits.more_is_better,
            "smallest_percent": smallest.map(percent),
            "rounds": self.rounds.iter().map(|(before, after)| [rounded(*before), rounded(*after)]).collect::<Vec<_>>(),
        })
    }
}

/// A finding for a figure that is worse.
pub(super) fn finding(figure: &Figure, policy: &ComparisonPolicy) -> Option<Finding> {
    let Compared { before, after, change, low, high, verdict, .. } = figure.compared;
    (verdict == Verdict::Worse).then(|| Finding {
        rule: "figure-worse",
        place: Place::new(figure.name.clone()),
        message: format!(
            "it was {} and is {}: {}, and with {} % confidence between {} and {}; the limit is {} %, the floor {}",
            shown(before),
            shown(after),
            signed(change),
            policy.confidence_percent,
            signed(low),
            signed(high),
            figure.limits.limit_percent,
            figure.limits.floor
        ),
        next_step: "find what changed it, or change its limit in policy/performance.toml and say why".to_owned(),
    })
}

pub(super) fn table(figures: &[Figure]) -> Table {
    let columns = ["figure", "#before", "#after", "#change", "#interval", "verdict", "#would see"];
    let mut table = Table::new("before and after", &columns);
    for figure in figures {
        let Compared { before, after, change, low, high, smallest, verdict } = figure.compared;
        table.row([
            figure.name.clone(),
            shown(before),
            shown(after),
            signed(change),
            format!("{} … {}", signed(low), signed(high)),
            verdict.word().to_owned(),
            smallest.map_or_else(|| "nothing".to_owned(), signed),
        ]);
    }
    table
}

/// `+12.3 %`.
fn signed(share: f64) -> String {
    let percent = percent(share);
    if percent.abs() < 100.0 { format!("{percent:+.1} %") } else { format!("{percent:+.0} %") }
}

fn shown(value: f64) -> String {
    if value.abs() < 100.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}

fn percent(share: f64) -> f64 {
    rounded(share * 100.0)
}

/// Two digits behind the point are more than any of these figures has. JSON knows no infinity.
fn rounded(value: f64) -> f64 {
    (value.clamp(-1e15, 1e15) * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::super::side::Measured;
    use super::*;

    fn policy() -> ComparisonPolicy {
        let limits = FigureLimits { limit_percent: 10.0, floor: 5.0, more_is_better: false };
        let figures = ["start-ms", "image-bytes"].map(|kind| (kind.to_owned(), limits)).into();
        ComparisonPolicy { confidence_percent: 95.0, figures }
    }

    fn measured(figures: &[(&str, f64)]) -> Measured {
        let figures = figures.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        Measured { figures, ..Measured::default() }
    }

    fn pairs() -> Vec<Pair> {
        let noise = [1.0, 1.01, 0.99, 1.0];
        noise
            .map(|noise| {
                [
                    measured(&[
                        ("start-ms/cart", 100.0),
                        ("start-ms/door", 50.0),
                        ("other-ms/x", 1.0),
                        ("start-ms/gone", 1.0),
                    ]),
                    measured(&[("start-ms/cart", 150.0 * noise), ("start-ms/door", 50.0 * noise), ("other-ms/x", 9.0)]),
                ]
            })
            .to_vec()
    }

    #[test]
    fn what_both_have_and_the_policy_names_is_compared() {
        let names: Vec<_> = figures(&pairs(), &policy()).into_iter().map(|figure| figure.name).collect();
        assert_eq!(names, ["start-ms/cart", "start-ms/door"]);
        assert_eq!(figures(&[], &policy()), []);
    }

    #[test]
    fn the_more_figures_there_are_the_wider_is_the_interval_of_each() {
        let width = |pairs: &[Pair]| {
            let compared = figures(pairs, &policy())[0].compared;
            compared.high - compared.low
        };
        let mut alone = pairs();
        alone.iter_mut().flatten().for_each(|part| part.figures.retain(|name, _| name == "start-ms/cart"));
        assert!(width(&pairs()) > width(&alone));
    }

    #[test]
    fn a_figure_that_is_worse_is_a_finding_with_its_interval_and_its_limits() {
        let (figures, policy) = (figures(&pairs(), &policy()), policy());
        let found: Vec<_> = figures.iter().filter_map(|figure| finding(figure, &policy)).collect();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].place.name, "start-ms/cart");
        let message = &found[0].message;
        assert!(message.starts_with("it was 100 and is 150: +50.0 %, and with 95 % confidence between +"), "{message}");
        assert!(message.ends_with("the limit is 10 %, the floor 5"), "{message}");
    }

    #[test]
    fn every_figure_has_a_row_and_all_its_rounds_are_evidence() {
        let figures = figures(&pairs(), &policy());
        let table = table(&figures);
        assert_eq!(table.rows.iter().map(|row| row[5].as_str()).collect::<Vec<_>>(), ["worse", "no difference"]);
        assert_eq!(table.rows[0].len(), table.columns.len());
        let evidence = figures[0].evidence();
        assert_eq!(evidence["rounds"][1], json!([100.0, 151.5]));
        assert_eq!((&evidence["verdict"], &evidence["change_percent"]), (&json!("worse"), &json!(50.0)));
    }
}
