use base64::Engine as _;
use serde_json::{Value, json};
use sha2::Digest as _;
use xtask_outcome::{Finding, Outcome, Place, Stop};

use super::*;

const HOSTILE: &str =
    r#"<script>alert(1)</script>"><img src=x onerror=alert(1)>'&amp;</style>--><svg onload=alert(1)>"#;

fn report(outcome: Outcome) -> Report {
    Report::running("verify", "cargo xtask verify").ended(outcome, 60.0)
}

fn finding(rule: &'static str, message: impl Into<String>) -> Finding {
    Finding {
        rule,
        place: Place { name: "compose.yaml".into(), line: Some(7) },
        message: message.into(),
        next_step: "fix it".into(),
    }
}

/// Evidence of every kind, with `text` wherever a text stands.
fn evidence(text: &str) -> Value {
    json!({
        "commit": { "head": text, "changed_files": 2 }, "engine": text,
        "tools": { text: { "version": text, "origin": text } },
        "bases": { text: { "reference": text, "id": text, "made_here": true } },
        "build-images": { "images": [{
            "name": text, "id": text, "bytes": 5_000_000, "program": text, "limit_bytes": 6_000_000, "before_bytes": 4_000_000,
            "changed": [{ "path": text, "before_bytes": 1, "bytes": 2 }],
        }] },
        "scan": {
            "database": { "origin": text, "updated": text, "age_days": 3 },
            "covered": { text: { "policy": text, "seen": text, "not_covered": text } },
            "found": [{ "kind": "secret", "unit": text, "id": text, "severity": text, "subject": text, "state": text }],
        },
        "audit-env": { "matrix": { text: { "places": [text], "variables": { text: [text] } } } },
        "compose-e2e": {
            "hardening": { "rules": [text], "containers": [{ "service": text, "runs_as": text, "attempts": 1, "broken": [text] }] },
            "journey": { "steps": [{ "step": text, "method": text, "path": text, "status": 200, "ms": 3.5 }] },
            "comparison": {
                "before": { "name": text }, "after": { "name": text }, "machine": text, "confidence_percent": 95,
                "figures": [{
                    "figure": format!("{text}-ms/{text}"), "verdict": text, "before": 1.5, "after": 2000.0, "change_percent": 1.0,
                    "low_percent": -3.0, "high_percent": 400.0, "limit_percent": 10, "smallest_percent": 12.5, "rounds": [[1.5, 2000.0]],
                }],
            },
            "faults": { "faults": [{ "fault": text, "promise": text, "requests": 1, "failed": 1, "writes": 1, "recovered_after_ms": 5, "broken": 1 }] },
            "figures": {
                "figures": { format!("{text}-ms/{text}"): 7 }, "machine": text, "baseline": { "date": text },
                "measures": { format!("{text}-ms/{text}"): { "budget": 5, "baseline": 6, "regression": true } },
            },
        },
    })
}

/// A report that says `text` everywhere.
fn saying(text: &str) -> Report {
    let mut outcome = Outcome::default();
    outcome.evidence = serde_json::from_value(evidence(text)).unwrap();
    let run = |part: &mut Outcome| {
        part.findings.push(Finding {
            rule: "r",
            place: Place::new(text),
            message: text.into(),
            next_step: text.into(),
        });
        Err::<(), _>(Stop::Broken(text.to_owned()).into())
    };
    outcome.step(text, run).unwrap();
    outcome.unchecked(text, text);
    outcome.checked(text, 1);
    outcome.note(text);
    Report { command: text.to_owned(), rerun: Some(text.to_owned()), ..report(outcome) }
}

fn sections(page: &str) -> Vec<&str> {
    page.split("<section id=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

#[test]
fn every_kind_of_evidence_has_its_section_and_the_verdict_comes_first() {
    let page = page(&saying("x"), None);
    let expected = [
        "findings",
        "steps",
        "images",
        "scan",
        "contract",
        "hardening",
        "journey",
        "faults",
        "figures",
        "comparison",
        "checked",
        "made-with",
    ];
    assert_eq!(sections(&page), expected);
    assert!(page.find("id=\"verdict\"").unwrap() < page.find("<main>").unwrap());
    assert!(page.find("What was not checked").unwrap() < page.find("<main>").unwrap());
}

#[test]
fn what_a_report_says_is_text_whatever_it_says() {
    let hostile = saying(HOSTILE);
    let earlier = Report { started: "2026-01-01T00:00:00Z".into(), ..saying("<b>earlier</b>") }.json();
    let page = page(&hostile, Some(earlier.as_bytes()));
    assert_eq!(sections(&page).len(), 13, "{:?}", sections(&page));
    // The page's own: one script, one style, no picture.
    for (tag, own) in [("<script", 1), ("</script", 1), ("<style", 1), ("</style", 1), ("<img", 0), ("<b>", 0)] {
        assert_eq!(page.matches(tag).count(), own, "{tag}");
    }
    // In an attribute no quotation mark ends it.
    assert!(!page.contains("\"><img") && page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&gt;&lt;img"));
}

#[test]
fn the_policy_names_the_pages_own_style_and_script_and_nothing_loads() {
    let hash = |text: &str| {
        format!("'sha256-{}'", base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(text)))
    };
    for (kind, text) in [("style-src", include_str!("page.css")), ("script-src", include_str!("page.js"))] {
        let expected = format!("{kind} {}", hash(text));
        assert!(frame::POLICY.contains(&expected), "in frame.rs: {expected}");
    }
    let page = page(&saying("x"), None);
    for loads in ["http:", "https:", "//", " src=", "url(", "@import", " style=\""] {
        let own = page.replace("xtask/crates/page//", "");
        let found: Vec<_> =
            own.lines().filter(|line| line.contains(loads) && !line.trim_start().starts_with("//")).collect();
        assert!(found.is_empty(), "{loads}: {found:?}");
    }
}

#[test]
fn six_thousand_findings_are_bounded_and_the_rare_one_is_still_shown() {
    let mut outcome = Outcome::default();
    outcome.findings.extend((0..6000).map(|number| finding("loud", format!("number {number}, {}", "x".repeat(300)))));
    outcome.findings.push(finding("rare", "seen"));
    let page = page(&report(outcome), None);
    assert!(page.len() < 2_000_000, "{}", page.len());
    assert_eq!(page.matches("<li data-rule=\"loud\"").count(), 1999);
    assert_eq!(page.matches("<li data-rule=\"rare\"").count(), 1);
    assert!(
        page.contains("4,001 more of this rule are in") && page.contains("6,001 findings that a policy does not allow")
    );
}

#[test]
fn a_finding_is_filtered_by_its_innermost_step_and_the_severity_that_the_scan_gives_it() {
    let mut outcome = Outcome::default();
    let scan = |part: &mut Outcome| {
        let mut vulnerable = finding("vulnerable-package", "CVE-1 (high) in small 0.6: a title");
        vulnerable.place = Place::new("user");
        part.findings.push(vulnerable);
        part.findings.push(finding("other", "no severity (high) in it"));
        part.evidence("found", json!([{ "kind": "vulnerability", "unit": "user", "id": "CVE-1", "severity": "high", "subject": "small", "state": "fails" }]));
        Ok(())
    };
    outcome.step("verify", |part| part.step("scan", scan)).unwrap();
    let page = page(&report(outcome), None);
    assert!(page.contains(r#"data-rule="vulnerable-package" data-steps="verify/scan" data-severity="high""#), "{page}");
    assert!(page.contains(r#"data-rule="other" data-steps="verify/scan" data-severity="""#));
}

#[test]
fn what_changed_since_the_last_verdict_is_named() {
    let image =
        |id: &str, bytes: u64| json!({ "images": [{ "name": "user", "id": id, "bytes": bytes, "program": "p" }] });
    let mut before = Outcome::default();
    before.findings.extend([finding("stays", "s"), finding("goes", "g")]);
    before.unchecked("scan", "no database");
    before.evidence("build-images", image("sha256:a", 1000));
    let mut now = Outcome::default();
    let moved = Place { name: "compose.yaml".into(), line: Some(9) };
    now.findings.extend([Finding { place: moved, ..finding("stays", "s") }, finding("comes", "c")]);
    now.evidence("build-images", image("sha256:b", 3500));
    let before = report(before).json();
    let shown = page(&report(now), Some(before.as_bytes()));
    let part = shown.split("id=\"changes\"").nth(1).unwrap().split("</section>").next().unwrap().to_owned();
    for expected in
        ["New findings", "compose.yaml [comes]: c", "are gone", "compose.yaml [goes]: g", "Checked again", "+2.50 kB"]
    {
        assert!(part.contains(expected), "{expected}: {part}");
    }
    assert!(!part.contains("[stays]") && !part.contains("No longer checked"), "{part}");
    let same: Report = report(Outcome::default());
    let again = page(&same, Some(same.json().as_bytes()));
    assert!(again.contains("Nothing that was found, left out or built differs."));
}

#[test]
fn a_report_that_is_none_is_as_good_as_no_earlier_one() {
    let now = report(Outcome::default());
    let running = Report::running("verify", "cargo xtask verify").json();
    for stored in [&b""[..], b"{}", b"\xff", running.as_bytes()] {
        assert!(page(&now, Some(stored)).contains("the first verdict that is kept here"));
    }
}

#[test]
fn a_command_that_is_running_and_one_that_checked_nothing_have_a_page() {
    let running = page(&Report::running("verify", "cargo xtask verify"), None);
    assert!(running.contains("Running, or killed") && sections(&running).is_empty(), "{:?}", sections(&running));
    let empty = Report::running("clean", "cargo xtask clean").ended(Outcome::default(), 0.2);
    assert!(page(&empty, None).contains("<h1>"));
}
