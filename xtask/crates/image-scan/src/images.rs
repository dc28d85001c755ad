//! The images to scan, as the local engine has them. From here on they are called by id: a tag may move meanwhile.

use anyhow::Result;
use serde_json::Value;

use super::policy::Owner;
use xtask_engine::Tool;
use xtask_engine::{Base, Bases};
use xtask_engine::{Inspected, inspect};
use xtask_image_build::BuiltImage;
use xtask_outcome::Stop;
use xtask_workspace::Context;
use xtask_workspace::ImagePackage;

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
/// [`Stop::Absent`] lists all built images that are not there.
pub(super) fn of_workspace(
    context: &Context,
    docker: &Tool,
    services: &[&ImagePackage],
    with_those_beside: bool,
) -> Result<(Vec<Image>, Vec<Beside>)> {
    let mut others = Bases::policy(&context.project)?;
    others.retain(|_, policy| with_those_beside && policy.build_argument.is_none());
    let tags = services.iter().map(|service| service.tag());
    let references: Vec<_> =
        tags.chain(others.values().flat_map(|policy| [policy.remote.clone(), policy.local.clone()])).collect();
    // One question for all: each call of the client costs as much as a scan.
    let found = inspect(&context.runner, docker, &references)?;
    let mut images = Vec::new();
    let mut missing = Vec::new();
    for service in services {
        match &found[&service.tag()] {
            Some(found) => images.push(Image::new(found, service.name(), Some(&service.package), &service.tag())),
            None => missing.push(service.tag()),
        }
    }
    if !missing.is_empty() {
        let text = format!("not in the local engine: {}; next: `cargo xtask build-images`", missing.join(", "));
        return Err(Stop::Absent(text).into());
    }
    let beside = others.iter().map(|(name, policy)| {
        let pulled = found[&policy.remote].as_ref().map(|found| Image::new(found, name, None, &policy.remote));
        let made = || found[&policy.local].as_ref().map(|found| Image::new(found, name, None, &policy.local));
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
/// [`Stop::Absent`] for one that is not in the local engine: nothing is pulled, so that a typing error never scans a
/// stranger's image.
pub(super) fn by_reference(context: &Context, docker: &Tool, references: &[String]) -> Result<Vec<Image>> {
    let found = inspect(&context.runner, docker, references)?;
    let mut images: Vec<Image> = Vec::new();
    for reference in references {
        let Some(found) = &found[reference] else {
            let text = format!("{reference} is not in the local engine; next: build or pull it, then scan it");
            return Err(Stop::Absent(text).into());
        };
        let service = context.project.images.iter().find(|service| found.tags.contains(&service.tag()));
        let image = match service {
            Some(service) => Image::new(found, service.name(), Some(&service.package), reference),
            None => Image::new(found, reference, None, reference),
        };
        if !images.iter().any(|known| known.name == image.name) {
            images.push(image);
        }
    }
    Ok(images)
}

/// Images that were just built, by the ids that the build gave, and the neighbours that stand beside them.
///
/// # Errors
/// [`Stop::Absent`] when one is gone meanwhile.
pub(super) fn of_built(
    context: &Context,
    docker: &Tool,
    built: &[BuiltImage],
    beside: &[(String, Base)],
) -> Result<(Vec<Image>, Vec<Beside>)> {
    let ids: Vec<_> = built
        .iter()
        .map(|image| image.facts.id.clone())
        .chain(beside.iter().map(|(_, base)| base.id.clone()))
        .collect();
    let found = inspect(&context.runner, docker, &ids)?;
    let mut images = Vec::new();
    for image in built {
        let Some(found) = &found[&image.facts.id] else {
            return Err(Stop::Absent(format!("{} was built and is no longer in the engine", image.package)).into());
        };
        images.push(Image::new(found, &image.name, Some(&image.package), &format!("{}:local", image.package)));
    }
    let beside = beside.iter().map(|(name, base)| {
        let gone = || (name.clone(), format!("{} is no longer in the engine", base.reference));
        found[&base.id].as_ref().map(|found| Image::new(found, name, None, &base.reference)).ok_or_else(gone)
    });
    Ok((images, beside.collect()))
}

/// An image of others, or its name and why it is not here.
pub(super) type Beside = Result<Image, (String, String)>;

impl Image {
    fn new(found: &Inspected, name: &str, package: Option<&str>, reference: &str) -> Self {
        Self {
            name: name.to_owned(),
            package: package.map(ToOwned::to_owned),
            reference: reference.to_owned(),
            id: found.id.clone(),
            architecture: found.architecture.clone(),
            config: found.config.clone(),
        }
    }
}
