//! The rules that hold for every image, whatever its golden says. Only a written exception accepts one.

use xtask_image_config::secret;
use xtask_image_config::{ImageGroup, ImageUser};

use crate::image::ImageFacts;
use crate::objection::Objection;
use crate::plan::ImagePlan;
use crate::saved_image::{ImageFile, Kind, texts};

/// The annotations that say what an image is and where it comes from; none of them may be blank or `unknown`.
const REQUIRED_LABELS: [&str; 6] = ["created", "description", "licenses", "revision", "title", "version"];
const LABEL_PREFIX: &str = "org.opencontainers.image.";
const SHELLS: [&str; 11] = ["sh", "bash", "dash", "ash", "zsh", "ksh", "csh", "tcsh", "fish", "busybox", "toybox"];
const PACKAGE_MANAGERS: [&str; 15] = [
    "apt", "apt-get", "dpkg", "apk", "rpm", "dnf", "microdnf", "yum", "zypper", "pacman", "pip", "pip3", "npm", "gem",
    "cargo",
];
/// The folders in which package managers keep what they installed.
const PACKAGE_DATABASES: [&str; 4] = ["/var/lib/dpkg", "/lib/apk", "/var/lib/rpm", "/var/lib/pacman"];
/// What an image made of one program needs. A RUN would need a shell, and everything it says stays readable in the history.
const HARMLESS_STEPS: [&str; 12] = [
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "HEALTHCHECK",
    "LABEL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];
const SETUID_OR_SETGID: u32 = 0o6000;
const STICKY: u32 = 0o1000;
const WRITABLE_BY_ALL: u32 = 0o002;
const EXECUTABLE: u32 = 0o111;

/// Whether no engine can start the image: known before anything is run. A name means nothing without a list of names.
pub(crate) fn cannot_start(facts: &ImageFacts) -> bool {
    let text = facts.config["User"].as_str().unwrap_or_default();
    let (user, group) = text.split_once(':').unwrap_or((text, ""));
    let is_unknown = |name: &str, list: &str| {
        !name.is_empty() && name.parse::<i64>().is_err() && !facts.files.iter().any(|file| file.path == list)
    };
    let mut found = Vec::new();
    programs(facts, &mut found);
    is_unknown(user, "/etc/passwd")
        || is_unknown(group, "/etc/group")
        || found.iter().any(|objection| objection.rule == "image-entrypoint")
}

/// Labels that say something else than the plan: the package's own version, the revision, and where the source lives if that is
/// known.
pub(crate) fn other_labels(plan: &ImagePlan, facts: &ImageFacts) -> Vec<Objection> {
    let mut found = Vec::new();
    let source = plan.source.as_deref();
    for (word, expected) in [
        ("version", Some(plan.version.as_str())),
        ("revision", Some(plan.revision.id.as_str())),
        ("source", source),
        ("url", source),
    ] {
        let name = format!("{LABEL_PREFIX}{word}");
        let value = facts.config["Labels"][&name].as_str().unwrap_or_default();
        if let Some(expected) = expected.filter(|expected| *expected != value) {
            push(
                &mut found,
                "image-label",
                format!("labels/{name}"),
                format!("the label {name} is {value:?}, expected {expected:?}"),
            );
        }
    }
    found
}

/// Everything in an image that a rule forbids.
pub(super) fn broken(facts: &ImageFacts) -> Vec<Objection> {
    let mut found = Vec::new();
    user(facts, &mut found);
    programs(facts, &mut found);
    for file in &facts.files {
        file_rules(file, &mut found);
    }
    for fault in &facts.program_faults {
        push(&mut found, "image-program", "program", fault.clone());
    }
    labels(facts, &mut found);
    secrets(facts, &mut found);
    history(facts, &mut found);
    found
}

fn push(found: &mut Vec<Objection>, rule: &'static str, about: impl Into<String>, message: impl Into<String>) {
    found.push(Objection::new(rule, about, message));
}

/// Kubernetes proves `runAsNonRoot` only from a number, and an image without /etc/passwd knows no names.
fn user(facts: &ImageFacts, found: &mut Vec<Objection>) {
    let text = facts.config["User"].as_str().unwrap_or_default();
    match ImageUser::parse(text) {
        ImageUser::Root => {
            push(found, "image-user", stringify!(user), format!("the user is {text:?}: it runs as root"));
        }
        ImageUser::Name | ImageUser::Odd => {
            push(
                found,
                "image-user",
                stringify!(user),
                format!("the user is {text:?}, expected a plain number other than 0"),
            );
        }
        ImageUser::Number { group: ImageGroup::Name, .. } => {
            push(found, "image-user", stringify!(user), format!("the group in {text:?} is not a plain number"));
        }
        ImageUser::Number { group: ImageGroup::Unnamed | ImageGroup::Root, .. } => {
            push(found, "image-group", stringify!(user), format!("the user is {text:?}: it runs with root's group"));
        }
        ImageUser::Number { group: ImageGroup::Number(_), .. } => {}
    }
}

/// Entrypoint and healthcheck in exec form, each a program that is in the image.
fn programs(facts: &ImageFacts, found: &mut Vec<Objection>) {
    let is_program = |path: &str| {
        facts.files.iter().any(|file| file.path == path && file.kind == Kind::File && file.mode & EXECUTABLE != 0)
    };
    let entrypoint: Vec<_> = texts(&facts.config["Entrypoint"]).collect();
    match entrypoint.first() {
        Some(program) if is_program(program) => {}
        Some(program) => {
            push(
                found,
                "image-entrypoint",
                "entrypoint",
                format!("`{program}` is no program of the image (a shell form?)"),
            );
        }
        None => push(found, "image-entrypoint", "entrypoint", "there is none"),
    }
    let test: Vec<_> = texts(&facts.config["Healthcheck"]["Test"]).collect();
    match test.as_slice() {
        ["CMD", program, ..] if is_program(program) => {}
        ["CMD", program, ..] => {
            push(found, "image-healthcheck", "healthcheck", format!("`{program}` is no program of the image"));
        }
        ["CMD-SHELL", ..] => {
            push(found, "image-healthcheck", "healthcheck", "the shell form can never run: the image has no shell");
        }
        _ => push(found, "image-healthcheck", "healthcheck", "there is none"),
    }
}

fn file_rules(file: &ImageFile, found: &mut Vec<Objection>) {
    let about = file.path.trim_start_matches('/');
    let name = file.path.rsplit('/').next().unwrap_or_default();
    let mut broken = |rule, words: &str| push(found, rule, about, format!("{} {words}", file.path));
    if SHELLS.contains(&name) && file.kind != Kind::Directory {
        broken("image-shell", "is a shell");
    }
    let is_database = PACKAGE_DATABASES.iter().any(|folder| file.path == *folder);
    if is_database || (PACKAGE_MANAGERS.contains(&name) && file.kind != Kind::Directory) {
        broken("image-package-manager", "belongs to a package manager");
    }
    if file.mode & SETUID_OR_SETGID != 0 {
        broken("image-setuid", "is setuid or setgid");
    }
    let for_all_by_design = file.kind == Kind::Directory && file.mode & STICKY != 0;
    // A link's own bits mean nothing.
    if file.mode & WRITABLE_BY_ALL != 0 && file.kind != Kind::Symlink && !for_all_by_design {
        broken("image-world-writable", "can be written by everybody");
    }
}

fn labels(facts: &ImageFacts, found: &mut Vec<Objection>) {
    for word in REQUIRED_LABELS {
        let name = format!("{LABEL_PREFIX}{word}");
        let value = facts.config["Labels"][&name].as_str().unwrap_or_default().trim();
        if value.is_empty() || value == "unknown" {
            push(
                found,
                "image-label",
                format!("labels/{name}"),
                format!("the label {name} is missing or says nothing"),
            );
        }
    }
}

/// Variables, labels and ONBUILD triggers. No message holds a value.
fn secrets(facts: &ImageFacts, found: &mut Vec<Objection>) {
    let mut masked = |place: &str, name: &str| {
        push(
            found,
            "image-secret",
            format!("{place}/{name}"),
            format!("{name} in its {place} looks like a secret (value masked)"),
        );
    };
    for variable in texts(&facts.config["Env"]) {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        // The program's own contract knows its names better than any list of words.
        let secret = contract_secret(facts, name).unwrap_or_else(|| secret::name_is_secret(name));
        if secret || secret::value_is_secret(value) {
            masked("environment", name);
        }
    }
    for (name, value) in facts.config["Labels"].as_object().into_iter().flatten() {
        if secret::name_is_secret(name) || secret::value_is_secret(value.as_str().unwrap_or_default()) {
            masked("labels", name);
        }
    }
    for trigger in texts(&facts.config["OnBuild"]) {
        for name in secret::secret_assignments(trigger) {
            masked("onbuild", &name);
        }
    }
    for name in facts.history.iter().flat_map(|step| secret::secret_assignments(step)) {
        if contract_secret(facts, &name) != Some(false) {
            masked("history", &name);
        }
    }
}

/// What the program's contract says of a variable; `None` when it does not know it.
fn contract_secret(facts: &ImageFacts, name: &str) -> Option<bool> {
    let variables = facts.program.as_ref()?.contract["variables"].as_array()?;
    variables.iter().find(|variable| variable["name"] == name).map(|variable| variable["secret"] == true)
}

fn history(facts: &ImageFacts, found: &mut Vec<Objection>) {
    for step in &facts.history {
        // The classic builder writes `/bin/sh -c #(nop)  ENV …`, and a RUN as the bare command.
        let step = step.split_once("#(nop)").map_or(step.as_str(), |(_, instruction)| instruction).trim();
        let word = step.split_whitespace().next().unwrap_or_default();
        if !HARMLESS_STEPS.contains(&word) {
            // The rest of the line stays unsaid: what a RUN prints may be a secret.
            let instruction = if word.chars().all(|c| c.is_ascii_uppercase()) { word } else { "RUN" };
            push(
                found,
                "image-history",
                format!("history/{instruction}"),
                format!("{instruction} is in its history (text masked)"),
            );
        }
    }
    if texts(&facts.config["OnBuild"]).next().is_some() {
        push(found, "image-history", "history/ONBUILD", "it has ONBUILD triggers (text masked)");
    }
}
