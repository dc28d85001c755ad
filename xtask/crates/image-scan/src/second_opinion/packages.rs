//! What is in an image, as syft lists it, beside trivy's list.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde_json::Value;
use xshell::{Shell, cmd};
use xtask_engine::Tool;
use xtask_outcome::Stop;
use xtask_workspace::Context;

use super::super::failure::reason;
use super::super::report::{self, Report, Target};
use super::{Difference, Open, Told, next_step};

const LIST_LIMIT_SECONDS: u64 = 600;
/// Kinds of packages that trivy lists as well. Others syft recognises by what a file looks like.
const KNOWN_TO_BOTH: [&str; 12] =
    ["alpm", "apk", "cargo", "composer", "deb", "gem", "golang", "maven", "npm", "nuget", "pypi", "rpm"];
pub(super) const RULE: &str = "second-opinion-package";

/// A package that syft lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Listed {
    package: Package,
    /// What recognised it: `dpkg-db-cataloger`.
    found_by: String,
    /// A file that it was found in.
    path: String,
}

/// A package by what its package URL says, without what two tools write differently: qualifiers and escapes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Package {
    /// `deb`, `cargo`; empty where there is no package URL.
    kind: String,
    /// Without the distribution before it, which one tool writes and the other may not.
    name: String,
    version: String,
}

impl Package {
    /// Reads `pkg:KIND/NAMESPACE/NAME@VERSION?QUALIFIERS`; what is not of this form gives nothing.
    fn of_url(url: &str) -> Option<Self> {
        let rest = url.strip_prefix("pkg:")?;
        let (rest, qualifiers) = rest.split_once('?').unwrap_or((rest, ""));
        let rest = rest.split('#').next()?;
        let (path, version) = rest.rsplit_once('@').unwrap_or((rest, ""));
        let (kind, path) = path.split_once('/')?;
        // A distribution is part of where a package is from, and not of what it is.
        let name = match kind {
            "deb" | "rpm" | "apk" | "alpm" => path.rsplit('/').next()?,
            _ => path,
        };
        let (name, mut version) = (unescaped(name), unescaped(version));
        // The epoch of a system's package stands before the version, or beside it.
        if let Some(epoch) = qualifiers.split('&').find_map(|pair| pair.strip_prefix("epoch="))
            && epoch != "0"
            && !version.starts_with(&format!("{epoch}:"))
        {
            version = format!("{epoch}:{version}");
        }
        (!name.is_empty()).then(|| Self { kind: kind.to_owned(), name, version })
    }

    fn shown(&self) -> String {
        format!("{} {} ({})", self.name, self.version, self.kind)
    }
}

/// `%2B` is `+`. What is not an escape stays.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let code = more.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &more[2..];
            }
            None => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Everything that syft sees in an image of the local engine.
pub(super) fn list(context: &Context, syft: &Tool, id: &str) -> Result<Vec<Listed>> {
    let shell = Shell::new()?;
    // It reads a configuration where it is started.
    let empty = context.project.out().join("scan/empty");
    shell.create_dir(&empty)?;
    shell.change_dir(&empty);
    let program = &syft.program;
    let mut command = cmd!(shell, "{program} scan --quiet --output json docker:{id}").env_clear();
    command = command.env("SYFT_CHECK_FOR_APP_UPDATE", "false");
    for (name, value) in &context.project.environment.engine {
        command = command.env(name, value);
    }
    let captured = context.runner.capture(command, LIST_LIMIT_SECONDS)?;
    if !captured.status.success() {
        let text = format!("syft failed with {}: {}", captured.status, reason(&captured));
        return Err(Stop::Broken(text).into());
    }
    let listed = serde_json::from_str(&captured.stdout).ok().and_then(|value| parse(&value));
    listed.ok_or_else(|| Stop::Broken("syft's list is empty, cut off or of another form".to_owned()).into())
}

/// `None` for what is no list of syft's form.
fn parse(value: &Value) -> Option<Vec<Listed>> {
    let artifacts = value.get("artifacts")?.as_array()?;
    artifacts.iter().map(listed).collect()
}

fn listed(value: &Value) -> Option<Listed> {
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let named = || Package { kind: text("type"), name: text("name"), version: text("version") };
    let package = Package::of_url(&text("purl")).unwrap_or_else(named);
    let path = value.pointer("/locations/0/path").and_then(Value::as_str).unwrap_or_default().to_owned();
    (!package.name.is_empty()).then(|| Listed { package, found_by: text("foundBy"), path })
}

/// Both lists of one image, package by package.
pub(super) fn compare(unit: &str, report: &Report, listed: &[Listed]) -> Difference {
    let of_target = |target: &Target| target.packages.iter().map(|package| of_report(package, &target.kind)).collect();
    let trivy: BTreeSet<Package> = report.targets.iter().flat_map(|target| -> Vec<_> { of_target(target) }).collect();
    let syft: BTreeMap<&Package, &Listed> = listed.iter().map(|one| (&one.package, one)).collect();
    let only_second = syft.iter().filter(|(package, _)| !trivy.contains(**package));
    let only_trivy = trivy.iter().filter(|package| !syft.contains_key(*package));
    Difference {
        both: syft.keys().filter(|package| trivy.contains(**package)).count(),
        only_trivy: only_trivy.map(|package| of_trivy(package, &syft)).collect(),
        only_second: only_second.map(|(package, one)| of_syft(unit, package, one, &trivy)).collect(),
    }
}

/// A package of trivy's report; an older trivy gives no package URL.
fn of_report(package: &report::Package, target_kind: &str) -> Package {
    let kind = match target_kind {
        "rustbinary" | "cargo" => "cargo",
        "debian" | "ubuntu" => "deb",
        "gobinary" | "gomod" => "golang",
        "alpine" | "wolfi" => "apk",
        other => other,
    };
    let named = || Package { kind: kind.to_owned(), name: package.name.clone(), version: package.version.clone() };
    Package::of_url(&package.purl).unwrap_or_else(named)
}

fn of_trivy(package: &Package, syft: &BTreeMap<&Package, &Listed>) -> Told {
    let other = syft.keys().find(|other| (&other.kind, &other.name) == (&package.kind, &package.name));
    let why = match other {
        Some(other) => format!("syft reads its version as {}", other.version),
        None if !syft.keys().any(|other| other.kind == package.kind) => {
            format!("syft lists no {} packages here", package.kind)
        }
        None => "syft does not list it; no reason is known".to_owned(),
    };
    Told { what: package.shown(), why, open: None }
}

fn of_syft(unit: &str, package: &Package, one: &Listed, trivy: &BTreeSet<Package>) -> Told {
    let what = package.shown();
    if !KNOWN_TO_BOTH.contains(&package.kind.as_str()) {
        let by = &one.found_by;
        let why = format!(
            "{by} recognises {} by what it looks like; trivy lists what a package manager or a build wrote down",
            one.path
        );
        return Told { what, why, open: None };
    }
    let other = trivy.iter().find(|other| (&other.kind, &other.name) == (&package.kind, &package.name));
    let seen = match other {
        Some(other) => format!("trivy reads its version as {}", other.version),
        None => "trivy does not list it, so nobody looked for its vulnerabilities".to_owned(),
    };
    let next_step = next_step(RULE, unit, &package.name);
    let open = Open { rule: RULE, accepted_as: vec![(RULE.to_owned(), package.name.clone())], next_step };
    Told { what, why: format!("{} found it in {}; {seen}", one.found_by, one.path), open: Some(open) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn package(url: &str) -> Package {
        Package::of_url(url).unwrap()
    }

    #[test]
    fn one_package_is_the_same_in_both_tools_ways_of_writing_it() {
        for (theirs, ours) in [
            (
                "pkg:deb/debian/libc6@2.41-12%2Bdeb13u5?arch=amd64&distro=debian-13",
                "pkg:deb/debian/libc6@2.41-12+deb13u5",
            ),
            ("pkg:deb/debian/passwd@1%3A4.17.4-2?arch=amd64", "pkg:deb/debian/passwd@4.17.4-2?arch=amd64&epoch=1"),
            ("pkg:rpm/fedora/zlib@1.2?epoch=0", "pkg:rpm/redhat/zlib@1.2"),
            ("pkg:npm/%40scope/name@1.0.0", "pkg:npm/@scope/name@1.0.0"),
            ("pkg:cargo/serde@1.0.0", "pkg:cargo/serde@1.0.0#src"),
        ] {
            assert_eq!(package(theirs), package(ours), "{theirs}");
        }
        assert_ne!(package("pkg:cargo/a@1.0.0"), package("pkg:cargo/a@1.0.1"));
        assert_ne!(package("pkg:golang/a.example/x@v1"), package("pkg:golang/b.example/x@v1"));
        for text in ["", "pkg:", "pkg:cargo", "cargo/a@1", "pkg:cargo/@1"] {
            assert_eq!(Package::of_url(text), None, "{text}");
        }
        assert_eq!(unescaped("100%"), "100%");
        assert_eq!(unescaped("%zz%2"), "%zz%2");
    }

    fn report(kind: &str, urls: &[&str]) -> Report {
        let packages = urls.iter().map(|url| report::Package { purl: (*url).to_owned(), ..report::Package::default() });
        let target = Target { kind: kind.to_owned(), packages: packages.collect(), ..Target::default() };
        Report { targets: vec![target], ..Report::default() }
    }

    fn syft(artifacts: &[(&str, &str)]) -> Vec<Listed> {
        let artifact = |(url, by): &(&str, &str)| json!({ "name": "x", "purl": url, "foundBy": by, "locations": [{ "path": "/usr/lib/x" }] });
        parse(&json!({ "artifacts": artifacts.iter().map(artifact).collect::<Vec<_>>() })).unwrap()
    }

    #[test]
    fn what_only_syft_sees_is_open_and_what_it_guesses_from_a_file_is_told_with_the_reason() {
        let trivy =
            report("debian", &["pkg:deb/debian/libc6@2.41", "pkg:deb/debian/zlib1g@1.3", "pkg:cargo/own@1.0.0"]);
        let listed = syft(&[
            ("pkg:deb/debian/libc6@2.41", "dpkg-db-cataloger"),
            ("pkg:deb/debian/zlib1g@1.4", "dpkg-db-cataloger"),
            ("pkg:deb/debian/hidden@1.0", "dpkg-db-cataloger"),
            ("pkg:generic/redis@7.2", "binary-classifier-cataloger"),
        ]);
        let found = compare("beside", &trivy, &listed);
        assert_eq!(found.both, 1);
        let told: Vec<_> = found.only_second.iter().map(|told| (told.what.as_str(), told.open.is_some())).collect();
        assert_eq!(told, [("hidden 1.0 (deb)", true), ("zlib1g 1.4 (deb)", true), ("redis 7.2 (generic)", false)]);
        assert!(found.only_second[0].why.contains("/usr/lib/x") && found.only_second[0].why.contains("nobody looked"));
        assert!(found.only_second[1].why.contains("trivy reads its version as 1.3"), "{:?}", found.only_second[1]);
        let open = found.only_second[0].open.as_ref().unwrap();
        assert!(open.next_step.contains("scope `beside/hidden`"), "{}", open.next_step);
        let told: Vec<_> = found.only_trivy.iter().map(|told| (told.what.as_str(), told.why.as_str())).collect();
        assert_eq!(
            told,
            [
                ("own 1.0.0 (cargo)", "syft lists no cargo packages here"),
                ("zlib1g 1.3 (deb)", "syft reads its version as 1.4"),
            ]
        );
    }

    #[test]
    fn a_list_of_another_form_is_none() {
        for value in [json!({}), json!([]), json!({ "artifacts": {} }), json!({ "artifacts": [{}] })] {
            assert_eq!(parse(&value), None, "{value}");
        }
        assert_eq!(parse(&json!({ "artifacts": [] })), Some(Vec::new()));
    }
}
