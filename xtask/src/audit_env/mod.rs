//! `cargo xtask audit-env`: the contract that each built image prints, held against every place that sets or documents a
//! variable, and against what the image really does.

#[cfg(test)]
mod cases;
#[cfg(test)]
mod cases_kubernetes;
mod compose;
mod contract;
mod dockerfile;
mod env_file;
mod example;
mod gather;
mod image_user;
pub(crate) mod kubernetes;
pub(crate) mod live;
mod matrix;
#[cfg(test)]
mod mutations;
mod nearest;
pub(crate) mod places;
pub(crate) mod policy;
mod rules;
mod tables;
pub(crate) mod template;
mod value_type;
mod view;
mod yaml;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::{Map, Value};

use self::matrix::Matrix;
use self::places::Places;
use self::policy::Policy;
use self::view::{Findings, View};
use crate::build_images::{BuildImages, BuiltImage};
use crate::context::Context;
use crate::outcome::{Outcome, Stop};
use crate::setup::{self, Ready};

/// Hold the contract of each image against every place that sets or documents a variable, and against the running image.
///
/// The places: Dockerfiles, the image, Compose with its env files, each Kubernetes overlay as kubectl renders it, .env and its
/// example, docs/deployment.md, workflow files. Without kubectl the Kubernetes base alone is read, and that is said.
#[derive(Debug, Args)]
pub(crate) struct AuditEnv {
    /// Which images (`user` or `mini-user`); all of them when none is named.
    names: Vec<String>,
    /// Start no container; only compare the places.
    #[arg(long = "static")]
    only_static: bool,
    /// Write .env.example and the tables in docs/deployment.md anew.
    #[arg(long)]
    write: bool,
}

/// What the audit does beside comparing places.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    /// The services to judge; all when empty.
    pub(crate) services: Vec<String>,
    pub(crate) only_static: bool,
    pub(crate) write: bool,
    /// Put the matrices into the outcome; they are stored in any case.
    pub(crate) show_matrix: bool,
}

impl Options {
    fn is_selected(&self, service: &str) -> bool {
        self.services.is_empty() || self.services.iter().any(|one| one == service)
    }
}

impl AuditEnv {
    pub(crate) fn run(&self, context: &Context) -> Result<Outcome> {
        let selected = context.project.select(&self.names)?;
        let services = selected.iter().map(|image| image.name().to_owned()).collect();
        let ready = setup::ready(context)?;
        let (_, images) = BuildImages::all().build(context, &ready)?;
        let options = Options { services, only_static: self.only_static, write: self.write, show_matrix: true };
        check(context, &ready, &images, &options)
    }
}

/// Audits the given images.
pub(crate) fn check(context: &Context, ready: &Ready, images: &[BuiltImage], options: &Options) -> Result<Outcome> {
    eprintln!(
        "audit-env: compare the places (2 s){}",
        if options.only_static { "" } else { ", then try each new image (20 s)" }
    );
    let policy = Policy::load()?;
    let mut places = gather::places(context, ready, images, &policy)?;
    let mut outcome = Outcome::default();
    if options.write {
        let written = write(context, &mut places, &policy)?;
        outcome.evidence("written", written);
    }
    let view = View::new(&places, &policy);
    let mut findings = rules::check(&view);
    if options.only_static {
        outcome.evidence("live", "off: --static");
    } else {
        let is_selected = |service: &str| options.is_selected(service);
        live::check(context, ready, &view, images, &is_selected, &mut findings, &mut outcome)?;
    }
    report(&view, findings, options, context, &mut outcome)?;
    outcome.evidence.extend(ready.evidence());
    Ok(outcome)
}

/// Makes the generated files anew and gives the names of those that changed.
fn write(context: &Context, places: &mut Places, policy: &Policy) -> Result<Vec<String>> {
    let view = View::new(places, policy);
    let example = example::render(&view);
    let document = places.document.as_deref().and_then(|document| tables::rewrite(document, &view));
    let document = document.ok_or_else(|| {
        let text = format!(
            "{} has no lines `{}` and `{}`; next: put them where the tables belong",
            gather::DOCUMENT,
            tables::BEGIN,
            tables::END
        );
        Stop::Repository(text)
    })?;
    let mut written = Vec::new();
    let root = &context.project.root;
    if places.example.as_deref() != Some(example.as_bytes()) {
        std::fs::write(root.join(gather::EXAMPLE), &example).context("write .env.example")?;
        written.push(gather::EXAMPLE.to_owned());
    }
    if places.document.as_ref() != Some(&document) {
        std::fs::write(root.join(gather::DOCUMENT), &document).context("write docs/deployment.md")?;
        written.push(gather::DOCUMENT.to_owned());
    }
    places.example = Some(example.into_bytes());
    places.document = Some(document);
    Ok(written)
}

fn report(
    view: &View<'_>,
    findings: Findings,
    options: &Options,
    context: &Context,
    outcome: &mut Outcome,
) -> Result<()> {
    let is_selected = |service: &str| options.is_selected(service);
    let is_ours = |service: &str| view.places.images.iter().any(|image| image.service == service);
    let mut exceptions = view.policy.exceptions();
    for found in findings.found {
        // What is about no service of ours (a database, a whole file) is always of interest.
        let is_about_another =
            found.service.as_deref().is_some_and(|service| is_ours(service) && !is_selected(service));
        let is_accepted = exceptions.accept(found.finding.rule, &found.scope).is_some();
        if !is_about_another && !is_accepted {
            outcome.findings.push(found.finding);
        }
    }
    // A part of an audit cannot call an exception unneeded.
    let is_whole = !options.only_static && view.places.images.iter().all(|image| is_selected(&image.service));
    outcome.findings.extend(exceptions.judge(|_| is_whole));
    let notes: Vec<_> = findings.notes.into_iter().chain(exceptions.ending_soon()).collect();
    if !notes.is_empty() {
        outcome.evidence("notes", notes);
    }
    let images = || view.places.images.iter().filter(|image| is_selected(&image.service));
    let matrices: Vec<_> = images().map(|image| Matrix::of(view, image)).collect();
    store(context, &matrices)?;
    if options.show_matrix {
        let shown: Map<_, Value> = matrices.iter().map(|matrix| (matrix.service.clone(), matrix.lines())).collect();
        outcome.evidence("matrix", shown);
    }
    outcome.checked("contracts", images().count());
    outcome.checked("variables", images().map(|image| image.contract.variables.len()).sum());
    outcome.checked("settings", view.deployments().map(|(_, deployment)| deployment.settings.len()).sum());
    for (what, reason) in &view.places.unread {
        outcome.unchecked(what, reason);
    }
    outcome.checked("Kubernetes renderings", view.clusters.len());
    let texts = view.places.dockerfiles.len()
        + view.places.workflows.len()
        + view.places.compose.len()
        + view.places.kubernetes.len();
    let files = usize::from(view.example.is_some())
        + usize::from(view.env.is_some())
        + usize::from(view.places.document.is_some());
    outcome.checked("places", texts + files + 2 * view.places.images.len());
    Ok(())
}

/// The matrices as files, beside the report.
fn store(context: &Context, matrices: &[Matrix]) -> Result<()> {
    let folder = context.project.out().join("audit");
    std::fs::create_dir_all(&folder).with_context(|| format!("create {folder}"))?;
    let markdown: Vec<_> = matrices.iter().map(Matrix::markdown).collect();
    let text: Vec<_> = matrices.iter().map(Matrix::text).collect();
    let json: Map<_, _> = matrices.iter().map(|matrix| (matrix.service.clone(), matrix.json())).collect();
    std::fs::write(folder.join("matrix.json"), Value::Object(json).to_string()).context("write the matrix")?;
    std::fs::write(folder.join("matrix.md"), markdown.join("\n")).context("write the matrix")?;
    std::fs::write(folder.join("matrix.txt"), text.join("\n")).context("write the matrix")
}
