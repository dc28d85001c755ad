//! Does a built image hold what it is meant to hold, and nothing else? Judged from its facts: no shell in it is needed, and no
//! engine is asked.

mod golden;
mod rules;
mod secret;
#[cfg(test)]
pub(super) mod tests;

use anyhow::{Context as _, Result};

pub(super) use self::golden::Difference;
use self::golden::Golden;
use super::budget::{self, Policy};
use super::{BuiltImage, image::ImageFacts};
use crate::context::Context;
use crate::exception::{Date, Exceptions};
use crate::outcome::{Finding, Outcome, Place, Stop};
use crate::project::ImagePackage;

const GOLDEN_FOLDER: &str = "xtask/policy/images";

/// Judges images against the rules for all, their goldens and their budget. `previous` gives the facts of the build before.
pub(super) fn judge(
    context: &Context,
    built: &[BuiltImage],
    previous: impl Fn(&BuiltImage) -> Option<ImageFacts>,
    outcome: &mut Outcome,
) -> Result<()> {
    let project = &context.project;
    let text =
        std::fs::read_to_string(project.root.join(budget::FILE)).with_context(|| format!("read {}", budget::FILE))?;
    let policy = Policy::parse(&text)?;
    let mut exceptions = policy.exceptions(&text, Date::today());
    for image in built {
        let file = format!("{GOLDEN_FOLDER}/{}.toml", image.name);
        let golden = match std::fs::read_to_string(project.root.join(&file)) {
            Ok(text) => Some(Golden::parse(&text).map_err(|error| Stop::Repository(format!("{file}: {error}")))?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| format!("read {file}")),
        };
        let before = previous(image);
        if let Some(growth) = before.as_ref().and_then(|before| policy.growth(before, &image.facts)) {
            outcome.evidence(format!("growth_{}", image.name), growth);
        }
        let mut found = rules::broken(&image.facts);
        found.extend(compare(golden.as_ref(), &image.facts));
        found.extend(policy.judge(&image.name, &image.facts, before.as_ref()));
        let findings = accepted(image, found, &mut exceptions);
        if findings.iter().any(|finding| finding.place.name == file) {
            let proposal = project.out().join("images").join(format!("{}.toml", image.name));
            std::fs::write(&proposal, Golden::of(&image.facts).render())
                .with_context(|| format!("write {proposal}"))?;
        }
        outcome.findings.extend(findings);
    }
    let names: Vec<_> = built.iter().map(|image| image.name.as_str()).collect();
    outcome
        .findings
        .extend(exceptions.judge(|exception| names.contains(&exception.scope.split('/').next().unwrap_or_default())));
    outcome.findings.extend(policy.stale_limits(project.images.iter().map(ImagePackage::name)));
    outcome.checked("images conform", built.len());
    Ok(())
}

fn compare(golden: Option<&Golden>, facts: &ImageFacts) -> Vec<Difference> {
    let Some(golden) = golden else {
        let message = "there is no golden that says what may be in it".to_owned();
        return vec![Difference { rule: "image-without-golden", about: "golden".to_owned(), message }];
    };
    golden.differences(&Golden::of(facts))
}

/// What no exception accepts, as findings that say where to allow.
fn accepted(image: &BuiltImage, found: Vec<Difference>, exceptions: &mut Exceptions) -> Vec<Finding> {
    let mut findings = Vec::new();
    for Difference { rule, about, message } in found {
        let scope = format!("{}/{about}", image.name);
        if exceptions.accept(rule, &scope).is_some() {
            continue;
        }
        let name = &image.name;
        let file = format!("{GOLDEN_FOLDER}/{name}.toml");
        let (place, next_step) = match rule {
            "image-differs" | "image-unexpected-file" | "image-golden-stale" | "image-without-golden" => {
                let next = format!(
                    "mend the Dockerfile, or allow it: target/xtask/images/{name}.toml is the golden of this image; read it and copy it to {file}"
                );
                (file, next)
            }
            "image-secret" => {
                let next = format!(
                    "hand it over when the container starts or as a build secret, and rotate it: it is burnt; if it is none, accept it in {} with rule = \"{rule}\" and scope = \"{scope}\"",
                    budget::FILE
                );
                (image.package.clone() + ":local", next)
            }
            _ => {
                let next =
                    format!("mend it, or accept it in {} with rule = \"{rule}\" and scope = \"{scope}\"", budget::FILE);
                (image.package.clone() + ":local", next)
            }
        };
        findings.push(Finding {
            rule,
            place: Place::new(place),
            message: format!("{}: {message}", image.name),
            next_step,
        });
    }
    findings
}
