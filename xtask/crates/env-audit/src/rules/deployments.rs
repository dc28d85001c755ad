//! What a place gives a container, against what the program in it reads.

use std::collections::BTreeMap;

use crate::compose::Stack;
use crate::contract::{Contract, Kind, Meaning, Variable};
use crate::nearest::hint;
use crate::places::{Deployment, Setting};
use crate::template::{Rule, Template};
use crate::value_type::ValueType;
use crate::view::{About, Findings, View, has_secret_literal};
use xtask_image_config::{ImageGroup, ImageUser};
use xtask_outcome::Place;

use super::texts::is_written_out;

const IN_CLEAR: &str = "take it from a variable that must be set (`${NAME:?…}`), or from a Secret";

/// Words that stand in example files for a secret that somebody still has to choose, as in the kit.
const PLACEHOLDERS: [&str; 11] = [
    "changeme",
    "change-me",
    "change_me",
    "default",
    "dummy",
    "example",
    "password",
    "placeholder",
    "secret",
    "todo",
    "xxx",
];

pub(super) fn check(view: &View<'_>, findings: &mut Findings) {
    for stack in &view.stacks {
        for (place, why, next_step) in &stack.problems {
            let about = About { place, service: "", variable: "" };
            findings.add("unreadable-value", &about, why, *next_step);
        }
        for deployment in &stack.deployments {
            match view.contract(deployment) {
                Some(contract) => check_deployment(view, deployment, contract, findings),
                None => {
                    no_contract(view, deployment, findings);
                    secrets_by_name(view, deployment, findings);
                }
            }
        }
        mixed_uses(view, stack, findings);
    }
    for image in &view.places.images {
        let is_started = view.deployments().any(|(_, deployment)| {
            view.own_contract(deployment).is_some_and(|contract| contract.image == image.contract.image)
        });
        if !is_started && !view.places.is_stack_unread {
            let place = Place::new(format!("image of {}", image.service));
            let about = About { place: &place, service: &image.service, variable: "" };
            let message = format!("no place starts {}, so its required variables are set nowhere", image.service);
            findings.add("required-unset", &about, message, "add the service to the Compose file");
        }
    }
}

fn no_contract(view: &View<'_>, deployment: &Deployment, findings: &mut Findings) {
    let repository = deployment.repository();
    let image = repository.rsplit('/').next().unwrap_or_default();
    // That one of ours has none is reported where it was asked for.
    let is_ours = view.places.without_contract.iter().any(|(_, package)| package == image);
    if deployment.settings.is_empty() || is_ours {
        return;
    }
    let place = deployment.place.clone().unwrap_or_else(|| Place::new(&deployment.file));
    let about = About { place: &place, service: &deployment.name, variable: "" };
    let message = format!("{} sets variables for an image whose contract nobody knows", deployment.name);
    findings.add("no-contract", &about, message, "write its variables down in xtask/policy/env.toml, [[image]]");
}

/// Of a program whose contract nobody knows the names alone tell which variables are secrets.
fn secrets_by_name(view: &View<'_>, deployment: &Deployment, findings: &mut Findings) {
    let may_be_written = |setting: &Setting| deployment.is_local_only() || setting.is_local || setting.is_hidden;
    for setting in deployment.settings.iter().filter(|setting| !setting.is_judged && !may_be_written(setting)) {
        let filled = setting.value.fill(&|_| None, "");
        // A number is a time or a count.
        let is_value = is_written_out(&filled.text) && filled.text.parse::<f64>().is_err();
        if view.is_secret(&setting.name) && !filled.has_unknown && is_value {
            let about = About { place: &setting.place, service: &deployment.name, variable: &setting.name };
            let message =
                format!("{} of {} is a secret by its name and stands there in clear", setting.name, deployment.name);
            findings.add("secret-literal", &about, message, IN_CLEAR);
        }
    }
}

fn check_deployment(view: &View<'_>, deployment: &Deployment, contract: &Contract, findings: &mut Findings) {
    for variable in &contract.variables {
        required(view, deployment, variable, findings);
    }
    for setting in &deployment.settings {
        let about = About { place: &setting.place, service: &deployment.name, variable: &setting.name };
        let subject = format!("{} of {}", setting.name, deployment.name);
        match contract.meaning(&setting.name) {
            // It is there for other values to be made of; the program does not read it.
            None if deployment.parts.contains(&setting.name) => {}
            // That it stands there is a finding about its env file, which does not tell it.
            None if setting.is_hidden => {}
            None => {
                let names = contract.names();
                let hint = hint(&setting.name, names.iter().map(String::as_str));
                let message = format!("{subject} is in no contract of its image{hint}");
                findings.add("unknown-variable", &about, message, "correct the name or delete the line");
            }
            Some(Meaning::Direct(_)) if setting.is_judged => {}
            Some(Meaning::Direct(variable)) => {
                value(view, setting, variable, &about, &subject, findings);
                let may_be_written = deployment.is_local_only() || setting.is_local;
                if variable.secret && !may_be_written && has_secret_literal(&setting.value, variable) {
                    let message = format!("{subject} is a secret and stands there in clear");
                    let next = format!(
                        "take it from a variable that must be set (`${{{}:?…}}`), or from a Secret",
                        setting.name
                    );
                    findings.add("secret-literal", &about, message, next);
                }
            }
            Some(Meaning::File(_)) if setting.is_judged => {}
            Some(Meaning::File(variable)) => secret_file(view, deployment, setting, variable, findings),
        }
        if setting.garbled {
            let message = format!("the `$` in {subject} is taken for a reference, so the container gets another value");
            findings.add("dollar-in-value", &about, message, "put the value in single quotes");
        }
    }
    for lost in deployment.overridden.iter().filter(|lost| !lost.is_hidden) {
        let winner = deployment.setting(&lost.name).map(|setting| setting.place.to_string()).unwrap_or_default();
        findings
            .notes
            .push(format!("{} of {} in {} is overridden by {winner}", lost.name, deployment.name, lost.place));
    }
}

/// Required and set nowhere, or set to nothing; or set twice over, as `NAME` and as `NAME_FILE`.
fn required(view: &View<'_>, deployment: &Deployment, variable: &Variable, findings: &mut Findings) {
    let direct = deployment.setting(&variable.name);
    let file = variable.file_variant.then(|| deployment.setting(&variable.file_name())).flatten();
    let place = direct.or(file).map(|setting| setting.place.clone()).or_else(|| deployment.place.clone());
    let place = place.unwrap_or_else(|| Place::new(&deployment.file));
    let about = About { place: &place, service: &deployment.name, variable: &variable.name };
    let subject = format!("{} of {}", variable.name, deployment.name);
    if direct.is_some() && file.is_some() {
        let message = format!("{subject} is set twice, as {} and as {}", variable.name, variable.file_name());
        findings.add("both-forms", &about, message, "keep one of the two");
    }
    if variable.kind != Kind::Required {
        return;
    }
    let Some(setting) = direct.or(file) else {
        if !is_in_image(view, deployment, &variable.name) && !deployment.has_unread_source {
            let message = format!("{subject} is required and set nowhere");
            let next = format!("set it for {}: {}", deployment.name, variable.description);
            findings.add("required-unset", &about, message, next.trim_end_matches([':', ' ']));
        }
        return;
    };
    let filled = setting.value.fill(&|_| None, "");
    if filled.text.trim().is_empty() && !filled.has_unknown {
        let message = format!("{subject} is required and may be blank, which counts as unset");
        let next = format!("give it a value, or let Compose stop without one: `${{{}:?…}}`", setting.name);
        findings.add("required-unset", &about, message, next);
    }
}

fn is_in_image(view: &View<'_>, deployment: &Deployment, name: &str) -> bool {
    let contract = view.own_contract(deployment);
    let image = view.places.images.iter().find(|image| Some(&image.contract) == contract);
    let variables = image.and_then(|image| image.config["Env"].as_array()).into_iter().flatten();
    variables.filter_map(|entry| entry.as_str()?.split_once('=')).any(|(key, value)| key == name && !value.is_empty())
}

/// The value as it would arrive, with defaults alone and with this machine's `.env`.
fn value(
    view: &View<'_>,
    setting: &Setting,
    variable: &Variable,
    about: &About<'_>,
    subject: &str,
    findings: &mut Findings,
) {
    // A part that nobody can know yet is taken for a letter where that says something: in the middle of a URL.
    let is_known = !setting.value.fill(&|_| None, "x").has_unknown;
    let is_whole = is_known || (variable.value_type.is_url() && setting.value.only_reference().is_none());
    if is_whole && let Err(why) = check_every_filling(&setting.value, variable) {
        let message = format!("{subject} {why} ({})", variable.value_type);
        findings.add("malformed-value", about, message, "correct the value");
    }
    if let (Some(default), Some(reference)) = (&variable.default, setting.value.only_reference())
        && let Rule::Default { text, .. } = &reference.rule
        && let Some(stands_in) = text.literal()
        && stands_in != *default
    {
        let message = format!("{subject} is `{stands_in}` by default here and `{default}` in the program");
        let next = "give both the same default, or set the value outright where the stack needs another";
        findings.add("different-default", about, message, next);
    }
    from_env(view, setting, variable, subject, findings);
}

/// A part that is not known yet may be a name, a number, a path, or first the one and then the other: a scheme before a port. The value is
/// wrong when it is wrong with each of them.
fn check_every_filling(value: &Template, variable: &Variable) -> Result<(), String> {
    let first = value.references().first().map(|reference| reference.name.clone());
    let fillings = [
        value.fill(&|_| None, "x").text,
        value.fill(&|_| None, "1").text,
        value.fill(&|_| None, "/").text,
        value.fill(&|name| (first.as_deref() == Some(name)).then(|| "http".to_owned()), "1").text,
    ];
    if fillings[0].trim().is_empty() {
        return Ok(());
    }
    let mut checked = fillings.iter().map(|text| variable.value_type.check(text, variable.secret));
    let as_name = checked.next().unwrap_or(Ok(()));
    if as_name.is_ok() || checked.any(|one| one.is_ok()) { Ok(()) } else { as_name }
}

/// What `.env` makes of the value; found in `.env`, where it has to be put right.
fn from_env(view: &View<'_>, setting: &Setting, variable: &Variable, subject: &str, findings: &mut Findings) {
    let Some(env) = &view.env else { return };
    let Some(reference) = setting.value.references().into_iter().find(|one| env.get(&one.name).is_some()) else {
        return;
    };
    let name = reference.name.as_str();
    let place = Place { name: ".env".to_owned(), line: env.get(name).map(|entry| entry.line) };
    let about = About { place: &place, service: "", variable: name };
    let filled = setting.value.fill(&|name| view.env_value(name), "x");
    if env.is_refused
        || filled.has_unknown && !setting.value.references().iter().any(|one| view.env_value(&one.name).is_some())
    {
        return;
    }
    let filled = filled.text;
    if filled.trim().is_empty() {
        // Compose starts with `${X?}` and a blank X; the program does not.
        if variable.kind == Kind::Required {
            let message = format!("with {name} blank, {subject} is blank, which counts as unset");
            findings.add("required-unset", &about, message, format!("give {name} a value"));
        }
        return;
    }
    if let Err(why) = variable.value_type.check(&filled, variable.secret) {
        let message = format!("with {name}, {subject} {why} ({})", variable.value_type);
        findings.add("malformed-value", &about, message, "correct the value");
    }
    let given = view.env_value(name).unwrap_or_default().trim().to_ascii_lowercase();
    if variable.secret && PLACEHOLDERS.contains(&given.as_str()) {
        let message = format!("{name} is a placeholder, not a secret");
        findings.add("placeholder-secret", &about, message, "choose a value of your own");
    }
}

/// A secret given as a file: is the file mounted, there, readable for the image's user, and of the right type?
fn secret_file(
    view: &View<'_>,
    deployment: &Deployment,
    setting: &Setting,
    variable: &Variable,
    findings: &mut Findings,
) {
    let about = About { place: &setting.place, service: &deployment.name, variable: &setting.name };
    let subject = format!("{} of {}", setting.name, deployment.name);
    let path = setting.value.fill(&|name| view.env_value(name), "").text;
    let Some(mounted) = deployment.mounted.get(&path) else {
        let known = deployment.mounted.keys().map(String::as_str);
        let message = format!("{subject} names a file that is not mounted{}", hint(&path, known));
        findings.add("secret-file", &about, message, "mount the secret, or correct the path");
        return;
    };
    let source = &mounted.source;
    let Some(host_path) = &mounted.file else {
        if deployment.read_only {
            let message = format!("{subject} comes from a variable, which Compose refuses beside a read-only root");
            findings.add("secret-file", &about, message, format!("give the secret {source} a file"));
        }
        return;
    };
    let Some(file) = view.places.files.get(host_path) else {
        // A secret that somebody still has to make is no fault of the repository.
        findings
            .notes
            .push(format!("{subject}: the file of the secret {source} is not there, so it was not looked at"));
        return;
    };
    if file.is_committed {
        let message = format!("{subject}: the secret in {} is part of the repository", file.name);
        findings.add("secret-literal", &about, message, "replace the secret and let git ignore its file");
    }
    let (user, group) = image_user(view, deployment);
    let readable = match () {
        () if user == file.user => file.mode & 0o400,
        () if group == file.group => file.mode & 0o040,
        () => file.mode & 0o004,
    };
    if readable == 0 && user != 0 {
        let message = format!("{subject}: user {user} of the image cannot read {}", file.name);
        findings.add("secret-file", &about, message, format!("chown or chmod it so that user {user} can"));
    }
    let text = String::from_utf8_lossy(&file.bytes);
    let text = text.strip_suffix('\n').unwrap_or(&text);
    if let Err(why) = variable.value_type.check(text.strip_suffix('\r').unwrap_or(text), true) {
        let message = format!("{subject}: the content of {} {why} ({})", file.name, variable.value_type);
        findings.add("malformed-value", &about, message, "correct the file");
    }
}

fn image_user(view: &View<'_>, deployment: &Deployment) -> (u32, u32) {
    let contract = view.own_contract(deployment);
    let image = view.places.images.iter().find(|image| Some(&image.contract) == contract);
    let user = image.and_then(|image| image.config["User"].as_str()).unwrap_or_default();
    match ImageUser::parse(user) {
        ImageUser::Number { uid, group: ImageGroup::Number(gid) } => (uid, gid),
        ImageUser::Number { uid, .. } => (uid, 0),
        _ => (0, 0),
    }
}

/// One variable that is a secret here and shown there, or has to be two types at once, is a slip.
fn mixed_uses(view: &View<'_>, stack: &Stack, findings: &mut Findings) {
    let mut uses: BTreeMap<&str, (String, &ValueType, bool)> = BTreeMap::new();
    for deployment in &stack.deployments {
        let Some(contract) = view.contract(deployment) else { continue };
        for setting in &deployment.settings {
            let Some(variable) = contract.variable(&setting.name) else { continue };
            let Some(reference) = setting.value.only_reference() else { continue };
            let here = format!("{} of {}", setting.name, deployment.name);
            let about = About { place: &setting.place, service: &deployment.name, variable: &setting.name };
            let (there, value_type, secret) =
                uses.entry(&reference.name).or_insert_with(|| (here.clone(), &variable.value_type, variable.secret));
            if *value_type != &variable.value_type || *secret != variable.secret {
                let message = format!(
                    "{} gives a value to {here} and to {there}, which differ in type or secrecy",
                    reference.name
                );
                findings.add("mixed-use", &about, message, "use a variable for each");
            }
        }
    }
}
