//! From what was seen to the verdict: coverage, the policy, and the exceptions to it.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8Path;
use serde_json::{Value, json};

use super::coverage::{self, Coverage, covers};
use super::database::{self, Database};
use super::images::{Beside, Image};
use super::item::{self, FAILS, Item};
use super::policy::{Owner, Policy};
use super::resolution::{self, Resolution};
use super::second_opinion::{self, Open, RULES, SecondSight, Told};
use super::trivy::Scanned;
use super::work::{CONFIGURATION, LOCK_UNIT, Seen};
use xtask_outcome::{Date, Exception, Exceptions};
use xtask_outcome::{Finding, Outcome, Place, Table};

/// One image, lock file or Dockerfile, and what was seen of it.
#[derive(Debug, Clone)]
pub(super) struct UnitReport {
    pub(super) name: String,
    pub(super) owner: Owner,
    /// How a person calls it, and its id; empty for what is no image.
    pub(super) reference: String,
    pub(super) id: String,
    pub(super) seen: Vec<String>,
    pub(super) gaps: Vec<String>,
    /// `None`: from an earlier run.
    pub(super) seconds: Option<f64>,
    /// Everything that should be looked at was: then an exception that matched nothing is not needed.
    pub(super) examined: bool,
}

/// What one run saw and how it judged.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) today: Date,
    pub(super) trivy_version: String,
    pub(super) databases: Vec<Database>,
    pub(super) units: Vec<UnitReport>,
    pub(super) items: Vec<Item>,
}

impl Verdict {
    /// How many things were found in each place, for people.
    pub(super) fn table(&self) -> Table {
        let columns = ["scanned", "#not allowed", "#accepted", "#below the gate", "not covered"];
        let mut table = Table::new("scan", &columns);
        for unit in &self.units {
            let of_unit = || self.items.iter().filter(|item| item.unit == unit.name);
            let fails = of_unit().filter(|item| item.state == FAILS).count();
            let accepted = of_unit().filter(|item| item.state.starts_with("accepted")).count();
            let below = of_unit().count() - fails - accepted;
            let counts = [fails, accepted, below].map(|count| count.to_string());
            table.row([unit.name.clone()].into_iter().chain(counts).chain([unit.gaps.join("; ")]));
        }
        table
    }
}

/// Judges one thing after another; what it finds goes into the outcome and the verdict.
#[derive(Debug)]
pub(super) struct Judge<'a> {
    pub(super) policy: &'a Policy,
    pub(super) exceptions: Exceptions,
    pub(super) seen: &'a Seen,
    pub(super) verdict: Verdict,
    /// A second opinion was asked for.
    pub(super) second_opinion: bool,
    pub(super) outcome: &'a mut Outcome,
}

impl Judge<'_> {
    pub(super) fn images(&mut self, images: &[Image], beside: &[Beside]) {
        let mut scanned = 0;
        for image in images.iter().map(Ok).chain(beside.iter().map(Result::as_ref)) {
            match image {
                Ok(image) => scanned += usize::from(self.image(image)),
                Err((name, why)) => self.outcome.unchecked(name, why),
            }
        }
        self.outcome.checked("images scanned", scanned);
    }

    /// Gives whether trivy saw the image at all.
    fn image(&mut self, image: &Image) -> bool {
        let seen = self.seen;
        let mut unit = UnitReport::new(&image.name, image.owner());
        (unit.reference, unit.id) = (image.reference.clone(), image.id.clone());
        let scanned = match &seen.scanned[&image.name] {
            Ok(scanned) => scanned,
            Err(why) => {
                self.outcome.broken(format!("{} ({})", image.name, image.reference), why);
                unit.gaps.push(why.clone());
                self.verdict.units.push(unit);
                return false;
            }
        };
        unit.seconds = scanned.seconds;
        if let Some(failure) = &scanned.failure {
            self.outcome.broken(image.name.as_str(), failure);
            unit.gaps.push(failure.clone());
        }
        let resolution = resolution::triple(&image.architecture).and_then(|triple| seen.resolutions.get(triple));
        self.cover(image, scanned, resolution, &mut unit);
        unit.seen.push("secrets: every file of every layer, variables, labels and history".to_owned());
        let resolution = resolution.and_then(|resolution| resolution.as_ref().ok());
        let items = item::all(&image.name, &scanned.report, image.package.as_deref(), resolution);
        unit.examined = unit.gaps.is_empty() && !self.verdict.databases.is_empty();
        self.items(items, unit.owner);
        self.verdict.units.push(unit);
        true
    }

    /// What was covered, and what was not: in an image of this workspace that is a finding, in another one it is told.
    fn cover(
        &mut self,
        image: &Image,
        scanned: &Scanned,
        resolution: Option<&Result<Resolution, String>>,
        unit: &mut UnitReport,
    ) {
        // Without a database trivy lists no packages; `database` says that.
        let databases = self.verdict.databases.as_slice();
        if databases.is_empty() {
            return;
        }
        let Coverage { seen, gaps } = match &image.package {
            Some(package) => {
                if let Some(Err(why)) = resolution {
                    self.outcome.broken(format!("whether the list of packages in {} is whole", image.name), why);
                    unit.gaps.push(format!("the list of packages may not be whole: {why}"));
                    return;
                }
                let linked = resolution.and_then(|known| known.as_ref().ok()?.linked_into(package));
                coverage::of_program(&scanned.report, package, linked.as_ref(), databases)
            }
            None => coverage::of_packages(&scanned.report, databases),
        };
        unit.seen.extend(seen);
        for gap in gaps {
            let scope = format!("{}/{}", image.name, gap.part);
            unit.gaps.push(format!("{}: {}", gap.part, gap.why));
            if image.package.is_some() {
                self.outcome.findings.push(Finding {
                    rule: "not-covered",
                    place: Place::new(&image.reference),
                    message: gap.why,
                    next_step: gap.next_step.to_owned(),
                });
            } else if self.exceptions.accept("not-covered", &scope).is_none() {
                self.outcome.unchecked(format!("vulnerabilities of {} in {}", gap.part, image.name), gap.why);
            }
        }
    }

    /// The settings of the images and the Dockerfiles; after the images.
    pub(super) fn configurations(&mut self) {
        let seen = self.seen;
        let failed = match &seen.scanned[CONFIGURATION] {
            Ok(scanned) => scanned.failure.as_ref(),
            Err(why) => Some(why),
        };
        if let Some(why) = failed {
            let units: Vec<_> = seen.configurations.units().map(String::as_str).collect();
            self.outcome.broken(format!("configuration of {}", units.join(", ")), why);
            self.verdict.units.iter_mut().for_each(|unit| unit.examined = false);
        }
        let Ok(scanned) = &seen.scanned[CONFIGURATION] else { return };
        for (name, why) in &seen.configurations.missing {
            self.outcome.unchecked(format!("configuration of {name}"), why);
        }
        let mut checked = 0;
        for (name, report) in seen.configurations.reports(&scanned.report) {
            let Some(report) = report else {
                self.outcome.broken(format!("configuration of {name}"), "trivy did not look at it");
                continue;
            };
            checked += 1;
            let mut items = item::all(&name, &report, None, None);
            let owner = match self.verdict.units.iter_mut().find(|unit| unit.name == name) {
                Some(unit) => {
                    unit.seen.push("configuration: user, ports, healthcheck, variables".to_owned());
                    // Its lines are those of a file that was written for trivy alone.
                    items.iter_mut().for_each(|item| item.line = None);
                    unit.owner
                }
                None => {
                    let mut unit = UnitReport::new(&name, Owner::Service);
                    unit.examined = failed.is_none();
                    let is_file = seen.configurations.has_lines(&name);
                    unit.seen.push(format!("as trivy checks {}", if is_file { "a Dockerfile" } else { "manifests" }));
                    items.iter_mut().filter(|_| !is_file).for_each(|item| item.line = None);
                    self.verdict.units.push(unit);
                    Owner::Service
                }
            };
            self.items(items, owner);
        }
        self.outcome.checked("configurations", checked);
    }

    /// Build scripts, procedural macros and test packages are in no image; the lock file has them.
    pub(super) fn lock(&mut self, root: &Utf8Path, images: &[Image]) {
        let seen = self.seen;
        let Some(result) = seen.scanned.get(LOCK_UNIT) else { return };
        let scanned = match result {
            Ok(scanned) => scanned,
            Err(why) => return self.outcome.broken(LOCK_UNIT, why),
        };
        let mut unit = UnitReport::new(LOCK_UNIT, Owner::Build);
        let packages = scanned.report.packages();
        unit.seconds = scanned.seconds;
        unit.seen.push(format!("{packages} packages; those that are linked into an image are judged there"));
        unit.gaps.extend(scanned.failure.clone());
        let from_a_registry = |text: String| text.contains("\nsource = ");
        if packages == 0 && std::fs::read_to_string(root.join(LOCK_UNIT)).is_ok_and(from_a_registry) {
            unit.gaps.push("trivy sees no package in it".to_owned());
        }
        for gap in &unit.gaps {
            self.outcome.broken(LOCK_UNIT, gap);
        }
        let resolution = seen.resolutions.values().find_map(|resolution| resolution.as_ref().ok());
        let linked = images.iter().filter_map(|image| resolution?.linked_into(image.package.as_deref()?));
        let in_images: BTreeSet<(String, String)> = linked.flatten().collect();
        let mut items = item::all(LOCK_UNIT, &scanned.report, None, resolution);
        items.retain(|item| {
            let built = resolution.is_none_or(|resolution| resolution.knows(&item.subject, &item.installed));
            built && !in_images.contains(&(item.subject.clone(), item.installed.clone()))
        });
        self.outcome.checked("packages of Cargo.lock", packages);
        unit.examined = unit.gaps.is_empty();
        self.items(items, unit.owner);
        self.verdict.units.push(unit);
    }

    /// What the second eye saw otherwise: after everything that trivy saw.
    pub(super) fn second_opinion(&mut self, sight: SecondSight) {
        if self.verdict.databases.is_empty() {
            return self
                .outcome
                .unchecked("the second opinion", "without a database trivy lists nothing to compare with");
        }
        for (what, why) in sight.failures() {
            self.outcome.broken(what, why);
        }
        let resolution = self.seen.resolutions.values().find_map(|resolution| resolution.as_ref().ok());
        let names: Vec<_> = self.verdict.units.iter().map(|unit| unit.name.clone()).collect();
        let (mut differences, mut told_before) = (BTreeMap::new(), BTreeSet::new());
        for unit in names {
            let Some(Ok(scanned)) = self.seen.scanned.get(&unit) else { continue };
            let in_lock = unit == LOCK_UNIT;
            let built =
                |name: &str, version: &str| !in_lock || resolution.is_none_or(|known| known.knows(name, version));
            let pair = sight.differences(&unit, &scanned.report, built);
            for told in pair.iter().flatten().flat_map(|difference| &difference.only_second) {
                // What is linked into an image is told there.
                if let Some(open) = &told.open
                    && (told_before.insert(told.what.clone()) || !in_lock)
                {
                    self.only_second(&unit, told, open);
                }
            }
            differences.insert(unit, pair);
        }
        if let Some(date) = sight.advisories_of() {
            let age = self.verdict.today.days_after(date).max(0);
            self.outcome.note(format!("the second opinion knows RustSec's advisories of {date}, {age} days old"));
        }
        let count = |index: usize| differences.values().filter(|pair| pair[index].is_some()).count();
        self.outcome.checked("lists of packages compared with syft's", count(0));
        self.outcome.checked("programs and lock files looked up by cargo-audit", count(1));
        self.outcome.table(second_opinion::table(&differences));
        let evidence = sight.evidence(&differences);
        self.outcome.evidence("second_opinion", evidence);
    }

    fn only_second(&mut self, unit: &str, told: &Told, open: &Open) {
        let mut accepted = false;
        for (rule, place) in &open.accepted_as {
            accepted |= self.exceptions.accept(rule, &format!("{unit}/{place}")).is_some();
        }
        if !accepted {
            self.outcome.findings.push(Finding {
                rule: open.rule,
                place: Place::new(unit),
                message: format!("{}: {}", told.what, told.why),
                next_step: open.next_step.clone(),
            });
        }
    }

    /// Each database is judged by its own age, and what none of the images needed is told.
    pub(super) fn databases(&mut self, databases: Result<&[Database], &String>, most_days: u32) {
        let databases = match databases {
            Ok(databases) => databases,
            Err(why) => return self.outcome.unchecked("vulnerabilities", format!("there is no database: {why}")),
        };
        let today = self.verdict.today;
        self.outcome.evidence("database", database::evidence(databases, today));
        let reports = || self.seen.scanned.values().filter_map(|scanned| Some(&scanned.as_ref().ok()?.report));
        for database in databases {
            let name = match databases {
                [_] => "trivy's database".to_owned(),
                _ => format!("trivy's database {}", database.key),
            };
            let used = reports().any(|report| report.targets.iter().any(|target| covers(database, report, target)));
            if databases.len() > 1 && !used {
                self.outcome.note(format!("{name} has data for nothing that was scanned"));
            }
            let age = database.age_days(today);
            if age > i64::from(most_days) {
                self.outcome.findings.push(Finding {
                    rule: "database-too-old",
                    place: Place::new(&name),
                    message: format!(
                        "it is of {}, {age} days old; the most is {most_days}: what was published since is not in it",
                        database.updated
                    ),
                    next_step: "take a newer one, or say `--max-db-age-days` knowing what it means".to_owned(),
                });
            }
        }
    }

    /// The exceptions themselves; last. `whole`: the run looked at everything that there is.
    pub(super) fn exceptions(&mut self, whole: bool) {
        let units = &self.verdict.units;
        let about = |exception: &Exception, unit: &UnitReport| {
            exception.scope == unit.name || exception.scope.starts_with(&format!("{}/", unit.name))
        };
        let second_opinion = self.second_opinion;
        let examined = |exception: &Exception| {
            if exception.rule.starts_with(RULES) && !second_opinion {
                return false;
            }
            let about_examined = units.iter().any(|unit| unit.examined && about(exception, unit));
            // One for a unit that is no more is needed by nobody; only a whole run can tell.
            about_examined || (whole && !units.iter().any(|unit| about(exception, unit)))
        };
        let findings = self.exceptions.judge(examined);
        self.outcome.findings.extend(findings);
        self.exceptions.ending_soon().into_iter().for_each(|note| self.outcome.note(note));
    }

    fn items(&mut self, mut items: Vec<Item>, owner: Owner) {
        self.outcome.findings.extend(item::judge(&mut items, owner, self.policy, &mut self.exceptions));
        self.verdict.items.extend(items);
    }
}

impl UnitReport {
    fn new(name: &str, owner: Owner) -> Self {
        Self {
            name: name.to_owned(),
            owner,
            reference: String::new(),
            id: String::new(),
            seen: Vec::new(),
            gaps: Vec::new(),
            seconds: None,
            examined: false,
        }
    }

    pub(super) fn evidence(&self) -> Value {
        let mut value = json!({ "policy": self.owner, "seen": self.seen.join("; ") });
        if !self.id.is_empty() {
            value["id"] = json!(self.id);
        }
        if !self.gaps.is_empty() {
            value["not_covered"] = json!(self.gaps.join("; "));
        }
        if !self.id.is_empty() {
            let seconds = self.seconds.map(|seconds| json!((seconds * 100.0).round() / 100.0));
            value["seconds"] = seconds.unwrap_or_else(|| json!("kept from an earlier run"));
        }
        value
    }
}
