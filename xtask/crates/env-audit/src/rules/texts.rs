//! Secrets in clear in any text: what assigns one, a URL with a password, and the very values of this machine's `.env`.

use crate::places::unreadable;
use crate::view::{About, Findings, View};
use crate::yaml::{Content, Node};
use xtask_image_config::secret::url_passwords;
use xtask_outcome::Place;

const NEXT: &str = "delete it and replace the secret: whoever has the text has it";

pub(super) fn check(view: &View<'_>, findings: &mut Findings) {
    let known = view.known_secrets();
    let mut look = |place: &Place, service: &str, text: &str| {
        for (name, what) in secrets_in(view, &known, text) {
            let about = About { place, service, variable: &name };
            let rule = if place.name.starts_with("image of ") { "secret-in-image" } else { "secret-literal" };
            // What is a secret's own place was judged by a rule that knows more of it.
            if findings.has_secret(place, &name) {
                continue;
            }
            findings.add(rule, &about, what, NEXT);
        }
    };
    for (service, file, dockerfile) in &view.dockerfiles {
        for instruction in &dockerfile.instructions {
            let place = Place { name: (*file).to_owned(), line: Some(instruction.line) };
            look(&place, service, &instruction.arguments);
            for (line, text) in &instruction.body {
                look(&Place { name: (*file).to_owned(), line: Some(*line) }, service, text);
            }
        }
    }
    for image in &view.places.images {
        let place = Place::new(format!("image of {}", image.service));
        for step in &image.history {
            look(&place, &image.service, step);
        }
        // The values of variables are judged by name elsewhere; here are those that have an innocent one.
        for text in texts_of(&image.config) {
            look(&place, &image.service, &text);
        }
    }
    for place in &view.places.compose {
        let included = place.included.iter().map(|one| (&one.file, &one.source));
        let extended = place.extended.iter().map(|(file, source)| (file, source));
        for (file, source) in included.chain(extended).chain([(&place.file, &place.source)]) {
            for (index, line) in source.lines().enumerate() {
                look(&at(file, index), "", line);
            }
        }
    }
    for source in view.places.kubernetes.iter().flat_map(|place| place.sources.iter()) {
        for (index, line) in source.text.lines().enumerate() {
            look(&at(&source.file, index), "", line);
        }
    }
    for (file, text) in [(".env.example", view.places.example.as_deref().map(String::from_utf8_lossy))] {
        for (index, line) in text.iter().flat_map(|text| text.lines()).enumerate() {
            look(&at(file, index), "", line);
        }
    }
    for (index, line) in view.places.document.iter().flat_map(|text| text.lines()).enumerate() {
        look(&at("docs/deployment.md", index), "", line);
    }
    for (file, text) in &view.places.workflows {
        for (index, line) in text.lines().enumerate() {
            look(&at(file, index), "", line);
        }
    }
    workflows(view, findings);
}

fn at(file: &str, index: usize) -> Place {
    Place { name: file.to_owned(), line: u32::try_from(index + 1).ok() }
}

fn texts_of(value: &serde_json::Value) -> Vec<String> {
    match value {
        serde_json::Value::String(text) => vec![text.clone()],
        serde_json::Value::Array(items) => items.iter().flat_map(texts_of).collect(),
        serde_json::Value::Object(map) => map.values().flat_map(texts_of).collect(),
        _ => Vec::new(),
    }
}

/// The names of the secrets that a text holds, each with what to say of it.
fn secrets_in(view: &View<'_>, known: &[(String, String)], text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    // Most lines hold nothing that could be one.
    if known.is_empty() && !text.contains('=') && !text.contains("://") {
        return found;
    }
    for (name, value) in assignments(text) {
        if is_written_out(value) && view.is_secret(name) {
            found.push((name.to_owned(), format!("{name} is a secret and is given a value in clear")));
        }
    }
    if text.contains("://") && has_password_url(text) {
        found.push(("URL".to_owned(), "a URL with a password stands there in clear".to_owned()));
    }
    for (name, value) in known {
        if text.contains(value.as_str()) {
            found.push((name.clone(), format!("the value that {name} has in .env stands there")));
        }
    }
    found
}

/// `NAME=value` pairs wherever they stand; the value ends at a blank or a quote.
fn assignments(text: &str) -> Vec<(&str, &str)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for (at, _) in text.match_indices('=') {
        let before = &text[..at];
        let name = before.rsplit(|c| !is_name(c)).next().unwrap_or_default();
        let after = text[at + 1..].trim_start_matches(['"', '\'']);
        let value = &after[..after.find([' ', '\t', '"', '\'', ';', ',', '`', ')']).unwrap_or(after.len())];
        if name.starts_with(|c: char| c.is_ascii_uppercase()) {
            found.push((name, value));
        }
    }
    found
}

/// What nobody takes for a value.
const STAND_INS: [&str; 13] =
    ["dummy", "example", "false", "invalid", "no", "none", "null", "placeholder", "sk-", "todo", "true", "xxx", "yes"];

/// Something that is a value itself: no reference to one, no part of a template, no switch, no stand-in.
pub(super) fn is_written_out(value: &str) -> bool {
    let refers = value.starts_with(['$', '<', '…', '/', '*', '{', '%'])
        || ["${", "$(", "{{"].iter().any(|one| value.contains(one));
    !refers && !is_stand_in(value) && value.chars().any(char::is_alphanumeric)
}

pub(super) fn is_stand_in(value: &str) -> bool {
    let value = value.trim().to_ascii_lowercase();
    let words: Vec<&str> = value.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    // `build-time-dummy`, `your-api-key-here`, `not-a-real-secret`
    let says_so = |words: &[&str]| match words {
        ["not", "real", ..] | ["not", "a", "real", ..] => true,
        [word, ..] => word.starts_with("dummy") || ["fake", "placeholder"].contains(word),
        [] => false,
    };
    let is_asked_for = words.len() > 2 && words[0] == "your" && words.last() == Some(&"here");
    STAND_INS.contains(&value.as_str()) || is_asked_for || (0..words.len()).any(|at| says_so(&words[at..]))
}

/// `scheme://user:password@host` with a password in it that is no reference and no word in capitals that stands for one.
fn has_password_url(text: &str) -> bool {
    url_passwords(text).any(|password| {
        let stands_for_one = password.chars().all(|c| c.is_ascii_uppercase() || c == '_' || c == '…' || c == '*');
        !stands_for_one && is_written_out(password)
    })
}

/// `env:` in workflow files: secrets by reference only, other variables with values of their type.
fn workflows(view: &View<'_>, findings: &mut Findings) {
    for (file, text) in &view.places.workflows {
        match Node::parse(text) {
            Ok(root) => environment_of(view, file, &root, findings),
            Err(why) => {
                findings.add_known(&unreadable(file, &why));
            }
        }
    }
}

fn environment_of(view: &View<'_>, file: &str, node: &Node, findings: &mut Findings) {
    match &node.content {
        Content::List(nodes) => nodes.iter().for_each(|node| environment_of(view, file, node, findings)),
        Content::Scalar { .. } => {}
        Content::Mapping(entries) => {
            for (key, value) in entries {
                if let ("env", Content::Mapping(variables)) = (key.as_str(), &value.content) {
                    for (name, value) in variables {
                        workflow_variable(view, file, name, value, findings);
                    }
                }
                environment_of(view, file, value, findings);
            }
        }
    }
}

fn workflow_variable(view: &View<'_>, file: &str, name: &str, value: &Node, findings: &mut Findings) {
    let place = Place { name: file.to_owned(), line: Some(value.line) };
    let about = About { place: &place, service: "", variable: name };
    let text = value.text().unwrap_or_default();
    let is_reference = text.contains("${{");
    if view.is_secret(name) {
        if !is_reference && is_written_out(text) {
            let message = format!("{name} is a secret and stands there in clear");
            findings.add("secret-literal", &about, message, "take it from the secrets of the repository");
        }
        return;
    }
    let Some(variable) = view.contracts().find_map(|contract| contract.variable(name)) else { return };
    if !is_reference
        && !text.trim().is_empty()
        && let Err(why) = variable.value_type.check(text, variable.secret)
    {
        let message = format!("{name} {why} ({})", variable.value_type);
        findings.add("malformed-value", &about, message, "correct the value");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_urls_are_seen_and_their_stand_ins_are_not() {
        for text in ["x postgres://u:hunter2@h/d", "amqp://a:b@c", "\"http://u:p4ss@h\""] {
            assert!(has_password_url(text), "{text}");
        }
        for text in [
            "postgres://user:${PASSWORD:?x}@h/d",
            "postgres://USER:PASSWORD@HOST:PORT/DATABASE",
            "http://user@h",
            "http://h:80/a@b:c",
            "https://x.example/a:b@c",
        ] {
            assert!(!has_password_url(text), "{text}");
        }
    }

    #[test]
    fn a_stand_in_says_so() {
        for text in [
            "Dummy",
            "build-time-dummy",
            "dummyKeyWithMinimumLength",
            "paperless-not-a-real-secret",
            "your-huggingface-api-key-here",
            "invalid",
            "sk-",
        ] {
            assert!(is_stand_in(text), "{text}");
        }
        for text in ["hunter2", "sk-1f2e3d", "invalid-1f2e", "your-majesty", "real-secret", "adummy", "changeme"] {
            assert!(!is_stand_in(text), "{text}");
        }
    }

    #[test]
    fn assignments_are_found_within_commands() {
        assert_eq!(assignments("/bin/sh -c export A=1 B=\"x y\" && c=2"), [("A", "1"), ("B", "x")]);
        assert!(
            is_written_out("abc")
                && !is_written_out("$ABC")
                && !is_written_out("/run/secrets/x")
                && !is_written_out("{{.Values.token}}")
                && !is_written_out("True")
                && !is_written_out("")
        );
    }
}
