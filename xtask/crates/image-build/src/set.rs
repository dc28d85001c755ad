//! A set of images that somebody compares, ships or looks at, wherever they come from.

use anyhow::Result;
use xshell::{Shell, cmd};
use xtask_engine::{Ready, Tool, inspect};
use xtask_outcome::Stop;
use xtask_process::RunFolder;
use xtask_workspace::{Context, ImagePackage};

use crate::image::{ImageFacts, Images};
use crate::{BuiltImage, Strategy, conformance, strategy_of};

const ENGINE_LIMIT_SECONDS: u64 = 60;

/// An image for each image package.
#[derive(Debug)]
pub struct ImageSet {
    /// What people call it: a commit, a tag, a file.
    pub name: String,
    /// The images, by name.
    pub images: Vec<BuiltImage>,
    /// The references in the engine that are there for this set alone.
    pub temporary: Vec<String>,
    /// By which a later run knows them, should this one be killed.
    pub(crate) folder: Option<RunFolder>,
}

impl ImageSet {
    /// Images that stay in the engine.
    pub fn lasting(name: String, images: Vec<BuiltImage>) -> Self {
        Self { name, images, temporary: Vec::new(), folder: None }
    }

    /// Takes away what is in the engine for this set alone.
    ///
    /// # Errors
    /// [`Stop::Broken`] names what the engine keeps.
    pub fn end(self, context: &Context, docker: &Tool) -> Result<()> {
        remove(context, docker, &self.temporary)?;
        self.folder.map_or(Ok(()), RunFolder::end)
    }
}

/// Takes references out of the engine, and with the last one of an image the image.
pub(crate) fn remove(context: &Context, docker: &Tool, references: &[String]) -> Result<()> {
    let (shell, docker, runner) = (Shell::new()?, &docker.program, context.runner.for_clean_up());
    for reference in references {
        let captured = runner.capture(cmd!(shell, "{docker} image rm {reference}"), ENGINE_LIMIT_SECONDS)?;
        // What was never made, or is gone, needs no removal.
        if !captured.status.success() && !captured.stderr.to_lowercase().contains("no such image") {
            let text = format!("{reference} is left: {}; next: docker image rm {reference}", captured.tail());
            return Err(Stop::Broken(text).into());
        }
    }
    Ok(())
}

/// Images of this workspace that are in the engine, whoever built them: the name of each package with a reference.
///
/// # Errors
/// [`Stop::Absent`] lists those that the engine does not have, [`Stop::Usage`] names one that is of another package.
pub fn given(context: &Context, ready: &Ready, references: &[(String, String)]) -> Result<Vec<BuiltImage>> {
    let wanted: Vec<_> = references.iter().map(|(_, reference)| reference.clone()).collect();
    let found = inspect(&context.runner, &ready.docker, &wanted)?;
    let missing: Vec<_> = wanted.iter().filter(|reference| found[*reference].is_none()).map(String::as_str).collect();
    if !missing.is_empty() {
        let text = format!(
            "refused: not in the engine: {}; next: `docker pull` or `docker image tag`, or name others",
            missing.join(", ")
        );
        return Err(Stop::Absent(text).into());
    }
    let images = Images::new(context, &ready.docker);
    let one = |(name, reference): &(String, String)| {
        let package = context.project.select(std::slice::from_ref(name))?[0];
        let id = found[reference].as_ref().map(|image| image.id.as_str()).unwrap_or_default();
        built(&images, package, reference, id)
    };
    references.iter().map(one).collect()
}

fn built(images: &Images<'_>, image: &ImagePackage, reference: &str, id: &str) -> Result<BuiltImage> {
    let package = &image.package;
    let other = |what: &str| Stop::Usage(format!("{reference} is not an image of {package}: {what}"));
    let mut facts = images.facts(package, id)?;
    let has_program = facts.files.iter().any(|file| file.path == format!("/{package}"));
    if !has_program {
        return Err(other(&format!("it holds no /{package}")).into());
    }
    if let Some(file) = &image.contract {
        let file = images.context.project.root.join(file);
        facts.program = Some(crate::image::given(&file).map_err(|objection| other(&objection.message))?);
    } else if facts.program.is_none() && !conformance::cannot_start(&facts) {
        facts.program = Some(images.program(package, id)?.map_err(|objection| other(&objection.message))?);
        images.keep(&facts)?;
    }
    let said = |facts: &ImageFacts| facts.program.as_ref().map(|program| program.contract["service"].clone());
    if said(&facts).is_none_or(|service| service != package.as_str()) {
        return Err(other("its program does not print that package's contract").into());
    }
    let project = &images.context.project;
    Ok(BuiltImage {
        name: image.name().to_owned(),
        package: package.clone(),
        strategy: strategy_of(project, image.name(), id).unwrap_or(Strategy::Container),
        facts,
        inputs: String::new(),
    })
}
