//! The places that lie in files and need no tool to be read.

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};

use crate::places::{DockerfilePlace, Places};

/// The document with the generated contract tables.
pub const DOCUMENT: &str = "docs/deployment.md";
/// The example of an env file.
pub const EXAMPLE: &str = ".env.example";
const ENV: &str = ".env";
const WORKFLOWS: &str = ".github/workflows";

impl Places {
    /// The part that lies in files and needs no tool. `dockerfiles` are those of the services, each with its path below the root.
    ///
    /// # Errors
    /// When a Dockerfile is not there, or a file cannot be read.
    pub fn of_files<'a>(
        root: &Utf8Path,
        dockerfiles: impl IntoIterator<Item = (&'a str, Utf8PathBuf)>,
    ) -> Result<Self> {
        let mut places = Self {
            example: read_bytes(&root.join(EXAMPLE))?,
            env: read_bytes(&root.join(ENV))?,
            document: read(root, DOCUMENT)?,
            ..Self::default()
        };
        for (service, file) in dockerfiles {
            let text = read(root, file.as_str())?.with_context(|| format!("{file} is not there"))?;
            places.dockerfiles.push(DockerfilePlace { service: service.to_owned(), file: file.into_string(), text });
        }
        for entry in root.join(WORKFLOWS).read_dir_utf8().into_iter().flatten() {
            let name = entry?.file_name().to_owned();
            if name.ends_with(".yml") || name.ends_with(".yaml") {
                let file = format!("{WORKFLOWS}/{name}");
                let text = read(root, &file)?.unwrap_or_default();
                places.workflows.push((file, text));
            }
        }
        places.workflows.sort();
        Ok(places)
    }
}

/// A text file below the root; `None` when there is none.
fn read(root: &Utf8Path, file: &str) -> Result<Option<String>> {
    Ok(read_bytes(&root.join(file))?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

fn read_bytes(path: &Utf8Path) -> Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("read {path}")),
    }
}
