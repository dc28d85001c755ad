//! Where the contracts come from: the images of this build, or, where nothing is to be built, what is there already.

use anyhow::Result;
use camino::Utf8PathBuf;
use serde_json::{Map, Value};
use xshell::{Shell, cmd};
use xtask_engine::{Inspected, OneShot, Ready, inspect};
use xtask_image_build::BuiltImage;
use xtask_outcome::{Outcome, Stop};
use xtask_workspace::Context;

/// A program that only prints must end long before this.
const PROGRAM_LIMIT_SECONDS: u64 = 20;
const REVISION_LABEL: &str = "org.opencontainers.image.revision";
/// Where cargo puts a developer's own programs, in its target directory; the newest counts.
const HOST_FOLDERS: [&str; 2] = ["debug", "release"];
const ID_LETTERS: usize = 19;

/// One service whose contract is held against the places.
pub(super) struct Audited {
    /// `user`.
    pub(super) name: String,
    /// `mini-user`.
    pub(super) package: String,
    /// The id of its image; empty for a program of the host's.
    pub(super) id: String,
    /// The image's configuration; null for a program of the host's.
    pub(super) config: Value,
    /// What it prints for `env --format json`.
    pub(super) contract: Option<Value>,
}

impl From<&BuiltImage> for Audited {
    fn from(image: &BuiltImage) -> Self {
        Self {
            name: image.name.clone(),
            package: image.package.clone(),
            id: image.facts.id.clone(),
            config: image.facts.config.clone(),
            contract: image.facts.program.as_ref().map(|program| program.contract.clone()),
        }
    }
}

/// The contracts of the images that are tagged `local`, else of the programs that cargo made on this machine. Nothing is built; a
/// service that has neither is not checked.
pub(super) fn without_building(context: &Context, ready: &Ready, outcome: &mut Outcome) -> Result<Vec<Audited>> {
    let images = &context.project.images;
    let tag = |package: &str| format!("{package}:local");
    let tags: Vec<_> = images.iter().map(|image| tag(&image.package)).collect();
    let mut known = inspect(&context.runner, &ready.docker, &tags)?;
    let (mut audited, mut origins) = (Vec::new(), Map::new());
    for image in images {
        let (name, package) = (image.name().to_owned(), image.package.clone());
        let tag = tag(&package);
        let mut one = Audited { name, package, id: String::new(), config: Value::Null, contract: None };
        let inspected = known.remove(&tag).flatten();
        if let Some(file) = &image.contract {
            let given = std::fs::read_to_string(context.project.root.join(file)).map_err(|error| error.to_string());
            let given = given.and_then(|text| serde_json::from_str(&text).map_err(|error| error.to_string()));
            let stop = |why| Stop::Repository(format!("the contract of {}, {file}, cannot be read: {why}", one.name));
            one.contract = Some(given.map_err(stop)?);
            origins.insert(one.name.clone(), file.as_str().into());
            if let Some(inspected) = inspected {
                one.id = inspected.id;
                one.config = inspected.config;
            }
            audited.push(one);
            continue;
        }
        let origin = match inspected {
            Some(inspected) => of_image(context, ready, &tag, inspected, &mut one),
            None => of_host(context, &mut one),
        };
        match origin {
            Ok(origin) => {
                context.runner.progress().detail(&format!("the contract of {} comes from {origin}", one.name));
                origins.insert(one.name.clone(), origin.into());
            }
            Err(why) => {
                let next = format!("cargo xtask build-images {0}, or cargo xtask audit-env --static --build", one.name);
                outcome.unchecked(format!("the contract of {}", one.name), format!("{why}; next: {next}"));
            }
        }
        audited.push(one);
    }
    outcome.evidence("contracts_from", origins);
    Ok(audited)
}

fn of_image(
    context: &Context,
    ready: &Ready,
    tag: &str,
    inspected: Inspected,
    one: &mut Audited,
) -> Result<String, String> {
    let printed = ask(context, ready, &inspected.id).map_err(|error| format!("{tag} does not print it: {error:#}"))?;
    one.contract = Some(serde_json::from_str(&printed).map_err(|error| format!("{tag} prints no JSON: {error}"))?);
    let (id, revision) = (inspected.id.chars().take(ID_LETTERS).collect::<String>(), inspected.label(REVISION_LABEL));
    let revision = if revision.is_empty() { "unknown" } else { revision };
    let origin = format!("the image {tag} ({id}, revision {revision}), which was not rebuilt");
    one.id = inspected.id;
    one.config = inspected.config;
    Ok(origin)
}

fn ask(context: &Context, ready: &Ready, id: &str) -> Result<String> {
    let (shell, docker) = (Shell::new()?, &ready.docker.program);
    let container = OneShot::new(context, &ready.docker, "contract")?;
    let own = container.arguments();
    let run = cmd!(
        shell,
        "{docker} run --rm {own...} --network none --read-only --cap-drop ALL --security-opt no-new-privileges {id} env --format json"
    );
    container.read(run, PROGRAM_LIMIT_SECONDS)
}

fn of_host(context: &Context, one: &mut Audited) -> Result<String, String> {
    let (tag, package) = (format!("{}:local", one.package), &one.package);
    let project = &context.project;
    let modified = |file: &Utf8PathBuf| std::fs::metadata(file).and_then(|facts| facts.modified()).ok();
    let folders = HOST_FOLDERS.map(|folder| project.target.join(folder));
    let programs = folders.iter().map(|folder| folder.join(package));
    let Some(full) = programs.filter(|file| modified(file).is_some()).max_by_key(modified) else {
        let folders = folders.map(|folder| project.from_root(&folder)).join(" or ");
        return Err(format!("there is no image {tag} and no program {package} in {folders}"));
    };
    let program = project.from_root(&full);
    let printed = Shell::new().map_err(anyhow::Error::from).and_then(|shell| {
        context.runner.read(cmd!(shell, "{full} env --format json").env_clear(), PROGRAM_LIMIT_SECONDS)
    });
    let printed = printed.map_err(|error| format!("{program} does not print it: {error:#}"))?;
    one.contract = Some(serde_json::from_str(&printed).map_err(|error| format!("{program} prints no JSON: {error}"))?);
    Ok(format!("the program {program}, without its image's configuration"))
}
