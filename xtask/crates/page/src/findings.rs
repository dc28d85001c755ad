//! The findings by rule, with filters where scripts run and as a plain list where they do not.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};
use serde::Deserialize;
use xtask_outcome::{Finding, Report};

use crate::frame::Section;
use crate::{evidence, words};

/// A page of more cannot be searched by a person; the JSON has all.
const MOST_SHOWN: usize = 2000;
/// From here on a browser is spared what is not on the screen.
const MANY: usize = 100;
const LONGEST_MESSAGE: usize = 2000;

/// What the scan says of a thing that it found: a vulnerability has a severity, a broken rule has none.
#[derive(Debug, Deserialize)]
pub(crate) struct Found {
    unit: String,
    id: String,
    severity: String,
}

/// A finding, and what it is filtered by.
struct Shown<'a> {
    finding: &'a Finding,
    /// The steps that found it.
    steps: Vec<&'a str>,
    severity: Option<&'a str>,
}

pub(crate) fn section(report: &Report) -> Option<Section> {
    if report.findings.is_empty() {
        return None;
    }
    let found: Vec<Found> = evidence::find(report, &["found"]).unwrap_or_default();
    let shown = shown(report, &found);
    let mut by_rule = BTreeMap::<&str, Vec<Shown<'_>>>::new();
    for one in shown {
        by_rule.entry(one.finding.rule).or_default().push(one);
    }
    let shares = shares(&by_rule);
    let body = html! {
        (filters(&by_rule, report.findings.len()))
        @for (rule, all) in &by_rule {
            @let listed = shares[rule];
            section.rule aria-labelledby={ "rule-" (rule) } {
                h3 id={ "rule-" (rule) } { code { (rule) } " " span.aside { (words::count(all.len() as u64)) } }
                ul.findings.many[listed > MANY] { @for one in &all[..listed] { (item(one)) } }
                @if listed < all.len() {
                    p.quiet { (words::count((all.len() - listed) as u64)) " more of this rule are in " a href={ (report.command) ".json" } { (report.command) ".json" } "." }
                }
            }
        }
    };
    Some(Section { id: "findings", title: "Findings", aside: words::count(report.findings.len() as u64), body })
}

/// How many findings of each rule are listed: all where there is room for all, and else as many of each as of every other, so that
/// a loud rule does not hide the rare ones.
fn shares<'a>(by_rule: &BTreeMap<&'a str, Vec<Shown<'_>>>) -> BTreeMap<&'a str, usize> {
    let mut counts: Vec<_> = by_rule.iter().map(|(rule, all)| (all.len(), *rule)).collect();
    counts.sort_unstable();
    let (mut room, mut rules) = (MOST_SHOWN, counts.len());
    let mut shares = BTreeMap::new();
    for (count, rule) in counts {
        let share = count.min((room / rules).max(1));
        shares.insert(rule, share);
        room = room.saturating_sub(share);
        rules -= 1;
    }
    shares
}

fn shown<'a>(report: &'a Report, found: &'a [Found]) -> Vec<Shown<'a>> {
    let mut steps = BTreeMap::<usize, Vec<&str>>::new();
    for step in &report.steps {
        for index in &step.found {
            steps.entry(*index).or_default().push(&step.name);
        }
    }
    // The beginning of a finding's message names the thing as the scan does.
    let known: BTreeMap<_, _> = found
        .iter()
        .map(|one| ((one.unit.as_str(), format!("{} ({})", one.id, one.severity)), one.severity.as_str()))
        .collect();
    let severity = |finding: &Finding| {
        let (end, _) = finding.message.match_indices(") in ").next()?;
        known.get(&(finding.place.name.as_str(), finding.message[..=end].to_owned())).copied()
    };
    let one = |(index, finding): (usize, &'a Finding)| Shown {
        finding,
        steps: innermost(steps.get(&index).map(Vec::as_slice).unwrap_or_default()),
        severity: severity(finding),
    };
    report.findings.iter().enumerate().map(one).collect()
}

/// Of `scan` and `scan/images` the latter says more.
fn innermost<'a>(steps: &[&'a str]) -> Vec<&'a str> {
    let is_outer =
        |step: &str| steps.iter().any(|other| other.strip_prefix(step).is_some_and(|rest| rest.starts_with('/')));
    steps.iter().copied().filter(|step| !is_outer(step)).collect()
}

fn item(one: &Shown<'_>) -> Markup {
    let finding = one.finding;
    html! {
        li data-rule=(finding.rule) data-steps=(one.steps.join("|")) data-severity=(one.severity.unwrap_or_default()) {
            p.place {
                code { (words::bounded(&finding.place.to_string(), LONGEST_MESSAGE)) }
                @if let Some(severity) = one.severity { " " span.severity data-severity=(severity) { (severity) } }
                @for step in &one.steps { " " span.tag { (step) } }
            }
            p { (words::bounded(&finding.message, LONGEST_MESSAGE)) }
            p.next { span { "Next: " } (words::bounded(&finding.next_step, LONGEST_MESSAGE)) }
        }
    }
}

/// Shown by the script, which makes them work.
fn filters(by_rule: &BTreeMap<&str, Vec<Shown<'_>>>, all: usize) -> Markup {
    let shown = || by_rule.values().flatten();
    let steps: BTreeSet<_> = shown().flat_map(|one| one.steps.iter().copied()).collect();
    let severities: BTreeSet<_> = shown().filter_map(|one| one.severity).collect();
    html! {
        form.filters id="filters" role="search" aria-label="Filter the findings" hidden {
            label { span { "Text" } input type="search" name="text" autocomplete="off" spellcheck="false"; }
            (choice("rule", "Rule", by_rule.keys().copied()))
            (choice("steps", "Step", steps.into_iter()))
            @if !severities.is_empty() { (choice("severity", "Severity", severities.into_iter())) }
            output aria-live="polite" data-all=(all) { (words::counted(all, "finding", "findings")) }
        }
    }
}

fn choice<'a>(name: &str, label: &str, values: impl Iterator<Item = &'a str>) -> Markup {
    html! {
        label {
            span { (label) }
            select name=(name) {
                option value="" { "all" }
                @for value in values { option value=(value) { (value) } }
            }
        }
    }
}
