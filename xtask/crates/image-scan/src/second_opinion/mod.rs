//! A second pair of eyes, on request: syft lists what is in each image, and cargo-audit looks up what each program was linked from in
//! RustSec's own data. Where they differ from trivy is told by package.
//!
//! Neither shares code or data with trivy, apart from the list that cargo-auditable embeds. What only the second eye sees is a
//! finding, since the gate did not look at it; what only trivy sees is told with the reason, where one is known.

mod advisories;
mod packages;

use std::collections::BTreeMap;

use anyhow::Result;
use camino::Utf8PathBuf;
use serde_json::{Map, Value, json};
use xtask_engine::{Tool, Toolbox};
use xtask_outcome::{Date, Stop, Table};
use xtask_workspace::Context;

use self::advisories::Advisories;
pub(super) use self::advisories::Advisory;
pub(super) use self::packages::Listed;
use super::images::Image;
use super::item::accept;
use super::report::{Report, Vulnerability};
use super::work::LOCK_UNIT;

/// How the rules of all its findings begin.
pub(super) const RULES: &str = "second-opinion-";

/// How the second opinion is made.
#[derive(Debug, Clone, Default)]
pub struct SecondOpinion {
    /// A copy of RustSec's advisory database; without one cargo-audit fetches it.
    pub advisories: Option<Utf8PathBuf>,
}

/// Both programs, and the data of one of them.
#[derive(Debug)]
pub(super) struct SecondEye<'a> {
    context: &'a Context,
    docker: Tool,
    syft: Tool,
    advisories: Advisories<'a>,
}

/// What the second eye saw of each unit; the reason where it saw nothing.
#[derive(Debug, Default)]
pub(super) struct SecondSight {
    pub(super) packages: BTreeMap<String, Result<Vec<Listed>, String>>,
    pub(super) advisories: BTreeMap<String, Result<Vec<Advisory>, String>>,
    evidence: Map<String, Value>,
}

/// What one eye sees and the other does not, in one unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Difference {
    /// How many both see.
    pub(super) both: usize,
    pub(super) only_trivy: Vec<Told>,
    pub(super) only_second: Vec<Told>,
}

/// One thing that one eye alone sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    /// The package, or the advisory and its package.
    pub(super) what: String,
    /// Why, or what is known about it.
    pub(super) why: String,
    /// What to do about it; `None` when the reason is known and nothing has to be done.
    pub(super) open: Option<Open>,
}

/// A difference that somebody has to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) rule: &'static str,
    /// Which exceptions accept it: rule, and the scope below the unit.
    pub(super) accepted_as: Vec<(String, String)>,
    pub(super) next_step: String,
}

impl<'a> SecondEye<'a> {
    /// Everything that is needed, before anything is done.
    ///
    /// # Errors
    /// [`Stop::Absent`] says what is missing: it was asked for, so nothing is done without it.
    pub(super) fn open(context: &'a Context, asked: &SecondOpinion) -> Result<Self> {
        let refused = |error: anyhow::Error| match Stop::is_absent(&error) {
            true => Stop::Absent(format!("--second-opinion refused: {error:#}")).into(),
            false => error,
        };
        let toolbox = Toolbox::new(&context.project, &context.runner)?;
        let docker = xtask_engine::docker(context)?;
        let syft = toolbox.find_or_fetch("syft").map_err(refused)?;
        let audit = toolbox.find_or_fetch("cargo-audit").map_err(refused)?;
        let advisories = Advisories::open(context, audit, asked.advisories.as_deref()).map_err(refused)?;
        Ok(Self { context, docker, syft, advisories })
    }

    /// Looks at every image, and at the lock file when everything is looked at.
    ///
    /// # Errors
    /// [`Stop::Interrupted`]; what concerns one unit is said of that unit.
    pub(super) fn look<'i>(&self, images: impl Iterator<Item = &'i Image>, whole: bool) -> Result<SecondSight> {
        let mut sight = SecondSight::default();
        for image in images {
            self.context.runner.progress().now(&format!("syft and cargo-audit look at {}", image.name));
            let listed = unless_interrupted(packages::list(self.context, &self.syft, &image.id))?;
            sight.packages.insert(image.name.clone(), listed);
            if let Some(package) = &image.package {
                let found = unless_interrupted(self.advisories.of_program(&self.docker, &image.id, package))?;
                sight.advisories.insert(image.name.clone(), found);
            }
        }
        if whole {
            let found = unless_interrupted(self.advisories.of_lock(&self.context.project.root))?;
            sight.advisories.insert(LOCK_UNIT.to_owned(), found);
        }
        sight.evidence.insert("syft".to_owned(), self.syft.evidence());
        sight.evidence.insert("cargo_audit".to_owned(), self.advisories.tool().evidence());
        sight.evidence.insert("advisories".to_owned(), self.advisories.evidence());
        Ok(sight)
    }
}

fn unless_interrupted<T>(result: Result<T>) -> Result<Result<T, String>> {
    match result {
        Err(error) if Stop::is_interrupt(&error) => Err(error),
        other => Ok(other.map_err(|error| format!("{error:#}"))),
    }
}

impl SecondSight {
    /// Where both eyes looked at a unit: the differences in its packages and in its advisories.
    pub(super) fn differences(
        &self,
        unit: &str,
        report: &Report,
        built: impl Fn(&str, &str) -> bool,
    ) -> [Option<Difference>; 2] {
        let listed = self.packages.get(unit).and_then(|listed| listed.as_ref().ok());
        let packages = listed.map(|listed| packages::compare(unit, report, listed));
        let found = self.advisories.get(unit).and_then(|found| found.as_ref().ok());
        let known: Vec<&Vulnerability> = report.targets.iter().flat_map(|target| &target.vulnerabilities).collect();
        let advisories = found.map(|found| advisories::compare(unit, &known, found, built));
        [packages, advisories]
    }

    /// The day of RustSec's data, where a clone tells it.
    pub(super) fn advisories_of(&self) -> Option<Date> {
        Date::parse(self.evidence.get("advisories")?["updated"].as_str()?)
    }

    /// What could not be looked at, and why.
    pub(super) fn failures(&self) -> impl Iterator<Item = (String, &String)> {
        let packages = self.packages.iter().map(|(unit, result)| ("syft", unit, result.as_ref().err()));
        let advisories = self.advisories.iter().map(|(unit, result)| ("cargo-audit", unit, result.as_ref().err()));
        let failed = packages.chain(advisories).filter_map(|(tool, unit, why)| Some((tool, unit, why?)));
        failed.map(|(tool, unit, why)| (format!("the second opinion of {tool} on {unit}"), why))
    }

    /// For the report: the tools, their data, and every difference by unit.
    pub(super) fn evidence(self, differences: &BTreeMap<String, [Option<Difference>; 2]>) -> Value {
        let mut value = self.evidence;
        let unit = |difference: &Difference, second: &str| {
            let told = |list: &[Told]| {
                list.iter().map(|told| json!({ "what": told.what, "why": told.why })).collect::<Vec<_>>()
            };
            json!({ "both": difference.both, "only_trivy": told(&difference.only_trivy), second: told(&difference.only_second) })
        };
        for (index, (key, second)) in
            [("packages_by_image", "only_syft"), ("vulnerabilities_by_unit", "only_cargo_audit")]
                .into_iter()
                .enumerate()
        {
            let units =
                differences.iter().filter_map(|(name, pair)| Some((name.clone(), unit(pair[index].as_ref()?, second))));
            value.insert(key.to_owned(), Value::Object(units.collect()));
        }
        Value::Object(value)
    }
}

/// The counts of both eyes, for people.
pub(super) fn table(differences: &BTreeMap<String, [Option<Difference>; 2]>) -> Table {
    let columns = [
        "second opinion",
        "#packages both list",
        "#only trivy",
        "#only syft",
        "#vulnerabilities both know",
        "#only trivy knows",
        "#only cargo-audit knows",
    ];
    let mut table = Table::new("second opinion", &columns);
    let counts = |difference: &Option<Difference>| {
        let difference = difference.as_ref();
        let count = |of: fn(&Difference) -> usize| difference.map_or_else(String::new, |known| of(known).to_string());
        [count(|known| known.both), count(|known| known.only_trivy.len()), count(|known| known.only_second.len())]
    };
    for (unit, [packages, advisories]) in differences {
        if packages.is_some() || advisories.is_some() {
            table.row([unit.clone()].into_iter().chain(counts(packages)).chain(counts(advisories)));
        }
    }
    table
}

/// How to live with a difference that cannot be removed.
fn next_step(rule: &str, unit: &str, package: &str) -> String {
    format!("find out why, or {}", accept(rule, unit, package))
}
