//! `cargo xtask audit-env`: the contract that each built image prints, held against every place that sets or documents a
//! variable, and against what the image really does.

mod contracts;
mod gather;

use anyhow::Result;
use clap::Args;
use serde_json::Value;
use xtask_engine::{Ready, ready};
use xtask_env_audit::{Audit, Interface, Matrix, Policy, Selection};
use xtask_env_trial as live;
use xtask_image_build::{Build, BuiltImage};
use xtask_outcome::Outcome;
use xtask_process::put;
use xtask_workspace::Context;

use self::contracts::Audited;

const POLICY: &str = "env.toml";

/// Hold the contract of each image against every place that sets or documents a variable, and against the running image.
///
/// The places: Dockerfiles, the image, Compose with its env files, each Kubernetes overlay as kubectl renders it, .env and its
/// example, docs/deployment.md, workflow files. Without kubectl the Kubernetes base alone is read, and the report
/// says so.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cargo xtask audit-env\n  cargo xtask audit-env --static      # only compare; seconds\n  cargo xtask audit-env --write      # after a change of a variable"
)]
pub(crate) struct AuditEnv {
    /// Which images (`user` or `mini-user`); all of them when none is named.
    names: Vec<String>,
    /// Only compare the places: try no image, and build none. The contracts come from the images that are tagged `local`, else from
    /// the programs that cargo made on this machine.
    #[arg(long = "static")]
    only_static: bool,
    /// With --static: build the images first.
    #[arg(long, requires = "only_static")]
    build: bool,
    /// Regenerate .env.example and the tables in docs/deployment.md.
    #[arg(long)]
    write: bool,
}

/// What the audit does beside comparing places.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    pub(crate) selection: Selection,
    pub(crate) only_static: bool,
    pub(crate) write: bool,
    /// Put the matrices into the outcome; they are stored in any case.
    pub(crate) show_matrix: bool,
}

impl AuditEnv {
    pub(crate) fn run(&self, context: &Context, outcome: &mut Outcome) -> Result<()> {
        let selected = context.project.select(&self.names)?;
        let services = selected.iter().map(|image| image.name().to_owned()).collect();
        let ready = ready(context)?;
        let selection = Selection { services };
        let options = Options { selection, only_static: self.only_static, write: self.write, show_matrix: true };
        if self.only_static && !self.build {
            let audited = contracts::without_building(context, &ready, outcome)?;
            return hold(context, &ready, &audited, &options, outcome);
        }
        let Some(images) = outcome.step("build-images", |outcome| Build::default().run(context, &ready, outcome))?
        else {
            return Ok(());
        };
        check(context, &ready, &images, &options, outcome)
    }
}

/// `policy/env.toml`.
pub(crate) fn policy(context: &Context) -> Result<Policy> {
    let (file, text) = (context.project.policy_file(POLICY), context.project.policy(POLICY)?);
    let stack = &context.project.stack;
    let interface = Interface {
        alive: stack.probe.alive.clone(),
        ready: stack.probe.ready.clone(),
        bad_environment_exit_code: stack.probe.bad_environment_exit_code,
        schemes: stack.neighbours.iter().map(|neighbour| neighbour.scheme().to_owned()).collect(),
    };
    Ok(Policy::parse(file.as_str(), &text)?.with(interface))
}

/// Audits the given images. What the places disagree about is found whether or not the images can be tried.
pub(crate) fn check(
    context: &Context,
    ready: &Ready,
    images: &[BuiltImage],
    options: &Options,
    outcome: &mut Outcome,
) -> Result<()> {
    for image in images.iter().filter(|image| image.facts.program.is_none()) {
        outcome.unchecked(
            format!("the contract of {}", image.name),
            "its image cannot be started, see the findings about it",
        );
    }
    let audited: Vec<_> = images.iter().map(Audited::from).collect();
    hold(context, ready, &audited, options, outcome)
}

/// Holds the contracts against the places and, where that is asked for, against what the images do.
fn hold(context: &Context, ready: &Ready, images: &[Audited], options: &Options, outcome: &mut Outcome) -> Result<()> {
    context.runner.progress().now("compares the places that set or document a variable");
    outcome.evidence.extend(ready.evidence());
    let policy = policy(context)?;
    let mut places = gather::places(context, ready, images, &policy)?;
    if !places.is_whole() {
        let why = "they are made of all contracts and the Compose file, and not all of these could be read";
        outcome.unchecked("the generated parts of .env.example and docs/deployment.md", why);
    }
    if options.write && !places.is_whole() {
        outcome.evidence("written", "nothing: not all that it is made of could be read");
    } else if options.write {
        let mut written = Vec::new();
        for (file, text) in places.regenerated(&policy)? {
            put(&context.project.root.join(file), text)?;
            written.push(Value::from(file));
        }
        outcome.evidence("written", written);
    }
    let mut audit = Audit::of_places(&places, &policy);
    let mut tried = false;
    let mut live = Ok(());
    if options.only_static {
        outcome.evidence("live", "off: --static");
    } else {
        let mut part = Outcome::default();
        live = part
            .step("containers", |outcome| live::check(context, ready, &policy, &mut audit, &options.selection, outcome))
            .map(|done| tried = done.is_some());
        outcome.checked.append(&mut part.checked);
        outcome.failures.append(&mut part.failures);
        outcome.unchecked.append(&mut part.unchecked);
        outcome.steps.append(&mut part.steps);
        outcome.evidence.extend(part.evidence.remove("containers").map(|live| ("live".to_owned(), live)));
    }
    let matrices = audit.report(&options.selection, tried, outcome);
    store(context, &matrices)?;
    outcome.evidence("matrix", Matrix::evidence(&matrices));
    if options.show_matrix {
        matrices.iter().map(Matrix::table).for_each(|table| outcome.table(table));
    }
    live
}

/// The matrices as files, beside the report.
fn store(context: &Context, matrices: &[Matrix]) -> Result<()> {
    let folder = context.project.out().join("audit");
    let markdown: Vec<_> = matrices.iter().map(Matrix::markdown).collect();
    let text: Vec<_> = matrices.iter().map(Matrix::text).collect();
    let json = matrices.iter().map(|matrix| (matrix.service.clone(), matrix.json())).collect();
    put(&folder.join("matrix.json"), Value::Object(json).to_string())?;
    put(&folder.join("matrix.md"), markdown.join("\n"))?;
    put(&folder.join("matrix.txt"), text.join("\n"))
}
