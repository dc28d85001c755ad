//! `.env.example`, the `.env` of this machine, and the env files of a stack.

use std::collections::{BTreeMap, BTreeSet};

use crate::compose::Interpolation;
use crate::env_file::EnvFile;
use crate::example::{self, Outside};
use crate::nearest::hint;
use crate::view::{About, Findings, View, interpolated};
use xtask_outcome::Place;

const EXAMPLE: &str = ".env.example";
const NEXT: &str = "cargo xtask audit-env --write";

pub(super) fn check(view: &View<'_>, findings: &mut Findings) {
    for stack in &view.stacks {
        for (file, parsed) in &stack.env_files {
            dialect(file, parsed, findings);
        }
        defaults_agree(&interpolated(stack), findings);
    }
    // What follows from a stack that nobody could read is no finding.
    if view.places.is_stack_unread {
        return;
    }
    let outside = example::outside(view);
    if view.places.is_whole() {
        documented(view, &outside, findings);
    }
    local(view, &outside, findings);
}

/// What readers of env files disagree about, and what Compose refuses.
fn dialect(file: &str, parsed: &EnvFile, findings: &mut Findings) {
    for (line, why) in &parsed.problems {
        let place = Place { name: file.to_owned(), line: Some(*line) };
        let about = About { place: &place, service: "", variable: "" };
        findings.add(
            "env-file-form",
            &about,
            format!("{file} {why}"),
            "write UTF-8 with plain line ends, each entry on a line of its own, each name once",
        );
    }
    let differing: Vec<_> = parsed
        .entries
        .iter()
        .filter(|entry| entry.differs_for_docker() && !entry.follows_quote)
        .map(|entry| entry.name.as_str())
        .collect();
    if !differing.is_empty() {
        let names = differing.join(", ");
        findings.notes.push(format!("{file}: `docker run --env-file` would give other values for {names}"));
    }
}

/// One variable, one default, however often a file takes it.
fn defaults_agree(interpolated: &BTreeMap<String, Vec<&Interpolation>>, findings: &mut Findings) {
    for (name, uses) in interpolated {
        // By rule, the place where it first stands. `${NAME}` and `${NAME-}` come to the same.
        let mut rules: Vec<(String, &Place)> = Vec::new();
        for one in uses {
            let rule = match (one.reference.is_required(), one.reference.default_text().as_deref()) {
                (true, _) => "required".to_owned(),
                (false, None | Some("")) => "blank by default".to_owned(),
                (false, Some(text)) => format!("`{text}` by default"),
            };
            if !rules.iter().any(|(known, _)| *known == rule) {
                rules.push((rule, &one.place));
            }
        }
        if rules.len() > 1 {
            let about = About { place: &uses[0].place, service: "", variable: name };
            let told: Vec<_> = rules.iter().map(|(rule, place)| format!("{rule} in {place}")).collect();
            let message = format!("{name} is not taken with the same rule everywhere: {}", told.join(", "));
            findings.add("different-default", &about, message, "give it one rule");
        }
    }
}

fn documented(view: &View<'_>, outside: &[Outside], findings: &mut Findings) {
    let expected = example::render(view);
    let written = view.places.example.as_deref().map(String::from_utf8_lossy);
    if written.as_deref() == Some(expected.as_str()) {
        return;
    }
    let before = findings.found.len();
    if let Some(example) = &view.example {
        dialect(EXAMPLE, example, findings);
        let text = written.unwrap_or_default();
        let offered = commented(&text);
        for entry in &example.entries {
            let place = Place { name: EXAMPLE.to_owned(), line: Some(entry.line) };
            let value = example.value(&entry.name).unwrap_or_default();
            example_entry(view, outside, &place, &entry.name, &value, true, findings);
        }
        for (line, name, value) in &offered {
            let place = Place { name: EXAMPLE.to_owned(), line: Some(*line) };
            example_entry(view, outside, &place, name, value, false, findings);
        }
        for one in outside {
            let is_there = example.get(&one.name).is_some() || offered.iter().any(|(_, name, _)| *name == one.name);
            if !is_there {
                let place = Place::new(EXAMPLE);
                let about = About { place: &place, service: "", variable: &one.name };
                let message = format!("it does not have {}, which the Compose file takes", one.name);
                findings.add("undocumented-variable", &about, message, NEXT);
            }
        }
    }
    if findings.found.len() == before {
        let place = Place::new(EXAMPLE);
        let about = About { place: &place, service: "", variable: "" };
        findings.add("stale-document", &about, "it is not what the Compose file and the contracts give", NEXT);
    }
}

/// `#NAME=value` lines: a variable that has a default.
fn commented(text: &str) -> Vec<(u32, String, String)> {
    let entry = |(index, line): (usize, &str)| {
        let (name, value) = line.strip_prefix('#')?.split_once('=')?;
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        is_name.then(|| (u32::try_from(index + 1).unwrap_or(u32::MAX), name.to_owned(), value.to_owned()))
    };
    text.lines().enumerate().filter_map(entry).collect()
}

fn example_entry(
    view: &View<'_>,
    outside: &[Outside],
    place: &Place,
    name: &str,
    value: &str,
    is_set: bool,
    findings: &mut Findings,
) {
    let about = About { place, service: "", variable: name };
    let Some(one) = outside.iter().find(|one| one.name == name) else {
        if view.is_in_another_compose_file(name) {
            return;
        }
        let hint = hint(name, outside.iter().map(|one| one.name.as_str()));
        findings.add("unknown-variable", &about, format!("{name} is taken by no Compose file{hint}"), NEXT);
        return;
    };
    if one.secret && !value.trim().is_empty() {
        findings.add("secret-literal", &about, format!("{name} is a secret and has an example value"), NEXT);
    } else if !one.required && value != one.default.as_deref().unwrap_or_default() {
        let default = one.default.clone().unwrap_or_default();
        findings.add(
            "different-default",
            &about,
            format!("{name} is `{default}` by default in the Compose file"),
            NEXT,
        );
    } else if one.required && !value.trim().is_empty() {
        findings.add("stale-document", &about, format!("{name} has an example value, and is to be chosen"), NEXT);
    }
    if one.required != is_set {
        let what = if one.required { "must be set" } else { "may be left out" };
        findings.add("stale-document", &about, format!("it does not say that {name} {what}"), NEXT);
    }
}

/// The `.env` of this machine: made by `up` or by hand, and read by every Compose command in this folder.
fn local(view: &View<'_>, outside: &[Outside], findings: &mut Findings) {
    let Some(env) = &view.env else { return };
    dialect(".env", env, findings);
    // Compose itself reads these, whatever the file says.
    let is_composes_own = |name: &str| name.starts_with("COMPOSE_") || name.starts_with("DOCKER_");
    if env.is_refused {
        return;
    }
    // A service may take the whole file, and one line another.
    let composed = &view.stacks[..view.places.compose.len()];
    let is_taken_whole = composed.iter().any(|stack| stack.env_files.contains_key(".env"));
    let values = env.entries.iter().filter_map(|entry| entry.value.as_ref());
    let parts = values.flat_map(|value| value.references()).map(|one| one.name.as_str());
    let taken: BTreeSet<_> = parts.chain(composed.iter().flat_map(|stack| stack.taken())).collect();
    // What stands behind a closing quote is a finding already, which does not tell it.
    for entry in env.entries.iter().filter(|entry| !entry.follows_quote) {
        let place = Place { name: ".env".to_owned(), line: Some(entry.line) };
        let about = About { place: &place, service: "", variable: &entry.name };
        if entry.is_changed_by_interpolation() {
            let message = format!("the `$` in {} is taken for a reference, so another value arrives", entry.name);
            findings.add("dollar-in-value", &about, message, "put the value in single quotes");
        }
        let name = entry.name.as_str();
        if !is_taken_whole && !taken.contains(name) && !is_composes_own(name) && !view.is_in_another_compose_file(name)
        {
            let hint = hint(&entry.name, outside.iter().map(|one| one.name.as_str()));
            let message = format!("{} is taken by no Compose file{hint}", entry.name);
            findings.add("unknown-variable", &about, message, "correct the name or delete the line");
        }
    }
    for one in outside.iter().filter(|one| one.required) {
        if env.value(&one.name).is_none_or(|value| value.is_empty() && one.refuses_blank) {
            let place = Place { name: ".env".to_owned(), line: env.get(&one.name).map(|entry| entry.line) };
            let about = About { place: &place, service: "", variable: &one.name };
            let message = format!("{} is not set, and the stack does not start without it", one.name);
            findings.add(
                "required-unset",
                &about,
                message,
                "set it, or delete .env and let `cargo xtask up` make a new one",
            );
        }
    }
}
