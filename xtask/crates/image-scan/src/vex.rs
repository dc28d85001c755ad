//! Accepted vulnerabilities of one image as an OpenVEX 0.2.0 document (<https://github.com/openvex/spec>): what a customer's scanner
//! needs in order to know what is known. An exception with a justification says `not_affected`, any other `affected`, with what
//! is done about it.

use serde_json::{Value, json};
use xtask_outcome::Exception;

use super::item::{Item, Kind};

const CONTEXT: &str = "https://openvex.dev/ns/v0.2.0";

/// `None` when nothing is accepted in this image. `id` is the image's, `date` the day of the scan, `YYYY-MM-DD`.
pub(super) fn document(id: &str, date: &str, items: &[Item]) -> Option<Value> {
    let accepted = items.iter().filter(|item| item.kind == Kind::Vulnerability);
    let accepted: Vec<_> = accepted.filter_map(|item| Some((item, item.exception.as_ref()?))).collect();
    let mut owners: Vec<_> = accepted.iter().map(|(_, exception)| exception.owner.as_str()).collect();
    owners.sort_unstable();
    owners.dedup();
    (!accepted.is_empty()).then(|| {
        json!({
            "@context": CONTEXT,
            "@id": format!("urn:xtask:vex:{id}"),
            "author": owners.join(", "),
            "timestamp": at(date),
            "version": 1,
            "tooling": "cargo xtask scan",
            "statements": accepted.iter().map(|(item, exception)| statement(item, exception)).collect::<Value>(),
        })
    })
}

fn statement(item: &Item, exception: &Exception) -> Value {
    let mut statement = json!({
        "vulnerability": { "name": item.id, "aliases": item.aliases },
        "products": [{ "@id": item.purl }],
        "timestamp": at(&exception.created),
    });
    if let Some(justification) = &exception.justification {
        statement["status"] = json!("not_affected");
        statement["justification"] = json!(justification);
        statement["impact_statement"] = json!(exception.reason);
    } else {
        let text = format!("accepted until {} by {}: {}", exception.expires, exception.owner, exception.reason);
        statement["status"] = json!("affected");
        statement["action_statement"] = json!(text);
    }
    statement
}

fn at(date: &str) -> String {
    format!("{date}T00:00:00Z")
}

#[cfg(test)]
mod tests {
    use super::super::item::tests::{items, vulnerability};
    use super::*;

    fn accepted(justification: Option<&str>) -> Item {
        let mut item = items(vec![vulnerability("CVE-2021-25900", "CRITICAL")]).remove(0);
        item.exception = Some(Exception {
            reason: "insert_many is not called".into(),
            owner: "platform".into(),
            created: "2026-02-01".into(),
            expires: "2026-03-01".into(),
            justification: justification.map(Into::into),
            ..Exception::default()
        });
        item
    }

    #[test]
    fn an_accepted_vulnerability_is_affected_until_its_exception_ends() {
        let vex = document("sha256:u", "2026-02-03", &[accepted(None)]).unwrap();
        let statement = &vex["statements"][0];
        assert_eq!(statement["products"][0]["@id"], "pkg:cargo/small@1.6.0");
        assert_eq!(statement["status"], "affected");
        let text = "accepted until 2026-03-01 by platform: insert_many is not called";
        assert_eq!(statement["action_statement"], text);
        assert_eq!((&vex["author"], &vex["timestamp"]), (&json!("platform"), &json!("2026-02-03T00:00:00Z")));
    }

    #[test]
    fn one_with_a_justification_does_not_affect_the_image() {
        let vex = document("sha256:u", "2026-02-03", &[accepted(Some("vulnerable_code_not_in_execute_path"))]).unwrap();
        let statement = &vex["statements"][0];
        assert_eq!(statement["status"], "not_affected");
        assert_eq!(statement["justification"], "vulnerable_code_not_in_execute_path");
        assert!(statement.get("action_statement").is_none());
    }

    #[test]
    fn what_nobody_accepted_is_in_no_document() {
        assert_eq!(document("sha256:u", "2026-02-03", &items(vec![vulnerability("CVE-1", "LOW")])), None);
    }
}
