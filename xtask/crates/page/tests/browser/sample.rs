//! Reports like real ones, for the browser.

use serde_json::{Map, Value, json};
use xtask_outcome::{Finding, Outcome, Place, Report, Stop};
use xtask_page::page;

const SERVICES: [&str; 4] = ["gateway", "order", "product", "user"];
const HOSTILE: &str = r#"<script>alert(1)</script>"><img src=x onerror=alert(1)>'</style>--><svg onload=alert(1)>"#;

/// The pages that are looked at in every width and scheme, by name.
pub(crate) fn pages() -> Vec<(&'static str, String)> {
    let earlier = incomplete(5_100_000).json();
    let hostile = hostile();
    vec![
        ("incomplete", page(&incomplete(5_245_000), Some(earlier.as_bytes()))),
        ("findings", page(&findings(), Some(earlier.as_bytes()))),
        ("hostile", page(&hostile, Some(hostile.json().as_bytes()))),
        ("running", page(&Report::running("verify", "cargo xtask verify"), None)),
    ]
}

/// A run in which everything held and one thing was not checked.
fn incomplete(bytes: u64) -> Report {
    let mut outcome = begun();
    steps(&mut outcome, bytes);
    outcome.unchecked(
        "vulnerabilities of an unpackaged program in postgres",
        "the database knows no packages of that kind",
    );
    outcome.note("ready to push: only with --allow-incomplete");
    timed(Report::running("verify", "cargo xtask verify --db /data/trivy").ended(outcome, 58.3))
}

/// A run with findings of several steps and a step that broke.
pub(crate) fn findings() -> Report {
    let mut outcome = begun();
    let audit = |part: &mut Outcome| {
        for number in 1..=12 {
            part.findings.push(found(
                "missing-variable",
                "k8s/overlays/production/order.yaml",
                number * 7,
                &format!("service order: DATABASE_POOL_{number} is required by the contract and set nowhere"),
            ));
        }
        part.findings.push(found("image-user", "services/user/Dockerfile", 41, "user: it runs as root"));
        Ok(())
    };
    outcome.step("audit-env", audit).unwrap();
    let scan = |part: &mut Outcome| {
        part.findings.push(Finding {
            rule: "vulnerable-package",
            place: Place::new("order"),
            message: "CVE-2026-12345 (critical) in smallvec 0.6.13, by way of mini-order → sqlx → smallvec: a buffer that is freed twice; fixed in 0.6.14".into(),
            next_step: "cargo update -p smallvec --precise 0.6.14".into(),
        });
        Err::<(), _>(Stop::Broken("trivy exited with 1: FATAL could not open the database:\n  open /data/trivy/db/trivy.db: permission denied".into()).into())
    };
    outcome.step("scan", scan).unwrap();
    steps(&mut outcome, 9_300_000);
    outcome.unchecked("kubernetes renderings", "kubectl: not found; next: install kubectl");
    timed(Report::running("verify", "cargo xtask verify").ended(outcome, 204.7))
}

/// As many findings of one rule, and one of two others.
pub(crate) fn many(count: usize) -> Report {
    let mut outcome = begun();
    let audit = |part: &mut Outcome| {
        let one = |number| {
            found(
                "undocumented-variable",
                "docs/deployment.md",
                1,
                &format!("number {number} of many: a variable that no document names"),
            )
        };
        part.findings.extend((0..count).map(one));
        Ok(())
    };
    outcome.step("audit-env", audit).unwrap();
    let scan = |part: &mut Outcome| {
        part.findings.push(found("image-user", "services/user/Dockerfile", 41, "user: it runs as root"));
        part.findings.push(Finding {
            rule: "vulnerable-package",
            place: Place::new("order"),
            message: "CVE-2026-12345 (critical) in smallvec 0.6.13: t".into(),
            next_step: "n".into(),
        });
        part.evidence("found", json!([item("order", "CVE-2026-12345", "critical", "fails")]));
        Ok(())
    };
    outcome.step("scan", scan).unwrap();
    Report::running("verify", "cargo xtask verify").ended(outcome, 61.0)
}

/// Lays the steps of the command one after the other, as long as real ones take.
fn timed(mut report: Report) -> Report {
    let mut begins = 0.6;
    let top = report.steps.iter_mut().filter(|step| !step.name.contains('/'));
    for (step, share) in top.zip([0.31, 0.12, 0.2, 0.28, 0.04, 0.02].iter().cycle()) {
        (step.begins, step.seconds) = (begins, report.seconds * share);
        begins += step.seconds + 0.1;
    }
    report
}

fn hostile() -> Report {
    let mut outcome = begun();
    let run = |part: &mut Outcome| {
        part.findings.push(Finding {
            rule: "r",
            place: Place::new(HOSTILE),
            message: HOSTILE.repeat(40),
            next_step: HOSTILE.into(),
        });
        Err::<(), _>(Stop::Broken("x".repeat(3000)).into())
    };
    outcome.step(HOSTILE, run).unwrap();
    steps(&mut outcome, 5_000_000);
    outcome.unchecked(HOSTILE, "y".repeat(3000));
    outcome.note(HOSTILE);
    Report::running("verify", HOSTILE).ended(outcome, 1.0)
}

fn found(rule: &'static str, file: &str, line: u32, message: &str) -> Finding {
    let place = Place { name: file.to_owned(), line: Some(line) };
    Finding {
        rule,
        place,
        message: message.to_owned(),
        next_step: "correct it there, or accept it in xtask/policy/env.toml with a reason".into(),
    }
}

fn item(unit: &str, id: &str, severity: &str, state: &str) -> Value {
    json!({
        "kind": "vulnerability", "unit": unit, "id": id, "severity": severity, "subject": "smallvec",
        "installed": "0.6.13", "fixed_in": "0.6.14", "state": state,
    })
}

fn begun() -> Outcome {
    let mut outcome = Outcome::default();
    let tool = |version: &str, origin: &str| json!({ "version": version, "origin": origin });
    let base = |reference: &str, id: &str| json!({ "reference": reference, "id": format!("sha256:{}", id.repeat(32)), "made_here": true });
    outcome.evidence("commit", json!({ "head": "1c8a7ae0f2b94d7c8e5a61b3f0d92e47ab5c6d18", "changed_files": 3 }));
    outcome.evidence("engine", "29.3.1");
    outcome.evidence("tools", json!({ "docker": tool("29.3.1", "path"), "buildx": tool("github.com/docker/buildx 0.30.0", "fetched"), "compose": tool("5.6.1", "fetched") }));
    outcome.evidence(
        "bases",
        json!({ "builder": base("mini-base/rust:local", "9a"), "database": base("mini-base/postgres:local", "4c") }),
    );
    outcome
}

/// The evidence of every step, each a step of its own that ends well.
fn steps(outcome: &mut Outcome, bytes: u64) {
    for (name, evidence, checked) in [
        ("build-images", build(bytes), ("images proved", 4)),
        ("scan", scan(), ("images scanned", 5)),
        ("audit-env", audit(), ("variables", 96)),
        ("compose-e2e", stack(), ("containers held to their hardening", 7)),
        ("compare", json!({ "comparison": comparison() }), ("figures compared", 4)),
    ] {
        let run = |part: &mut Outcome| {
            part.evidence = serde_json::from_value(evidence).unwrap();
            part.checked(checked.0, checked.1);
            Ok(())
        };
        outcome.step(name, run).unwrap();
    }
}

fn build(bytes: u64) -> Value {
    let image = |(index, name): (u64, &&str)| {
        json!({
            "name": name, "id": format!("sha256:{}", format!("{:02x}", bytes % 251 + index).repeat(32)), "bytes": bytes + index * 300_000,
            "program": format!("mini-{name} 0.1.0 (1c8a7ae0f2b9)"), "limit_bytes": 8_000_000, "before_bytes": 5_000_000 + index * 290_000,
            "changed": [{ "path": format!("/mini-{name}"), "before_bytes": 4_990_000, "bytes": bytes - 10_000 }],
        })
    };
    json!({ "images": (0..).zip(&SERVICES).map(image).collect::<Vec<_>>() })
}

fn scan() -> Value {
    let seen = "packages: 187 crates, as many as cargo says are linked; secrets: every file of every layer, variables, labels and history";
    let unit = |name: &&str| ((*name).to_owned(), json!({ "policy": "service", "seen": seen, "seconds": 0.8 }));
    let mut covered: Map<_, _> = SERVICES.iter().map(unit).collect();
    covered.insert("postgres".into(), json!({ "policy": "third-party", "seen": "packages: 214 of debian 13", "not_covered": "an unpackaged program: the database knows no packages of that kind" }));
    let mut found: Vec<_> = (0..24)
        .map(|number| {
            item("postgres", &format!("CVE-2026-{}", 1000 + number), ["high", "medium", "low"][number % 3], "reported")
        })
        .collect();
    found.push(item("order", "CVE-2026-12345", "critical", "fails"));
    json!({
        "database": { "origin": "/data/trivy", "updated": "2026-11-24", "age_days": 2 },
        "covered": covered, "found": found,
    })
}

fn audit() -> Value {
    let places = ["contract", "image", "compose.yaml", "k8s/overlays/local", "k8s/overlays/production", ".env", "docs"];
    let variables: Map<_, _> = [
        (
            "DATABASE_URL",
            ["required, secret", "", "DATABASE_URL_FILE", "DATABASE_URL_FILE", "DATABASE_URL_FILE", "set", "same"],
        ),
        ("LOG_LEVEL", ["info", "", "same", "same", "warn", "", "same"]),
        ("MAX_BODY_BYTES", ["65536", "", "same", "same", "same", "", "differs"]),
        ("REQUEST_TIMEOUT", ["10s", "", "same", "5s", "same", "", "same"]),
    ]
    .into_iter()
    .map(|(name, cells)| (name.to_owned(), json!(cells)))
    .collect();
    let matrix = |name: &&str| ((*name).to_owned(), json!({ "places": places, "variables": variables }));
    json!({ "matrix": SERVICES.iter().map(matrix).collect::<Map<_, _>>() })
}

fn comparison() -> Value {
    let figure = |name: &str, verdict: &str, before: f64, [change, low, high]: [f64; 3]| {
        let after = before * (1.0 + change / 100.0);
        json!({
            "figure": name, "verdict": verdict, "before": before, "after": after, "change_percent": change, "low_percent": low,
            "high_percent": high, "limit_percent": 10, "floor": 5, "more_is_better": false, "smallest_percent": 14.2,
            "rounds": vec![(before, after); 6],
        })
    };
    json!({
        "before": { "name": "HEAD~1 (1c8a7ae0f2b9)" }, "after": { "name": "this checkout" }, "rounds": 6, "confidence_percent": 95,
        "machine": "2 × AMD EPYC, 24 GiB, engine 20.10.24",
        "figures": [
            figure("cpu-us/order", "worse", 412.0, [31.0, 24.5, 37.8]),
            figure("idle-kib/user", "better", 5172.0, [-21.0, -22.5, -19.4]),
            figure("p99-us/load", "no difference", 9312.4, [12.0, -88.0, 412.0]),
            figure("start-ms/gateway", "no difference", 63.5, [0.4, -3.1, 4.0]),
        ],
    })
}

fn stack() -> Value {
    let rules = [
        "user-root",
        "root-writable",
        "capabilities-kept",
        "privileges-gained",
        "foreign-neighbour",
        "no-memory-limit",
    ];
    let container = |name: &str, user: &str, broken: &[&str]| json!({ "service": name, "runs_as": user, "attempts": 4, "broken": broken });
    let mut containers: Vec<_> = SERVICES.iter().map(|name| container(name, "65532", &[])).collect();
    containers.push(container("order-db", "999", &["root-writable"]));
    let request = |(number, (step, method, path, ms)): (u64, (&str, &str, &str, f64))| {
        json!({
            "step": step, "method": method, "path": path, "status": if number == 2 { 201 } else { 200 }, "ms": ms, "request_id": number,
        })
    };
    let journey: Vec<_> = (0..)
        .zip([
            ("the shop is empty", "GET", "/products", 4.2),
            ("somebody registers", "POST", "/users", 184.0),
            ("and logs in", "POST", "/login", 171.4),
            ("the administrator adds a product", "POST", "/products", 9.8),
            ("an order is placed", "POST", "/orders", 14.1),
            ("and found again", "GET", "/orders/0199c3a1-6c7e-7b34-9d10-0f6a2b8c4d5e", 6.3),
        ])
        .map(request)
        .collect();
    let fault = |name: &str, ms: Option<u64>, broken: u64| {
        json!({
            "fault": name, "promise": "reads go on; writes to it answer 503 with Retry-After until it is back", "requests": 4210,
            "failed": 37, "writes": 812, "recovered_after_ms": ms, "broken": broken,
        })
    };
    let mut figures = Map::new();
    let mut measures = Map::new();
    for (index, name) in (0_u64..).zip(SERVICES) {
        figures.insert(format!("start-ms/{name}"), json!(41 + index * 40));
        measures.insert(format!("start-ms/{name}"), json!({ "budget": 150, "baseline": 52, "regression": false }));
        figures.insert(format!("idle-kib/{name}"), json!(6200 + index * 700));
        measures
            .insert(format!("idle-kib/{name}"), json!({ "budget": 20480, "baseline": 6000, "regression": index == 1 }));
    }
    json!({
        "hardening": { "rules": rules, "containers": containers },
        "journey": { "steps": journey },
        "faults": { "faults": [fault("user-killed", Some(1240), 0), fault("rolling-restart", Some(310), 2), fault("burst", None, 0)] },
        "figures": { "figures": figures, "measures": measures, "machine": "2 × Some CPU, 24 GiB, engine 29.3.1", "baseline": { "date": "2026-11-25", "regressions": [] } },
    })
}
