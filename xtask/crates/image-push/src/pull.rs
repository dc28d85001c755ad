//! The images of a lock, back from their registry.

use anyhow::Result;
use camino::Utf8Path;
use xshell::{Shell, cmd};
use xtask_engine::{Ready, inspect};
use xtask_image_build::{ImageSet, given};
use xtask_outcome::Stop;
use xtask_workspace::Context;

use crate::lock::Lock;

const PULL_LIMIT_SECONDS: u64 = 1800;

/// Pulls what a lock names, by digest. What the engine did not have before goes with [`ImageSet::end`].
///
/// # Errors
/// [`Stop::Absent`] without the lock, [`Stop::Usage`] when it is one of other packages, [`Stop::Broken`] when the registry does
/// not have what it names.
pub fn of_lock(context: &Context, ready: &Ready, file: &Utf8Path) -> Result<ImageSet> {
    let lock = Lock::read(file)?;
    let references = references(&lock, context, file)?;
    let wanted: Vec<_> = references.iter().map(|(_, reference)| reference.clone()).collect();
    let here = inspect(&context.runner, &ready.docker, &wanted)?;
    let temporary: Vec<_> = wanted.into_iter().filter(|reference| here[reference].is_none()).collect();
    let mut set = ImageSet::lasting(file.to_string(), Vec::new());
    let pulled = pull(context, ready, &temporary, &mut set.temporary);
    match pulled.and_then(|()| given(context, ready, &references)) {
        Ok(images) => {
            set.images = images;
            Ok(set)
        }
        Err(error) => {
            // The first error stays in front.
            if let Err(second) = set.end(context, &ready.docker) {
                context.runner.progress().say(&format!("{second:#}"));
            }
            Err(error)
        }
    }
}

/// Each image package with the reference that the lock has for it.
fn references(lock: &Lock, context: &Context, file: &Utf8Path) -> Result<Vec<(String, String)>, Stop> {
    let mut references = Vec::new();
    let mut missing = Vec::new();
    for image in &context.project.images {
        match lock.images.values().find(|locked| locked.package == image.package) {
            Some(locked) => references.push((image.name().to_owned(), locked.reference.clone())),
            None => missing.push(image.package.as_str()),
        }
    }
    if missing.is_empty() {
        return Ok(references);
    }
    let has: Vec<_> = lock.images.values().map(|locked| locked.package.as_str()).collect();
    let text = format!("{file} has no image of {}; it has {}", missing.join(", "), has.join(", "));
    Err(Stop::Usage(text))
}

/// Notes each reference once it is there.
fn pull(context: &Context, ready: &Ready, references: &[String], pulled: &mut Vec<String>) -> Result<()> {
    let (shell, docker) = (Shell::new()?, &ready.docker.program);
    for reference in references {
        context.runner.progress().now(&format!("pulls {reference}"));
        // Noted first: a pull that is cut off may have made it.
        pulled.push(reference.clone());
        let captured = context.runner.capture(cmd!(shell, "{docker} pull --quiet {reference}"), PULL_LIMIT_SECONDS)?;
        if !captured.status.success() {
            let host = reference.split('/').next().unwrap_or_default();
            let text = format!(
                "pull {reference}: {}; next: `docker login {host}` if it asks for credentials",
                captured.tail()
            );
            return Err(Stop::Broken(text).into());
        }
    }
    Ok(())
}
