//! The things that a scan found, one by one, and the policy's answer to each.

use serde::{Deserialize, Serialize};

use super::policy::{FILE, Owner, Policy, Severity};
use super::report::{Report, Target, Vulnerability, Weakness};
use super::resolution::{Remedy, Resolution};
use xtask_outcome::{Exception, Exceptions};
use xtask_outcome::{Finding, Place};

/// Long titles are cut here.
const TITLE_CHARACTERS: usize = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Vulnerability,
    Secret,
    Misconfiguration,
}

/// One thing that was found. The same in every run and after every rebuild has the same [`Item::key`].
///
/// The report holds the short fields, which make one line of a table; the long ones are in findings, SARIF and docs/scans.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Item {
    pub(super) kind: Kind,
    /// The image, lock file or Dockerfile.
    pub(super) unit: String,
    /// The advisory, or the rule of the check.
    pub(super) id: String,
    #[serde(default, skip_serializing)]
    pub(super) aliases: Vec<String>,
    pub(super) severity: Severity,
    /// The package, file or variable.
    pub(super) subject: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) installed: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) fixed_in: String,
    /// The dependency that a manifest of this workspace names.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) through: String,
    #[serde(default, skip_serializing)]
    pub(super) path: String,
    /// The command that clears it, where one does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) update: String,
    #[serde(default, skip_serializing)]
    pub(super) next_step: String,
    #[serde(default, skip_serializing)]
    pub(super) title: String,
    #[serde(default, skip_serializing)]
    pub(super) url: String,
    #[serde(default, skip_serializing)]
    pub(super) line: Option<u32>,
    /// The package as a package URL; empty for what is not a vulnerability.
    #[serde(default, skip_serializing)]
    pub(super) purl: String,
    /// `fails`, `reported`, or `accepted until …`.
    pub(super) state: String,
    /// The exception that accepts it.
    #[serde(skip)]
    pub(super) exception: Option<Exception>,
}

pub(super) const FAILS: &str = "fails";
pub(super) const REPORTED: &str = "reported";

impl Item {
    /// What it is called across rebuilds: the version of a package is not part of it, so an update that does not help is
    /// no news.
    pub(super) fn key(&self) -> String {
        format!("{} {} {} {}", self.unit, name_of(self.kind), self.id, self.subject)
    }

    /// Whether the advisory's address is one: it is somebody else's text.
    pub(super) fn has_address(&self) -> bool {
        let is_address = ["https://", "http://"].iter().any(|scheme| self.url.starts_with(scheme));
        is_address && !self.url.contains(|c: char| c.is_whitespace() || c.is_control() || "<>()\"{}|\\^`".contains(c))
    }

    /// Where an exception has to point.
    pub(super) fn scope(&self) -> String {
        scope(&self.unit, &self.subject)
    }

    pub(super) fn finding(&self) -> Finding {
        let (rule, about) = match self.kind {
            Kind::Vulnerability => ("vulnerable-package", format!("{} {}", self.subject, self.installed)),
            Kind::Secret => ("secret-in-image", self.subject.clone()),
            Kind::Misconfiguration => ("misconfiguration", self.unit.clone()),
        };
        let way = if self.path.is_empty() { String::new() } else { format!(", by way of {}", self.path) };
        let fix = if self.fixed_in.is_empty() { String::new() } else { format!("; fixed in {}", self.fixed_in) };
        // Not every advisory has a title.
        let title = if self.title.is_empty() { String::new() } else { format!(": {}", self.title) };
        Finding {
            rule,
            place: Place { name: self.unit.clone(), line: self.line },
            message: format!("{} ({}) in {about}{way}{title}{fix}", self.id, self.severity),
            next_step: self.next_step.clone(),
        }
    }
}

fn scope(unit: &str, subject: &str) -> String {
    format!("{unit}/{}", subject.trim_start_matches('/'))
}

pub(super) fn accept(id: &str, unit: &str, subject: &str) -> String {
    format!("accept it with a reason in xtask/policy/{FILE} (rule `{id}`, scope `{}`)", scope(unit, subject))
}

pub(super) fn name_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Vulnerability => "vulnerability",
        Kind::Secret => "secret",
        Kind::Misconfiguration => "misconfiguration",
    }
}

/// Everything in a report, not yet judged. `program` is the package whose dependencies the vulnerable ones are.
pub(super) fn all(unit: &str, report: &Report, program: Option<&str>, resolution: Option<&Resolution>) -> Vec<Item> {
    let mut items = Vec::new();
    for target in &report.targets {
        for vulnerability in &target.vulnerabilities {
            items.push(of_vulnerability(unit, target, vulnerability, program, resolution));
        }
        let weaknesses = [(Kind::Secret, &target.secrets), (Kind::Misconfiguration, &target.misconfigurations)];
        for (kind, found) in weaknesses {
            items.extend(found.iter().map(|weakness| of_weakness(unit, target, weakness, kind)));
        }
    }
    items.extend(report.variables.iter().map(|name| of_variable(unit, name)));
    // A secret that stands in several steps of the history is one secret.
    items.sort_by(|a, b| a.key().cmp(&b.key()).then(a.line.cmp(&b.line)));
    items.dedup_by(|a, b| a.key() == b.key() && a.installed == b.installed);
    items
}

fn of_vulnerability(
    unit: &str,
    target: &Target,
    found: &Vulnerability,
    program: Option<&str>,
    resolution: Option<&Resolution>,
) -> Item {
    let is_crate = ["rustbinary", "cargo"].contains(&target.kind.as_str());
    let resolution = resolution.filter(|_| is_crate);
    let known = resolution.map(|known| known.path_to(program, &found.package, &found.installed)).unwrap_or_default();
    // An image that the checkout does not resolve to still tells how its packages hang together.
    let path = if known.is_empty() { target.path_to(&found.package, &found.installed) } else { known };
    let accept = accept(&found.id, unit, &found.package);
    let no_fix = format!("no fixed version is out: do without {}, or {accept}", found.package);
    let (update, next_step) = match resolution.map(|known| known.remedy(&found.package, &found.installed, &found.fixed))
    {
        Some(Remedy::Update(command)) => (command.clone(), command),
        Some(Remedy::HeldBack { fixed, by }) if !by.is_empty() => {
            (String::new(), format!("no `cargo update` reaches {fixed}: raise {}, or {accept}", by.join(" and ")))
        }
        Some(Remedy::NoFix) => (String::new(), no_fix),
        None if found.fixed.is_empty() => (String::new(), no_fix),
        _ => (String::new(), format!("use an image that holds {} {}, or {accept}", found.package, found.fixed)),
    };
    Item {
        kind: Kind::Vulnerability,
        unit: unit.to_owned(),
        id: found.id.clone(),
        aliases: found.aliases.clone(),
        severity: found.severity,
        subject: found.package.clone(),
        installed: found.installed.clone(),
        fixed_in: found.fixed.clone(),
        through: resolution.map(|known| known.direct_of(&path)).unwrap_or_default(),
        path: path.join(" > "),
        update,
        next_step,
        title: cut(&found.title),
        url: found.url.clone(),
        line: None,
        purl: found.purl.clone(),
        state: String::new(),
        exception: None,
    }
}

fn of_weakness(unit: &str, target: &Target, found: &Weakness, kind: Kind) -> Item {
    // trivy calls the image's own configuration by the image's name, which is its id here.
    let in_configuration = target.name.starts_with("sha256:") || kind == Kind::Misconfiguration;
    let subject = if in_configuration { "configuration" } else { &target.name };
    Item {
        kind,
        unit: unit.to_owned(),
        id: found.id.clone(),
        aliases: Vec::new(),
        severity: found.severity,
        subject: subject.to_owned(),
        installed: String::new(),
        fixed_in: String::new(),
        through: String::new(),
        path: String::new(),
        update: String::new(),
        next_step: format!("{}, or {}", found.resolution, accept(&found.id, unit, subject)),
        title: cut(&found.title),
        url: found.url.clone(),
        line: found.line.filter(|_| kind == Kind::Misconfiguration),
        purl: String::new(),
        state: String::new(),
        exception: None,
    }
}

fn of_variable(unit: &str, name: &str) -> Item {
    Item {
        kind: Kind::Secret,
        unit: unit.to_owned(),
        id: "secret-variable".to_owned(),
        aliases: Vec::new(),
        severity: Severity::Critical,
        subject: name.to_owned(),
        installed: String::new(),
        fixed_in: String::new(),
        through: String::new(),
        path: String::new(),
        update: String::new(),
        next_step: format!(
            "hand {name} over when the container starts, or to the build as a secret mount; whoever has the image has its value"
        ),
        title: "a variable or build argument whose value stands in the image's configuration or history".to_owned(),
        url: String::new(),
        line: None,
        purl: String::new(),
        state: String::new(),
        exception: None,
    }
}

/// Gives every item its state and the findings for those that fail.
pub(super) fn judge(items: &mut [Item], owner: Owner, policy: &Policy, exceptions: &mut Exceptions) -> Vec<Finding> {
    let gate = policy.gate(owner);
    let mut findings = Vec::new();
    for item in items {
        let severities = match item.kind {
            Kind::Vulnerability => &gate.vulnerabilities,
            Kind::Secret => &gate.secrets,
            Kind::Misconfiguration => &gate.misconfigurations,
        };
        let waits = gate.only_with_fix && item.kind == Kind::Vulnerability && item.fixed_in.is_empty();
        // Asked for every item, so that an exception for one below the gate counts as needed, and the report shows it.
        let scope = item.scope();
        let ids = [&item.id].into_iter().chain(&item.aliases);
        let mut accepted = None;
        for id in ids {
            let exception = exceptions.accept(id, &scope).cloned();
            accepted = accepted.or(exception);
        }
        item.exception = accepted;
        item.state = match &item.exception {
            Some(known) => format!("accepted until {} by {}", known.expires, known.owner),
            None if severities.contains(&item.severity) && !waits => {
                findings.push(item.finding());
                FAILS.to_owned()
            }
            None => REPORTED.to_owned(),
        };
    }
    findings
}

fn cut(title: &str) -> String {
    let line = title.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    match line.char_indices().nth(TITLE_CHARACTERS) {
        Some((end, _)) => format!("{}…", line[..end].trim_end()),
        None => line.to_owned(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::resolution::tests::resolution;
    use super::*;
    use xtask_outcome::Date;

    const POLICY: &str = r#"
[database]
max-age-days = 7
refresh-hours = 24
repositories = []
[service]
vulnerabilities = ["critical", "high", "unknown"]
secrets = ["low"]
misconfigurations = []
[build]
vulnerabilities = []
secrets = []
misconfigurations = []
[third-party]
vulnerabilities = ["critical"]
only-with-fix = true
secrets = []
misconfigurations = []
"#;

    pub(crate) fn vulnerability(id: &str, severity: &str) -> Vulnerability {
        Vulnerability {
            id: id.into(),
            aliases: vec!["RUSTSEC-2021-0003".into()],
            package: "small".into(),
            installed: "1.6.0".into(),
            fixed: ">=0.6.14, <1.0.0, >=1.6.1".into(),
            severity: Severity::parse(severity),
            title: "overflow".into(),
            url: String::new(),
            purl: "pkg:cargo/small@1.6.0".into(),
        }
    }

    pub(crate) fn items(vulnerabilities: Vec<Vulnerability>) -> Vec<Item> {
        let target = Target { name: "shop".into(), kind: "rustbinary".into(), vulnerabilities, ..Target::default() };
        let report = Report { targets: vec![target], ..Report::default() };
        all("order", &report, Some("shop"), Some(&resolution()))
    }

    fn judged(severity: &str, owner: Owner, exception: &str) -> (Item, Vec<Finding>) {
        let text = format!("{POLICY}{exception}");
        let policy = Policy::parse("scan.toml", &text).unwrap();
        let mut exceptions = policy.exceptions(&text, Date::parse("2026-03-01").unwrap());
        let mut items = items(vec![vulnerability("CVE-2021-25900", severity)]);
        let mut findings = judge(&mut items, owner, &policy, &mut exceptions);
        findings.extend(exceptions.judge(|_| true));
        (items.remove(0), findings)
    }

    fn exception(rule: &str, scope: &str, expires: &str) -> String {
        format!(
            "[[exception]]\nrule = \"{rule}\"\nscope = \"{scope}\"\nreason = \"r\"\nowner = \"platform\"\ncreated = \"2026-02-01\"\nexpires = \"{expires}\"\n"
        )
    }

    #[test]
    fn the_gate_decides_by_severity_and_an_unknown_one_fails() {
        for (severity, fails) in [("CRITICAL", 1), ("HIGH", 1), ("", 1), ("STRANGE", 1), ("MEDIUM", 0), ("LOW", 0)] {
            let (item, findings) = judged(severity, Owner::Service, "");
            assert_eq!((findings.len(), item.state == FAILS), (fails, fails == 1), "{severity}");
        }
        assert_eq!(judged("HIGH", Owner::ThirdParty, "").1, []);
        assert_eq!(judged("CRITICAL", Owner::ThirdParty, "").1.len(), 1);
        assert_eq!(judged("CRITICAL", Owner::Build, "").1, []);
    }

    #[test]
    fn a_finding_names_advisory_path_fix_and_the_command_that_clears_it() {
        let (item, findings) = judged("CRITICAL", Owner::Service, "");
        let shown = findings[0].to_string();
        for word in [
            "CVE-2021-25900 (critical)",
            "small 1.6.0",
            "shop > kit > web > small",
            "fixed in >=0.6.14",
            "cargo update -p small@1.6.0 --precise 1.6.1",
        ] {
            assert!(shown.contains(word), "{word}: {shown}");
        }
        assert_eq!(
            (item.through.as_str(), item.update.as_str()),
            ("web", "cargo update -p small@1.6.0 --precise 1.6.1")
        );
    }

    #[test]
    fn an_exception_accepts_in_its_place_until_its_day_under_any_of_the_advisorys_names() {
        for rule in ["CVE-2021-25900", "RUSTSEC-2021-0003"] {
            for scope in ["order/small", "order"] {
                let (item, findings) = judged("CRITICAL", Owner::Service, &exception(rule, scope, "2026-03-02"));
                assert_eq!((item.state.as_str(), findings.len()), ("accepted until 2026-03-02 by platform", 0));
            }
        }
        let rules = |text: &str| judged("CRITICAL", Owner::Service, text).1.iter().map(|f| f.rule).collect::<Vec<_>>();
        assert_eq!(
            rules(&exception("CVE-2021-25900", "order/small", "2026-03-01")),
            ["vulnerable-package", "exception-ran-out"]
        );
        assert_eq!(
            rules(&exception("CVE-2021-25900", "user/small", "2026-03-02")),
            ["vulnerable-package", "exception-unmatched"]
        );
        assert_eq!(
            rules(&exception("CVE-2021-25900", "order/small", "2026-13-40")),
            ["vulnerable-package", "exception-malformed"]
        );
    }

    #[test]
    fn what_has_no_fix_does_not_fail_in_an_image_of_others() {
        let text = POLICY.to_owned();
        let policy = Policy::parse("scan.toml", &text).unwrap();
        let mut exceptions = policy.exceptions(&text, Date::parse("2026-03-01").unwrap());
        let mut items = items(vec![Vulnerability { fixed: String::new(), ..vulnerability("CVE-1", "CRITICAL") }]);
        assert_eq!(judge(&mut items, Owner::ThirdParty, &policy, &mut exceptions), []);
        assert_eq!(judge(&mut items, Owner::Service, &policy, &mut exceptions).len(), 1);
        assert!(items[0].next_step.starts_with("no fixed version is out"), "{}", items[0].next_step);
    }

    #[test]
    fn a_next_step_says_what_can_be_done_and_how_it_is_accepted() {
        let accepted = "accept it with a reason in xtask/policy/scan.toml (rule `CVE-1`, scope `order/small`)";
        let next = |fixed: &str, resolution: Option<&Resolution>| {
            let found = Vulnerability { fixed: fixed.into(), ..vulnerability("CVE-1", "HIGH") };
            let target = Target { kind: "rustbinary".into(), vulnerabilities: vec![found], ..Target::default() };
            let report = Report { targets: vec![target], ..Report::default() };
            all("order", &report, Some("shop"), resolution).remove(0).next_step
        };
        let known = resolution();
        let stranger = Resolution::default();
        for (fixed, resolution, step) in [
            (">=1.6.1", Some(&known), "cargo update -p small@1.6.0 --precise 1.6.1".to_owned()),
            (
                ">=2.0.0",
                Some(&known),
                format!("no `cargo update` reaches 2.0.0: raise old 1.0.0 (^1) and web 1.2.0 (^1.6), or {accepted}"),
            ),
            ("", Some(&known), format!("no fixed version is out: do without small, or {accepted}")),
            ("", None, format!("no fixed version is out: do without small, or {accepted}")),
            (">=1.6.1", None, format!("use an image that holds small >=1.6.1, or {accepted}")),
            // Not in the checkout's resolution: the image was built from another one.
            (">=1.6.1", Some(&stranger), format!("use an image that holds small >=1.6.1, or {accepted}")),
        ] {
            assert_eq!(next(fixed, resolution), step, "{fixed}");
        }
    }

    #[test]
    fn one_secret_in_several_steps_is_one_and_one_package_in_two_versions_is_two() {
        let weakness = |id: &str, line| Weakness {
            id: id.into(),
            severity: Severity::High,
            title: "t".into(),
            resolution: "r".into(),
            line: Some(line),
            url: String::new(),
        };
        let target = Target {
            name: "sha256:0123".into(),
            vulnerabilities: vec![
                vulnerability("CVE-1", "HIGH"),
                Vulnerability { installed: "0.6.0".into(), ..vulnerability("CVE-1", "HIGH") },
            ],
            secrets: vec![weakness("pat", 3), weakness("pat", 9)],
            misconfigurations: vec![weakness("DS-1", 5)],
            ..Target::default()
        };
        let file = Target { name: "/key".into(), secrets: vec![weakness("pat", 1)], ..Target::default() };
        let report = Report { targets: vec![target, file], ..Report::default() };
        let found: Vec<_> = all("order", &report, None, None)
            .into_iter()
            .map(|item| (item.id, item.subject, item.installed, item.line))
            .collect();
        let row = |id: &str, subject: &str, installed: &str, line| {
            (id.to_owned(), subject.to_owned(), installed.to_owned(), line)
        };
        assert_eq!(
            found,
            [
                row("DS-1", "configuration", "", Some(5)),
                row("pat", "/key", "", None),
                row("pat", "configuration", "", None),
                row("CVE-1", "small", "1.6.0", None),
                row("CVE-1", "small", "0.6.0", None),
            ]
        );
    }

    #[test]
    fn long_titles_are_cut_between_characters() {
        assert_eq!(cut("short\nmore"), "short");
        assert_eq!(cut(&"ü".repeat(200)).chars().count(), TITLE_CHARACTERS + 1);
    }
}
