//! What an image is meant to be, in `xtask/policy/images/<name>.toml`, compared with what it is.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::Value;

use crate::image::ImageFacts;
use crate::objection::Objection;
use crate::saved_image::{ImageFile, Kind, texts};

/// One image's golden. Everything the image has stands in it, and everything in it the image has.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Golden {
    user: String,
    entrypoint: Vec<String>,
    command: Vec<String>,
    healthcheck: Vec<String>,
    ports: BTreeSet<String>,
    volumes: BTreeSet<String>,
    /// Names only; what a variable's value may be is the contract's business.
    environment: BTreeSet<String>,
    labels: BTreeSet<String>,
    #[serde(default)]
    file: Vec<GoldenFile>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct GoldenFile {
    path: String,
    kind: Kind,
    /// Octal, as chmod takes it.
    mode: String,
    /// `uid:gid`.
    owner: String,
}

impl GoldenFile {
    fn of(file: &ImageFile) -> Self {
        let (path, owner) = (file.path.clone(), file.owner.clone());
        Self { path, kind: file.kind, mode: format!("{:04o}", file.mode), owner }
    }

    fn describe(&self) -> String {
        format!("{:?} mode {} owner {}", self.kind, self.mode, self.owner).to_lowercase()
    }
}

impl Golden {
    pub(super) fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// The golden that the image as it is would have.
    pub(super) fn of(facts: &ImageFacts) -> Self {
        let config = &facts.config;
        let list = |value: &Value| texts(value).map(ToOwned::to_owned).collect::<Vec<_>>();
        let keys = |value: &Value| -> BTreeSet<String> {
            value.as_object().map(|map| map.keys().cloned().collect()).unwrap_or_default()
        };
        let name = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
        let mut file: Vec<_> = facts.files.iter().map(GoldenFile::of).collect();
        file.sort();
        Self {
            user: config["User"].as_str().unwrap_or_default().to_owned(),
            entrypoint: list(&config["Entrypoint"]),
            command: list(&config["Cmd"]),
            healthcheck: list(&config["Healthcheck"]["Test"]),
            ports: keys(&config["ExposedPorts"]),
            volumes: keys(&config["Volumes"]),
            environment: texts(&config["Env"]).map(name).collect(),
            labels: keys(&config["Labels"]),
            file,
        }
    }

    /// What the image has beside this golden, what the golden still names and the image lost, and what differs.
    pub(super) fn differences(&self, image: &Self) -> Vec<Objection> {
        let mut found = Vec::new();
        for (what, allowed, is) in [
            (stringify!(user), std::slice::from_ref(&self.user), std::slice::from_ref(&image.user)),
            ("entrypoint", &self.entrypoint, &image.entrypoint),
            ("command", &self.command, &image.command),
            ("healthcheck", &self.healthcheck, &image.healthcheck),
        ] {
            if allowed != is {
                let message = format!("{what} is {is:?}, the golden says {allowed:?}");
                found.push(Objection { rule: "image-differs", about: what.to_owned(), message });
            }
        }
        for (what, allowed, is) in [
            ("ports", &self.ports, &image.ports),
            ("volumes", &self.volumes, &image.volumes),
            ("environment", &self.environment, &image.environment),
            ("labels", &self.labels, &image.labels),
        ] {
            let more = is.difference(allowed).map(|name| ("image-differs", name, "is in the image, not in the golden"));
            let less =
                allowed.difference(is).map(|name| ("image-golden-stale", name, "is in the golden, not in the image"));
            found.extend(more.chain(less).map(|(rule, name, words)| Objection {
                rule,
                about: format!("{what}/{name}"),
                message: format!("`{name}` ({what}) {words}"),
            }));
        }
        self.compare_files(image, &mut found);
        found
    }

    fn compare_files(&self, image: &Self, found: &mut Vec<Objection>) {
        for file in &image.file {
            let allowed = self.file.iter().find(|allowed| allowed.path == file.path);
            let (rule, message) = match allowed {
                None => ("image-unexpected-file", format!("{} ({}) is not in the golden", file.path, file.describe())),
                Some(allowed) if allowed != file => (
                    "image-differs",
                    format!("{} is {}, the golden says {}", file.path, file.describe(), allowed.describe()),
                ),
                Some(_) => continue,
            };
            found.push(Objection { rule, about: file.path.trim_start_matches('/').to_owned(), message });
        }
        for allowed in self.file.iter().filter(|allowed| image.file.iter().all(|file| file.path != allowed.path)) {
            let message = format!("{} is in the golden, not in the image", allowed.path);
            let about = allowed.path.trim_start_matches('/').to_owned();
            found.push(Objection { rule: "image-golden-stale", about, message });
        }
    }

    /// The golden as a file, to be read and then put in its place by a person.
    pub(super) fn render(&self) -> String {
        // A Rust text and a TOML text look the same for every name that an image can have.
        let mut text = String::new();
        for (key, value) in
            [(stringify!(user), format!("{:?}", self.user)), ("entrypoint", format!("{:?}", self.entrypoint))]
        {
            let _ = writeln!(text, "{key} = {value}");
        }
        let _ = writeln!(text, "command = {:?}\nhealthcheck = {:?}", self.command, self.healthcheck);
        for (key, names) in [
            ("ports", &self.ports),
            ("volumes", &self.volumes),
            ("environment", &self.environment),
            ("labels", &self.labels),
        ] {
            let quoted: Vec<_> = names.iter().map(|name| format!("{name:?}")).collect();
            let line = format!("{key} = [{}]", quoted.join(", "));
            let _ = if line.len() > 100 {
                writeln!(text, "{key} = [\n  {},\n]", quoted.join(",\n  "))
            } else {
                writeln!(text, "{line}")
            };
        }
        for file in &self.file {
            let kind = format!("{:?}", file.kind).to_lowercase();
            let _ = writeln!(
                text,
                "\n[[file]]\npath = {:?}\nkind = \"{kind}\"\nmode = \"{}\"\nowner = \"{}\"",
                file.path, file.mode, file.owner
            );
        }
        text
    }
}
