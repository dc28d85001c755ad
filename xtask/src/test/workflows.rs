//! The workflows of GitHub Actions, read by two programs that know what goes wrong in them: actionlint (is it right?) and
//! zizmor (is it safe?).

use anyhow::Result;
use serde_json::Value;
use xshell::{Shell, cmd};

use crate::context::Context;
use crate::outcome::{Finding, Outcome, Place, Stop};
use crate::setup::tools::{Tool, Toolbox};

const CHECK_LIMIT_SECONDS: u64 = 120;
const FOLDER: &str = ".github/workflows";
const JSON_FORMAT: &str = "{{json .}}";

/// Checks the workflows with what can be had of the two programs. One that cannot be had is off, and the report says why.
///
/// # Errors
/// [`Stop::Missing`] when a program that is there cannot do its work.
pub(super) fn check(context: &Context) -> Result<Outcome> {
    let toolbox = Toolbox::new(&context.project, &context.runner)?;
    let mut outcome = Outcome::default();
    let checks: [(&str, fn(&Context, &Tool) -> Result<Vec<Finding>>); 2] =
        [("actionlint", actionlint), ("zizmor", zizmor)];
    for (name, run) in checks {
        match toolbox.find_or_fetch(name) {
            Ok(tool) => {
                outcome.findings.extend(run(context, &tool)?);
                outcome.evidence(name, tool.evidence());
                outcome.checked(format!("reading of {FOLDER} by {name}"), 1);
            }
            Err(error) if matches!(error.downcast_ref(), Some(Stop::Interrupted(_))) => return Err(error),
            Err(error) => outcome.evidence(name, format!("off because {error:#}")),
        }
    }
    Ok(outcome)
}

fn actionlint(context: &Context, tool: &Tool) -> Result<Vec<Finding>> {
    let shell = Shell::new()?;
    shell.change_dir(&context.project.root);
    let program = &tool.program;
    // shellcheck and pyflakes would take part where they happen to be installed: the same everywhere is worth more.
    let command = cmd!(shell, "{program} -format {JSON_FORMAT} -no-color -shellcheck= -pyflakes=");
    let captured = context.runner.capture(command, CHECK_LIMIT_SECONDS)?;
    said_by_actionlint(&captured.stdout)
        .ok_or_else(|| Stop::Missing(format!("actionlint failed: {}", captured.tail())).into())
}

/// `None` when this is no report of actionlint.
fn said_by_actionlint(json: &str) -> Option<Vec<Finding>> {
    let problems: Vec<Value> = serde_json::from_str(json).ok()?;
    let finding = |problem: &Value| {
        let text = |key: &str| problem[key].as_str().unwrap_or_default();
        Finding {
            rule: "workflow-wrong",
            place: Place { line: line(&problem["line"], 0), ..Place::new(text("filepath")) },
            message: format!("{} ({})", text("message"), text("kind")),
            next_step: "correct the workflow; `actionlint` shows the place".to_owned(),
        }
    };
    Some(problems.iter().map(finding).collect())
}

fn zizmor(context: &Context, tool: &Tool) -> Result<Vec<Finding>> {
    let shell = Shell::new()?;
    shell.change_dir(&context.project.root);
    let program = &tool.program;
    let command = cmd!(
        shell,
        "{program} --offline --no-config --no-progress --strict-collection --persona pedantic --format json-v1 .github"
    );
    let captured = context.runner.capture(command, CHECK_LIMIT_SECONDS)?;
    said_by_zizmor(&captured.stdout).ok_or_else(|| Stop::Missing(format!("zizmor failed: {}", captured.tail())).into())
}

/// `None` when this is no report of zizmor.
fn said_by_zizmor(json: &str) -> Option<Vec<Finding>> {
    let findings: Vec<Value> = serde_json::from_str(json).ok()?;
    let finding = |finding: &Value| {
        let text = |key: &str| finding[key].as_str().unwrap_or_default();
        let places = finding["locations"].as_array().map_or(&[][..], Vec::as_slice);
        let place = places.iter().find(|place| place["symbolic"]["kind"] == "Primary").or(places.first());
        let at = |pointer: &str| place.and_then(|place| place.pointer(pointer)).cloned().unwrap_or(Value::Null);
        let file = at("/symbolic/key/Local/verbatim_path");
        Finding {
            rule: "workflow-unsafe",
            place: Place {
                // Counted from nought.
                line: line(&at("/concrete/location/start_point/row"), 1),
                ..Place::new(file.as_str().unwrap_or(".github"))
            },
            message: format!("{} ({})", text("desc"), text("ident")),
            next_step: format!("see {}", text("url")),
        }
    };
    // One that a comment in the workflow accepts stays in the report.
    Some(findings.iter().filter(|finding| finding["ignored"] != true).map(finding).collect())
}

fn line(value: &Value, offset: u64) -> Option<u32> {
    value.as_u64().and_then(|line| u32::try_from(line + offset).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_zizmor_says_becomes_findings_at_their_lines_and_what_a_comment_accepts_does_not() {
        let one = |ignored: bool| {
            serde_json::json!({
                "ident": "artipacked", "desc": "credential persistence", "url": "https://docs.zizmor.sh/audits/#artipacked",
                "ignored": ignored,
                "locations": [
                    { "symbolic": { "key": { "Local": { "verbatim_path": "other.yml" } }, "kind": "Related" } },
                    {
                        "symbolic": { "key": { "Local": { "verbatim_path": ".github/workflows/x.yml" } }, "kind": "Primary" },
                        "concrete": { "location": { "start_point": { "row": 5, "column": 8 } } },
                    },
                ],
            })
        };
        let findings = said_by_zizmor(&serde_json::json!([one(false), one(true)]).to_string()).unwrap();
        let shown: Vec<_> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                ".github/workflows/x.yml:6 [workflow-unsafe]: credential persistence (artipacked); next: see https://docs.zizmor.sh/audits/#artipacked"
            ]
        );
    }

    #[test]
    fn what_actionlint_says_becomes_findings_at_their_lines() {
        let said = r#"[{"message":"unexpected key \"run\"","filepath":".github/workflows/x.yml","line":7,"column":9,"kind":"syntax-check"}]"#;
        let findings = said_by_actionlint(said).unwrap();
        assert_eq!(findings[0].place.to_string(), ".github/workflows/x.yml:7");
        assert_eq!(findings[0].message, "unexpected key \"run\" (syntax-check)");
    }

    #[test]
    fn silence_is_no_report() {
        for text in ["", "fatal: no workflow found", "{}"] {
            assert_eq!((said_by_actionlint(text), said_by_zizmor(text)), (None, None), "{text}");
        }
        assert_eq!((said_by_actionlint("[]"), said_by_zizmor("[]")), (Some(vec![]), Some(vec![])));
    }
}
