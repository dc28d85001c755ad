//! What the local engine has of images: one question for many references, since each call of the client costs more than its
//! answer.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::Value;
use xshell::{Shell, cmd};

use xtask_outcome::Stop;
use xtask_process::Runner;

use crate::Tool;

const LIMIT_SECONDS: u64 = 60;
const FORMAT: &str = "{{json .}}";

/// One image, as `docker image inspect` shows it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Inspected {
    /// `sha256:…`.
    pub id: String,
    /// `user:local`.
    pub tags: Vec<String>,
    /// `amd64`, `arm64`.
    pub architecture: String,
    /// `Config`: user, variables, labels, healthcheck.
    pub config: Value,
}

impl Inspected {
    /// The value of a label; empty when the image has none of that name.
    pub fn label(&self, name: &str) -> &str {
        self.config.get("Labels").and_then(|labels| labels.get(name)).and_then(Value::as_str).unwrap_or_default()
    }
}

/// What the engine knows of each reference (a tag or an id); `None` for one that it does not have.
///
/// # Errors
/// [`Stop::Broken`] when the engine does not answer, or not in JSON.
pub fn inspect(runner: &Runner, docker: &Tool, references: &[String]) -> Result<BTreeMap<String, Option<Inspected>>> {
    let mut found: BTreeMap<_, _> = references.iter().map(|reference| (reference.clone(), None)).collect();
    if references.is_empty() {
        return Ok(found);
    }
    let shell = Shell::new()?;
    let docker = &docker.program;
    let captured =
        runner.capture(cmd!(shell, "{docker} image inspect --format {FORMAT} {references...}"), LIMIT_SECONDS)?;
    let refused = |why: String| Stop::Broken(format!("docker image inspect {}: {why}", references.join(" ")));
    let missing = |reference: &String| {
        let told = format!("no such image: {}", reference.to_lowercase());
        captured.stderr.lines().any(|line| line.to_lowercase().ends_with(&told))
    };
    // The engine answers in the order of the question and leaves out what it does not have.
    let there: Vec<_> = references.iter().filter(|reference| !missing(reference)).collect();
    let answers: Vec<_> = captured.stdout.lines().filter(|line| !line.trim().is_empty()).collect();
    if there.len() != answers.len() || (!captured.status.success() && there.len() == references.len()) {
        return Err(refused(captured.tail()).into());
    }
    for (reference, answer) in there.into_iter().zip(answers) {
        let value: Value =
            serde_json::from_str(answer).map_err(|error| refused(format!("it printed no JSON: {error}")))?;
        found.insert(reference.clone(), Some(inspected(&value)));
    }
    Ok(found)
}

fn inspected(value: &Value) -> Inspected {
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let tags = value.get("RepoTags").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    Inspected {
        id: text("Id"),
        tags: tags.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect(),
        architecture: text("Architecture"),
        config: value.get("Config").cloned().unwrap_or(Value::Null),
    }
}
