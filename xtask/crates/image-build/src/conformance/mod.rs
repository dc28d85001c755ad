//! Does a built image hold what it is meant to hold, and nothing else? Judged from its facts: no shell in it is needed, and no
//! engine is asked.

mod golden;
mod rules;
#[cfg(test)]
pub(super) mod tests;

use anyhow::{Context as _, Result};
use camino::Utf8PathBuf;
use xtask_outcome::{Date, Exception, Exceptions, Finding, Outcome, Place, Stop, Table};
use xtask_workspace::{ImagePackage, Project};

use self::golden::Golden;
pub(super) use self::rules::{cannot_start, other_labels};
use crate::BuiltImage;
use crate::budget::{self, Policy};
use crate::image::{ImageFacts, interface_next_step};
use crate::objection::Objection;
use crate::plan::ImagePlan;

const GOLDEN_FOLDER: &str = "images";
/// The instruction that decides about each part of an image, for the line of a finding.
const INSTRUCTIONS: [(&str, &str); 8] = [
    ("user", "USER"),
    ("entrypoint", "ENTRYPOINT"),
    ("healthcheck", "HEALTHCHECK"),
    ("labels", "LABEL"),
    ("environment", "ENV"),
    ("ports", "EXPOSE"),
    ("volumes", "VOLUME"),
    ("command", "CMD"),
];

/// Judges images against the rules for all, their goldens and their budget. `objections` is what came out when an image was
/// proved, and `previous` gives the facts of the build before.
pub(super) fn judge(
    project: &Project,
    built: &[BuiltImage],
    mut objections: impl FnMut(&BuiltImage) -> Vec<Objection>,
    previous: impl Fn(&BuiltImage) -> Option<ImageFacts>,
    outcome: &mut Outcome,
) -> Result<()> {
    let (policy, text) = budget(project)?;
    let mut exceptions = policy.exceptions(&text, Date::today());
    let mut table = Table::new("images", &["image", "#size", "#limit", "#since the build before"]);
    let mut shown = crate::evidence(built);
    for (image, shown) in built.iter().zip(shown.as_array_mut().into_iter().flatten()) {
        let file = golden_file(project, &image.name);
        let golden = match std::fs::read_to_string(project.root.join(&file)) {
            Ok(text) => Some(Golden::parse(&text).map_err(|error| Stop::Repository(format!("{file}: {error}")))?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| format!("read {file}")),
        };
        let before = previous(image);
        if let Some(growth) = before.as_ref().and_then(|before| policy.growth(before, &image.facts)) {
            outcome.evidence(format!("growth_{}", image.name), growth);
        }
        if let Some(shown) = shown.as_object_mut() {
            shown.extend(policy.sizes(&image.name, &image.facts, before.as_ref()));
        }
        let mut found = objections(image);
        found.extend(rules::broken(&image.facts));
        found.extend(compare(golden.as_ref(), &image.facts));
        found.extend(policy.judge(&image.name, &image.facts, before.as_ref()));
        table.row(policy.row(&image.name, &image.facts, before.as_ref()));
        let judgement = Judgement { project, image, golden: file.as_str(), policy: &policy.file };
        let findings = judgement.accepted(found, &mut exceptions);
        if findings.iter().any(|finding| finding.place.name == file) {
            let proposal = project.out().join("images").join(format!("{}.toml", image.name));
            xtask_process::put(&proposal, Golden::of(&image.facts).render())?;
        }
        outcome.findings.extend(findings);
    }
    outcome.evidence("images", shown);
    // One about an image that this run left alone may be needed; one about no image at all is not.
    let left_alone = |name: &str| {
        project.images.iter().any(|image| image.name() == name) && !built.iter().any(|image| image.name == name)
    };
    let examined = |exception: &Exception| !left_alone(exception.scope.split('/').next().unwrap_or_default());
    outcome.findings.extend(exceptions.judge(examined));
    outcome.table(table);
    outcome.checked("images conform", built.len());
    Ok(())
}

/// Goldens and limits of images that do not exist (any more). No image has to be there to find them.
pub(super) fn stale(project: &Project) -> Result<Vec<Finding>> {
    let mut found = budget(project)?.0.stale_limits(project.images.iter().map(ImagePackage::name));
    found.extend(stale_goldens(project));
    Ok(found)
}

/// Planned images without a golden or a limit, for a run that builds none of them.
pub(super) fn missing(project: &Project, planned: &[ImagePlan]) -> Result<Vec<Finding>> {
    let (policy, _) = budget(project)?;
    let mut found = Vec::new();
    for ImagePlan { name, .. } in planned {
        let next_step = format!("`cargo xtask build-images {name}` measures it, and writes what would be its golden");
        let mut add = |rule, place: &str, what: &str| {
            let message = format!("{name}: there is no {what} that says what it may be");
            found.push(Finding { rule, place: Place::new(place), message, next_step: next_step.clone() });
        };
        let golden = golden_file(project, name);
        if !project.root.join(&golden).is_file() {
            add("image-without-golden", golden.as_str(), "golden");
        }
        if !policy.has_limit(name) {
            add("image-without-limit", &policy.file, "limit");
        }
    }
    Ok(found)
}

/// `policy/images.toml`, and its text.
fn budget(project: &Project) -> Result<(Policy, String)> {
    let text = project.policy(budget::FILE)?;
    Ok((Policy::parse(project.policy_file(budget::FILE).as_str(), &text)?, text))
}

fn golden_file(project: &Project, name: &str) -> Utf8PathBuf {
    project.policy_file(GOLDEN_FOLDER).join(format!("{name}.toml"))
}

/// A golden of an image that does not exist (any more).
fn stale_goldens(project: &Project) -> Vec<Finding> {
    let folder = project.policy_file(GOLDEN_FOLDER);
    let entries = project.root.join(&folder).read_dir_utf8().into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().strip_suffix(".toml").map(ToOwned::to_owned));
    let mut stale: Vec<_> = names.filter(|name| !project.images.iter().any(|image| image.name() == name)).collect();
    stale.sort();
    let finding = |name: String| Finding {
        rule: "image-golden-stale",
        place: Place::new(folder.join(format!("{name}.toml"))),
        message: format!("there is no image `{name}` in this workspace"),
        next_step: "delete the file".to_owned(),
    };
    stale.into_iter().map(finding).collect()
}

fn compare(golden: Option<&Golden>, facts: &ImageFacts) -> Vec<Objection> {
    let Some(golden) = golden else {
        return vec![Objection::new(
            "image-without-golden",
            "golden",
            "there is no golden that says what may be in it",
        )];
    };
    golden.differences(&Golden::of(facts))
}

/// What turns objections to one image into findings.
struct Judgement<'a> {
    project: &'a Project,
    image: &'a BuiltImage,
    golden: &'a str,
    policy: &'a str,
}

impl Judgement<'_> {
    /// What no exception accepts, as findings that say where to allow.
    fn accepted(&self, found: Vec<Objection>, exceptions: &mut Exceptions) -> Vec<Finding> {
        let mut findings = Vec::new();
        for Objection { rule, about, message } in found {
            let scope = format!("{}/{about}", self.image.name);
            if exceptions.accept(rule, &scope).is_some() {
                continue;
            }
            let (place, next_step) = self.place_and_next_step(rule, &about, &scope);
            let message = format!("{}: {message}", self.image.name);
            findings.push(Finding { rule, place, message, next_step });
        }
        findings
    }

    fn place_and_next_step(&self, rule: &str, about: &str, scope: &str) -> (Place, String) {
        let (name, policy) = (&self.image.name, self.policy);
        let accept = format!("accept it in {policy} with rule = \"{rule}\" and scope = \"{scope}\"");
        match rule {
            "image-differs" | "image-unexpected-file" | "image-golden-stale" | "image-without-golden" => {
                let golden = self.golden;
                let measured = self.project.from_root(&self.project.out().join(format!("images/{name}.toml")));
                let next = format!(
                    "fix the Dockerfile, or allow it: {measured} is the golden of this image; read it and copy it to {golden}"
                );
                (Place::new(golden), next)
            }
            "image-secret" => {
                let next = format!(
                    "pass it when the container starts or as a build secret, and rotate it: whoever has the image has it; if it is not a secret, {accept}"
                );
                (self.in_dockerfile(about), next)
            }
            "image-interface" => (self.in_dockerfile(about), interface_next_step()),
            "image-other-program" => {
                let next = format!(
                    "`cargo xtask build-images {name} --no-cache`; if that does not help, report a bug of xtask"
                );
                (self.in_dockerfile(about), next)
            }
            _ => (self.in_dockerfile(about), format!("fix it, or {accept}")),
        }
    }

    /// The Dockerfile, with the line of the last instruction that decides about a part of the image.
    fn in_dockerfile(&self, about: &str) -> Place {
        let Some(package) = self.project.images.iter().find(|image| image.name() == self.image.name) else {
            return Place::new(self.image.package.as_str());
        };
        let file = package.folder.join("Dockerfile");
        let part = about.split('/').next().unwrap_or_default();
        let instruction = INSTRUCTIONS.iter().find(|(name, _)| *name == part).map(|(_, instruction)| *instruction);
        let text = std::fs::read_to_string(self.project.root.join(&file)).unwrap_or_default();
        let is_it = |line: &str| {
            line.split_whitespace().next().is_some_and(|word| Some(word.to_uppercase().as_str()) == instruction)
        };
        let line = text.lines().collect::<Vec<_>>().into_iter().rposition(is_it);
        Place { name: file.into_string(), line: line.and_then(|index| u32::try_from(index + 1).ok()) }
    }
}
