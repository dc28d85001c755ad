//! One audit, from the places to the outcome.

use serde_json::{Map, Value, json};
use xtask_outcome::{Finding, Outcome, Place, Stop};

use crate::files::{DOCUMENT, EXAMPLE};
use crate::live::{Observation, Plan};
use crate::matrix::Matrix;
use crate::places::ImagePlace;
use crate::view::{Findings, Found, View};
use crate::{Places, Policy, example, live, rules, tables};

/// Before the other places of a secret.
const ALSO: &str = "; also in ";

/// Which services are judged.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Their names; all when empty.
    pub services: Vec<String>,
}

impl Selection {
    /// Whether a service is judged.
    pub fn contains(&self, service: &str) -> bool {
        self.services.is_empty() || self.services.iter().any(|one| one == service)
    }
}

/// One audit: what was found so far, and what is needed to find more.
pub struct Audit<'a> {
    view: View<'a>,
    findings: Findings,
}

impl<'a> Audit<'a> {
    /// Compares the places with each other.
    pub fn of_places(places: &'a Places, policy: &'a Policy) -> Self {
        let view = View::new(places, policy);
        let findings = rules::check(&view);
        Self { view, findings }
    }

    /// Which containers are to be started to try each image. A variable of which no good value is known is a finding, and its
    /// image has no plan.
    pub fn plans(&mut self) -> Vec<Plan> {
        live::plans(&self.view, &mut self.findings)
    }

    /// What is known of an image.
    pub fn image(&self, service: &str) -> Option<&'a ImagePlace> {
        self.view.places.images.iter().find(|image| image.service == service)
    }

    /// Whether nothing is wrong with what an image's containers did.
    pub fn is_fine(&self, service: &str, observations: &[Observation]) -> bool {
        let mut findings = Findings::default();
        if let Some(image) = self.image(service) {
            live::judge(image, observations, self.refused(), &mut findings);
        }
        findings.found.is_empty()
    }

    fn refused(&self) -> i64 {
        self.view.policy.interface.bad_environment_exit_code
    }

    /// Judges what an image's containers did.
    pub fn observed(&mut self, service: &str, observations: &[Observation]) {
        if let Some(image) = self.image(service) {
            live::judge(image, observations, self.refused(), &mut self.findings);
        }
    }

    /// Puts everything that was found into the outcome, but for what is accepted in writing. `tried` says whether the images
    /// were tried, too: a part of an audit cannot call an exception unneeded.
    pub fn report(self, selection: &Selection, tried: bool, outcome: &mut Outcome) -> Vec<Matrix> {
        let Self { view, findings } = self;
        let is_ours = |service: &str| view.places.images.iter().any(|image| image.service == service);
        let mut exceptions = view.policy.exceptions();
        let mut reported = Vec::new();
        for found in findings.found {
            // What is about no service of ours (a database, a whole file) is always of interest.
            let is_about_another =
                found.service.as_deref().is_some_and(|service| is_ours(service) && !selection.contains(service));
            let is_accepted = exceptions.accept(found.finding.rule, &found.scope).is_some();
            if !is_about_another && !is_accepted {
                reported.push(found);
            }
        }
        outcome.findings.extend(one_for_each_cause(reported));
        let is_whole = tried && view.places.images.iter().all(|image| selection.contains(&image.service));
        outcome.findings.extend(exceptions.judge(|_| is_whole));
        findings.notes.into_iter().chain(exceptions.ending_soon()).for_each(|note| outcome.note(note));
        let images = || view.places.images.iter().filter(|image| selection.contains(&image.service));
        count(&view, images(), outcome);
        images().map(|image| Matrix::of(&view, image)).collect()
    }
}

/// One secret is one finding, and so is one variable that the document is behind with; each with all its places. An exception is for
/// one place, so this comes after the exceptions.
fn one_for_each_cause(reported: Vec<Found>) -> Vec<Finding> {
    let mut findings: Vec<(Option<String>, Finding)> = Vec::new();
    for found in reported {
        let cause = cause(&found);
        let finding = found.finding;
        match findings.iter_mut().find(|(known, _)| cause.is_some() && *known == cause) {
            Some((_, known)) if finding.rule.starts_with("secret-") => also_there(known, &finding.place),
            Some((_, known)) => {
                let line = finding.place.line.map(|line| format!(" (line {line})")).unwrap_or_default();
                known.message += &format!("; {}{line}", finding.message);
            }
            None => findings.push((cause, finding)),
        }
    }
    findings.into_iter().map(|(_, finding)| finding).collect()
}

/// What several findings may have in common: a secret, or a variable in the rows of the document.
fn cause(found: &Found) -> Option<String> {
    let (_, variable) = found.scope.rsplit_once('/')?;
    if found.finding.rule.starts_with("secret-") {
        return Some(format!("{} {variable}", found.finding.rule));
    }
    let (_, variable) = found.scope.strip_prefix(DOCUMENT)?.strip_prefix('/')?.split_once('/')?;
    Some(format!("{DOCUMENT} {variable}"))
}

fn also_there(known: &mut Finding, place: &Place) {
    if known.place == *place {
        return;
    }
    let place = place.to_string();
    if !known.message.split([' ', ',']).any(|word| word == place) {
        known.message += if known.message.contains(ALSO) { ", " } else { ALSO };
        known.message += &place;
    }
}

fn count<'p>(view: &View<'_>, images: impl Iterator<Item = &'p ImagePlace> + Clone, outcome: &mut Outcome) {
    outcome.checked("contracts", images.clone().count());
    outcome.checked("variables", images.map(|image| image.contract.variables.len()).sum());
    outcome.checked("settings", view.deployments().map(|(_, deployment)| deployment.settings.len()).sum());
    for (what, reason) in &view.places.unread {
        outcome.unchecked(what, reason);
    }
    outcome.checked("Kubernetes renderings", view.clusters.len());
    let places = view.places;
    let texts = places.dockerfiles.len() + places.workflows.len() + places.compose.len() + places.kubernetes.len();
    let files = [view.example.is_some(), view.env.is_some(), places.document.is_some()];
    let files = files.into_iter().filter(|is_there| *is_there).count();
    outcome.checked("places", texts + files + 2 * places.images.len());
}

/// The matrices by service, as the report shows them.
impl Matrix {
    /// Several matrices, by service: the places, and a cell for each of them by variable.
    pub fn evidence(matrices: &[Self]) -> Map<String, Value> {
        let one = |matrix: &Self| {
            let variables: Map<_, _> = matrix.rows.iter().map(|(name, cells)| (name.clone(), json!(cells))).collect();
            (matrix.service.clone(), json!({ "places": matrix.places, "variables": variables }))
        };
        matrices.iter().map(one).collect()
    }
}

impl Places {
    /// Regenerates what is written from the contracts: gives the path and the new text of each file that changes.
    ///
    /// # Errors
    /// [`Stop::Repository`] when the document has no place for the tables.
    pub fn regenerated(&mut self, policy: &Policy) -> Result<Vec<(&'static str, String)>, Stop> {
        let view = View::new(self, policy);
        let example = example::render(&view);
        let document = self.document.clone().unwrap_or_else(tables::empty_document);
        let document = tables::rewrite(&document, &view);
        let document = document.ok_or_else(|| {
            let (begin, end) = (tables::BEGIN, tables::END);
            Stop::Repository(format!(
                "{DOCUMENT} has no lines `{begin}` and `{end}`; next: put them where the tables belong"
            ))
        })?;
        let mut changed = Vec::new();
        if self.example.as_deref() != Some(example.as_bytes()) {
            changed.push((EXAMPLE, example.clone()));
        }
        if self.document.as_ref() != Some(&document) {
            changed.push((DOCUMENT, document.clone()));
        }
        self.example = Some(example.into_bytes());
        self.document = Some(document);
        Ok(changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::About;

    /// Case Q11.
    #[test]
    fn one_secret_is_one_finding_with_all_its_places() {
        let mut findings = Findings::default();
        let mut add = |rule: &'static str, file: &str, line: u32, variable: &str| {
            let place = Place { name: file.into(), line: Some(line) };
            findings.add(
                rule,
                &About { place: &place, service: "", variable },
                format!("{variable} is in clear"),
                "delete it",
            );
        };
        for (file, line) in [("a", 1), ("a", 2), ("b", 3), ("a", 2)] {
            add("secret-literal", file, line, "KEY");
        }
        add("secret-literal", "a", 2, "OTHER");
        add("unknown-variable", "a", 1, "KEY");
        add("unknown-variable", "a", 2, "KEY");
        let told: Vec<_> = one_for_each_cause(findings.found).iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 4, "{told:#?}");
        assert_eq!(told[0], "a:1 [secret-literal]: KEY is in clear; also in a:2, b:3; next: delete it");
    }

    #[test]
    fn a_changed_contract_is_one_finding_for_each_variable() {
        let (mut places, policy) = (crate::mutations::repository(), crate::repository::policy());
        // A row of every service becomes a row of each.
        let changed = places.images[0].contract.variables.iter_mut().find(|one| one.name == "LOG_LEVEL").unwrap();
        changed.description += " and more";
        let audit = Audit::of_places(&places, &policy);
        let of_document = |place: &Place| place.name == DOCUMENT;
        let rows = audit.findings.found.iter().filter(|one| of_document(&one.finding.place)).count();
        let mut outcome = Outcome::default();
        audit.report(&Selection::default(), false, &mut outcome);
        let told: Vec<_> = outcome.findings.iter().filter(|one| of_document(&one.place)).collect();
        assert!(rows > 3, "{rows}");
        assert_eq!(told.len(), 1, "{told:#?}");
        assert_eq!(told[0].message.matches("LOG_LEVEL").count(), rows, "{told:#?}");
    }
}
