//! Variables of builds and images: `ARG`, `ENV`, labels and history.

use std::collections::BTreeMap;

use crate::contract::{Contract, Meaning};
use crate::dockerfile::{Dockerfile, Instruction};
use crate::nearest::hint;
use crate::view::{About, Findings, View};
use xtask_outcome::Place;

use super::texts::is_stand_in;

const SECRET_MOUNT: &str = "hand it over as a build secret: RUN --mount=type=secret";

pub(super) fn check(view: &View<'_>, findings: &mut Findings) {
    for (service, file, dockerfile) in &view.dockerfiles {
        let contract = view.places.images.iter().find(|image| image.service == **service).map(|image| &image.contract);
        secrets_of_a_build(view, service, file, dockerfile, findings);
        // BuildKit reads no further than the first.
        if let Some((line, why)) = dockerfile.problems.iter().min() {
            let place = Place { name: (*file).to_owned(), line: Some(*line) };
            let about = About { place: &place, service, variable: "" };
            findings.add(
                "unreadable-value",
                &about,
                format!("{file} {why}, so it cannot be built"),
                "correct the line",
            );
        }
        if let Some(contract) = contract {
            let mut variables = dockerfile.image_variables();
            // What a later line sets again counts.
            let names: Vec<_> = variables.iter().map(|one| one.name.clone()).collect();
            let mut at = 0;
            variables.retain(|one| {
                at += 1;
                !names[at..].contains(&one.name)
            });
            for variable in variables {
                let place = Place { name: (*file).to_owned(), line: Some(variable.instruction.line) };
                let about = About { place: &place, service, variable: &variable.name };
                image_variable(view, contract, &about, variable.value.as_deref(), findings);
            }
        }
    }
    stages_agree(view, findings);
    for image in &view.places.images {
        let place = Place::new(format!("image of {}", image.service));
        for entry in image.config["Env"].as_array().into_iter().flatten().filter_map(|entry| entry.as_str()) {
            let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
            let about = About { place: &place, service: &image.service, variable: name };
            image_variable(view, &image.contract, &about, Some(value), findings);
        }
        for label in image.config["Labels"].as_object().into_iter().flatten().map(|(name, _)| name) {
            if view.is_secret(label) {
                let about = About { place: &place, service: &image.service, variable: label };
                findings.add("secret-in-image", &about, format!("the label {label} holds a secret"), "delete it");
            }
        }
    }
    for (_, deployment) in view.deployments() {
        for argument in &deployment.build_arguments {
            if view.is_secret(&argument.name) {
                let about = About { place: &argument.place, service: &deployment.name, variable: &argument.name };
                let message =
                    format!("{} is a secret and a build argument, which the image's history keeps", argument.name);
                findings.add("secret-in-build-argument", &about, message, SECRET_MOUNT);
            }
        }
    }
}

fn secrets_of_a_build(view: &View<'_>, service: &str, file: &str, dockerfile: &Dockerfile, findings: &mut Findings) {
    for instruction in &dockerfile.instructions {
        let (rule, what) = match instruction.keyword.as_str() {
            "ARG" => ("secret-in-build-argument", "a build argument, which the image's history keeps"),
            "ENV" => ("secret-in-image", "set in a build stage, which the build's history keeps"),
            "LABEL" => ("secret-in-image", "a label"),
            _ => continue,
        };
        let place = Place { name: file.to_owned(), line: Some(instruction.line) };
        for assignment in instruction.assignments() {
            // A build argument and a label may be given more than what is written.
            let value = assignment.value.as_deref().filter(|_| instruction.keyword == "ENV");
            if holds_secret(view, &assignment.name, value) {
                let about = About { place: &place, service, variable: &assignment.name };
                findings.add(rule, &about, format!("{} is a secret and {what}", assignment.name), SECRET_MOUNT);
            }
        }
    }
}

/// Whether a variable of an image holds a secret. By the name alone a switch, a path or nothing would be one, too.
fn holds_secret(view: &View<'_>, name: &str, value: Option<&str>) -> bool {
    let is_known = view.contracts().any(|contract| contract.variable(name).is_some());
    let is_innocent = |value: &str| value.is_empty() || value.starts_with('/') || is_stand_in(value);
    view.is_secret(name) && (is_known || !value.is_some_and(is_innocent))
}

/// A variable that the image itself sets; only the builder may know to what.
fn image_variable(
    view: &View<'_>,
    contract: &Contract,
    about: &About<'_>,
    value: Option<&str>,
    findings: &mut Findings,
) {
    let (name, service) = (about.variable, about.service);
    if view.policy.engine_variables.iter().any(|known| known == name) {
        return;
    }
    if holds_secret(view, name, value) {
        let message = format!("the image of {service} sets the secret {name}");
        findings.add("secret-in-image", about, message, "delete the line; a secret is given when the container starts");
        return;
    }
    match contract.meaning(name) {
        None => {
            let names = contract.names();
            let hint = hint(name, names.iter().map(String::as_str));
            let message = format!("the image of {service} sets {name}, which is in no contract of it{hint}");
            findings.add("unknown-variable", about, message, "correct the name or delete the line");
        }
        Some(Meaning::File(_)) => {}
        Some(Meaning::Direct(variable)) => {
            let Some(value) = value else { return };
            if let Err(why) = variable.value_type.check(value, variable.secret) {
                let message = format!("the image of {service} sets {name}, which {why} ({})", variable.value_type);
                findings.add("malformed-value", about, message, "correct the value");
            }
            if variable.default.as_deref().is_some_and(|default| default != value) {
                let message = format!("the image of {service} sets {name} to another value than the program's default");
                findings.add("different-default", about, message, "change the default in the program instead");
            }
        }
    }
}

/// Stages that begin with the same line and a name are meant to be one stage: their variables are the same in every Dockerfile. So a build
/// argument that was renamed or lost in one of them is found, which the builder would take without a word. What stands before the first
/// stage goes with that one.
fn stages_agree(view: &View<'_>, findings: &mut Findings) {
    let mut by_stage: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    let variables: Vec<_> = view.dockerfiles.iter().map(|(_, _, dockerfile)| stage_variables(dockerfile)).collect();
    for (index, variables) in variables.iter().enumerate() {
        for stage in variables.keys() {
            by_stage.entry(*stage).or_default().push(index);
        }
    }
    for (stage, files) in by_stage {
        let names: std::collections::BTreeSet<_> =
            files.iter().flat_map(|file| variables[*file][&stage].keys().copied()).collect();
        for name in names {
            let values: Vec<_> = files.iter().map(|file| (*file, variables[*file][&stage].get(name))).collect();
            let Some(((odd, value), (usual, usual_value))) = odd_one_out(&values) else { continue };
            let (service, file, _) = &view.dockerfiles[odd];
            let place = Place { name: (*file).to_owned(), line: value.map(|(line, _)| *line) };
            let about = About { place: &place, service, variable: name };
            let other = view.dockerfiles[usual].1;
            let of = match stage {
                ("", _) => "before the first stage".to_owned(),
                (stage, _) => format!("in the stage {stage}"),
            };
            let message = match (value, usual_value) {
                (Some(_), Some(_)) => format!("{name} is not {of} what it is in {other}"),
                (Some(_), None) => format!("{name} is set {of}; {other} does not have it there"),
                (None, _) => format!("{name} is missing {of}; {other} has it"),
            };
            findings.add(
                "different-build",
                &about,
                message,
                "make the stages the same, or give one of them another name",
            );
        }
    }
}

/// By stage (its name and its first line) and name: the line, and what is written there, as `ARG` or as `ENV`.
type StageVariables<'a> = BTreeMap<(&'a str, &'a str), BTreeMap<&'a str, (u32, String)>>;

fn stage_variables(dockerfile: &Dockerfile) -> StageVariables<'_> {
    let mut stages: StageVariables<'_> = BTreeMap::new();
    let is_variable = |one: &&Instruction| matches!(one.keyword.as_str(), "ARG" | "ENV");
    let is_first_line = |one: &&Instruction| one.keyword == "FROM" && !one.is_for_later;
    let first_lines: Vec<_> =
        dockerfile.instructions.iter().filter(is_first_line).map(|one| one.arguments.as_str()).collect();
    let is_named = |one: &&Instruction| one.stage.is_none() || !dockerfile.stage_name(one.stage).is_empty();
    for instruction in dockerfile.instructions.iter().filter(is_named) {
        // A stage without variables has none of them, which is for comparison as well.
        let first_line = first_lines.get(instruction.stage.unwrap_or_default()).copied().unwrap_or_default();
        let stage = stages.entry((dockerfile.stage_name(instruction.stage), first_line)).or_default();
        if !is_variable(&instruction) {
            continue;
        }
        for assignment in instruction.assignments() {
            let name = instruction.arguments.find(assignment.name.as_str());
            let name = name.map_or("", |at| &instruction.arguments[at..at + assignment.name.len()]);
            let written = format!("{} {}", instruction.keyword, assignment.value.clone().unwrap_or_default());
            stage.insert(name, (instruction.line, written));
        }
    }
    stages
}

type Valued<'a> = (usize, Option<&'a (u32, String)>);

/// One that differs from the most common value, and one that has it.
fn odd_one_out<'a>(values: &[Valued<'a>]) -> Option<(Valued<'a>, Valued<'a>)> {
    let text = |value: &Valued<'a>| value.1.map(|(_, text)| text.clone());
    let count = |wanted: &Valued<'a>| values.iter().filter(|one| text(one) == text(wanted)).count();
    let usual = values.iter().max_by_key(|value| count(value))?;
    let odd = values.iter().find(|value| text(value) != text(usual))?;
    Some((*odd, *usual))
}
