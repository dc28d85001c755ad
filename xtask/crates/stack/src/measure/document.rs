//! The two documents that `--write` keeps: the figures, and a TODO for each that became worse.

use std::fmt::Write as _;

use super::baseline::Regression;
use super::{Figures, Policy, kind};

const TODO: &str = "- TODO ";
const TODO_HEAD: &str = "# Regressions\n\nFigures that are worse than the baseline of their machine; `cargo xtask compose-e2e --write` adds an entry with its date and\nremoves it when the figure is back.\n\n";

/// The list of regressions after this run. An entry that is still true keeps its date; one of another machine stays as it is.
pub(super) fn todos(before: &str, machine: &str, date: &str, regressions: &[Regression]) -> String {
    let mut lines: Vec<_> = before
        .lines()
        .filter(|line| line.starts_with(TODO))
        .filter(|line| !line.contains(&of(machine)) || regressions.iter().any(|found| line.contains(&about(found))))
        .map(ToOwned::to_owned)
        .collect();
    for found in regressions {
        if !lines.iter().any(|line| line.contains(&of(machine)) && line.contains(&about(found))) {
            lines.push(format!("{TODO}{date}, {}: {} ({found})", of(machine), about(found)));
        }
    }
    if lines.is_empty() {
        lines.push("None.".to_owned());
    }
    format!("{TODO_HEAD}{}\n", lines.join("\n"))
}

fn of(machine: &str) -> String {
    format!("on `{machine}`")
}

fn about(found: &Regression) -> String {
    format!("`{}`", found.figure)
}

/// docs/testing/performance.md.
pub(super) fn performance(policy: &Policy, ready: &str, figures: &Figures, machine: &str, date: &str) -> String {
    let mut text = format!(
        "# Performance\n\nMeasured on {date} by `cargo xtask compose-e2e --write`: one run, {machine}. `start-ms` is from the engine's start of a\n\
         container to its first 200 on `{ready}` with what stands beside it ready, `idle-kib` and `peak-kib` are resident memory before and the\n\
         most of it after the journey. Regressions: [regressions.md](regressions.md).\n\n| figure | measured | budget |\n|---|---|---|\n"
    );
    for (name, value) in figures {
        let budget = policy.get(kind(name)).and_then(|tolerance| tolerance.budget);
        let budget = match budget {
            Some(budget) if *value > budget => format!("{budget}, **missed**"),
            Some(budget) => budget.to_string(),
            None => String::new(),
        };
        let _ = writeln!(text, "| {name} | {value} | {budget} |");
    }
    text
}

/// The figures beyond their budget, one line each.
pub(super) fn over_budget(policy: &Policy, figures: &Figures) -> Vec<String> {
    let budget = |name: &str| policy.get(kind(name)).and_then(|tolerance| tolerance.budget);
    let over =
        figures.iter().filter_map(|(name, value)| Some((name, value, budget(name).filter(|budget| value > budget)?)));
    over.map(|(name, value, budget)| format!("{name} is {value}, the budget {budget}")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::baseline::Baselines;
    use super::super::{Tolerance, policy};
    use super::*;

    fn regressions(values: &[(&str, u64)]) -> Vec<Regression> {
        let mut known = Baselines::default();
        let figures = |factor: u64| values.iter().map(|(name, value)| ((*name).to_owned(), value * factor)).collect();
        known.record("m", "2026-01-01", &figures(1));
        let policy = Policy::from([("start-ms".into(), Tolerance { budget: None, factor: 1.1, slack: 0 })]);
        known.regressions(&policy, "m", &figures(2))
    }

    #[test]
    fn a_regression_is_a_dated_todo_that_keeps_its_date_and_goes_when_it_is_gone() {
        let first = todos("", "m", "2026-01-02", &regressions(&[("start-ms/user", 10)]));
        assert!(
            first.ends_with("- TODO 2026-01-02, on `m`: `start-ms/user` (start-ms/user is 20, the baseline 10)\n"),
            "{first}"
        );
        let both = [("start-ms/user", 10), ("start-ms/order", 10)];
        let second = todos(&first, "m", "2026-01-03", &regressions(&both));
        assert!(second.contains("TODO 2026-01-02, on `m`: `start-ms/user`"), "{second}");
        assert!(second.contains("TODO 2026-01-03, on `m`: `start-ms/order`"), "{second}");
        assert!(todos(&second, "m", "2026-01-04", &[]).ends_with("\n\nNone.\n"));
    }

    #[test]
    fn another_machines_todo_stays() {
        let theirs = todos("", "theirs", "2026-01-02", &regressions(&[("start-ms/user", 10)]));
        assert_eq!(todos(&theirs, "m", "2026-01-05", &[]), theirs);
    }

    #[test]
    fn a_missed_budget_is_said_in_the_table_and_in_the_report() {
        let figures = Figures::from([("start-ms/user".into(), 101), ("start-ms/order".into(), 100)]);
        let text = performance(
            &policy(&xtask_workspace::Project::load(env!("CARGO_MANIFEST_DIR")).unwrap()).unwrap(),
            "/ready",
            &figures,
            "m",
            "2026-01-01",
        );
        assert!(text.contains("| start-ms/user | 101 | 100, **missed** |\n"), "{text}");
        assert!(text.contains("| start-ms/order | 100 | 100 |\n"), "{text}");
        assert_eq!(
            over_budget(
                &policy(&xtask_workspace::Project::load(env!("CARGO_MANIFEST_DIR")).unwrap()).unwrap(),
                &figures
            ),
            ["start-ms/user is 101, the budget 100"]
        );
    }
}
