//! Did a scan see what is there? A scanner that sees nothing in a program reports nothing, and that looks like health.

use std::collections::BTreeSet;

use super::database::Database;
use super::report::{Report, Target};

/// How many missing packages a message names.
const NAMED: usize = 5;

/// What was seen of one image, and what was not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Coverage {
    /// What was looked at, one line each.
    pub(super) seen: Vec<String>,
    /// What should have been seen, and why it was not.
    pub(super) gaps: Vec<Gap>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gap {
    /// The part of the image: the program, the system's packages.
    pub(super) part: String,
    pub(super) why: String,
    pub(super) next_step: &'static str,
}

const REBUILD: &str = "build it with `cargo xtask build-images` from this checkout, and scan again";
const OTHER_DATABASE: &str = "take a database that has data for it: the one that trivy itself fetches has";

/// Does a database have data for the packages of a target in this report?
pub(super) fn covers(database: &Database, report: &Report, target: &Target) -> bool {
    match system_of(report, target) {
        Some((family, version)) => database.covers_system(family, version),
        None => database.covers_language(&target.kind),
    }
}

/// The operating system whose packages a target holds.
fn system_of<'r>(report: &'r Report, target: &Target) -> Option<(&'r str, &'r str)> {
    let system = report.system.as_ref().filter(|_| target.class == "os-pkgs");
    system.map(|(family, version)| (family.as_str(), version.as_str()))
}

/// One of this workspace's images: its program has to be among the targets, with every package that the build links into it.
pub(super) fn of_program(
    report: &Report,
    program: &str,
    linked: Option<&BTreeSet<(String, String)>>,
    databases: &[Database],
) -> Coverage {
    let gap = |why: String, next_step: &'static str| Coverage {
        seen: Vec::new(),
        gaps: vec![Gap { part: program.to_owned(), why, next_step }],
    };
    let of_program = |target: &&Target| target.kind == "rustbinary" && target.name.trim_start_matches('/') == program;
    let Some(target) = report.targets.iter().find(of_program) else {
        let why =
            format!("trivy sees no Rust program /{program}: it is not there, or was built without cargo-auditable");
        return gap(why, REBUILD);
    };
    let Some(by) = covered_by(databases, report, target) else {
        return gap(format!("{} no data for Rust packages", has(databases)), OTHER_DATABASE);
    };
    let Some(linked) = linked else {
        let why = format!("what the build links into {program} is not known, so nothing proves that the list is whole");
        return gap(why, REBUILD);
    };
    let listed: BTreeSet<_> =
        target.packages.iter().map(|package| (package.name.as_str(), package.version.as_str())).collect();
    let missing: Vec<_> = linked
        .iter()
        .filter(|(name, version)| !listed.contains(&(name.as_str(), version.as_str())))
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    if !missing.is_empty() {
        let shown = missing.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        let why = format!(
            "{} of the {} packages that the build links are not in the program's list, such as {shown}",
            missing.len(),
            linked.len()
        );
        return gap(why, REBUILD);
    }
    let (listed, linked) = (target.packages.len(), linked.len());
    let seen = format!("{program}: {listed} packages, among them all {linked} that the build links{by}");
    Coverage { seen: vec![seen], gaps: Vec::new() }
}

/// An image of somebody else: what it holds is not known beforehand, but what trivy found has to be in the database's reach.
pub(super) fn of_packages(report: &Report, databases: &[Database]) -> Coverage {
    let mut coverage = Coverage::default();
    for target in report.targets.iter().filter(|target| !target.packages.is_empty()) {
        let part = match system_of(report, target) {
            Some((family, version)) => format!("{family} {version}"),
            None => format!("{} ({})", target.name, target.kind),
        };
        if let Some(by) = covered_by(databases, report, target) {
            coverage.seen.push(format!("{part}: {} packages{by}", target.packages.len()));
        } else {
            let why = format!("{} no data for its {} packages", has(databases), target.packages.len());
            coverage.gaps.push(Gap { part, why, next_step: OTHER_DATABASE });
        }
    }
    if report.packages() == 0 {
        let why = "trivy sees none in the image".to_owned();
        coverage.gaps.push(Gap { part: "packages".to_owned(), why, next_step: "" });
    }
    coverage
}

/// Which of several databases have data for a target, as the end of a line; `None` when none has.
fn covered_by(databases: &[Database], report: &Report, target: &Target) -> Option<String> {
    let covering = databases.iter().filter(|database| covers(database, report, target));
    let keys: Vec<_> = covering.map(|database| database.key.as_str()).collect();
    match keys.as_slice() {
        [] => None,
        _ if databases.len() == 1 => Some(String::new()),
        keys => Some(format!(", by the database {}", keys.join(" and "))),
    }
}

fn has(databases: &[Database]) -> String {
    if databases.len() == 1 { "the database has".to_owned() } else { format!("all {} databases have", databases.len()) }
}

#[cfg(test)]
mod tests {
    use super::super::database::tests::database;
    use super::super::report::Package;
    use super::*;

    fn report(kind: &str, class: &str, packages: &[(&str, &str)]) -> Report {
        let packages = packages.iter().map(|(name, version)| Package {
            name: (*name).into(),
            version: (*version).into(),
            ..Package::default()
        });
        Report {
            system: Some(("debian".into(), "13.8".into())),
            targets: vec![Target {
                name: "shop".into(),
                class: class.into(),
                kind: kind.into(),
                packages: packages.collect(),
                ..Target::default()
            }],
            ..Report::default()
        }
    }

    fn linked() -> BTreeSet<(String, String)> {
        [("shop", "0.1.0"), ("web", "1.2.0")].map(|(name, version)| (name.to_owned(), version.to_owned())).into()
    }

    fn gap(report: &Report, sources: &[&str]) -> Option<String> {
        of_program(report, "shop", Some(&linked()), &[database(sources)]).gaps.first().map(|gap| gap.why.clone())
    }

    #[test]
    fn a_program_is_covered_when_every_linked_package_is_listed_in_its_version() {
        let whole = report("rustbinary", "lang-pkgs", &[("shop", "0.1.0"), ("web", "1.2.0"), ("more", "1.0.0")]);
        assert_eq!(gap(&whole, &["cargo::RustSec"]), None);
        let older = report("rustbinary", "lang-pkgs", &[("shop", "0.1.0"), ("web", "1.1.0")]);
        assert!(
            gap(&older, &["cargo::RustSec"]).unwrap().contains("1 of the 2 packages that the build links are not in")
        );
        let empty = report("rustbinary", "lang-pkgs", &[]);
        assert!(gap(&empty, &["cargo::RustSec"]).unwrap().contains("2 of the 2"));
    }

    #[test]
    fn a_program_that_trivy_does_not_see_is_not_covered() {
        assert!(gap(&Report::default(), &["cargo::RustSec"]).unwrap().contains("without cargo-auditable"));
        let other = report("gobinary", "lang-pkgs", &[("shop", "0.1.0"), ("web", "1.2.0")]);
        assert!(gap(&other, &["cargo::RustSec"]).unwrap().contains("sees no Rust program /shop"));
    }

    #[test]
    fn a_database_without_rust_or_a_build_without_a_list_proves_nothing() {
        let whole = report("rustbinary", "lang-pkgs", &[("shop", "0.1.0"), ("web", "1.2.0")]);
        assert!(gap(&whole, &["debian 13"]).unwrap().contains("no data for Rust"));
        let unknown = of_program(&whole, "shop", None, &[database(&["cargo::RustSec"])]);
        assert!(unknown.gaps[0].why.contains("is not known"));
    }

    #[test]
    fn a_system_that_the_database_does_not_know_is_a_gap_and_not_health() {
        let debian = report("debian", "os-pkgs", &[("libc6", "2.41")]);
        let unknown = of_packages(&debian, &[database(&["cargo::RustSec"])]);
        assert_eq!((unknown.gaps[0].part.as_str(), unknown.seen.len()), ("debian 13.8", 0));
        let known = of_packages(&debian, &[database(&["debian 13"])]);
        assert_eq!((known.gaps.len(), known.seen.as_slice()), (0, &["debian 13.8: 1 packages".to_owned()][..]));
        assert_eq!(of_packages(&Report::default(), &[database(&["debian 13"])]).gaps[0].part, "packages");
    }

    #[test]
    fn of_several_databases_the_one_that_covers_a_part_is_named_and_none_covers_what_no_one_knows() {
        let debian = report("debian", "os-pkgs", &[("libc6", "2.41")]);
        let databases = [database(&["cargo::RustSec"]), database(&["debian 13"])];
        let seen = of_packages(&debian, &databases).seen;
        assert_eq!(seen, [format!("debian 13.8: 1 packages, by the database {}", databases[1].key)]);
        let databases = [database(&["cargo::RustSec"]), database(&["debian 12"])];
        let gap = &of_packages(&debian, &databases).gaps[0];
        assert_eq!(gap.why, "all 2 databases have no data for its 1 packages");
    }
}
