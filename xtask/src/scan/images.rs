//! The images to scan, as the local engine has them. From here on they are called by id: a tag may move meanwhile.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::Value;
use xshell::{Shell, cmd};

use super::policy::Owner;
use crate::build_images::BuiltImage;
use crate::context::Context;
use crate::outcome::Stop;
use crate::project::ImagePackage;
use crate::setup::bases::{self, Base};
use crate::setup::tools::Tool;

const ENGINE_LIMIT_SECONDS: u64 = 60;
const FORMAT: &str = "{{json .}}";

/// One image in the engine.
#[derive(Debug, Clone)]
pub(super) struct Image {
    /// How the report calls it: `user`, `postgres`.
    pub(super) name: String,
    /// The package of this workspace that it is made from.
    pub(super) package: Option<String>,
    pub(super) reference: String,
    pub(super) id: String,
    /// `amd64`, `arm64`.
    pub(super) architecture: String,
    /// `Config` of `docker image inspect`.
    pub(super) config: Value,
}

impl Image {
    pub(super) fn owner(&self) -> Owner {
        if self.package.is_some() { Owner::Service } else { Owner::ThirdParty }
    }
}

/// The built images of these packages and, when asked for, those of others that the stack runs beside its own; of the latter one
/// may be missing. Builder bases do not ship, so they are not among them.
///
/// # Errors
/// [`Stop::Missing`] lists all built images that are not there.
pub(super) fn of_workspace(
    context: &Context,
    docker: &Tool,
    services: &[&ImagePackage],
    with_those_beside: bool,
) -> Result<(Vec<Image>, Vec<Beside>)> {
    let mut others = bases::policy()?;
    others.retain(|_, policy| with_those_beside && policy.build_argument.is_none());
    let tags = services.iter().map(|service| service.tag());
    let references: Vec<_> =
        tags.chain(others.values().flat_map(|policy| [policy.remote.clone(), policy.local.clone()])).collect();
    // One question for all: each call of the client costs as much as a scan.
    let found = inspect(context, docker, &references)?;
    let mut images = Vec::new();
    let mut missing = Vec::new();
    for service in services {
        match &found[&service.tag()] {
            Some(found) => images.push(found.image(service.name(), Some(&service.package), &service.tag())),
            None => missing.push(service.tag()),
        }
    }
    if !missing.is_empty() {
        let text = format!("not in the local engine: {}; next: `cargo xtask build-images`", missing.join(", "));
        return Err(Stop::Missing(text).into());
    }
    let beside = others.iter().map(|(name, policy)| {
        let pulled = found[&policy.remote].as_ref().map(|found| found.image(name, None, &policy.remote));
        let made = || found[&policy.local].as_ref().map(|found| found.image(name, None, &policy.local));
        pulled.or_else(made).ok_or_else(|| {
            let why = format!("neither {} nor {} is here; next: `cargo xtask setup`", policy.remote, policy.local);
            (name.clone(), why)
        })
    });
    Ok((images, beside.collect()))
}

/// Images by any reference; one that is a service's is judged as such.
///
/// # Errors
/// [`Stop::Missing`] for one that is not in the local engine: nothing is pulled, so that a typing error never scans a
/// stranger's image.
pub(super) fn by_reference(context: &Context, docker: &Tool, references: &[String]) -> Result<Vec<Image>> {
    let found = inspect(context, docker, references)?;
    let mut images: Vec<Image> = Vec::new();
    for reference in references {
        let Some(found) = &found[reference] else {
            let text = format!("{reference} is not in the local engine; next: build or pull it, then scan it");
            return Err(Stop::Missing(text).into());
        };
        let service = context.project.images.iter().find(|service| found.tags.contains(&service.tag()));
        let image = match service {
            Some(service) => found.image(service.name(), Some(&service.package), reference),
            None => found.image(reference, None, reference),
        };
        if !images.iter().any(|known| known.name == image.name) {
            images.push(image);
        }
    }
    Ok(images)
}

/// Images that were just built, by the ids that the build gave, and the database that stands beside them.
///
/// # Errors
/// [`Stop::Missing`] when one is gone meanwhile.
pub(super) fn of_built(
    context: &Context,
    docker: &Tool,
    built: &[BuiltImage],
    postgres: &Base,
) -> Result<(Vec<Image>, Vec<Beside>)> {
    let ids: Vec<_> = built.iter().map(|image| image.facts.id.clone()).chain([postgres.id.clone()]).collect();
    let found = inspect(context, docker, &ids)?;
    let mut images = Vec::new();
    for image in built {
        let Some(found) = &found[&image.facts.id] else {
            return Err(Stop::Missing(format!("{} was built and is no longer in the engine", image.package)).into());
        };
        images.push(found.image(&image.name, Some(&image.package), &format!("{}:local", image.package)));
    }
    let gone = || ("postgres".to_owned(), format!("{} is no longer in the engine", postgres.reference));
    let beside = found[&postgres.id].as_ref().map(|found| found.image("postgres", None, &postgres.reference));
    Ok((images, vec![beside.ok_or_else(gone)]))
}

/// An image of others, or its name and why it is not here.
pub(super) type Beside = Result<Image, (String, String)>;

#[derive(Debug, Clone)]
struct Inspected {
    id: String,
    tags: Vec<String>,
    architecture: String,
    config: Value,
}

impl Inspected {
    fn image(&self, name: &str, package: Option<&str>, reference: &str) -> Image {
        Image {
            name: name.to_owned(),
            package: package.map(ToOwned::to_owned),
            reference: reference.to_owned(),
            id: self.id.clone(),
            architecture: self.architecture.clone(),
            config: self.config.clone(),
        }
    }
}

/// What the engine knows of each reference; `None` for one that it does not have.
fn inspect(context: &Context, docker: &Tool, references: &[String]) -> Result<BTreeMap<String, Option<Inspected>>> {
    let shell = Shell::new()?;
    let docker = &docker.program;
    let inspect = cmd!(shell, "{docker} image inspect --format {FORMAT} {references...}");
    let captured = context.runner.capture(inspect, ENGINE_LIMIT_SECONDS)?;
    let refused = |why: String| Stop::Missing(format!("docker image inspect {}: {why}", references.join(" ")));
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
    let mut found: BTreeMap<_, _> = references.iter().map(|reference| (reference.clone(), None)).collect();
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
