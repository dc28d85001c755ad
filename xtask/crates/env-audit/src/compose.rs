//! The rendered form of a Compose file as deployments. `config --no-interpolate` has already carried out Compose's own
//! rules: anchors, extensions, overrides, short and long forms.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::compose_files::beside;
use super::env_file::EnvFile;
use super::places::{ComposePlace, Deployment, Healthcheck, MountedSecret, NamedFile, Setting};
use super::template::{Reference, Template};
use super::yaml::{Content, Node};
use xtask_outcome::Place;

/// The engine gives every container this; a size of its own says that the program uses it.
const SHARED_MEMORY: &str = "/dev/shm";
/// Services that extend one another; Compose refuses a circle.
const EXTENSIONS_LIMIT: usize = 16;
const DOLLAR: &str = "correct it; a dollar sign is written `$$`";

/// What one Compose file says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stack {
    pub(crate) file: String,
    pub(crate) deployments: Vec<Deployment>,
    /// Every `${…}` in the file and in its env files.
    pub(crate) interpolations: Vec<Interpolation>,
    /// Values that Compose cannot interpolate, and env files that are not there: where, what, and what to do.
    pub(crate) problems: Vec<(Place, String, &'static str)>,
    /// Env files by path, for what their dialect does.
    pub(crate) env_files: BTreeMap<String, EnvFile>,
    /// Names that lead out of the stack.
    pub(crate) outside: BTreeSet<String>,
    /// Variables that secrets and configs are made of, named without a `$`.
    pub(crate) sources: BTreeSet<String>,
}

/// One use of a variable by the file itself.
#[derive(Debug, Clone)]
pub(crate) struct Interpolation {
    pub(crate) reference: Reference,
    pub(crate) place: Place,
    /// `services.user.environment.JWT_SIGNING_KEY`.
    pub(crate) path: Vec<String>,
    /// An env file of the file that it stands in gives it, where the stack's environment does not.
    pub(crate) is_given: bool,
}

impl Stack {
    pub(crate) fn read(place: &ComposePlace, files: &BTreeMap<String, NamedFile>) -> Self {
        let own = std::iter::once((&place.file, &place.source));
        let merged = place.merged_into.iter().map(|(file, source)| (file, source));
        let all = own.chain(merged).chain(place.included.iter().map(|one| (&one.file, &one.source)));
        let parsed = |(file, source): (&'_ String, &String)| Some((file.clone(), Node::parse(source).ok()?));
        let lines = all.filter_map(parsed).collect();
        let extended = place.extended.iter().map(|(file, source)| (file, source)).filter_map(parsed).collect();
        let stack = Self { file: place.file.clone(), ..Self::default() };
        let (has_unread_source, missing_files) = (false, BTreeMap::new());
        let mut reader = Reader { place, files, lines, extended, stack, has_unread_source, missing_files };
        let services = place.rendered["services"].as_object().cloned().unwrap_or_default();
        for (name, service) in &services {
            let deployment = reader.deployment(name, service);
            reader.stack.deployments.push(deployment);
        }
        for (key, value) in place.rendered.as_object().into_iter().flatten() {
            // Extensions are only there for anchors; what they hold stands again where it is used.
            if !key.starts_with("x-") {
                reader.interpolations(value, &mut vec![key.clone()]);
            }
        }
        for (path, (place, services)) in std::mem::take(&mut reader.missing_files) {
            let shown = path.rsplit('/').next().unwrap_or_default();
            let message = format!(
                "{shown} is not there, and {} {} variables from it",
                services.join(" and "),
                if services.len() > 1 { "take" } else { "takes" }
            );
            reader.stack.problems.push((place, message, "create the file, correct its name, or add `required: false`"));
        }
        let declared = ["secrets", "configs"].into_iter().filter_map(|key| place.rendered[key].as_object());
        let named = declared.flatten().filter_map(|(_, one)| one["environment"].as_str());
        // Compose leaves out a build argument without a value where the variable is not set.
        let arguments = services.keys().flat_map(|name| reader.written(name)).filter_map(|service| {
            let arguments = service.get("build")?.get("args")?;
            Some(bare_names(arguments.to_json()))
        });
        let arguments = arguments.flatten().collect::<Vec<_>>();
        reader.stack.sources = named.map(ToOwned::to_owned).chain(arguments).collect();
        reader.stack
    }

    /// The names of all variables that it takes from outside, also those that are named without a value.
    pub(crate) fn taken(&self) -> impl Iterator<Item = &str> {
        let settings = self.deployments.iter().flat_map(|one| one.settings.iter().chain(&one.build_arguments));
        // That of a bare name is a reference to it.
        let references = settings.flat_map(|setting| setting.value.references());
        let interpolated = self.interpolations.iter().map(|one| &one.reference);
        interpolated.chain(references).map(|one| one.name.as_str()).chain(self.sources.iter().map(String::as_str))
    }
}

/// Puts in what Compose makes of a scalar without quotes: in a container `1000000.0` is `1e+06`, and a date has a time. Without interpolation
/// it prints the number or date itself. `filled` is the same stack with its references filled in; what has a reference is left as it is.
pub fn take_scalars(rendered: &mut Value, filled: &Value) {
    for (name, service) in rendered["services"].as_object_mut().into_iter().flatten() {
        for path in ["/environment", "/build/args"] {
            let variables = service.pointer_mut(path).and_then(Value::as_object_mut);
            for (variable, value) in variables.into_iter().flatten() {
                let told = filled["services"][name].pointer(path).and_then(|variables| variables[variable].as_str());
                if let Some(told) = told.filter(|_| !value.as_str().is_some_and(|text| text.contains('$'))) {
                    *value = told.into();
                }
            }
        }
    }
}

/// The variables that a rendered stack takes and that have no default: Compose asks for them before it checks anything else.
pub fn variables_without_default(rendered: &Value) -> BTreeSet<String> {
    match rendered {
        Value::Object(map) => map.values().flat_map(variables_without_default).collect(),
        Value::Array(items) => items.iter().flat_map(variables_without_default).collect(),
        Value::String(text) => {
            let template = Template::parse(text).unwrap_or_default();
            let without = template.references().into_iter().filter(|reference| !reference.has_default());
            without.map(|reference| reference.name.clone()).collect()
        }
        _ => BTreeSet::new(),
    }
}

/// The same of the text of a Compose file that Compose has not rendered.
pub fn variables_without_default_in(text: &str) -> BTreeSet<String> {
    Node::parse(text).map(|root| variables_without_default(&root.to_json())).unwrap_or_default()
}

struct Reader<'a> {
    place: &'a ComposePlace,
    files: &'a BTreeMap<String, NamedFile>,
    /// The files whose lines are known, the one that was merged last first.
    lines: Vec<(String, Node)>,
    /// Those of which only a service that another one extends counts.
    extended: Vec<(String, Node)>,
    stack: Stack,
    /// An env file of the service that is being read is missing or cannot be read.
    has_unread_source: bool,
    /// By path: where it is first named, and who takes variables from it.
    missing_files: BTreeMap<String, (Place, Vec<String>)>,
}

impl Reader<'_> {
    fn at(&self, path: &[&str]) -> Place {
        let mut best = (0, Place::new(&self.place.file));
        let mut consider = |file: &str, root: &Node, path: &[&str]| {
            let (depth, line) = root.deepest(path);
            if depth > best.0 {
                best = (depth, Place { name: file.to_owned(), line });
            }
        };
        self.lines.iter().for_each(|(file, root)| consider(file, root, path));
        if let ["services", service, rest @ ..] = path {
            for (file, root, service) in self.bases(service) {
                consider(file, root, &[&["services", service], rest].concat());
            }
        }
        best.1
    }

    /// A service as it stands in each of the files, and those that it extends.
    fn written(&self, service: &str) -> Vec<&Node> {
        let own = self.lines.iter().filter_map(|(_, root)| root.get("services")?.get(service));
        let bases = self.bases(service).into_iter();
        own.chain(bases.filter_map(|(_, root, base)| root.get("services")?.get(base))).collect()
    }

    /// The services that one extends, the nearest first: in which file, and under which name.
    fn bases<'r>(&'r self, service: &str) -> Vec<(&'r str, &'r Node, &'r str)> {
        let mut found = Vec::new();
        for (file, root) in &self.lines {
            let (mut from, mut next) = ((file, root), extension(root, service));
            while let Some((path, base)) = next.filter(|_| found.len() < EXTENSIONS_LIMIT) {
                if let Some(path) = path {
                    let path = beside(from.0, path);
                    let Some((file, root)) = self.extended.iter().find(|(file, _)| *file == path) else { break };
                    from = (file, root);
                }
                found.push((from.0.as_str(), from.1, base));
                next = extension(from.1, base);
            }
        }
        found
    }

    fn deployment(&mut self, name: &str, service: &Value) -> Deployment {
        self.has_unread_source = false;
        let own = self.environment(&service["environment"], name, &["services", name, "environment"]);
        let mut settings: Vec<Setting> = Vec::new();
        let mut overridden = Vec::new();
        for setting in self.env_files(name, service).into_iter().chain(own) {
            if let Some(at) = settings.iter().position(|earlier| earlier.name == setting.name) {
                overridden.push(settings.remove(at));
            }
            settings.push(setting);
        }
        let build = &service["build"]["args"];
        let rendered = &self.place.rendered["services"];
        Deployment {
            name: name.to_owned(),
            file: self.place.file.clone(),
            place: Some(self.at(&["services", name])),
            image: Template::parse(service["image"].as_str().unwrap_or_default()).unwrap_or_default(),
            settings,
            overridden,
            build_arguments: self.environment(build, name, &["services", name, "build", "args"]),
            mounted: self.mounted(service),
            healthcheck: healthcheck(&service["healthcheck"]),
            healthcheck_place: Some(self.at(&["services", name, "healthcheck", "test"])),
            networks: networks(rendered, service),
            aliases: aliases(service),
            hosts: hosts(&service["extra_hosts"]),
            profiles: strings(&service["profiles"]),
            read_only: flag(&service["read_only"]),
            has_unread_source: self.has_unread_source,
            user: scalar(&service[stringify!(user)]).map(|text| with_defaults(&text)),
            writable: writable(service).difference(&self.read_only_by_reference(name)).cloned().collect(),
            ..Deployment::default()
        }
    }

    /// A mapping or a list of `NAME=value`.
    fn environment(&mut self, value: &Value, service: &str, path: &[&str]) -> Vec<Setting> {
        let pairs: Vec<(String, Option<String>)> = match value {
            Value::Object(map) => map.iter().map(|(name, value)| (name.clone(), scalar(value))).collect(),
            Value::Array(items) => items
                .iter()
                .filter_map(Value::as_str)
                .map(|item| match item.split_once('=') {
                    Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                    None => (item.to_owned(), None),
                })
                .collect(),
            _ => Vec::new(),
        };
        let mut settings = Vec::new();
        for (name, text) in pairs {
            let place = self.at(&[path, &[name.as_str()]].concat());
            let bare = text.is_none();
            let value = match text.map(|text| Template::parse(&text)) {
                Some(Ok(template)) => template,
                Some(Err(why)) => {
                    let message = format!("{service} sets {name} to a value that {why}");
                    self.stack.problems.push((place.clone(), message, DOLLAR));
                    continue;
                }
                None => Template::of_variable(&name),
            };
            settings.push(Setting {
                name,
                value,
                bare,
                place,
                path: path.join("."),
                garbled: false,
                is_local: false,
                is_hidden: false,
                is_judged: false,
            });
        }
        settings
    }

    fn env_files(&mut self, name: &str, service: &Value) -> Vec<Setting> {
        let mut settings: Vec<Setting> = Vec::new();
        let alone = service["env_file"].as_str().map(|path| serde_json::json!([path]));
        for entry in alone.as_ref().unwrap_or(&service["env_file"]).as_array().into_iter().flatten() {
            let path = entry["path"].as_str().or(entry.as_str()).unwrap_or_default();
            let Some(file) = self.files.get(path) else {
                // Which file a reference leads to, only whoever starts the stack knows.
                let is_reference = path.contains('$');
                self.has_unread_source |= is_reference;
                if !is_reference && entry["required"].as_bool().unwrap_or(true) {
                    self.has_unread_source = true;
                    let place = self.at(&["services", name, "env_file"]);
                    self.missing_files.entry(path.to_owned()).or_insert((place, Vec::new())).1.push(name.to_owned());
                }
                continue;
            };
            let parsed = EnvFile::parse(&file.bytes, entry["format"] == "raw");
            self.has_unread_source |= parsed.is_refused;
            for entry in parsed.entries.iter().filter(|_| !parsed.is_refused) {
                // A bare name leaves an earlier value as it is.
                if entry.value.is_none() && settings.iter().any(|earlier| earlier.name == entry.name) {
                    continue;
                }
                settings.retain(|earlier| earlier.name != entry.name);
                let garbled = entry.is_changed_by_interpolation();
                let is_made_here = |value: &Template| {
                    let references = value.references();
                    !references.is_empty() && references.iter().all(|one| parsed.value(&one.name).is_some())
                };
                let value = match &entry.value {
                    Some(value) if is_made_here(value) => {
                        Template::of_text(parsed.value(&entry.name).unwrap_or_default())
                    }
                    Some(value) => value.clone(),
                    None => Template::of_variable(&entry.name),
                };
                let place = Place { name: file.name.clone(), line: Some(entry.line) };
                let (name, bare, path) = (entry.name.clone(), entry.value.is_none(), String::new());
                let (is_local, is_hidden) = (!file.is_committed, entry.follows_quote);
                settings.push(Setting {
                    name,
                    value,
                    bare,
                    place,
                    path,
                    garbled,
                    is_local,
                    is_hidden,
                    is_judged: false,
                });
            }
            self.stack.env_files.insert(file.name.clone(), parsed);
        }
        settings
    }

    /// The targets of volumes whose short form ends with a reference to its mode, which Compose loses when it does not fill it in.
    fn read_only_by_reference(&self, service: &str) -> BTreeSet<String> {
        let listed = self.written(service).into_iter().filter_map(|written| written.get("volumes"));
        let texts = listed.flat_map(|volumes| match &volumes.content {
            Content::List(items) => items.iter().filter_map(Node::text).collect(),
            _ => Vec::new(),
        });
        let short = texts.filter(|text| text.contains('$')).filter_map(|text| short_volume(&with_defaults(text)));
        short.filter(|(_, is_read_only)| *is_read_only).map(|(target, _)| target).collect()
    }

    fn mounted(&self, service: &Value) -> BTreeMap<String, MountedSecret> {
        let declared = &self.place.rendered["secrets"];
        let mut mounted = BTreeMap::new();
        for entry in service["secrets"].as_array().into_iter().flatten() {
            let source = entry["source"].as_str().or(entry.as_str()).unwrap_or_default().to_owned();
            let target = entry["target"].as_str().unwrap_or(&source);
            let target = if target.starts_with('/') { target.to_owned() } else { format!("/run/secrets/{target}") };
            let file = declared[&source]["file"].as_str().map(ToOwned::to_owned);
            mounted.insert(target, MountedSecret { source, file });
        }
        mounted
    }

    fn interpolations(&mut self, value: &Value, path: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    path.push(key.clone());
                    self.interpolations(value, path);
                    path.pop();
                }
            }
            Value::Array(items) => {
                for item in items {
                    let name = item.as_str().and_then(|text| text.split_once('=')).map(|(name, _)| name.to_owned());
                    let is_environment = path.last().is_some_and(|key| key == "environment" || key == "args");
                    let deeper = name.filter(|_| is_environment);
                    path.extend(deeper.clone());
                    self.interpolations(item, path);
                    path.truncate(path.len() - usize::from(deeper.is_some()));
                }
            }
            Value::String(text) => {
                let steps: Vec<_> = path.iter().map(String::as_str).collect();
                let place = self.at(&steps);
                match Template::parse(text) {
                    Ok(template) => {
                        let included = self.place.included.iter().find(|one| one.file == place.name);
                        for reference in template.references() {
                            let is_given = included.is_some_and(|one| one.given.contains(&reference.name));
                            let (reference, place, path) = (reference.clone(), place.clone(), path.clone());
                            self.stack.interpolations.push(Interpolation { reference, place, path, is_given });
                        }
                    }
                    Err(_) if path.iter().any(|key| key == "environment") => {}
                    Err(why) => self.stack.problems.push((place, format!("{} {why}", path.join(".")), DOLLAR)),
                }
            }
            _ => {}
        }
    }
}

/// The file, unless it is the same, and the service that a service extends.
fn extension<'a>(root: &'a Node, service: &str) -> Option<(Option<&'a str>, &'a str)> {
    let extends = root.get("services")?.get(service)?.get("extends")?;
    match extends.text() {
        Some(base) => Some((None, base)),
        None => Some((extends.get("file").and_then(Node::text), extends.get("service")?.text()?)),
    }
}

/// The names without a value in a list or a mapping.
fn bare_names(variables: Value) -> Vec<String> {
    match variables {
        Value::Object(map) => map.into_iter().filter(|(_, value)| value.is_null()).map(|(name, _)| name).collect(),
        Value::Array(items) => {
            let names = items.iter().filter_map(Value::as_str).filter(|item| !item.contains('='));
            names.map(ToOwned::to_owned).collect()
        }
        _ => Vec::new(),
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// A text of a stack with the defaults of its references.
pub fn with_defaults(text: &str) -> String {
    Template::parse(text).map_or_else(|_| text.to_owned(), |value| value.fill(&|_| None, "").text)
}

/// A boolean, also as the default of a reference.
fn flag(value: &Value) -> bool {
    let text = value.as_str().map(with_defaults);
    value.as_bool().unwrap_or_else(|| {
        text.is_some_and(|text| matches!(text.to_ascii_lowercase().as_str(), "true" | "yes" | "y" | "on"))
    })
}

/// The networks of a service, in either form; those of another one that it shares.
fn networks(services: &Value, service: &Value) -> BTreeSet<String> {
    if let Some(shared) = service["network_mode"].as_str().and_then(|mode| mode.strip_prefix("service:")) {
        let of_this = &services[shared];
        return if of_this["network_mode"].is_null() { networks(services, of_this) } else { BTreeSet::new() };
    }
    match &service["networks"] {
        Value::Object(map) => map.keys().cloned().collect(),
        list => strings(list).into_iter().collect(),
    }
}

/// What others may also call a service: its aliases, and the name of its container.
fn aliases(service: &Value) -> BTreeSet<String> {
    let networks = service["networks"].as_object().into_iter().flatten();
    let aliases = networks.flat_map(|(_, network)| strings(&network["aliases"]));
    aliases.chain(service["container_name"].as_str().map(with_defaults)).collect()
}

/// The names of `extra_hosts`, in either form.
fn hosts(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Object(map) => map.keys().map(|name| with_defaults(name)).collect(),
        list => {
            strings(list).iter().filter_map(|entry| entry.split([':', '=']).next().map(ToOwned::to_owned)).collect()
        }
    }
}

/// A list of texts, each with its defaults; one text alone is a list of one.
fn strings(value: &Value) -> Vec<String> {
    if let Some(text) = value.as_str() {
        return vec![with_defaults(text)];
    }
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(with_defaults).collect()
}

/// Volumes and memory that are not mounted read-only, in either form.
fn writable(service: &Value) -> BTreeSet<String> {
    let listed = |key: &str| service[key].as_array().cloned().unwrap_or_default();
    let temporary = strings(&service["tmpfs"])
        .into_iter()
        .filter(|entry| !entry.split([':', ',']).skip(1).any(|option| option == "ro"));
    let temporary = temporary.filter_map(|entry| entry.split(':').next().map(ToOwned::to_owned));
    let short = |text: &str| short_volume(text).filter(|(_, is_read_only)| !is_read_only).map(|(target, _)| target);
    let volume = |entry: Value| match &entry {
        Value::String(text) => short(&with_defaults(text)),
        _ if flag(&entry["read_only"]) => None,
        _ => {
            let target = with_defaults(entry["target"].as_str()?);
            // A reference that is the whole short form is taken for a target.
            if target.contains(':') { short(&target) } else { Some(target) }
        }
    };
    let shared = (!service["shm_size"].is_null()).then(|| SHARED_MEMORY.to_owned());
    temporary.chain(listed("volumes").into_iter().filter_map(volume)).chain(shared).collect()
}

/// The target of a volume in its short form, and whether it is read-only.
fn short_volume(text: &str) -> Option<(String, bool)> {
    let mut parts = text.split(':').skip(1);
    let target = parts.next()?.to_owned();
    Some((target, parts.any(|options| options.split(',').any(|one| one == "ro"))))
}

fn healthcheck(value: &Value) -> Healthcheck {
    if flag(&value["disable"]) {
        return Healthcheck::Disabled;
    }
    match &value["test"] {
        Value::String(text) => Healthcheck::Shell(with_defaults(text)),
        test @ Value::Array(_) => {
            let words = strings(test);
            match words.split_first() {
                Some((form, _)) if form == "NONE" => Healthcheck::Disabled,
                Some((form, command)) if form == "CMD-SHELL" => Healthcheck::Shell(command.join(" ")),
                Some((form, command)) if form == "CMD" => Healthcheck::Command(command.to_vec()),
                _ => Healthcheck::Inherited,
            }
        }
        _ => Healthcheck::Inherited,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::places::IncludedFile;

    fn stack(source: &str, files: &[(&str, &str)]) -> Stack {
        let rendered = Node::parse(source).unwrap().to_json();
        let place =
            ComposePlace { file: "compose.yaml".into(), rendered, source: source.into(), ..ComposePlace::default() };
        let named = |(path, text): &(&str, &str)| {
            let file = NamedFile {
                name: (*path).into(),
                bytes: text.as_bytes().into(),
                mode: 0o644,
                user: 0,
                group: 0,
                is_committed: true,
            };
            ((*path).to_owned(), file)
        };
        Stack::read(&place, &files.iter().map(named).collect())
    }

    /// Case F03: an entry of `environment` beats the env file, also a bare one, whose variable is then unset.
    #[test]
    fn the_entry_that_wins_is_known_and_so_is_the_one_that_lost() {
        let read = stack(
            "services:\n  a:\n    image: x\n    env_file: [{ path: svc.env }]\n    environment:\n      - LOG\n      - A=1\n",
            &[("svc.env", "LOG=debug\nB=2\nA=3\n")],
        );
        let a = &read.deployments[0];
        let log = a.setting("LOG").unwrap();
        assert!(log.bare);
        assert_eq!((log.place.to_string().as_str(), log.path.as_str()), ("compose.yaml:6", "services.a.environment"));
        assert_eq!(a.setting("B").unwrap().place.to_string(), "svc.env:2");
        let lost: Vec<_> = a.overridden.iter().map(|s| (s.name.as_str(), s.place.to_string())).collect();
        assert_eq!(lost, [("LOG", "svc.env:1".to_owned()), ("A", "svc.env:3".to_owned())]);
    }

    #[test]
    fn every_reference_is_found_with_its_line() {
        let read = stack(
            "x-a: &a { image: \"${IMG:-x}\" }\nservices:\n  a:\n    <<: *a\n    ports:\n      - ${PORT:-1}:80\n    environment:\n      Q: a${X:?no}\n      BAD: ${\n",
            &[],
        );
        let found: Vec<_> = read
            .interpolations
            .iter()
            .map(|one| format!("{} {} {}", one.reference.name, one.path.join("."), one.place))
            .collect();
        assert_eq!(
            found,
            [
                "X services.a.environment.Q compose.yaml:8",
                "IMG services.a.image compose.yaml:1",
                "PORT services.a.ports compose.yaml:5"
            ]
        );
        assert!(read.problems[0].1.contains("a sets BAD to a value that"), "{:?}", read.problems);
    }

    /// Case Q05, and the other members that Compose leaves in their short form.
    #[test]
    fn the_short_forms_mean_what_the_long_ones_mean() {
        let read = stack(
            "services:\n  a: { tmpfs: /run, networks: [n], env_file: svc.env, read_only: \"${RO:-true}\", extra_hosts: [\"h:10.0.0.1\"], container_name: c, volumes: [\"x:/v:ro\", { target: /w, read_only: \"true\" }, { target: /z }] }\n  b: { tmpfs: [\"/t:size=1m\", \"/r:ro,size=1m\"], networks: { n: { aliases: [bb] } }, extra_hosts: { h: x }, profiles: local }\n  c: { network_mode: \"service:a\" }\n  d: { network_mode: host }\n",
            &[("svc.env", "B=1\nA=${B}2\nB\nC=${D}\n")],
        );
        let [a, b, c, d] = read.deployments.as_slice() else { panic!("{:?}", read.deployments) };
        let writable = |one: &Deployment| one.writable.iter().cloned().collect::<Vec<_>>();
        assert_eq!((writable(a), writable(b)), (vec!["/run".to_owned(), "/z".to_owned()], vec!["/t".to_owned()]));
        assert!(
            a.read_only && a.answers_to("c") && a.hosts.contains("h") && b.answers_to("bb") && b.hosts.contains("h")
        );
        assert_eq!((&a.networks, &c.networks), (&["n".to_owned()].into(), &["n".to_owned()].into()));
        assert!(d.networks.is_empty() && b.is_local_only());
        let text = |name: &str| a.setting(name).unwrap().value.literal();
        assert_eq!((text("A").as_deref(), text("B").as_deref(), text("C")), (Some("12"), Some("1"), None));
    }

    /// Case Q05, with references in them.
    #[test]
    fn a_reference_in_a_name_or_a_path_is_its_default() {
        let read = stack(
            "services:\n  a: { tmpfs: [\"${T:-/k:ro}\", \"${U:-/l}:size=1m\"], volumes: [{ target: \"${V:-/v}\" }, { target: \"${W:-vol:/w:ro}\" }, { target: \"${X:-vol:/x}\" }], container_name: \"${C:-c}\", extra_hosts: [\"${H:-h}:10.0.0.1\"], profiles: [\"${P:-local}\"], env_file: \"${F:-gone.env}\" }\n",
            &[],
        );
        let a = &read.deployments[0];
        assert_eq!(a.writable.iter().cloned().collect::<Vec<_>>(), ["/l", "/v", "/x"]);
        assert!(a.answers_to("c") && a.hosts.contains("h") && a.is_local_only());
        assert!(a.has_unread_source && read.problems.is_empty(), "{:?}", read.problems);
    }

    /// Compose drops a mode that it does not fill in; the file still has it.
    #[test]
    fn a_mode_behind_a_reference_is_its_default() {
        let mut place = ComposePlace { file: "compose.yaml".into(), ..ComposePlace::default() };
        place.source =
            "services:\n  a:\n    volumes: [\"vol:/x:${M:-ro}\", \"vol:/y:${M:-rw}\", \"vol:/z:z,${M-ro}\"]\n".into();
        let volumes = ["/x", "/y", "/z"].map(|target| serde_json::json!({ "source": "vol", "target": target }));
        place.rendered = serde_json::json!({ "services": { "a": { "volumes": volumes } } });
        let read = Stack::read(&place, &BTreeMap::new());
        assert_eq!(read.deployments[0].writable.iter().cloned().collect::<Vec<_>>(), ["/y"]);
    }

    #[test]
    fn what_an_included_file_takes_stands_there_and_its_env_file_may_give_it() {
        let source = "services:\n  b:\n    image: x:${GIVEN:?x}${OTHER:?x}\n".to_owned();
        let given = BTreeSet::from(["GIVEN".to_owned()]);
        let included = vec![IncludedFile { file: "sub/b.yaml".into(), source: source.clone(), given }];
        let rendered = Node::parse(&source).unwrap().to_json();
        let own = "include: [sub/b.yaml]\nservices: {}\n".to_owned();
        let place = ComposePlace { file: "compose.yaml".into(), rendered, source: own, included, ..Default::default() };
        let read = Stack::read(&place, &BTreeMap::new());
        let found: Vec<_> = read
            .interpolations
            .iter()
            .map(|one| (one.reference.name.as_str(), one.place.to_string(), one.is_given))
            .collect();
        let place = "sub/b.yaml:3".to_owned();
        assert_eq!(found, [("GIVEN", place.clone(), true), ("OTHER", place, false)]);
    }

    /// Compose prints one service; what it has from others stands where they do.
    #[test]
    fn what_a_service_has_from_those_that_it_extends_stands_there() {
        let folder = tempfile::tempdir().unwrap();
        let root = camino::Utf8Path::from_path(folder.path()).unwrap();
        std::fs::create_dir(root.join("sub")).unwrap();
        let write = |file: &str, text: &str| std::fs::write(root.join(file), text).unwrap();
        write(
            "sub/base.yaml",
            "services:\n  base:\n    extends: { file: ../far.yaml, service: far }\n    build:\n      context: .\n      args:\n        BARE:\n  web:\n    image: not-this\n",
        );
        write(
            "far.yaml",
            "services:\n  far:\n    environment:\n      FAR: ${FAR}\n      OWN: x\n    extends: ring\n  ring:\n    extends: far\n",
        );
        let source = "services:\n  web:\n    extends: here\n    environment:\n      OWN: ${OWN}\n  here:\n    image: ${IMG}\n    extends:\n      file: ./sub/base.yaml\n      service: base\n  gone:\n    extends: { file: gone.yaml, service: base }\n";
        let rendered = serde_json::json!({ "services": { "web": {
            "image": "${IMG}", "environment": { "FAR": "${FAR}", "OWN": "${OWN}" }, "build": {} } } });
        let extended = crate::extended_files(root, [("compose.yaml", source)].into_iter());
        let source = source.to_owned();
        let place = ComposePlace { file: "compose.yaml".into(), rendered, source, extended, ..Default::default() };
        let read = Stack::read(&place, &BTreeMap::new());
        let mut found: Vec<_> =
            read.interpolations.iter().map(|one| format!("{} {}", one.reference.name, one.place)).collect();
        found.sort();
        assert_eq!(found, ["FAR far.yaml:4", "IMG compose.yaml:7", "OWN compose.yaml:5"]);
        assert_eq!(read.sources.into_iter().collect::<Vec<_>>(), ["BARE"]);
    }

    #[test]
    fn a_scalar_without_quotes_is_what_compose_makes_of_it() {
        let environment = |values: Value| serde_json::json!({ "services": { "a": { "environment": values } } });
        let mut rendered =
            environment(serde_json::json!({ "F": 1_000_000, "D": "2024-01-01T00:00:00Z", "R": "${R}", "N": null }));
        let filled = environment(
            serde_json::json!({ "F": "1e+06", "D": "2024-01-01 00:00:00 +0000 UTC", "R": "1", "N": null, "E": "file" }),
        );
        take_scalars(&mut rendered, &filled);
        let wanted = serde_json::json!({ "F": "1e+06", "D": "2024-01-01 00:00:00 +0000 UTC", "R": "${R}", "N": null });
        assert_eq!(rendered, environment(wanted));
    }

    #[test]
    fn a_build_argument_without_a_value_is_taken_though_compose_leaves_it_out() {
        let source = "services:\n  a: { build: { context: ., args: [A, B=1] } }\n  b: { build: { args: { C: , D: 1 } } }\n  c: { build: . }\n  d:\n";
        let rendered = serde_json::json!({ "services": { "a": {}, "b": {}, "c": {}, "d": {} } });
        let place = ComposePlace { rendered, source: source.into(), ..ComposePlace::default() };
        let read = Stack::read(&place, &BTreeMap::new());
        assert_eq!(read.taken().collect::<Vec<_>>(), ["A", "C"]);
    }

    /// Case Q11: several services, one missing file.
    #[test]
    fn a_missing_env_file_is_one_problem_whoever_takes_it() {
        let read = stack(
            "services:\n  a: { env_file: x.env }\n  b:\n    env_file: [{ path: x.env }, { path: y.env, required: false }]\n",
            &[],
        );
        assert_eq!(read.problems.len(), 1, "{:?}", read.problems);
        assert_eq!(read.problems[0].1, "x.env is not there, and a and b take variables from it");
        assert!(read.deployments.iter().all(|one| one.has_unread_source));
    }

    /// Case D01.
    #[test]
    fn the_forms_of_a_healthcheck_are_told_apart() {
        let read = stack(
            "services:\n  a: { healthcheck: { test: /app healthcheck } }\n  b: { healthcheck: { test: [CMD-SHELL, x] } }\n  c: { healthcheck: { test: [NONE] } }\n  d: { healthcheck: { disable: true } }\n  e: { healthcheck: { test: [CMD, /app, healthcheck] } }\n  f: {}\n",
            &[],
        );
        let forms: Vec<_> = read.deployments.iter().map(|d| d.healthcheck.clone()).collect();
        assert_eq!(
            forms,
            [
                Healthcheck::Shell("/app healthcheck".into()),
                Healthcheck::Shell("x".into()),
                Healthcheck::Disabled,
                Healthcheck::Disabled,
                Healthcheck::Command(vec!["/app".into(), "healthcheck".into()]),
                Healthcheck::Inherited,
            ]
        );
    }
}
