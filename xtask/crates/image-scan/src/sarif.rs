//! What was found, in the form that code-scanning services read (SARIF 2.1.0).

use serde_json::{Value, json};

use super::item::{FAILS, Item, Kind};
use super::policy::Severity;

/// Places have to be files of the repository: a package is shown where `Cargo.lock` names it, anything else of an image in
/// its Dockerfile.
pub(super) fn document(items: &[Item], lock: &str, dockerfile_of: impl Fn(&str) -> Option<String>) -> Value {
    let mut rules: Vec<&Item> = Vec::new();
    for item in items {
        if !rules.iter().any(|known| known.id == item.id) {
            rules.push(item);
        }
    }
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "cargo xtask scan",
                "rules": rules.iter().map(|item| rule(item)).collect::<Vec<_>>(),
            } },
            "results": items.iter().map(|item| result(item, &place(item, lock, &dockerfile_of))).collect::<Vec<_>>(),
        }],
    })
}

fn rule(item: &Item) -> Value {
    // The readers refuse an empty one, and not every advisory has a title.
    let title =
        if item.title.trim().is_empty() { format!("{} in {}", item.id, item.subject) } else { item.title.clone() };
    let mut rule = json!({
        "id": item.id,
        "shortDescription": { "text": title },
        // The scale of CVSS, by which such services sort.
        "properties": { "security-severity": match item.severity {
            Severity::Unknown | Severity::Critical => "9.5",
            Severity::High => "8.0",
            Severity::Medium => "5.5",
            Severity::Low => "2.0",
        } },
    });
    // What is no address is refused together with the whole file.
    if item.has_address() {
        rule["helpUri"] = json!(item.url);
    }
    rule
}

fn result(item: &Item, (file, line): &(String, u32)) -> Value {
    let mut result = json!({
        "ruleId": item.id,
        "level": if item.state == FAILS { "error" } else { "note" },
        "message": { "text": plain(&format!("{}: {}; next: {}", item.unit, item.finding().message, item.next_step)) },
        "locations": [{ "physicalLocation": {
            "artifactLocation": { "uri": file.replace('%', "%25").replace(' ', "%20") },
            "region": { "startLine": line },
        } }],
        "partialFingerprints": { "unitRuleSubject/v1": item.key() },
    });
    if item.state.starts_with("accepted") {
        result["suppressions"] = json!([{ "kind": "external", "justification": item.state }]);
    }
    result
}

/// A text that is shown as it is: brackets in a message of this form are links otherwise, wherever an advisory points them.
fn plain(text: &str) -> String {
    text.replace('\\', "\\\\").replace('[', "\\[").replace(']', "\\]")
}

fn place(item: &Item, lock: &str, dockerfile_of: impl Fn(&str) -> Option<String>) -> (String, u32) {
    if item.kind == Kind::Vulnerability
        && let Some(line) = line_in_lock(lock, &item.subject, &item.installed)
    {
        return ("Cargo.lock".to_owned(), line);
    }
    let file = dockerfile_of(&item.unit).unwrap_or_else(|| "compose.yaml".to_owned());
    (file, item.line.unwrap_or(1))
}

/// The line of a package's name in `Cargo.lock`; its version stands in the next one.
fn line_in_lock(lock: &str, name: &str, version: &str) -> Option<u32> {
    let (name, version) = (format!("name = \"{name}\""), format!("version = \"{version}\""));
    let lines: Vec<_> = lock.lines().collect();
    let index = lines.windows(2).position(|pair| pair[0] == name && pair[1] == version)?;
    u32::try_from(index + 1).ok()
}

#[cfg(test)]
mod tests {
    use super::super::item::tests::{items, vulnerability};
    use super::*;

    const LOCK: &str = "version = 4\n\n[[package]]\nname = \"small\"\nversion = \"0.6.0\"\n\n[[package]]\nname = \"small\"\nversion = \"1.6.0\"\n";

    #[test]
    fn a_package_is_shown_where_the_lock_file_names_that_version() {
        let mut items = items(vec![vulnerability("CVE-1", "HIGH"), vulnerability("CVE-2", "LOW")]);
        items[0].state = FAILS.into();
        items[1].state = "accepted until 2026-03-01 by platform".into();
        let sarif = document(&items, LOCK, |_| None);
        let results = &sarif["runs"][0]["results"];
        let place = &results[0]["locations"][0]["physicalLocation"];
        assert_eq!(
            (&place["artifactLocation"]["uri"], &place["region"]["startLine"]),
            (&json!("Cargo.lock"), &json!(8))
        );
        assert_eq!((&results[0]["level"], &results[1]["level"]), (&json!("error"), &json!("note")));
        assert_eq!(results[1]["suppressions"][0]["justification"], "accepted until 2026-03-01 by platform");
        assert_eq!(sarif["runs"][0]["tool"]["driver"]["rules"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn an_advisory_without_a_title_has_one_all_the_same() {
        let mut items = items(vec![vulnerability("CVE-1", "HIGH")]);
        items[0].title = String::new();
        let sarif = document(&items, LOCK, |_| None);
        let rule = &sarif["runs"][0]["tool"]["driver"]["rules"][0];
        assert_eq!(rule["shortDescription"]["text"], format!("CVE-1 in {}", items[0].subject));
    }

    #[test]
    fn whatever_an_advisory_says_the_file_is_one_that_readers_take() {
        for (title, url) in [
            (" \n\t", "javascript:alert(1)"),
            ("[click](https://evil.example) `x` <b>", "https://a b"),
            ("\u{7}\u{202e}back", "not an address"),
            ("", "https://avd.example/CVE-1\">"),
            (&"long ".repeat(10_000), ""),
        ] {
            let mut found = vulnerability("CVE-1", "");
            (found.title, found.url) = (title.to_owned(), url.to_owned());
            let sarif = document(&items(vec![found]), LOCK, |_| None);
            let (rule, result) = (&sarif["runs"][0]["tool"]["driver"]["rules"][0], &sarif["runs"][0]["results"][0]);
            let shown = rule["shortDescription"]["text"].as_str().unwrap();
            assert!(!shown.trim().is_empty() && shown.chars().count() <= 101, "{shown}");
            assert_eq!((rule.get("helpUri"), &rule["properties"]["security-severity"]), (None, &json!("9.5")), "{url}");
            let message = result["message"]["text"].as_str().unwrap();
            assert!(!message.replace("\\[", "").contains('['), "a link of the advisory's making: {message}");
        }
        let mut found = vulnerability("CVE-1", "LOW");
        found.url = "https://avd.example/nvd/cve-1?a=b#c".into();
        let sarif = document(&items(vec![found]), LOCK, |unit| Some(format!("my services/{unit}/Dockerfile")));
        assert_eq!(sarif["runs"][0]["tool"]["driver"]["rules"][0]["helpUri"], "https://avd.example/nvd/cve-1?a=b#c");
        let sarif =
            document(&items(vec![vulnerability("CVE-1", "LOW")]), "", |unit| Some(format!("my services/{unit}")));
        let place = &sarif["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"];
        assert_eq!(place["uri"], "my%20services/order");
    }

    #[test]
    fn the_same_advisory_twice_is_one_rule_and_in_two_packages_two_results() {
        let mut other = vulnerability("CVE-1", "LOW");
        other.package = "large".into();
        let found = items(vec![vulnerability("CVE-1", "LOW"), vulnerability("CVE-1", "LOW"), other]);
        let sarif = document(&found, LOCK, |_| None);
        let run = &sarif["runs"][0];
        let count = |list: &Value| list.as_array().unwrap().len();
        assert_eq!((count(&run["tool"]["driver"]["rules"]), count(&run["results"])), (1, 2));
    }

    #[test]
    fn what_the_lock_file_does_not_know_is_shown_in_the_images_dockerfile() {
        let items = items(vec![vulnerability("CVE-1", "HIGH")]);
        let sarif = document(&items, "", |unit| Some(format!("services/{unit}/Dockerfile")));
        let place = &sarif["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "services/order/Dockerfile");
    }
}
