//! What the containers' behaviour means. Pure: from observations to findings.

use super::{Case, Observation, malformed_of};
use crate::contract::Kind;
use crate::places::ImagePlace;
use crate::view::{About, Findings};
use xtask_outcome::Place;

const END_LIMIT_SECONDS: f64 = 2.0;

/// `refused` is what a program ends with that refuses its environment.
pub(crate) fn judge(image: &ImagePlace, observations: &[Observation], refused: i64, findings: &mut Findings) {
    let place = Place::new(format!("image of {}", image.service));
    let service = &image.service;
    let required: Vec<_> =
        image.contract.variables.iter().filter(|v| v.kind == Kind::Required).map(|v| v.name.clone()).collect();
    for seen in observations {
        let (missing, malformed) = match &seen.case {
            Case::Documented | Case::Nonsense => (Vec::new(), Vec::new()),
            Case::Missing(name) | Case::Blank(name) => (vec![name.clone()], Vec::new()),
            Case::Malformed(name) => (Vec::new(), vec![name.clone()]),
            Case::Nothing | Case::NothingButNonsense => (required.clone(), Vec::new()),
            Case::AllMalformed(number) => {
                (Vec::new(), malformed_of(image, *number).into_iter().map(|(name, _)| name).collect())
            }
        };
        let variable = match &seen.case {
            Case::Missing(name) | Case::Blank(name) | Case::Malformed(name) => name.as_str(),
            _ => "",
        };
        let about = About { place: &place, service, variable };
        for name in &seen.leaked {
            let about = About { place: &place, service, variable: name };
            let message = format!("{service} {} prints the value of {name}", told(&seen.case));
            findings.add("value-in-output", &about, message, "name the variable in the message, never its value");
        }
        let has_nothing_to_miss = required.is_empty() && matches!(seen.case, Case::Nothing | Case::NothingButNonsense);
        if has_nothing_to_miss || matches!(seen.case, Case::Documented | Case::Nonsense) {
            started(seen, &about, findings);
            continue;
        }
        if seen.exit_code != Some(refused) {
            let code = seen.exit_code.map_or_else(|| "no end".to_owned(), |code| format!("exit code {code}"));
            let message = format!("{service} {} gives {code}, not {refused}", told(&seen.case));
            findings.add("wrong-ending", &about, message, "check the variable before anything else starts");
            continue;
        }
        if seen.seconds > END_LIMIT_SECONDS {
            let message = format!("{service} {} takes {:.1} s to end", told(&seen.case), seen.seconds);
            findings.add("slow-ending", &about, message, "check the variables before anything else starts");
        }
        names(seen, "missing", &missing, &seen.named_missing, &about, findings);
        names(seen, "malformed", &malformed, &seen.named_malformed, &about, findings);
    }
    compare(image, observations, &place, findings);
}

fn told(case: &Case) -> String {
    match case {
        Case::Documented => "with exactly the documented variables".to_owned(),
        Case::Nonsense => "with nonsense in the variables that libraries read".to_owned(),
        Case::Missing(name) => format!("without {name}"),
        Case::Blank(name) => format!("with {name} blank"),
        Case::Malformed(name) => format!("with {name} malformed"),
        Case::Nothing => "without any variable".to_owned(),
        Case::NothingButNonsense => "with nothing but nonsense".to_owned(),
        Case::AllMalformed(number) => format!("with every variable malformed (round {})", number + 1),
    }
}

fn started(seen: &Observation, about: &About<'_>, findings: &mut Findings) {
    if let Some(code) = seen.exit_code {
        let why = seen.log.last().map(|line| format!(": {line}")).unwrap_or_default();
        let message = format!("{} {} does not start (exit code {code}){why}", about.service, told(&seen.case));
        let disturbed = "take what is not in the contract out of its environment before anything else starts; what cannot disturb it \
                         here may go from [live.nonsense] of policy/env.toml";
        let refused = "see its log; a value that the Compose file gives may be refused";
        let next = if seen.case == Case::Nonsense { disturbed } else { refused };
        findings.add("no-start", about, message, next);
    }
}

fn names(
    seen: &Observation,
    what: &str,
    expected: &[String],
    named: &[String],
    about: &About<'_>,
    findings: &mut Findings,
) {
    let service = about.service;
    let unnamed: Vec<_> = expected.iter().filter(|name| !named.contains(name)).map(String::as_str).collect();
    if !unnamed.is_empty() {
        let message = format!("{service} {} does not call {} {what}", told(&seen.case), unnamed.join(", "));
        findings.add(
            "fault-not-named",
            about,
            message,
            "report every fault at once, by name (docs/adopting.md, What a program offers)",
        );
    }
    let wrong: Vec<_> = named.iter().filter(|name| !expected.contains(name)).map(String::as_str).collect();
    if !wrong.is_empty() {
        let message = format!("{service} {} also calls {} {what}", told(&seen.case), wrong.join(", "));
        findings.add("fault-not-named", about, message, "name only what is wrong");
    }
}

/// Nonsense in the libraries' variables must change nothing.
fn compare(image: &ImagePlace, observations: &[Observation], place: &Place, findings: &mut Findings) {
    let of = |case: &Case| observations.iter().find(|seen| seen.case == *case);
    for (plain, nonsense) in [(Case::Documented, Case::Nonsense), (Case::Nothing, Case::NothingButNonsense)] {
        let (Some(before), Some(after)) = (of(&plain), of(&nonsense)) else { continue };
        let lines = |a: &Observation, b: &Observation| a.log.iter().find(|line| !b.log.contains(line)).cloned();
        let difference = lines(before, after).or_else(|| lines(after, before));
        if let Some(line) = difference {
            let about = About { place, service: &image.service, variable: "" };
            let message = format!("{} behaves otherwise {}: {line}", image.service, told(&nonsense));
            findings.add(
                "undeclared-variable",
                &about,
                message,
                "drop what is not in the contract before any library starts",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Contract;
    use serde_json::json;

    fn image() -> ImagePlace {
        let contract = json!({ "schema": 1, "variables": [
            { "name": "URL", "kind": "required", "type": "url", "secret": true, "file_variant": true },
            { "name": "KEY", "kind": "required", "type": "string" },
            { "name": "PORT", "kind": "default", "default": "1", "type": "port" }] });
        let contract = Contract::parse("mini-user", &contract).unwrap();
        ImagePlace { service: "user".into(), id: String::new(), contract, config: json!({}), history: vec![] }
    }

    fn seen(case: Case) -> Observation {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let (missing, malformed) = match &case {
            Case::Missing(name) | Case::Blank(name) => (vec![name.clone()], vec![]),
            Case::Malformed(name) => (vec![], vec![name.clone()]),
            Case::Nothing | Case::NothingButNonsense => (owned(&["URL", "KEY"]), vec![]),
            Case::AllMalformed(_) => (vec![], owned(&["URL", "PORT"])),
            _ => (vec![], vec![]),
        };
        let runs = matches!(case, Case::Documented | Case::Nonsense);
        Observation {
            case,
            exit_code: (!runs).then_some(78),
            seconds: 0.1,
            named_missing: missing,
            named_malformed: malformed,
            leaked: vec![],
            log: vec!["INFO listening".into()],
        }
    }

    fn rules(observation: Observation) -> Vec<&'static str> {
        let mut findings = Findings::default();
        judge(&image(), &[seen(Case::Documented), seen(Case::Nothing), observation], 78, &mut findings);
        findings.found.iter().map(|found| found.finding.rule).collect()
    }

    #[test]
    fn good_behaviour_has_no_findings() {
        for case in [
            Case::Nonsense,
            Case::Missing("URL".into()),
            Case::Blank("KEY".into()),
            Case::Malformed("URL".into()),
            Case::NothingButNonsense,
            Case::AllMalformed(0),
        ] {
            assert_eq!(rules(seen(case.clone())), [""; 0], "{case:?}");
        }
    }

    /// Case Q09: there is nothing that it could miss.
    #[test]
    fn a_service_without_required_variables_is_right_when_it_starts() {
        let mut image = image();
        image.contract.variables.retain(|variable| variable.kind != Kind::Required);
        let rules = |exit_code: Option<i64>| {
            let mut findings = Findings::default();
            let nothing = Observation { exit_code, named_missing: vec![], ..seen(Case::Nothing) };
            judge(&image, &[seen(Case::Documented), nothing], 78, &mut findings);
            findings.found.iter().map(|found| found.finding.rule).collect::<Vec<_>>()
        };
        assert_eq!(rules(None), [""; 0]);
        assert_eq!(rules(Some(78)), ["no-start"]);
    }

    #[test]
    fn each_kind_of_bad_behaviour_has_its_finding() {
        let of = |change: fn(&mut Observation)| {
            let mut observation = seen(Case::Missing("URL".into()));
            change(&mut observation);
            rules(observation)
        };
        assert_eq!(of(|seen| seen.exit_code = Some(1)), ["wrong-ending"]);
        assert_eq!(of(|seen| seen.exit_code = None), ["wrong-ending"]);
        assert_eq!(of(|seen| seen.seconds = 2.5), ["slow-ending"]);
        assert_eq!(of(|seen| seen.named_missing.clear()), ["fault-not-named"]);
        assert_eq!(of(|seen| seen.named_malformed.push("PORT".into())), ["fault-not-named"]);
        assert_eq!(of(|seen| seen.leaked.push("URL".into())), ["value-in-output"]);
        let mut silent = seen(Case::Nonsense);
        silent.log.clear();
        assert_eq!(rules(silent), ["undeclared-variable"]);
        let mut dead = seen(Case::Nonsense);
        dead.exit_code = Some(101);
        assert_eq!(rules(dead), ["no-start"]);
        let mut quiet = seen(Case::AllMalformed(0));
        quiet.named_malformed.pop();
        assert_eq!(rules(quiet), ["fault-not-named"]);
    }
}
