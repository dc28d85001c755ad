//! What trivy reports, as far as it matters here. Only what trivy promises is relied on; everything else may be missing.

use std::collections::BTreeSet;

use serde_json::Value;
use xtask_image_config::secret::{name_is_secret, value_is_secret};

use super::policy::Severity;

/// The form of report that trivy writes today.
const SCHEMA: u64 = 2;
/// Keys under which a report quotes what it looked at: there a secret's value can stand. They are never kept.
const QUOTING_KEYS: [&str; 11] =
    ["Code", "Match", "CreatedBy", "history", "Env", "Labels", "OnBuild", "Cmd", "Entrypoint", "Healthcheck", "Shell"];
/// Where [`without_quotes`] writes down the variables that the image sets, by name.
const VARIABLES_KEY: &str = "VariablesSet";

/// One report.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Report {
    /// Family and version of the operating system, when the image has one.
    pub(super) system: Option<(String, String)>,
    /// `amd64`, `arm64`.
    pub(super) architecture: String,
    pub(super) targets: Vec<Target>,
    /// Variables in the image's configuration or history whose name or value is that of a secret.
    pub(super) variables: Vec<String>,
}

/// One file, package list or configuration that trivy looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) name: String,
    /// `os-pkgs`, `lang-pkgs`, `secret`, `config`.
    pub(super) class: String,
    /// `rustbinary`, `debian`, `dockerfile`, …
    pub(super) kind: String,
    pub(super) packages: Vec<Package>,
    pub(super) vulnerabilities: Vec<Vulnerability>,
    pub(super) secrets: Vec<Weakness>,
    pub(super) misconfigurations: Vec<Weakness>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Package {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) version: String,
    /// As a package URL, where trivy knows one.
    pub(super) purl: String,
    /// The ids of the packages it depends on.
    pub(super) depends_on: Vec<String>,
    pub(super) root: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Vulnerability {
    pub(super) id: String,
    /// The same under other names: `RUSTSEC-2021-0003`.
    pub(super) aliases: Vec<String>,
    pub(super) package: String,
    pub(super) installed: String,
    /// As trivy gives it: a version, several, or ranges; empty without a fix.
    pub(super) fixed: String,
    pub(super) severity: Severity,
    pub(super) title: String,
    pub(super) url: String,
    /// The package as a package URL, where trivy knows one.
    pub(super) purl: String,
}

/// A secret or a misconfiguration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Weakness {
    pub(super) id: String,
    pub(super) severity: Severity,
    pub(super) title: String,
    pub(super) resolution: String,
    pub(super) line: Option<u32>,
    pub(super) url: String,
}

impl Report {
    /// # Errors
    /// Says in words what is wrong: no JSON, cut off, of another form. Such a report says nothing about an image.
    pub(super) fn parse(value: &Value) -> Result<Self, String> {
        if value.get("SchemaVersion").and_then(Value::as_u64) != Some(SCHEMA) {
            return Err(format!("is of schema {}, this crate knows {SCHEMA}", value["SchemaVersion"]));
        }
        let system = value.pointer("/Metadata/OS").filter(|system| system.is_object());
        let targets = list(value, "Results").iter().map(target).collect::<Result<_, _>>()?;
        Ok(Self {
            system: system.map(|system| (text(system, "Family"), text(system, "Name"))),
            architecture: value
                .pointer("/Metadata/ImageConfig/architecture")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            targets,
            variables: list(value, VARIABLES_KEY).iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect(),
        })
    }

    pub(super) fn packages(&self) -> usize {
        self.targets.iter().map(|target| target.packages.len()).sum()
    }

    /// Takes over what another database knows of the same packages. What both know under one of its names stays one thing.
    pub(super) fn add_vulnerabilities(&mut self, of_another_database: Self) {
        for theirs in of_another_database.targets {
            let same = |target: &&mut Target| (&target.name, &target.kind) == (&theirs.name, &theirs.kind);
            let Some(ours) = self.targets.iter_mut().find(same) else {
                self.targets.push(theirs);
                continue;
            };
            for vulnerability in theirs.vulnerabilities {
                if !ours.vulnerabilities.iter().any(|known| known.is_the_same(&vulnerability)) {
                    ours.vulnerabilities.push(vulnerability);
                }
            }
        }
    }
}

impl Vulnerability {
    /// The same thing in the same package, maybe under another of its names.
    fn is_the_same(&self, other: &Self) -> bool {
        let same_package = (&self.package, &self.installed) == (&other.package, &other.installed);
        let named = |name: &String| *name == other.id || other.aliases.contains(name);
        same_package && (named(&self.id) || self.aliases.iter().any(named))
    }
}

impl Target {
    /// The shortest way from a program to one of its packages, both ends included, as far as the list tells it.
    pub(super) fn path_to(&self, name: &str, version: &str) -> Vec<String> {
        let mut ways: Vec<Vec<&Package>> =
            self.packages.iter().filter(|package| package.root).map(|root| vec![root]).collect();
        let mut reached: BTreeSet<&str> = ways.iter().map(|way| way[0].id.as_str()).collect();
        let mut next = 0;
        while let Some(way) = ways.get(next).cloned() {
            next += 1;
            let Some(last) = way.last() else { continue };
            if last.name == name && last.version == version {
                return way.iter().map(|package| package.name.clone()).collect();
            }
            for package in self.packages.iter().filter(|package| last.depends_on.contains(&package.id)) {
                if reached.insert(&package.id) {
                    ways.push([way.as_slice(), &[package]].concat());
                }
            }
        }
        Vec::new()
    }
}

fn target(value: &Value) -> Result<Target, String> {
    if !value.is_object() {
        return Err("has a result that is none".to_owned());
    }
    Ok(Target {
        name: text(value, "Target"),
        class: text(value, "Class"),
        kind: text(value, "Type"),
        packages: list(value, "Packages").iter().map(package).collect(),
        vulnerabilities: list(value, "Vulnerabilities").iter().map(vulnerability).collect::<Result<_, _>>()?,
        secrets: list(value, "Secrets").iter().map(secret).collect(),
        misconfigurations: list(value, "Misconfigurations")
            .iter()
            // A check that passed is listed, too, when trivy is told to.
            .filter(|check| !["PASS", "EXCEPTION"].contains(&text(check, "Status").as_str()))
            .map(misconfiguration)
            .collect(),
    })
}

fn package(value: &Value) -> Package {
    Package {
        id: text(value, "ID"),
        name: text(value, "Name"),
        version: text(value, "Version"),
        purl: value.pointer("/Identifier/PURL").and_then(Value::as_str).unwrap_or_default().to_owned(),
        depends_on: list(value, "DependsOn").iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect(),
        root: text(value, "Relationship") == "root",
    }
}

fn vulnerability(value: &Value) -> Result<Vulnerability, String> {
    let vulnerability = Vulnerability {
        id: text(value, "VulnerabilityID"),
        aliases: list(value, "VendorIDs").iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect(),
        package: text(value, "PkgName"),
        installed: text(value, "InstalledVersion"),
        fixed: text(value, "FixedVersion"),
        severity: Severity::parse(&text(value, "Severity")),
        // Not every advisory has a title; its description begins with what a title would say.
        title: [text(value, "Title"), text(value, "Description")]
            .into_iter()
            .find(|text| !text.trim().is_empty())
            .unwrap_or_default(),
        url: text(value, "PrimaryURL"),
        purl: value.pointer("/PkgIdentifier/PURL").and_then(Value::as_str).unwrap_or_default().to_owned(),
    };
    // These two are promised. Without them there is nothing to say, and dropping the entry would hide it.
    if vulnerability.id.is_empty() || vulnerability.package.is_empty() {
        return Err("has a vulnerability without an id or a package".to_owned());
    }
    Ok(vulnerability)
}

fn secret(value: &Value) -> Weakness {
    Weakness {
        id: text(value, "RuleID"),
        severity: Severity::parse(&text(value, "Severity")),
        title: text(value, "Title"),
        resolution: "take it out of the image and its layers, and replace the secret: whoever has the image has it"
            .to_owned(),
        line: line(value, "StartLine"),
        url: String::new(),
    }
}

fn misconfiguration(value: &Value) -> Weakness {
    let message = text(value, "Message");
    Weakness {
        id: text(value, "ID"),
        severity: Severity::parse(&text(value, "Severity")),
        title: if message.is_empty() { text(value, "Title") } else { message },
        resolution: text(value, "Resolution"),
        line: value.get("CauseMetadata").and_then(|cause| line(cause, "StartLine")),
        url: text(value, "PrimaryURL"),
    }
}

/// A list that may be missing, or `null`.
fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn line(value: &Value, key: &str) -> Option<u32> {
    value.get(key).and_then(Value::as_u64).filter(|line| *line > 0).and_then(|line| u32::try_from(line).ok())
}

/// The report without anything that quotes a file, a variable or a command. What is kept on disk, printed or handed on is
/// made from this; of the variables that an image sets only the suspicious names stay.
pub(super) fn without_quotes(mut value: Value) -> Value {
    let variables = suspicious_variables(&value);
    drop_quotes(&mut value);
    value[VARIABLES_KEY] = variables.into();
    value
}

fn drop_quotes(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|key, _| !QUOTING_KEYS.contains(&key.as_str()));
            map.values_mut().for_each(drop_quotes);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_quotes),
        _ => {}
    }
}

/// Names of variables in the image's configuration, and of arguments and variables in its history, that hold a secret.
fn suspicious_variables(report: &Value) -> Vec<String> {
    let config = report.pointer("/Metadata/ImageConfig").unwrap_or(&Value::Null);
    let mut assignments: Vec<(String, String)> = Vec::new();
    if let Some(settings) = config.get("config") {
        assignments.extend(list(settings, "Env").iter().filter_map(Value::as_str).filter_map(assignment));
        for trigger in list(settings, "OnBuild").iter().filter_map(Value::as_str) {
            assignments.extend(of_instruction(trigger));
        }
        for (name, value) in settings.get("Labels").and_then(Value::as_object).into_iter().flatten() {
            assignments.push((name.clone(), value.as_str().unwrap_or_default().to_owned()));
        }
    }
    for step in list(config, "history") {
        assignments.extend(of_instruction(&text(step, "created_by")));
    }
    let mut names: Vec<_> =
        assignments.into_iter().filter(|(name, value)| is_secret(name, value)).map(|(name, _)| name).collect();
    names.sort();
    names.dedup();
    names
}

/// What an instruction in a history sets: `ENV A=b C=d`, `ARG A=b`, and `RUN |1 A=b /bin/sh -c …`, which is how a build argument
/// shows. What a command itself contains is not read: a script that names a variable does not hold its value.
fn of_instruction(text: &str) -> Vec<(String, String)> {
    let text = text.trim_start_matches("/bin/sh -c #(nop) ").trim_start();
    let words = text.strip_prefix("RUN ").unwrap_or(text);
    let assigned = ["ENV ", "ARG ", "|"].iter().find_map(|mark| words.strip_prefix(mark));
    let words = assigned.unwrap_or_default().split_whitespace();
    words.take_while(|word| !word.starts_with("/bin/")).filter_map(assignment).collect()
}

fn assignment(word: &str) -> Option<(String, String)> {
    let (name, value) = word.split_once('=')?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_name.then(|| (name.to_owned(), value.trim_matches(['"', '\'']).to_owned()))
}

fn is_secret(name: &str, value: &str) -> bool {
    !value.is_empty() && (name_is_secret(name) || value_is_secret(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const CANARY: &str = "S3CR3T-c4n4ry";

    #[test]
    fn lists_that_are_missing_or_null_are_empty_and_no_error() {
        for results in [json!({}), json!({ "Results": null }), json!({ "Results": [] })] {
            let mut value = json!({ "SchemaVersion": 2 });
            value.as_object_mut().unwrap().extend(results.as_object().unwrap().clone());
            assert_eq!(Report::parse(&value).unwrap().targets, []);
        }
        let value =
            json!({ "SchemaVersion": 2, "Results": [{ "Target": "t", "Vulnerabilities": null, "Packages": null }] });
        assert_eq!(Report::parse(&value).unwrap().targets[0], Target { name: "t".into(), ..Target::default() });
    }

    #[test]
    fn another_form_is_no_report() {
        for value in [json!({}), json!(null), json!([]), json!({ "SchemaVersion": 3, "Results": [] })] {
            assert!(Report::parse(&value).is_err(), "{value}");
        }
        assert!(Report::parse(&json!({ "SchemaVersion": 2, "Results": ["x"] })).is_err());
    }

    #[test]
    fn a_vulnerability_needs_its_id_and_package_and_nothing_more() {
        let with = |vulnerability: Value| {
            Report::parse(
                &json!({ "SchemaVersion": 2, "Results": [{ "Target": "t", "Vulnerabilities": [vulnerability] }] }),
            )
        };
        let report = with(json!({ "VulnerabilityID": "CVE-1", "PkgName": "x", "Severity": "STRANGE" })).unwrap();
        let found = &report.targets[0].vulnerabilities[0];
        assert_eq!((found.id.as_str(), found.severity, found.fixed.as_str()), ("CVE-1", Severity::Unknown, ""));
        assert!(with(json!({ "PkgName": "x" })).is_err());
        assert!(with(json!({ "VulnerabilityID": "CVE-1" })).is_err());
    }

    #[test]
    fn a_program_of_others_shows_the_way_to_a_package_as_its_own_list_tells_it() {
        let value = json!({ "SchemaVersion": 2, "Results": [{ "Target": "p", "Packages": [
            { "ID": "p@1", "Name": "p", "Version": "1", "Relationship": "root", "DependsOn": ["a@1", "b@1"] },
            { "ID": "a@1", "Name": "a", "Version": "1", "DependsOn": ["p@1", "c@1"] },
            { "ID": "b@1", "Name": "b", "Version": "1", "DependsOn": ["a@1"] },
            { "ID": "c@1", "Name": "c", "Version": "1" },
        ] }] });
        let report = Report::parse(&value).unwrap();
        assert_eq!(report.targets[0].path_to("c", "1"), ["p", "a", "c"]);
        assert_eq!(report.targets[0].path_to("c", "2"), [""; 0]);
        assert_eq!(Target::default().path_to("c", "1"), [""; 0]);
    }

    #[test]
    fn a_check_that_passed_is_no_misconfiguration() {
        let value = json!({ "SchemaVersion": 2, "Results": [{ "Target": "Dockerfile", "Misconfigurations": [
            { "ID": "DS-1", "Status": "PASS", "Severity": "HIGH" },
            { "ID": "DS-2", "Status": "FAIL", "Severity": "LOW", "Message": "m", "CauseMetadata": { "StartLine": 3 } },
        ] }] });
        let report = Report::parse(&value).unwrap();
        let found = &report.targets[0].misconfigurations;
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].id.as_str(), found[0].line), ("DS-2", Some(3)));
    }

    #[test]
    fn no_value_of_a_secret_is_kept_and_every_place_is_named() {
        let value = json!({ "SchemaVersion": 2,
            "Metadata": { "ImageConfig": {
                "architecture": "amd64",
                "history": [
                    { "created_by": format!("ARG API_TOKEN={CANARY}") },
                    { "created_by": format!("RUN |1 BUILD_PASSWORD={CANARY} /bin/sh -c MY_TOKEN={CANARY} echo") },
                    { "created_by": format!("/bin/sh -c #(nop)  ENV GITHUB_TOKEN={CANARY} RUST_LOG=info") },
                ],
                "config": {
                    "Env": [format!("DATABASE_URL=postgres://u:{CANARY}@db/x"), "RUST_LOG=info", "JWT_SIGNING_KEY_FILE=/run/secrets/key", "EMPTY_TOKEN=", "PATH=/bin"],
                    "Labels": { "note": CANARY, "db.password": CANARY }, "OnBuild": [format!("ENV LATER_SECRET={CANARY}")], "Entrypoint": [CANARY], "Cmd": [CANARY],
                } } },
            "Results": [{ "Target": "/key", "Class": "secret", "Secrets": [
                { "RuleID": "github-pat", "Severity": "CRITICAL", "Match": format!("x {CANARY}"), "Code": { "Lines": [{ "Content": CANARY }] },
                  "Layer": { "CreatedBy": CANARY, "DiffID": "sha256:1" } }] }] });
        let kept = without_quotes(value);
        assert!(!kept.to_string().contains(CANARY), "{kept}");
        let report = Report::parse(&kept).unwrap();
        assert_eq!(
            report.variables,
            ["API_TOKEN", "BUILD_PASSWORD", "DATABASE_URL", "GITHUB_TOKEN", "LATER_SECRET", "db.password"]
        );
        assert_eq!(report.targets[0].secrets[0].id, "github-pat");
        assert_eq!(report.architecture, "amd64");
    }

    #[test]
    fn a_word_is_an_assignment_only_with_a_name_that_a_variable_can_have() {
        assert_eq!(assignment("A_1=\"b=c\""), Some(("A_1".to_owned(), "b=c".to_owned())));
        for word in ["=x", "a-b=x", "--from=x", "word"] {
            assert_eq!(assignment(word), None, "{word}");
        }
    }

    #[test]
    fn the_line_0_is_no_line() {
        assert_eq!(line(&json!({ "StartLine": 0 }), "StartLine"), None);
        assert_eq!(line(&json!({ "StartLine": 1 }), "StartLine"), Some(1));
    }

    #[test]
    fn an_address_with_a_password_is_a_secret_and_one_without_is_none() {
        assert!(is_secret("DATABASE_URL", "postgres://user:password@db/x"));
        for value in ["postgres://user@db/x", "http://user:8080", "http://host/path?x=a:b@c", "info"] {
            assert!(!is_secret("SOME_URL", value), "{value}");
        }
    }
}
