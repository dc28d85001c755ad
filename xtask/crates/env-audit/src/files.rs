//! The places that lie in files and need no tool to be read.

use camino::{Utf8Path, Utf8PathBuf};

use crate::places::{DockerfilePlace, Places, unreadable};
use crate::yaml::decoded;

/// The document with the generated contract tables.
pub const DOCUMENT: &str = "docs/deployment.md";
/// The example of an env file.
pub const EXAMPLE: &str = ".env.example";
const ENV: &str = ".env";
/// A longer file is no stack.
const COMPOSE_LIMIT_BYTES: u64 = 1024 * 1024;
const WORKFLOWS: &str = ".github/workflows";

impl Places {
    /// The part that lies in files and needs no tool. `dockerfiles` are those of the services, each with its path below the root.
    /// A file that cannot be read is a problem, and the rest is read.
    pub fn of_files<'a>(root: &Utf8Path, dockerfiles: impl IntoIterator<Item = (&'a str, Utf8PathBuf)>) -> Self {
        let mut places = Self::default();
        places.example = places.read_bytes(root, EXAMPLE);
        places.env = places.read_bytes(root, ENV);
        places.document = places.read(root, DOCUMENT);
        for (service, file) in dockerfiles {
            let Some(text) = places.read(root, file.as_str()) else {
                if !root.join(&file).exists() {
                    places.problems.push(unreadable(file.as_str(), "is not there"));
                }
                continue;
            };
            places.dockerfiles.push(DockerfilePlace { service: service.to_owned(), file: file.into_string(), text });
        }
        for entry in root.read_dir_utf8().into_iter().flatten().flatten() {
            let name = entry.file_name();
            let is_yaml = [".yml", ".yaml"].iter().any(|end| name.ends_with(end));
            let is_short = entry.metadata().is_ok_and(|facts| facts.is_file() && facts.len() <= COMPOSE_LIMIT_BYTES);
            if name.contains("compose") && is_yaml && is_short {
                let text = std::fs::read(entry.path()).map(|bytes| decoded(&bytes)).unwrap_or_default();
                places.compose_texts.push((name.to_owned(), text));
            }
        }
        for entry in root.join(WORKFLOWS).read_dir_utf8().into_iter().flatten() {
            let Ok(entry) = entry else { continue };
            let name = entry.file_name();
            if name.ends_with(".yml") || name.ends_with(".yaml") {
                let file = format!("{WORKFLOWS}/{name}");
                let bytes = places.read_bytes(root, &file);
                places.workflows.extend(bytes.map(|bytes| (file, decoded(&bytes))));
            }
        }
        places.workflows.sort();
        places
    }

    /// A text file below the root; `None` when there is none.
    fn read(&mut self, root: &Utf8Path, file: &str) -> Option<String> {
        self.read_bytes(root, file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    fn read_bytes(&mut self, root: &Utf8Path, file: &str) -> Option<Vec<u8>> {
        match std::fs::read(root.join(file)) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => {
                self.problems.push(unreadable(file, &format!("cannot be read ({error})")));
                None
            }
        }
    }
}

/// Without `..`: `k8s/overlays/local/../../base` is `k8s/base`.
pub(crate) fn normal(path: &Utf8Path) -> Utf8PathBuf {
    let mut parts = Vec::new();
    for part in path.components() {
        match part.as_str() {
            ".." => drop(parts.pop()),
            "." => {}
            part => parts.push(part),
        }
    }
    parts.into_iter().collect()
}
