//! The policy on what this workspace is made from: licences, banned packages, registries, and known advisories (deny.toml).

use std::collections::BTreeSet;

use anyhow::Result;
use camino::Utf8PathBuf;
use xshell::{Shell, cmd};

use super::failure::reason;
use xtask_engine::Toolbox;
use xtask_outcome::{Finding, Outcome, Place, Stop};
use xtask_workspace::Context;

const CHECK_LIMIT_SECONDS: u64 = 300;
const FETCH_LIMIT_SECONDS: u64 = 600;
/// What is checked whatever the machine can reach.
const ALWAYS: [&str; 3] = ["bans", "licenses", "sources"];

/// Checks Cargo.lock against deny.toml. Advisories take part where cargo-deny's database was fetched before; no database is
/// fetched here, so that tests work without a network.
///
/// # Errors
/// [`Stop::Absent`] when cargo-deny is not there and cannot be fetched; [`Stop::Broken`] when it cannot do its work.
pub fn check(context: &Context, outcome: &mut Outcome) -> Result<()> {
    let deny = Toolbox::new(&context.project, &context.runner)?.find_or_fetch("cargo-deny")?;
    let shell = Shell::new()?;
    shell.change_dir(&context.project.root);
    let mut checks = ALWAYS.to_vec();
    if advisory_database(context) {
        checks.push("advisories");
    } else {
        outcome.evidence(
            "advisories",
            "off: cargo-deny has no database here (`cargo deny fetch` gets one); `cargo xtask scan` checks them",
        );
    }
    // cargo-deny reads every package of the lock file, those of other systems too, and a build downloads its own alone. Where
    // this fails, cargo-deny says what is missing.
    context.runner.capture(cmd!(shell, "cargo fetch --quiet --locked"), FETCH_LIMIT_SECONDS)?;
    let (program, checks_run) = (&deny.program, &checks);
    let command = cmd!(shell, "{program} --offline --locked --format json --color never check {checks_run...}");
    let captured = context.runner.capture(command, CHECK_LIMIT_SECONDS)?;
    let found = findings(&captured.stderr);
    let is_clean = found.is_empty();
    outcome.findings.extend(found);
    let done = summarised(&captured.stderr);
    let undone = checks.iter().any(|check| !done.contains(*check));
    if undone || (!captured.status.success() && is_clean) {
        let text = format!("cargo-deny failed with {}: {}", captured.status, reason(&captured));
        return Err(Stop::Broken(text).into());
    }
    outcome.checked(format!("dependency policies ({})", checks.join(", ")), checks.len());
    outcome.evidence("cargo_deny", deny.evidence());
    Ok(())
}

/// cargo-deny clones advisory databases below cargo's home.
fn advisory_database(context: &Context) -> bool {
    let folder = context.project.environment.cargo_home.as_ref().map(|home| home.join("advisory-dbs"));
    let entries = folder.and_then(|folder: Utf8PathBuf| folder.read_dir_utf8().ok());
    entries
        .is_some_and(|mut entries| entries.any(|entry| entry.is_ok_and(|entry| entry.path().join("crates").is_dir())))
}

/// The checks that cargo-deny's last line counts: one that it does not count was not made.
fn summarised(lines: &str) -> BTreeSet<String> {
    let values = lines.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let summaries = values.filter(|value| value["type"] == "summary");
    summaries
        .filter_map(|value| Some(value["fields"].as_object()?.keys().cloned().collect::<Vec<_>>()))
        .flatten()
        .collect()
}

/// The errors among cargo-deny's lines of JSON; warnings are not what a gate is for.
fn findings(lines: &str) -> Vec<Finding> {
    let values = lines.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let errors = values.filter(|value| value["type"] == "diagnostic" && value["fields"]["severity"] == "error");
    errors
        .map(|value| {
            let fields = &value["fields"];
            let text = |key: &str| fields[key].as_str().unwrap_or_default();
            let label = fields.pointer("/labels/0");
            let labelled = label.and_then(|label| label["span"].as_str()).unwrap_or_default();
            let package = fields.pointer("/graphs/0/Krate").map(|package| {
                format!(
                    " ({} {})",
                    package["name"].as_str().unwrap_or_default(),
                    package["version"].as_str().unwrap_or_default()
                )
            });
            Finding {
                rule: "dependency-policy",
                place: Place::new("deny.toml"),
                message: format!("{}: {}{} {labelled}", text("code"), text("message"), package.unwrap_or_default())
                    .trim()
                    .to_owned(),
                next_step: "choose another dependency, or change deny.toml with the reason beside the change"
                    .to_owned(),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_become_findings_and_warnings_do_not() {
        let lines = concat!(
            r#"{"type":"diagnostic","fields":{"severity":"error","code":"rejected","message":"failed to satisfy license requirements","labels":[{"span":"GPL-3.0"}],"graphs":[{"Krate":{"name":"x","version":"1.0.0"}}]}}"#,
            "\n",
            r#"{"type":"diagnostic","fields":{"severity":"warning","code":"duplicate","message":"found 2"}}"#,
            "\n",
            "not json\n",
            r#"{"type":"summary","fields":{"licenses":{"errors":1},"bans":{"errors":0}}}"#,
            "\n",
        );
        assert_eq!(summarised(lines).into_iter().collect::<Vec<_>>(), ["bans", "licenses"]);
        let findings = findings(lines);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].message, "rejected: failed to satisfy license requirements (x 1.0.0) GPL-3.0");
    }
}
