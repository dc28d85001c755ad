//! What RustSec's own data says of a program's packages, as cargo-audit reads both.

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Value, json};
use xshell::{Cmd, Shell, cmd};
use xtask_engine::Tool;
use xtask_image_build::file_of_image;
use xtask_outcome::Stop;
use xtask_workspace::Context;

use super::super::report::Vulnerability;
use super::super::work::Folder;
use super::{Difference, Open, Told, next_step};

const AUDIT_LIMIT_SECONDS: u64 = 120;
const FETCH_LIMIT_SECONDS: u64 = 300;
const GIT_LIMIT_SECONDS: u64 = 30;
pub(super) const RULE: &str = "second-opinion-vulnerability";
/// An empty lock file: what cargo-audit says of it is what it says of its data.
const NO_PACKAGES: &str = "version = 4\n";

/// cargo-audit and a copy of RustSec's advisories.
#[derive(Debug)]
pub(super) struct Advisories<'a> {
    context: &'a Context,
    tool: Tool,
    folder: Utf8PathBuf,
    /// cargo-audit reads settings where it is started and in cargo's home, and an advisory that they ignore is not told: here is none.
    empty: Utf8PathBuf,
    evidence: Value,
}

/// One advisory about one package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Advisory {
    id: String,
    aliases: Vec<String>,
    package: String,
    version: String,
    title: String,
    /// `unmaintained`, `unsound`, `notice`; empty for a vulnerability.
    notice: String,
}

impl<'a> Advisories<'a> {
    /// The folder that was named, or a copy that cargo-audit fetches.
    ///
    /// # Errors
    /// [`Stop::Absent`] when there is none with an advisory in it.
    pub(super) fn open(context: &'a Context, tool: Tool, named: Option<&Utf8Path>) -> Result<Self> {
        let own = context.project.out().join("advisory-db");
        let empty = context.project.out().join("scan/empty");
        std::fs::create_dir_all(&empty).with_context(|| format!("make the folder {empty}"))?;
        let folder = match named {
            Some(named) => named.canonicalize_utf8().map_err(|error| {
                Stop::Absent(format!("--advisories {named}: {error}; next: name a clone of RustSec's advisory-db"))
            })?,
            None => own,
        };
        let mut advisories = Self { context, tool, folder, empty, evidence: Value::Null };
        let fetch = named.is_none();
        let shell = Shell::new()?;
        let captured = advisories.ask(advisories.of_text(&shell, fetch), NO_PACKAGES, FETCH_LIMIT_SECONDS)?;
        let why = match captured {
            Ok(value) => match value.pointer("/database/advisory-count").and_then(Value::as_u64) {
                Some(count) if count > 0 => {
                    advisories.evidence = advisories.described(count, fetch)?;
                    return Ok(advisories);
                }
                _ => "there is no advisory in it".to_owned(),
            },
            Err(why) => why,
        };
        let (place, next) = match named {
            Some(named) => (format!("--advisories {named}"), "name a clone of RustSec's advisory-db".to_owned()),
            None => (
                "RustSec's advisories".to_owned(),
                "`--advisories DIR` with a clone of RustSec's advisory-db".to_owned(),
            ),
        };
        Err(Stop::Absent(format!("{place}: {why}; next: {next}")).into())
    }

    pub(super) fn tool(&self) -> &Tool {
        &self.tool
    }

    pub(super) fn evidence(&self) -> Value {
        self.evidence.clone()
    }

    /// What is known of the packages that a program in an image lists.
    pub(super) fn of_program(&self, docker: &Tool, id: &str, package: &str) -> Result<Vec<Advisory>> {
        let program = file_of_image(self.context, docker, id, &format!("/{package}"))?;
        let folder = Folder::new(self.context)?;
        let file = folder.path.join(package);
        std::fs::write(&file, program).with_context(|| format!("write {file}"))?;
        let shell = Shell::new()?;
        let audit = self.audit(&shell, false).arg("bin").arg(&file);
        let value = self.ask(audit, "", AUDIT_LIMIT_SECONDS)?.map_err(|why| failed(&why))?;
        looked_up(&value)
    }

    /// What is known of everything in the lock file.
    pub(super) fn of_lock(&self, root: &Utf8Path) -> Result<Vec<Advisory>> {
        let text = std::fs::read_to_string(root.join("Cargo.lock")).context("read Cargo.lock")?;
        let shell = Shell::new()?;
        let value = self.ask(self.of_text(&shell, false), &text, AUDIT_LIMIT_SECONDS)?.map_err(|why| failed(&why))?;
        looked_up(&value)
    }

    fn of_text<'s>(&self, shell: &'s Shell, fetch: bool) -> Cmd<'s> {
        self.audit(shell, fetch).args(["--file", "-"])
    }

    /// Without the registry's own list of yanked crates: that is no advisory.
    fn audit<'s>(&self, shell: &'s Shell, fetch: bool) -> Cmd<'s> {
        shell.change_dir(&self.empty);
        let (program, folder) = (&self.tool.program, &self.folder);
        let offline = if fetch { &[][..] } else { &["--no-fetch", "--stale"] };
        cmd!(shell, "{program} audit --db {folder} {offline...} --no-yanked --json").env("CARGO_HOME", &self.empty)
    }

    /// cargo-audit ends with 1 both when it finds something and when it could not look; its JSON tells them apart.
    fn ask(&self, command: Cmd<'_>, input: &str, limit_seconds: u64) -> Result<Result<Value, String>> {
        let captured = self.context.runner.feed(command, input.as_bytes(), limit_seconds)?;
        let value: Option<Value> = serde_json::from_str(&captured.stdout).ok();
        let value = value.filter(|value| value.get("vulnerabilities").is_some());
        let line = captured.stderr.lines().find_map(|line| line.strip_prefix("error: ")).map(ToOwned::to_owned);
        Ok(value.ok_or_else(|| line.unwrap_or_else(|| format!("failed with {}: {}", captured.status, captured.tail()))))
    }

    /// How much there is and of which day, where a clone tells it.
    fn described(&self, count: u64, fetched: bool) -> Result<Value> {
        let shell = Shell::new()?;
        let folder = &self.folder;
        let log = cmd!(shell, "git -C {folder} log -1 --format=%H%x20%cs");
        let captured = self.context.runner.capture(log, GIT_LIMIT_SECONDS)?;
        let is_clone = captured.status.success() && folder.join(".git").exists();
        let (commit, date) =
            captured.stdout.trim().split_once(' ').filter(|_| is_clone).unwrap_or(("unknown", "unknown"));
        let origin = if fetched { "fetched" } else { "--advisories" };
        Ok(json!({ "origin": origin, "count": count, "commit": commit, "updated": date }))
    }
}

fn failed(why: &str) -> Stop {
    Stop::Broken(format!("cargo-audit: {why}"))
}

/// The advisories in cargo-audit's JSON. One that looked up nothing says nothing.
fn looked_up(value: &Value) -> Result<Vec<Advisory>> {
    let count = value.pointer("/lockfile/dependency-count").and_then(Value::as_u64);
    if count.is_none_or(|count| count == 0) {
        return Err(Stop::Broken("cargo-audit sees no package in it".to_owned()).into());
    }
    let found = value.pointer("/vulnerabilities/list").and_then(Value::as_array).into_iter().flatten();
    let mut advisories: Vec<_> = found.filter_map(|entry| advisory(entry, "")).collect();
    for (kind, list) in value.get("warnings").and_then(Value::as_object).into_iter().flatten() {
        advisories.extend(list.as_array().into_iter().flatten().filter_map(|entry| advisory(entry, kind)));
    }
    Ok(advisories)
}

fn advisory(entry: &Value, notice: &str) -> Option<Advisory> {
    let text = |pointer: &str| entry.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let aliases = entry.pointer("/advisory/aliases").and_then(Value::as_array).into_iter().flatten();
    let aliases = aliases.filter_map(Value::as_str).map(ToOwned::to_owned).collect();
    let (id, package) = (text("/advisory/id"), text("/package/name"));
    let (version, title) = (text("/package/version"), text("/advisory/title"));
    (!id.is_empty()).then(|| Advisory { id, aliases, package, version, title, notice: notice.to_owned() })
}

impl Advisory {
    /// The same advisory about the same package, under whatever name.
    fn is(&self, known: &Vulnerability) -> bool {
        let named = |name: &String| *name == self.id || self.aliases.contains(name);
        let same_package = (&self.package, &self.version) == (&known.package, &known.installed);
        same_package && (named(&known.id) || known.aliases.iter().any(named))
    }

    fn shown(&self) -> String {
        format!(
            "{} in {} {}",
            [std::slice::from_ref(&self.id), self.aliases.as_slice()].concat().join(", "),
            self.package,
            self.version
        )
    }
}

/// Both readings of one unit. `built` says whether a package takes part in any build here: a lock file has others, too.
pub(super) fn compare(
    unit: &str,
    known: &[&Vulnerability],
    found: &[Advisory],
    built: impl Fn(&str, &str) -> bool,
) -> Difference {
    let mut difference = Difference::default();
    for advisory in found {
        if known.iter().any(|known| advisory.is(known)) {
            difference.both += 1;
        } else {
            difference.only_second.push(of_rustsec(unit, advisory, built(&advisory.package, &advisory.version)));
        }
    }
    for known in known.iter().filter(|known| !found.iter().any(|advisory| advisory.is(known))) {
        let names = [std::slice::from_ref(&known.id), known.aliases.as_slice()].concat();
        let why = if names.iter().any(|name| name.starts_with("RUSTSEC-")) {
            "RustSec has it, and cargo-audit does not report it: this copy may be older or have it withdrawn".to_owned()
        } else {
            "it has no name of RustSec's, whose data alone cargo-audit reads".to_owned()
        };
        let what = format!("{} in {} {}", names.join(", "), known.package, known.installed);
        difference.only_trivy.push(Told { what, why, open: None });
    }
    difference
}

fn of_rustsec(unit: &str, advisory: &Advisory, built: bool) -> Told {
    let (what, title) = (advisory.shown(), &advisory.title);
    if !advisory.notice.is_empty() {
        let why = format!("{}: {title}; a notice about the crate, which trivy's data may leave out", advisory.notice);
        return Told { what, why, open: None };
    }
    if !built {
        let why = format!("{title}; nothing here is built with it: another system's, or an unused feature's");
        return Told { what, why, open: None };
    }
    let names = [std::slice::from_ref(&advisory.id), advisory.aliases.as_slice()].concat();
    let place = format!("{}/{}", advisory.package, advisory.id);
    let next_step = next_step(RULE, unit, &place);
    let by_name = names.into_iter().map(|name| (name, advisory.package.clone()));
    let accepted_as = std::iter::once((RULE.to_owned(), place)).chain(by_name).collect();
    let open = Some(Open { rule: RULE, accepted_as, next_step });
    Told { what, why: format!("{title}; trivy's database does not have it"), open }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::tests::vulnerability;

    fn entry(id: &str, aliases: &[&str], version: &str) -> Value {
        json!({ "advisory": { "id": id, "title": "overflow", "aliases": aliases }, "package": { "name": "small", "version": version } })
    }

    fn found(list: &[Value], warnings: &Value) -> Vec<Advisory> {
        let value =
            json!({ "lockfile": { "dependency-count": 9 }, "vulnerabilities": { "list": list }, "warnings": warnings });
        looked_up(&value).unwrap()
    }

    #[test]
    fn one_advisory_is_the_same_under_any_of_its_names() {
        let known = vulnerability("CVE-2021-25900", "HIGH");
        for (id, aliases) in
            [("RUSTSEC-2021-0003", &[][..]), ("RUSTSEC-9", &["CVE-2021-25900"]), ("CVE-2021-25900", &[])]
        {
            let found = found(&[entry(id, aliases, "1.6.0")], &json!({}));
            let difference = compare("order", &[&known], &found, |_, _| true);
            assert_eq!(difference, Difference { both: 1, ..Difference::default() }, "{id}");
        }
        // The same in another version is something else.
        let other = found(&[entry("RUSTSEC-2021-0003", &[], "1.5.0")], &json!({}));
        let difference = compare("order", &[&known], &other, |_, _| true);
        assert_eq!((difference.both, difference.only_trivy.len(), difference.only_second.len()), (0, 1, 1));
        assert!(difference.only_trivy[0].why.contains("older or have it withdrawn"), "{difference:?}");
    }

    #[test]
    fn what_only_rustsec_knows_is_open_unless_it_is_a_notice_or_built_nowhere() {
        let list = [entry("RUSTSEC-1", &["CVE-1"], "1.0.0")];
        let difference = compare("order", &[], &found(&list, &json!({})), |_, _| true);
        let open = difference.only_second[0].open.as_ref().unwrap();
        let rules: Vec<_> = open.accepted_as.iter().map(|(rule, place)| (rule.as_str(), place.as_str())).collect();
        assert_eq!(rules, [(RULE, "small/RUSTSEC-1"), ("RUSTSEC-1", "small"), ("CVE-1", "small")]);
        assert!(open.next_step.contains("scope `order/small/RUSTSEC-1`"), "{}", open.next_step);
        assert_eq!(difference.only_second[0].what, "RUSTSEC-1, CVE-1 in small 1.0.0");
        assert_eq!(compare("Cargo.lock", &[], &found(&list, &json!({})), |_, _| false).only_second[0].open, None);
        let notice = found(&[], &json!({ "unmaintained": [entry("RUSTSEC-2", &[], "1.0.0")] }));
        let difference = compare("order", &[], &notice, |_, _| true);
        assert_eq!(difference.only_second[0].open, None);
        assert!(difference.only_second[0].why.starts_with("unmaintained: overflow"), "{difference:?}");
    }

    #[test]
    fn what_only_trivy_knows_is_told_with_the_reason() {
        let mut known = vulnerability("GHSA-1", "HIGH");
        known.aliases.clear();
        let difference = compare("order", &[&known], &[], |_, _| true);
        assert!(difference.only_trivy[0].why.contains("no name of RustSec's"), "{difference:?}");
    }

    #[test]
    fn an_audit_that_saw_no_package_says_nothing() {
        for value in [json!({}), json!({ "lockfile": { "dependency-count": 0 }, "vulnerabilities": { "list": [] } })] {
            assert!(looked_up(&value).unwrap_err().to_string().contains("sees no package"), "{value}");
        }
    }
}
