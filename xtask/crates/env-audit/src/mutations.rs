//! Is the audit any good? Every variable in every place of this repository is deleted, renamed, given another value and
//! another kind, one at a time; each time there has to be a finding, and none without a change.

mod kubernetes;

use std::collections::BTreeMap;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{LazyLock, Mutex};

use serde_json::{Value, json};

use super::compose::Stack;
use super::contract::{Kind, Variable};
use super::dockerfile::{Assignment, Dockerfile};
use super::example;
use super::kubernetes::kustomize;
use super::places::{ComposePlace, ImagePlace, Places};
use super::policy::Policy;
use super::rules;
use super::tables;
use super::value_type::ValueType;
use super::view::{Findings, Found, View};
use super::yaml::Node;

/// Mutants that wait for a worker: each is a copy of everything.
const QUEUE: usize = 64;

const IMAGE_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What no change of the audit should find, and why.
const SURVIVORS: [(&str, &str); 2] = [
    ("image: change the value of PATH", "no contract has PATH, so no program reads it"),
    ("image: delete PATH", "the engine gives every container this PATH, and no contract has it"),
];

/// The repository's own places. The contracts are those that docs/deployment.md tells: whether the images print the same is
/// what `cargo xtask audit-env` finds out.
pub(super) fn repository() -> Places {
    static READ: LazyLock<Places> = LazyLock::new(read_repository);
    READ.clone()
}

fn read_repository() -> Places {
    let project = crate::repository::project();
    let dockerfiles = project.images.iter().map(|image| (image.name(), image.folder.join("Dockerfile")));
    let mut places = Places::of_files(&project.root, dockerfiles);
    // What lies around on this machine is no part of the repository.
    places.env = None;
    let document = places.document.clone().unwrap();
    let images: BTreeMap<_, _> =
        project.images.iter().map(|image| (image.name().to_owned(), image.package.clone())).collect();
    for (service, mut contract) in tables::contracts(&document) {
        contract.image.clone_from(&images[&service]);
        let program = format!("/{}", contract.image);
        let config = json!({
            "User": "65532:65532",
            "ExposedPorts": { "8080/tcp": {} },
            "Env": [IMAGE_PATH],
            "Healthcheck": { "Test": ["CMD", program, "healthcheck"] },
        });
        places.images.push(ImagePlace { service, id: String::new(), contract, config, history: Vec::new() });
    }
    let source = std::fs::read_to_string(project.root.join("compose.yaml")).unwrap();
    let mut rendered = Node::parse(&source).unwrap().to_json();
    // Compose gives networks as a mapping, whichever way they were written.
    for (_, service) in rendered["services"].as_object_mut().unwrap() {
        if let Value::Array(names) = &service["networks"] {
            let names: serde_json::Map<_, _> =
                names.iter().map(|name| (name.as_str().unwrap().to_owned(), Value::Null)).collect();
            service["networks"] = names.into();
        }
    }
    places.compose.push(ComposePlace { file: "compose.yaml".into(), rendered, source, ..ComposePlace::default() });
    places.kubernetes.push(kustomize::read_plain(&project.root, "k8s/base").unwrap());
    places
}

fn audit(places: &Places, policy: &Policy) -> Vec<Found> {
    rules::check(&View::new(places, policy)).found
}

fn told(found: &[Found]) -> String {
    found.iter().map(|found| format!("{}\n", found.finding)).collect()
}

/// Which rules found something: none, only that a generated file is stale, or others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Nothing,
    Stale,
    Found,
}

/// Audits changed copies of the places while they are made.
struct Mutants<'a> {
    original: &'a Places,
    queue: SyncSender<(String, Places)>,
    names: Vec<String>,
}

impl Mutants<'_> {
    fn add(&mut self, what: String, change: impl FnOnce(&mut Places)) {
        let mut places = self.original.clone();
        change(&mut places);
        self.names.push(what.clone());
        self.queue.send((what, places)).unwrap();
    }
}

/// Runs the rules up to the first that finds a mutant where it is, and not only by a generated file that has gone stale.
fn verdict(what: &str, places: &Places, policy: &Policy, original: &View<'_>) -> Verdict {
    let view = View::like(places, policy, Some(original));
    let mut findings = Findings::default();
    // What changes a generated file can be found by nothing else.
    if what.starts_with("docs") || what.starts_with("example") {
        rules::OF_GENERATED.iter().for_each(|check| check(&view, &mut findings));
        if !findings.found.is_empty() {
            return Verdict::Stale;
        }
    }
    let is_of_generated =
        |found: &Found| ["docs/deployment.md", ".env.example"].contains(&found.finding.place.name.as_str());
    for check in rules::ALL {
        check(&view, &mut findings);
        if !findings.found.iter().all(is_of_generated) {
            return Verdict::Found;
        }
    }
    if findings.found.is_empty() { Verdict::Nothing } else { Verdict::Stale }
}

#[test]
fn the_repository_has_no_finding() {
    let found = audit(&repository(), &crate::repository::policy());
    assert!(found.is_empty(), "next: cargo xtask audit-env --write, or correct what it says\n{}", told(&found));
}

#[test]
fn a_document_gives_back_the_contracts_that_it_was_written_from() {
    let (places, policy) = (repository(), crate::repository::policy());
    let document = places.document.as_ref().unwrap();
    assert_eq!(tables::rewrite(document, &View::new(&places, &policy)).as_ref(), Some(document));
    assert!(places.images.iter().any(|image| image.contract.variables.iter().any(|variable| variable.secret)));
}

#[test]
fn every_mutation_of_every_variable_in_every_place_is_found() {
    let (original, policy) = (repository(), crate::repository::policy());
    let view = View::new(&original, &policy);
    let (queue, waiting) = sync_channel(QUEUE);
    let waiting = Mutex::new(waiting);
    let mut mutants = Mutants { original: &original, queue, names: Vec::new() };
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let work = || {
        let mut judged = Vec::new();
        loop {
            let next = waiting.lock().unwrap().recv();
            let Ok((what, places)) = next else { return judged };
            judged.push((verdict(&what, &places, &policy, &view), what));
        }
    };
    let (judged, names) = std::thread::scope(|scope| {
        let running: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        contracts(&mut mutants);
        images(&mut mutants);
        compose(&mut mutants);
        env_example(&mut mutants, &policy);
        document(&mut mutants);
        dockerfiles(&mut mutants);
        kubernetes::mutate(&mut mutants);
        let Mutants { queue, names, .. } = mutants;
        drop(queue);
        (running.into_iter().flat_map(|worker| worker.join().unwrap()).collect::<Vec<_>>(), names)
    });
    let mut survivors = Vec::new();
    let mut by_place: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (verdict, what) in &judged {
        let counts = by_place.entry(what.split(':').next().unwrap_or_default()).or_default();
        counts.0 += 1;
        counts.1 += usize::from(*verdict == Verdict::Stale);
        survivors.extend((*verdict == Verdict::Nothing).then_some(what.as_str()));
    }
    for (place, (count, stale_only)) in &by_place {
        println!("{place}: {count} mutants, {stale_only} of them found by a generated file alone");
    }
    survivors.sort_unstable();
    survivors.dedup();
    let of_kubernetes = kubernetes::SURVIVORS.iter().map(|(what, _)| format!("kubernetes: {what}"));
    let expected: Vec<_> = SURVIVORS.iter().map(|(what, _)| (*what).to_owned()).chain(of_kubernetes).collect();
    assert_eq!(survivors, expected, "{} mutants", judged.len());
    assert!(judged.len() > 500 && judged.len() == names.len(), "{} of {}", judged.len(), names.len());
}

fn contracts(mutants: &mut Mutants<'_>) {
    for (at, image) in mutants.original.images.iter().enumerate() {
        for (index, variable) in image.contract.variables.iter().enumerate() {
            let what = |change: &str| format!("contract: {change} {} of {}", variable.name, image.service);
            let mut change = |what: String, change: &dyn Fn(&mut Variable)| {
                mutants.add(what, |places| change(&mut places.images[at].contract.variables[index]));
            };
            change(what("rename"), &|variable| variable.name += "_X");
            change(what("change the type of"), &|variable| {
                variable.value_type = ValueType::from(if variable.value_type.is_url() { "string" } else { "url" });
            });
            change(what("change the secrecy of"), &|variable| variable.secret = !variable.secret);
            change(what("change the kind of"), &|variable| {
                (variable.kind, variable.default) = match variable.kind {
                    Kind::Required => (Kind::Optional, None),
                    Kind::Default => (Kind::Required, None),
                    Kind::Optional => (Kind::Required, None),
                };
            });
            if variable.default.is_some() {
                change(what("change the value of"), &|variable| {
                    variable.default = variable.default.as_ref().map(|default| format!("1{default}"));
                });
            }
            mutants.add(what("delete"), |places| drop(places.images[at].contract.variables.remove(index)));
        }
    }
}

fn images(mutants: &mut Mutants<'_>) {
    let first = &mutants.original.images[0];
    let (port, secret) = ("PORT=9090", first.contract.names().into_iter().find(|name| name.ends_with("_KEY")));
    for (what, entries) in [
        ("delete PATH", vec![]),
        ("rename PATH", vec![IMAGE_PATH.replacen("PATH", "PATHS", 1)]),
        ("change the value of PATH", vec!["PATH=/nowhere".to_owned()]),
        ("add another default", vec![IMAGE_PATH.to_owned(), port.to_owned()]),
        ("add a malformed value", vec!["PORT=many".to_owned()]),
        ("add a secret", vec![format!("{}=x", secret.unwrap_or_else(|| "JWT_SIGNING_KEY".to_owned()))]),
    ] {
        mutants.add(format!("image: {what}"), |places| places.images[0].config["Env"] = json!(entries));
    }
}

fn compose(mutants: &mut Mutants<'_>) {
    let rendered = mutants.original.compose[0].rendered.clone();
    for (service, body) in rendered["services"].as_object().unwrap() {
        let Some(environment) = body["environment"].as_object() else { continue };
        for (name, value) in environment {
            let text = value.as_str().unwrap_or_default();
            let what = |change: &str| format!("compose: {change} {name} of {service}");
            let mut set = |what: String, value: Option<(String, String)>| {
                mutants.add(what, |places| {
                    let map = places.compose[0].rendered["services"][service]["environment"].as_object_mut().unwrap();
                    map.remove(name);
                    map.extend(value.map(|(name, value)| (name, Value::from(value))));
                });
            };
            set(what("delete"), None);
            set(what("rename"), Some((format!("{name}_X"), text.to_owned())));
            for (number, other) in other_values(text).into_iter().enumerate() {
                set(what(&format!("change the value ({number}) of")), Some((name.clone(), other)));
            }
            for (number, other) in other_kinds(text).into_iter().enumerate() {
                set(what(&format!("change the kind ({number}) of")), Some((name.clone(), other)));
            }
        }
    }
    let stack = Stack::read(&mutants.original.compose[0], &BTreeMap::new());
    let outside = stack.interpolations.iter().filter(|one| !one.path.contains(&"environment".to_owned()));
    for one in outside {
        let name = &one.reference.name;
        let what = |change: &str| format!("compose: {change} {name} in {}", one.path.join("."));
        for (change, from, to) in [
            ("rename", format!("${{{name}"), format!("${{{name}_X")),
            ("change the value of", ":-".to_owned(), ":-1".to_owned()),
            ("change the kind of", ":-".to_owned(), ":?".to_owned()),
            ("delete", format!("${{{name}:-"), String::new()),
        ] {
            mutants.add(what(change), |places| replace_at(&mut places.compose[0].rendered, &one.path, &from, &to));
        }
    }
}

/// Other values that somebody could have meant to write.
fn other_values(text: &str) -> Vec<String> {
    let mut values = Vec::new();
    if text.contains("://") {
        values.extend([
            text.replacen("://", "s://", 1),
            text.replace(":8080", ":8081").replace(":5432", ":5433"),
            text.replacen("://", "://x", 1),
        ]);
        if let Some((before, last)) = text.rsplit_once('/').filter(|(before, _)| !before.ends_with('/')) {
            values.push(format!("{before}/x{last}"));
        }
        if let Some((before, host)) = text.rsplit_once('@') {
            values.push(format!("{before}@x{host}"));
        }
        values.retain(|value| value != text);
    }
    values.push(text.replace("${", "${X"));
    values.push(format!("x{text}"));
    values.push(String::new());
    values.retain(|value| value != text);
    values
}

/// The same value, come by in another way.
fn other_kinds(text: &str) -> Vec<String> {
    let mut kinds: Vec<_> = [(":?", ":-"), (":?", "-"), (":-", ":?")]
        .iter()
        .filter(|(from, _)| text.contains("${") && text.contains(from))
        .map(|(from, to)| text.replacen(from, to, 1))
        .collect();
    if let Some((before, rest)) = text.split_once("${") {
        let after = rest.split_once('}').map(|(_, after)| after).unwrap_or_default();
        let name = &rest[..rest.find([':', '}']).unwrap_or(rest.len())];
        // Written out, and taken without a rule for when it is unset.
        kinds.push(format!("{before}hunter2hunter2{after}"));
        kinds.push(format!("{before}${{{name}}}{after}"));
    } else {
        kinds.push("${TAKEN_FROM_OUTSIDE:?x}".to_owned());
        kinds.push(format!("${{TAKEN_FROM_OUTSIDE:-{text}}}"));
    }
    kinds
}

fn replace_at(value: &mut Value, path: &[String], from: &str, to: &str) {
    let Some((step, rest)) = path.split_first() else {
        match value {
            Value::String(text) => {
                *text = if to.is_empty() { text.replace(from, to).replacen('}', "", 1) } else { text.replace(from, to) }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| replace_at(item, path, from, to)),
            _ => {}
        }
        return;
    };
    replace_at(&mut value[step], rest, from, to);
}

fn env_example(mutants: &mut Mutants<'_>, policy: &Policy) {
    let text = String::from_utf8(mutants.original.example.clone().unwrap()).unwrap();
    let outside = example::outside(&View::new(mutants.original, policy));
    for (index, line) in text.lines().enumerate() {
        let Some((name, value)) =
            line.split_once('=').filter(|(name, _)| outside.iter().any(|one| one.name == name.trim_start_matches('#')))
        else {
            continue;
        };
        let flipped = line.strip_prefix('#').map_or_else(|| format!("#{line}"), ToOwned::to_owned);
        for (change, new) in [
            ("delete", String::new()),
            ("rename", format!("{name}_X={value}")),
            ("change the value of", format!("{name}=x{value}")),
            ("change the kind of", flipped),
            ("quote", format!("{name}=\"{value}\"")),
        ] {
            let mutated = replace_line(&text, index, &new);
            mutants.add(format!("example: {change} {name}"), |places| places.example = Some(mutated.into_bytes()));
        }
    }
    assert!(mutants.names.iter().filter(|what| what.starts_with("example")).count() >= 4 * outside.len());
}

fn document(mutants: &mut Mutants<'_>) {
    let text = mutants.original.document.clone().unwrap();
    for (heading, rows) in tables::parse(&text) {
        for row in rows {
            let index = row.line as usize - 1;
            let line = text.lines().nth(index).unwrap();
            let mut cells: Vec<_> = line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
            let what = |change: &str| format!("docs: {change} {} of {heading}", row.name);
            let mut set = |what: String, line: &str| {
                let mutated = replace_line(&text, index, line);
                mutants.add(what, |places| places.document = Some(mutated));
            };
            set(what("delete"), "");
            set(what("rename"), &line.replace(&format!("{}`", row.name), &format!("{}_X`", row.name)));
            for column in 1..cells.len() {
                let kept = std::mem::replace(&mut cells[column], "another".to_owned());
                set(what(&format!("change column {column} of")), &format!("| {} |", cells.join(" | ")));
                cells[column] = kept;
            }
        }
    }
}

fn replace_line(text: &str, index: usize, new: &str) -> String {
    let line = |(at, line): (usize, &str)| if at == index { format!("{new}\n") } else { format!("{line}\n") };
    text.lines().enumerate().map(line).collect()
}

fn dockerfiles(mutants: &mut Mutants<'_>) {
    for (at, place) in mutants.original.dockerfiles.iter().enumerate() {
        let file = Dockerfile::parse(&place.text);
        for (index, instruction) in file.instructions.iter().enumerate() {
            if !["ARG", "ENV"].contains(&instruction.keyword.as_str()) {
                continue;
            }
            let assignments = instruction.assignments().to_vec();
            for (number, assignment) in assignments.iter().enumerate() {
                let what = |change: &str| {
                    format!("dockerfile: {change} {} in line {} of {}", assignment.name, instruction.line, place.file)
                };
                let mut set = |what: String, keyword: &str, new: Option<Assignment>| {
                    let mut changed = assignments.clone();
                    changed.splice(number..=number, new);
                    let mut mutated = file.clone();
                    keyword.clone_into(&mut mutated.instructions[index].keyword);
                    mutated.instructions[index].arguments = written(&changed);
                    mutants.add(what, |places| places.dockerfiles[at].text = rendered(&mutated));
                };
                let (name, value) = (&assignment.name, &assignment.value);
                let other = if instruction.keyword == "ARG" { "ENV" } else { "ARG" };
                set(what("delete"), &instruction.keyword, None);
                set(
                    what("rename"),
                    &instruction.keyword,
                    Some(Assignment { name: format!("{name}_X"), value: value.clone() }),
                );
                let changed = Some(format!("x{}", value.clone().unwrap_or_default()));
                set(
                    what("change the value of"),
                    &instruction.keyword,
                    Some(Assignment { name: name.clone(), value: changed }),
                );
                set(what("change the kind of"), other, Some(assignment.clone()));
            }
        }
    }
}

fn written(assignments: &[Assignment]) -> String {
    let one = |assignment: &Assignment| match &assignment.value {
        Some(value) => format!("{}=\"{value}\"", assignment.name),
        None => assignment.name.clone(),
    };
    assignments.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn rendered(file: &Dockerfile) -> String {
    let kept = file.instructions.iter().filter(|one| !one.arguments.is_empty());
    kept.map(|one| format!("{} {}\n", one.keyword, one.arguments)).collect()
}

/// The `.env` of a machine, complete and good: each variable is then taken away, misspelt or given nonsense.
#[test]
fn every_slip_in_a_local_env_file_is_found() {
    let (mut places, policy) = (repository(), crate::repository::policy());
    let outside = example::outside(&View::new(&places, &policy));
    let key = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    let good = |name: &str| if name.ends_with("_KEY") { key } else { "0123456789abcdef0123" };
    let required: Vec<_> = outside.iter().filter(|one| one.required).map(|one| one.name.clone()).collect();
    let file = |change: &dyn Fn(&str) -> String| required.iter().map(|name| change(name)).collect::<String>();
    let line = |name: &str| format!("{name}={}\n", good(name));
    let mut check = |text: String| {
        places.env = Some(text.into_bytes());
        audit(&places, &policy)
    };
    assert_eq!(told(&check(file(&line))), "");
    for wanted in &required {
        let with = |new: &dyn Fn(&str) -> String| file(&|name| if name == wanted { new(name) } else { line(name) });
        for (what, text, rule) in [
            ("delete", with(&|_| String::new()), "required-unset"),
            ("blank", with(&|name| format!("{name}=\n")), "required-unset"),
            ("rename", with(&|name| format!("{name}X={}\n", good(name))), "unknown-variable"),
            ("dollar", with(&|name| format!("{name}=a$bcdefghij\n")), "dollar-in-value"),
            ("twice", with(&|name| format!("{0}{0}", line(name))), "env-file-form"),
            ("carriage return", with(&|name| format!("{name}={}\r\n", good(name))), "env-file-form"),
        ] {
            let found = check(text);
            assert!(found.iter().any(|found| found.finding.rule == rule), "{what} {wanted}: {}", told(&found));
            assert!(!told(&found).contains("0123456789"), "{}", told(&found));
        }
        if wanted.ends_with("_KEY") {
            let found = check(with(&|name| format!("{name}=S3CR3T-c4n4ry\n")));
            assert!(found.iter().any(|found| found.finding.rule == "malformed-value"), "{wanted}: {}", told(&found));
            assert!(!told(&found).contains("c4n4ry"), "{}", told(&found));
        }
    }
}
