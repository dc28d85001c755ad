mod bolt;
#[cfg(feature = "engine-tests")]
mod drawn;
#[cfg(feature = "engine-tests")]
mod engine;
mod second_opinion;

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::workspace::{CANARY, Ended, Workspace};

/// A checkout with an image in the engine, a policy, and a database of today.
struct Scanned {
    workspace: Workspace,
    database: PathBuf,
}

const POLICY: &str = r#"
[database]
max-age-days = 7
refresh-hours = 24
repositories = []
[service]
vulnerabilities = ["critical", "high", "unknown"]
secrets = ["critical", "high", "medium", "low", "unknown"]
misconfigurations = ["critical", "high", "unknown"]
[build]
vulnerabilities = ["critical"]
secrets = []
misconfigurations = []
[third-party]
vulnerabilities = ["critical"]
only-with-fix = true
secrets = ["critical"]
misconfigurations = []
"#;

/// What the engine and a healthy trivy answer. `$STATE/image.json` is what trivy says of the service's image.
const HEALTHY: &str = r#"
case "$call" in
  "docker image inspect --format {{json .}} "*)
    shift 4
    for reference in "$@"; do case "$reference" in
      mini-user:local) echo '{"Id":"sha256:user","RepoTags":["mini-user:local"],"Architecture":"amd64","Config":{"User":"65532:65532"}}' ;;
      postgres:*) echo '{"Id":"sha256:postgres","RepoTags":["postgres:17-trixie"],"Architecture":"amd64","Config":{"User":"postgres"}}' ;;
      *) echo "Error: No such image: $reference" >&2; failed=1 ;;
    esac; done
    exit ${failed:-0} ;;
  "trivy image "*" sha256:user") cat "$STATE/image.json"; exit ;;
  "trivy image "*" sha256:postgres") echo '{"SchemaVersion":2,"Metadata":{"OS":{"Family":"debian","Name":"13.8"}},"Results":[{"Target":"debian","Class":"os-pkgs","Type":"debian","Packages":[{"Name":"libc6","Version":"2.41"}]}]}'; exit ;;
  "trivy fs "*) echo '{"SchemaVersion":2,"Results":[{"Target":"Cargo.lock","Class":"lang-pkgs","Type":"cargo","Packages":[{"Name":"mini-user","Version":"0.1.0"}]}]}'; exit ;;
  "trivy config "*)
    for place; do :; done
    printf '{"SchemaVersion":2,"Results":['
    for file in "$place"/*/Dockerfile; do printf '%s{"Target":"%s","Class":"config","Type":"dockerfile"}' "$comma" "${file#"$place"/}"; comma=,; done
    echo ']}'; exit ;;
  "trivy convert "*) echo '{"bomFormat":"CycloneDX"}' >"$(value_of --output "$@")"; exit ;;
esac"#;

impl Scanned {
    fn new() -> Self {
        let workspace = Workspace::new();
        workspace.write(
            "Cargo.lock",
            "version = 4\n\n[[package]]\nname = \"mini-user\"\nversion = \"0.1.0\"\n\n[[package]]\nname = \"xtask\"\nversion = \"0.1.0\"\n",
        );
        workspace.write("xtask/policy/scan.toml", POLICY);
        let database = workspace.root.join("../db of today");
        write_database(&database, 0, &["cargo::RustSec", "debian 13"]);
        let scanned = Self { workspace, database };
        scanned.workspace.stub(HEALTHY);
        scanned.trivy_says(&report(json!({ "Vulnerabilities": null })));
        scanned
    }

    /// What trivy prints about the service's image.
    fn trivy_says(&self, report: &Value) {
        self.workspace.write("../../state/image.json", &report.to_string());
    }

    /// Shell that runs before the healthy answers.
    fn but(&self, cases: &str) {
        self.workspace.stub(&format!("case \"$call\" in\n{cases}\nesac\n{HEALTHY}"));
    }

    fn scan(&self, more: &[&str]) -> Ended {
        let database = self.database.to_str().unwrap();
        self.workspace.xtask(&[&["-v", "scan", "--db", database], more].concat())
    }

    fn report(&self) -> Value {
        serde_json::from_str(&self.workspace.read("target/xtask/reports/scan.json")).unwrap()
    }
}

/// A report on the service's image whose program is covered; `more` goes into its one result.
fn report(more: Value) -> Value {
    let mut result = json!({
        "Target": "mini-user", "Class": "lang-pkgs", "Type": "rustbinary",
        "Packages": [{ "ID": "mini-user@0.1.0", "Name": "mini-user", "Version": "0.1.0" }],
    });
    if let (Value::Object(result), Value::Object(more)) = (&mut result, more) {
        result.extend(more);
    }
    json!({ "SchemaVersion": 2, "Results": [result] })
}

fn vulnerability(id: &str, severity: &str) -> Value {
    json!({ "VulnerabilityID": id, "PkgName": "smallvec", "InstalledVersion": "1.6.0", "FixedVersion": ">=1.6.1", "Severity": severity, "Title": "overflow" })
}

/// `YYYY-MM-DD`, some days from now.
fn date(days: i64) -> String {
    let seconds = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    // Written once more and another way than in the program under test: count the years, then the months.
    let (mut left, mut year, mut month) = (seconds / 86_400 + days, 1970, 0);
    let leap = |year: i64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    while left >= 365 + i64::from(leap(year)) {
        left -= 365 + i64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + i64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    while left >= lengths[month] {
        left -= lengths[month];
        month += 1;
    }
    format!("{year:04}-{:02}-{:02}", month + 1, left + 1)
}

/// A folder of trivy's form whose database is so many days old and knows these sources, without any advisory.
fn write_database(folder: &Path, age_days: i64, sources: &[&str]) {
    let entries: Vec<_> = sources.iter().map(|source| (source.as_bytes().to_vec(), bolt::bucket(&[]))).collect();
    write_database_of(folder, age_days, &bolt::file(&entries));
}

fn write_database_of(folder: &Path, age_days: i64, bytes: &[u8]) {
    std::fs::create_dir_all(folder.join("db")).unwrap();
    let time = date(-age_days);
    let metadata = json!({ "Version": 2, "UpdatedAt": format!("{time}T06:00:00Z"), "NextUpdate": "2999-01-01T00:00:00Z", "DownloadedAt": format!("{time}T06:00:00Z") });
    std::fs::write(folder.join("db/metadata.json"), metadata.to_string()).unwrap();
    std::fs::write(folder.join("db/trivy.db"), bytes).unwrap();
}

#[test]
fn an_image_without_findings_passes_and_says_what_was_covered_by_which_database() {
    let scanned = Scanned::new();
    let ended = scanned.scan(&[]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert!(ended.stdout.contains("PASS scan: 2 images scanned"), "{}", ended.all());
    assert!(ended.stdout.contains("mini-user: 1 packages, among them all 1 that the build links"), "{}", ended.all());
    let report = scanned.report();
    assert_eq!(report["evidence"]["database"]["updated"], date(0));
    assert_eq!(report["evidence"]["database"]["age_days"], 0);
    let covered = &report["evidence"]["covered"];
    assert_eq!(covered["user"]["id"], "sha256:user");
    assert!(covered["user"]["seconds"].is_number() && covered["user"].get("not_covered").is_none(), "{covered}");
    assert!(covered["Cargo.lock"].get("id").is_none() && covered["Cargo.lock"].get("seconds").is_none(), "{covered}");
    let calls = scanned.workspace.calls();
    for argument in
        ["--skip-db-update", "--offline-scan", "--cache-backend memory", "--image-src docker", "--disable-telemetry"]
    {
        let images = calls.lines().filter(|call| call.starts_with("trivy image")).collect::<Vec<_>>();
        assert!(images.len() == 2 && images.iter().all(|call| call.contains(argument)), "{argument}: {calls}");
    }
    assert!(scanned.workspace.read("target/xtask/reports/scan.sarif").contains("\"2.1.0\""));
    assert!(scanned.workspace.read("target/xtask/reports/scan-user.cdx.json").contains("CycloneDX"));
}

#[test]
fn the_verdict_comes_from_the_report_and_a_failing_trivy_is_never_a_pass() {
    let clean = report(json!({}));
    let bad = report(json!({ "Vulnerabilities": [vulnerability("CVE-1", "CRITICAL")] }));
    let odd = report(json!({ "Vulnerabilities": [vulnerability("CVE-1", "SEVERE")] }));
    let low = report(json!({ "Vulnerabilities": [vulnerability("CVE-1", "LOW")] }));
    let cut = bad.to_string()[..150].to_owned();
    // What trivy prints, what it says on stderr, how it ends; then xtask's exit code, and words in its result.
    let cases = [
        (clean.to_string(), "", "exit 0", 0, "PASS"),
        (bad.to_string(), "", "exit 0", 1, "CVE-1 (critical)"),
        (odd.to_string(), "", "exit 0", 1, "CVE-1 (unknown)"),
        (low.to_string(), "", "exit 0", 0, "PASS"),
        (bad.to_string(), "", "exit 10", 1, "CVE-1 (critical)"),
        (String::new(), "FATAL no space left", "exit 1", 3, "FATAL no space left"),
        (String::new(), "", "exit 0", 3, "trivy's report is empty"),
        (cut, "", "exit 0", 3, "trivy's report is cut off"),
        (clean.to_string(), "FATAL image scan error", "exit 1", 3, "FATAL image scan error"),
        (String::new(), "", "kill -9 $$", 3, "signal: 9"),
        (clean.to_string(), "", "kill -9 $$", 3, "signal: 9"),
        ("<html>".to_owned(), "", "exit 0", 3, "trivy's report is no JSON"),
        (json!({ "SchemaVersion": 3, "Results": [] }).to_string(), "", "exit 0", 3, "schema 3"),
        (json!({ "SchemaVersion": 2, "Results": null }).to_string(), "", "exit 0", 1, "not-covered"),
        (json!({ "SchemaVersion": 2 }).to_string(), "", "exit 0", 1, "not-covered"),
        (report(json!({ "Packages": [] })).to_string(), "", "exit 0", 1, "1 of the 1 packages"),
        (report(json!({ "Packages": null })).to_string(), "", "exit 0", 1, "1 of the 1 packages"),
        (report(json!({ "Vulnerabilities": null, "Secrets": null })).to_string(), "", "exit 0", 0, "PASS"),
        (report(json!({ "Type": "gobinary" })).to_string(), "", "exit 0", 1, "without cargo-auditable"),
    ];
    let scanned = Scanned::new();
    for (stdout, stderr, end, code, words) in cases {
        scanned.workspace.write("../../state/said", &stdout);
        scanned.but(&format!("\"trivy image \"*\" sha256:user\") cat \"$STATE/said\"; echo '{stderr}' >&2; {end} ;;"));
        // A report that is kept would answer for the next case.
        let _ = std::fs::remove_dir_all(scanned.workspace.root.join("target/xtask/scan/reports"));
        let ended = scanned.scan(&[]);
        assert_eq!(ended.code, code, "{stdout} / {stderr} / {end}\n{}", ended.all());
        assert!(ended.stdout.contains(words), "{words}: {}", ended.all());
    }
}

#[test]
fn an_advisory_whose_fields_are_missing_null_or_of_another_kind_is_judged_and_shown_all_the_same() {
    let scanned = Scanned::new();
    let known = |id: &str, more: Value| {
        let mut found = json!({ "VulnerabilityID": id, "PkgName": "smallvec", "InstalledVersion": "1.6.0" });
        if let (Value::Object(found), Value::Object(more)) = (&mut found, more) {
            found.extend(more);
        }
        found
    };
    let found = [
        known("CVE-1", json!({})),
        known("CVE-1", json!({})),
        known(
            "CVE-2",
            json!({ "Title": null, "Severity": null, "PrimaryURL": null, "VendorIDs": null, "FixedVersion": null }),
        ),
        known("CVE-3", json!({ "Title": 7, "Severity": 3, "PrimaryURL": {}, "VendorIDs": "x", "PkgIdentifier": [] })),
        known(
            "CVE-4",
            json!({ "Title": " \n", "Description": "\n\n### What happens\n\nmore", "Severity": "critical" }),
        ),
        known(
            "CVE-5",
            json!({ "Title": "[x](https://evil.example)".repeat(2000), "PrimaryURL": "no address", "Severity": "" }),
        ),
    ];
    scanned.trivy_says(&report(json!({ "Vulnerabilities": found })));
    let ended = scanned.scan(&["--write"]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    for id in ["CVE-1", "CVE-2", "CVE-3", "CVE-4", "CVE-5"] {
        assert!(ended.stdout.contains(&format!("[vulnerable-package]: {id} (")), "{id}: {}", ended.all());
    }
    assert!(ended.stdout.contains("in smallvec 1.6.0: ### What happens"), "{}", ended.all());
    let sarif: Value = serde_json::from_str(&scanned.workspace.read("target/xtask/reports/scan.sarif")).unwrap();
    let rules = sarif["runs"][0]["tool"]["driver"]["rules"].as_array().unwrap();
    assert_eq!((rules.len(), sarif["runs"][0]["results"].as_array().unwrap().len()), (5, 5), "{sarif}");
    for rule in rules {
        let text = rule["shortDescription"]["text"].as_str().unwrap();
        assert!(!text.trim().is_empty() && text.len() < 1024 && rule.get("helpUri").is_none(), "{rule}");
    }
    let record = scanned.workspace.read("docs/scans/user.md");
    assert!(record.contains("CVE-1 |") && !record.contains("[x]("), "{record}");
    // Without an id or a package there is nothing to judge, and leaving it out would hide it.
    for missing in ["VulnerabilityID", "PkgName"] {
        let mut broken = known("CVE-1", json!({}));
        broken[missing] = json!(null);
        scanned.trivy_says(&report(json!({ "Vulnerabilities": [broken] })));
        std::fs::remove_dir_all(scanned.workspace.root.join("target/xtask/scan")).unwrap();
        let ended = scanned.scan(&[]);
        assert_eq!(ended.code, 3, "{missing}: {}", ended.all());
        assert!(ended.stdout.contains("without an id or a package"), "{missing}: {}", ended.all());
    }
}

#[test]
fn output_that_is_no_utf8_hides_no_finding() {
    let scanned = Scanned::new();
    let text = report(json!({ "Vulnerabilities": [vulnerability("CVE-1", "HIGH")] })).to_string();
    let (before, after) = text.split_once("overflow").unwrap();
    scanned.but(&format!("\"trivy image \"*\" sha256:user\") printf '%s\\377%s' '{before}' '{after}'; exit ;;"));
    let ended = scanned.scan(&[]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert!(ended.stdout.contains("CVE-1 (high) in smallvec 1.6.0"), "{}", ended.all());
}

#[test]
fn one_image_that_cannot_be_scanned_leaves_the_others_judged() {
    let scanned = Scanned::new();
    scanned.trivy_says(&report(json!({ "Vulnerabilities": [vulnerability("CVE-1", "HIGH")] })));
    scanned.but("\"trivy image \"*\" sha256:postgres\") echo 'FATAL broken layer' >&2; exit 1 ;;");
    let ended = scanned.scan(&[]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert!(ended.stdout.contains("CVE-1 (high)") && ended.stdout.contains("FATAL broken layer"), "{}", ended.all());
}

#[test]
fn what_trivy_found_is_kept_by_image_and_database_and_judged_anew() {
    let scanned = Scanned::new();
    scanned.trivy_says(&report(json!({ "Vulnerabilities": [vulnerability("CVE-1", "HIGH")] })));
    let image_scans = || scanned.workspace.calls().matches("trivy image").count();
    assert_eq!(scanned.scan(&[]).code, 1);
    assert_eq!(image_scans(), 2);
    // Another policy, the same reports.
    scanned
        .workspace
        .write("xtask/policy/scan.toml", &POLICY.replace("\"critical\", \"high\", \"unknown\"", "\"critical\""));
    assert_eq!(scanned.scan(&[]).code, 0);
    assert_eq!(image_scans(), 2);
    // A report that was cut off on disk is as good as none.
    for entry in std::fs::read_dir(scanned.workspace.root.join("target/xtask/scan/reports")).unwrap() {
        std::fs::write(entry.unwrap().path(), "{\"SchemaVersion\":2,").unwrap();
    }
    assert_eq!(scanned.scan(&[]).code, 0);
    assert_eq!(image_scans(), 4);
    // Another database.
    write_database(&scanned.database, 1, &["cargo::RustSec", "debian 13"]);
    assert_eq!(scanned.scan(&[]).code, 0);
    assert_eq!(image_scans(), 6);
}

#[test]
fn a_report_of_yesterdays_image_is_no_answer_about_todays() {
    let scanned = Scanned::new();
    assert_eq!(scanned.scan(&[]).code, 0);
    scanned.but(
        r#""docker image inspect --format {{json .}} mini-user:local "*)
    echo '{"Id":"sha256:newer","RepoTags":["mini-user:local"],"Architecture":"amd64","Config":{}}'
    echo '{"Id":"sha256:postgres","Architecture":"amd64","Config":{}}'; echo "No such image: mini-base/postgres:local" >&2; exit 1 ;;
  "trivy image "*" sha256:newer") echo 'FATAL cannot' >&2; exit 1 ;;"#,
    );
    let ended = scanned.scan(&[]);
    assert_eq!(ended.code, 3, "{}", ended.all());
    assert!(ended.stdout.contains("BROKEN scan: user (mini-user:local): trivy failed"), "{}", ended.all());
}

#[test]
fn a_package_that_the_build_links_and_the_scanner_does_not_list_is_not_covered() {
    let scanned = Scanned::new();
    scanned.trivy_says(&report(json!({ "Packages": [{ "Name": "mini-user", "Version": "0.0.9" }] })));
    let ended = scanned.scan(&[]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert!(ended.stdout.contains("[not-covered]: 1 of the 1 packages"), "{}", ended.all());
    assert!(ended.stdout.contains("mini-user 0.1.0"), "{}", ended.all());
}

#[test]
fn a_system_that_the_database_does_not_know_is_told_and_no_pass() {
    let scanned = Scanned::new();
    write_database(&scanned.database, 0, &["cargo::RustSec", "debian 12"]);
    let ended = scanned.scan(&[]);
    assert_eq!(ended.code, 3, "{}", ended.all());
    assert!(ended.stdout.contains("not checked: vulnerabilities of debian 13.8 in postgres ("), "{}", ended.all());
    assert!(ended.stdout.contains("INCOMPLETE scan: "), "{}", ended.all());
    let gap = &scanned.report()["evidence"]["covered"]["postgres"]["not_covered"];
    assert_eq!(gap, "debian 13.8: the database has no data for its 1 packages");
    write_database(&scanned.database, 0, &["debian 13"]);
    let ended = scanned.scan(&[]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert!(ended.stdout.contains("the database has no data for Rust packages"), "{}", ended.all());
}

#[test]
fn an_old_database_is_a_finding_and_never_silence() {
    let scanned = Scanned::new();
    write_database(&scanned.database, 365, &["cargo::RustSec", "debian 13"]);
    let ended = scanned.scan(&[]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert!(ended.stdout.contains("365 days old; the most is 7"), "{}", ended.all());
    assert_eq!(scanned.scan(&["--max-db-age-days", "365"]).code, 0);
    assert_eq!(scanned.scan(&["--max-db-age-days", "364"]).code, 1);
}

/// A registry's image whose system only the second of two databases knows, and a program that only the first one knows.
#[test]
fn several_databases_cover_together_what_each_covers_alone() {
    let scanned = Scanned::new();
    write_database(&scanned.database, 0, &["cargo::RustSec"]);
    let debian = scanned.workspace.root.join("../db of debian");
    write_database(&debian, 2, &["debian 13"]);
    // What a trivy that was given the second one says of the neighbour's package.
    let known = json!([{ "VulnerabilityID": "CVE-7", "PkgName": "libc6", "InstalledVersion": "2.41", "FixedVersion": "2.42", "Severity": "CRITICAL" }]);
    let told = |vulnerabilities: &Value| {
        let packages = json!([{ "Name": "libc6", "Version": "2.41" }, { "Name": "zlib1g", "Version": "1.3" }]);
        json!({ "SchemaVersion": 2, "Metadata": { "OS": { "Family": "debian", "Name": "13.8" } }, "Results": [
            { "Target": "debian", "Class": "os-pkgs", "Type": "debian", "Packages": packages, "Vulnerabilities": vulnerabilities }] })
    };
    scanned.workspace.write("../../state/blind.json", &told(&json!(null)).to_string());
    scanned.workspace.write("../../state/seeing.json", &told(&known).to_string());
    scanned.but(
        r#""trivy image "*" sha256:postgres")
  if grep -q 'debian 13' "$(value_of --cache-dir "$@")/db/trivy.db"; then cat "$STATE/seeing.json"; else cat "$STATE/blind.json"; fi; exit ;;"#,
    );
    let both = |more: &[&str]| {
        let more = [&["--db", debian.to_str().unwrap()], more].concat();
        scanned.scan(&more)
    };
    let ended = both(&[]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert!(ended.stdout.contains("CVE-7 (critical) in libc6 2.41"), "{}", ended.all());
    assert!(!ended.stdout.contains("not checked"), "{}", ended.all());
    let report = scanned.report();
    let evidence = &report["evidence"];
    let each = evidence["database"]["each"].as_array().unwrap();
    assert_eq!((each.len(), &each[1]["knows"]), (2, &json!(["debian 13"])));
    assert_eq!((&evidence["database"]["updated"], &evidence["database"]["age_days"]), (&json!(date(-2)), &json!(2)));
    let by = |unit: &str, index: usize| {
        let key = each[index]["key"].as_str().unwrap();
        let seen = &evidence["covered"][unit]["seen"];
        assert!(seen.as_str().unwrap().contains(&format!(", by the database {key}")), "{unit}: {seen}");
    };
    by("user", 0);
    by("postgres", 1);
    // Each image was given to the databases that know something of it, and looked through for secrets once.
    let calls = scanned.workspace.calls();
    let scans = |id: &str, scanners: &str| {
        calls.lines().filter(|call| call.ends_with(&format!("--scanners {scanners} {id}"))).count()
    };
    let counts = [
        ("sha256:user", "vuln,secret"),
        ("sha256:user", "vuln"),
        ("sha256:postgres", "vuln,secret"),
        ("sha256:postgres", "vuln"),
    ];
    assert_eq!(counts.map(|(id, scanners)| scans(id, scanners)), [1, 0, 1, 1], "{calls}");

    // Kept by image and database.
    assert_eq!((both(&[]).code, scanned.workspace.calls().matches("trivy image ").count()), (1, 3));
    // Each is judged by its own age.
    let ended = both(&["--max-db-age-days", "1"]);
    assert!(ended.stdout.contains("it is of") && ended.stdout.contains("2 days old; the most is 1"), "{}", ended.all());
    // A fixed neighbour passes, and one that nothing needed is told.
    scanned.workspace.write("../../state/seeing.json", &told(&json!(null)).to_string());
    std::fs::remove_dir_all(scanned.workspace.root.join("target/xtask/scan")).unwrap();
    assert_eq!(both(&[]).code, 0);
    assert!(!both(&[]).stdout.contains("has data for nothing"));
    let ended = both(&["user"]);
    assert!(ended.code == 0 && ended.stdout.contains("has data for nothing that was scanned"), "{}", ended.all());
    // The same one twice is one.
    let database = scanned.database.to_str().unwrap().to_owned();
    let ended = scanned.scan(&["user", "--db", &database]);
    assert_eq!(scanned.report()["evidence"]["database"].get("each"), None, "{}", ended.all());
}

#[test]
fn a_database_that_was_named_and_cannot_be_used_is_refused_before_anything_is_scanned() {
    let scanned = Scanned::new();
    let file = scanned.database.join("db/trivy.db");
    let whole = std::fs::read(&file).unwrap();
    let refused = |why: &str| {
        let ended = scanned.scan(&[]);
        assert_eq!(ended.code, 3, "{why}: {}", ended.all());
        assert!(ended.stdout.contains("refused") && ended.stdout.contains(why), "{why}: {}", ended.all());
        assert!(!scanned.workspace.calls().contains("trivy image"), "{}", scanned.workspace.calls());
    };
    std::fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    refused("only half there");
    std::fs::write(&file, "<html>").unwrap();
    refused("no trivy database");
    write_database(&scanned.database, -30, &["cargo::RustSec"]);
    refused("in the future");
    std::fs::remove_dir_all(&scanned.database).unwrap();
    refused("cannot be read");
}

#[test]
fn without_a_database_secrets_and_configuration_are_still_checked_and_the_end_is_3() {
    let scanned = Scanned::new();
    scanned.trivy_says(&json!({ "SchemaVersion": 2 }));
    let fetch_fails = "\"trivy image --download-db-only\"*) echo 'FATAL failed to download vulnerability DB: no such host' >&2; exit 1 ;;";
    scanned.but(fetch_fails);
    let ended = scanned.workspace.xtask(&["scan"]);
    assert_eq!(ended.code, 3, "{}", ended.all());
    let told = "not checked: vulnerabilities (there is no database: no registry in reach";
    assert!(ended.stdout.contains(told) && ended.stdout.contains("INCOMPLETE scan: "), "{}", ended.all());
    let calls = scanned.workspace.calls();
    assert!(calls.contains("--scanners secret sha256:user") && calls.contains("trivy config"), "{calls}");
    assert!(!calls.contains("vuln"), "{calls}");
    // What was not looked at says nothing about an exception.
    scanned.workspace.write("xtask/policy/scan.toml", &format!("{POLICY}{}", exception("user/smallvec", -1, 30)));
    let ended = scanned.workspace.xtask(&["scan"]);
    assert_eq!(ended.code, 3, "{}", ended.all());
    // A secret outranks what could not be checked.
    std::fs::remove_dir_all(scanned.workspace.root.join("target/xtask/scan")).unwrap();
    scanned.trivy_says(&json!({ "SchemaVersion": 2, "Results": [{ "Target": "/key", "Class": "secret", "Secrets": [{ "RuleID": "private-key", "Severity": "LOW" }] }] }));
    let ended = scanned.workspace.xtask(&["scan"]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert!(ended.stdout.contains("[secret-in-image]: private-key (low) in /key"), "{}", ended.all());
}

#[test]
fn a_database_is_fetched_once_and_used_by_the_next_run() {
    let scanned = Scanned::new();
    let database = scanned.database.display().to_string();
    scanned.but(&format!(
        "\"trivy image --download-db-only\"*) cp -r '{database}/db' \"$(value_of --cache-dir \"$@\")/\"; exit 0 ;;"
    ));
    for _ in 0..2 {
        let ended = scanned.workspace.xtask(&["scan"]);
        assert_eq!(ended.code, 0, "{}", ended.all());
    }
    let calls = scanned.workspace.calls();
    assert_eq!(calls.matches("--download-db-only").count(), 1, "{calls}");
    // What the scans used is still there: no folder that was only staged.
    for scan in calls.lines().filter(|call| call.starts_with("trivy image ") && call.ends_with("sha256:user")) {
        let (_, rest) = scan.split_once("--cache-dir ").unwrap();
        let folder = rest.split(" --").next().unwrap();
        assert!(Path::new(folder).join("db/trivy.db").is_file(), "{scan}");
    }
    // Due again and out of reach: the old one is used, and its age judged.
    scanned.workspace.write("xtask/policy/scan.toml", &POLICY.replace("refresh-hours = 24", "refresh-hours = 0"));
    scanned.but("\"trivy image --download-db-only\"*) echo 'FATAL dial tcp: no such host' >&2; exit 1 ;;");
    let ended = scanned.workspace.xtask(&["scan"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert!(ended.stderr.contains("could not be renewed (no registry in reach"), "{}", ended.all());
}

#[test]
fn a_registry_that_limits_requests_is_asked_again() {
    let scanned = Scanned::new();
    let database = scanned.database.display().to_string();
    scanned.but(&format!(
        r#""trivy image --download-db-only"*)
  if [ ! -f "$STATE/asked" ]; then touch "$STATE/asked"; echo 'FATAL OCI repository error: TOOMANYREQUESTS: retry later' >&2; exit 1; fi
  cp -r '{database}/db' "$(value_of --cache-dir "$@")/"; exit 0 ;;"#
    ));
    let ended = scanned.workspace.xtask(&["scan"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert_eq!(scanned.workspace.calls().matches("--download-db-only").count(), 2, "{}", scanned.workspace.calls());
    assert!(ended.stderr.contains("asks again in 1 s"), "{}", ended.all());
}

#[test]
fn a_download_that_ends_in_the_middle_is_no_database() {
    let scanned = Scanned::new();
    scanned.trivy_says(&json!({ "SchemaVersion": 2 }));
    let database = scanned.database.display().to_string();
    scanned.but(&format!(
        "\"trivy image --download-db-only\"*) cp '{database}/db/metadata.json' \"$(value_of --cache-dir \"$@\")/db/\"; head -c 9000 '{database}/db/trivy.db' >\"$(value_of --cache-dir \"$@\")/db/trivy.db\"; exit 0 ;;"
    ));
    let ended = scanned.workspace.xtask(&["scan"]);
    assert_eq!(ended.code, 3, "{}", ended.all());
    assert!(ended.stdout.contains("only half there: 9000 of"), "{}", ended.all());
}

#[test]
fn two_scans_at_once_do_not_meet() {
    let scanned = Scanned::new();
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..3).map(|_| scope.spawn(|| scanned.scan(&[]))).collect();
        for run in runs {
            let ended = run.join().unwrap();
            assert_eq!(ended.code, 0, "{}", ended.all());
        }
    });
}

#[test]
fn a_trivy_that_is_known_to_be_malicious_is_never_run_on_an_image() {
    let scanned = Scanned::new();
    for version in ["0.69.4", "0.69.5", "0.69.6", "0.20.0"] {
        scanned.but(&format!("\"trivy --version\") echo 'Version: {version}'; exit 0 ;;"));
        // There is no python3 either, so nothing else can be fetched.
        let ended = scanned.workspace.xtask_without("python3", &["scan", "--db", scanned.database.to_str().unwrap()]);
        assert_eq!(ended.code, 3, "{version}: {}", ended.all());
        assert!(!scanned.workspace.calls().contains("trivy image"), "{}", scanned.workspace.calls());
    }
}

#[test]
fn somebodys_trivy_variables_and_files_change_no_verdict() {
    let mut scanned = Scanned::new();
    for (name, value) in [("TRIVY_SEVERITY", "LOW"), ("TRIVY_IGNOREFILE", "/x"), ("TRIVY_EXIT_CODE", "7")] {
        scanned.workspace.set(name, value);
    }
    for file in [".trivyignore", "trivy.yaml", "trivy-secret.yaml"] {
        scanned.workspace.write(file, "x\n");
    }
    scanned.but("\"trivy image \"*\" sha256:user\") env >\"$STATE/env\"; ls -a >\"$STATE/seen\" ;;");
    assert_eq!(scanned.scan(&[]).code, 0);
    let environment = scanned.workspace.read("../../state/env");
    assert!(environment.contains("PATH=") && !environment.contains("TRIVY_"), "{environment}");
    let seen = scanned.workspace.read("../../state/seen");
    assert!(!seen.contains("trivy"), "{seen}");
}

pub(crate) fn exception(scope: &str, created: i64, expires: i64) -> String {
    format!(
        "\n[[exception]]\nrule = \"CVE-1\"\nscope = \"{scope}\"\nreason = \"r\"\nowner = \"platform\"\ncreated = \"{}\"\nexpires = \"{}\"\n",
        date(created),
        date(expires)
    )
}

#[test]
fn an_exception_accepts_one_thing_in_one_image_until_its_day_from_whatever_folder() {
    let scanned = Scanned::new();
    scanned.trivy_says(&report(json!({ "Vulnerabilities": [vulnerability("CVE-1", "HIGH")] })));
    let rules = |exception: &str| {
        scanned.workspace.write("xtask/policy/scan.toml", &format!("{POLICY}{exception}"));
        let database = scanned.database.to_str().unwrap();
        let from_root = scanned.scan(&[]);
        let from_below = scanned.workspace.xtask_in("services/user/src", &["scan", "--db", database]);
        assert_eq!(from_root.code, from_below.code);
        let report = scanned.report();
        let findings = report["findings"].as_array().unwrap();
        (from_root.code, findings.iter().map(|f| f["rule"].as_str().unwrap().to_owned()).collect::<Vec<_>>())
    };
    assert_eq!(rules(&exception("user/smallvec", -1, 30)), (0, vec![]));
    assert_eq!(rules(&exception("user/smallvec", -30, 0)).1, ["vulnerable-package", "exception-ran-out"]);
    assert_eq!(rules(&exception("user/smallvec", -1, 90)).1, ["vulnerable-package", "exception-malformed"]);
    assert_eq!(rules(&exception("order/smallvec", -1, 30)).1, ["vulnerable-package", "exception-unmatched"]);
    assert_eq!(rules(&exception("postgres/smallvec", -1, 30)).1, ["vulnerable-package", "exception-unmatched"]);
    // Text of another tool's ignore file is no policy.
    scanned.workspace.write("xtask/policy/scan.toml", &format!("{POLICY}CVE-1\n"));
    assert_eq!(scanned.scan(&[]).code, 1);
}

#[test]
fn only_an_exception_for_what_was_looked_at_can_be_called_unneeded() {
    let scanned = Scanned::new();
    let database = scanned.database.to_str().unwrap();
    let run = |arguments: &[&str], scope: &str| {
        scanned.workspace.write("xtask/policy/scan.toml", &format!("{POLICY}{}", exception(scope, -1, 30)));
        let ended = scanned.workspace.xtask(&[&["scan", "--db", database], arguments].concat());
        let report = scanned.report();
        (ended.code, report["findings"].as_array().unwrap().iter().any(|f| f["rule"] == "exception-unmatched"))
    };
    for scope in
        ["user", "user/smallvec", "postgres", "postgres/libc6", "Cargo.lock/x", "services/user/Dockerfile", "gone"]
    {
        assert_eq!(run(&[], scope), (1, true), "{scope}");
    }
    // Of one image alone nothing can be said about the others, or about a name that nothing has.
    for scope in ["user", "user/smallvec"] {
        assert_eq!(run(&["user"], scope), (1, true), "{scope}");
    }
    for scope in ["postgres", "postgres/libc6", "order/smallvec", "gone"] {
        assert_eq!(run(&["user"], scope), (0, false), "{scope}");
    }
    // Postgres was looked at, and its packages are not in the database's reach.
    write_database(&scanned.database, 0, &["cargo::RustSec"]);
    assert_eq!(run(&[], "postgres/libc6"), (3, false));
    assert_eq!(run(&[], "postgres"), (3, false));
}

#[test]
fn an_exception_that_ends_soon_is_told() {
    let scanned = Scanned::new();
    scanned.trivy_says(&report(json!({ "Vulnerabilities": [vulnerability("CVE-1", "HIGH")] })));
    scanned.workspace.write("xtask/policy/scan.toml", &format!("{POLICY}{}", exception("user/smallvec", -1, 14)));
    let ended = scanned.scan(&[]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert!(ended.stdout.contains("CVE-1 in user/smallvec is accepted for 14 more days"), "{}", ended.all());
}

#[test]
fn a_secret_in_a_layer_a_variable_or_an_argument_is_found_and_its_value_is_nowhere() {
    let mut scanned = Scanned::new();
    scanned.workspace.set("RUST_BACKTRACE", "1");
    let mut said = report(json!({}));
    said["Metadata"] = json!({ "ImageConfig": {
        "history": [{ "created_by": format!("ARG BUILD_PASSWORD={CANARY}") }],
        "config": { "Env": [format!("DATABASE_URL=postgres://u:{CANARY}@db/x"), "RUST_LOG=info"], "Labels": { "note": CANARY } },
    } });
    said["Results"].as_array_mut().unwrap().push(json!({ "Target": "/etc/key", "Class": "secret", "Secrets": [
        { "RuleID": "github-pat", "Severity": "CRITICAL", "Title": "GitHub token", "Match": format!("token: {CANARY}"), "StartLine": 2,
          "Code": { "Lines": [{ "Content": CANARY }] }, "Layer": { "CreatedBy": format!("RUN echo {CANARY}") } }] }));
    scanned.trivy_says(&said);
    let ended = scanned.scan(&["-v", "--write"]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    for place in ["github-pat (critical) in /etc/key", "in DATABASE_URL", "in BUILD_PASSWORD"] {
        assert!(ended.stdout.contains(place), "{place}: {}", ended.all());
    }
    assert!(!ended.stdout.contains("RUST_LOG"), "{}", ended.all());
    let mut texts = vec![ended.all(), scanned.workspace.calls()];
    for folder in ["target/xtask", "docs"] {
        read_all(&scanned.workspace.root.join(folder), &mut texts);
    }
    assert!(texts.len() > 8, "{}", texts.len());
    for text in texts {
        assert!(!text.contains(CANARY), "{text}");
    }
}

fn read_all(folder: &Path, texts: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all(&path, texts);
        } else {
            texts.push(String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned());
        }
    }
}

#[test]
fn a_misconfigured_image_or_dockerfile_fails_and_one_that_was_not_checked_is_no_pass() {
    let scanned = Scanned::new();
    let says = |files: &[&str], end: &str| {
        // Units stand in the folder in the order of their names: postgres, the Dockerfile, user.
        let result = |file: &&str| {
            let check = json!({ "ID": "DS-0002", "Severity": "HIGH", "Status": "FAIL", "Message": "runs as root", "CauseMetadata": { "StartLine": 3 } });
            let weak = if file.ends_with('!') { json!([check]) } else { json!(null) };
            json!({ "Target": format!("{}/Dockerfile", file.trim_end_matches('!')), "Class": "config", "Type": "dockerfile", "Misconfigurations": weak })
        };
        let report = json!({ "SchemaVersion": 2, "Results": files.iter().map(result).collect::<Vec<_>>() });
        scanned.workspace.write("../../state/config.json", &report.to_string());
        scanned.but(&format!("\"trivy config \"*) cat \"$STATE/config.json\"; {end} ;;"));
        let _ = std::fs::remove_dir_all(scanned.workspace.root.join("target/xtask/scan/reports"));
        scanned.scan(&[])
    };
    let ended = says(&["0", "1!", "2"], "exit 0");
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert!(ended.stdout.contains("services/user/Dockerfile:3 [misconfiguration]: DS-0002 (high)"), "{}", ended.all());
    let ended = says(&["0", "1", "2!"], "exit 0");
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert!(ended.stdout.contains("finding: user [misconfiguration]: DS-0002 (high)"), "{}", ended.all());
    // In an image of others it is reported, and fails nothing.
    let ended = says(&["0!", "1", "2"], "exit 0");
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert!(ended.stdout.contains("3 configurations") && ended.stdout.contains("DS-0002"), "{}", ended.all());
    let ended = says(&["0", "2"], "exit 0");
    assert_eq!(ended.code, 3, "{}", ended.all());
    assert!(ended.stdout.contains("BROKEN scan: configuration of services/user/Dockerfile"), "{}", ended.all());
    let ended = says(&["0", "1", "2"], "echo 'FATAL no checks' >&2; exit 1");
    assert_eq!(ended.code, 3, "{}", ended.all());
    assert!(
        ended.stdout.contains("BROKEN scan: configuration of postgres, services/user/Dockerfile, user: trivy failed"),
        "{}",
        ended.all()
    );
}

#[test]
fn what_only_compiles_or_tests_is_judged_by_way_of_the_lock_file() {
    let scanned = Scanned::new();
    let says = |lock: &Value, end: &str| {
        scanned.workspace.write("../../state/lock.json", &lock.to_string());
        scanned.but(&format!("\"trivy fs \"*) cat \"$STATE/lock.json\"; {end} ;;"));
        let _ = std::fs::remove_dir_all(scanned.workspace.root.join("target/xtask/scan/reports"));
        scanned.scan(&[])
    };
    let lock = |package: &str| {
        json!({ "SchemaVersion": 2, "Results": [{ "Target": "Cargo.lock", "Class": "lang-pkgs", "Type": "cargo",
            "Packages": [{ "Name": package, "Version": "0.1.0" }],
            "Vulnerabilities": [{ "VulnerabilityID": "CVE-9", "PkgName": package, "InstalledVersion": "0.1.0", "Severity": "CRITICAL" }] }] })
    };
    let ended = says(&lock("xtask"), "exit 0");
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert!(
        ended.stdout.contains("Cargo.lock [vulnerable-package]: CVE-9 (critical) in xtask 0.1.0"),
        "{}",
        ended.all()
    );
    // What is linked into an image is judged there, and what is built nowhere here not at all.
    for package in ["mini-user", "only-on-another-platform"] {
        let ended = says(&lock(package), "exit 0");
        assert_eq!(ended.code, 0, "{package}: {}", ended.all());
    }
    // A lock file that has packages of a registry, and a scanner that sees none.
    let before = scanned.workspace.read("Cargo.lock");
    assert_eq!(says(&json!({ "SchemaVersion": 2 }), "exit 0").code, 0);
    scanned.workspace.write(
        "Cargo.lock",
        &format!("{before}\n[[package]]\nname = \"x\"\nversion = \"1.0.0\"\nsource = \"registry+https://x.example\"\n"),
    );
    let ended = says(&json!({ "SchemaVersion": 2 }), "exit 0");
    assert!(ended.stdout.contains("failed: Cargo.lock: trivy sees no package in it"), "{}", ended.all());
    scanned.workspace.write("Cargo.lock", &before);
    let ended = says(&json!({ "SchemaVersion": 2 }), "echo 'FATAL broken' >&2; exit 1");
    assert_eq!(ended.code, 3, "{}", ended.all());
    assert!(ended.stdout.contains("BROKEN scan: Cargo.lock: trivy failed"), "{}", ended.all());
}

#[test]
fn a_baseline_shows_what_is_new_and_one_that_is_none_is_refused_before_anything_is_done() {
    let scanned = Scanned::new();
    scanned.trivy_says(&report(
        json!({ "Vulnerabilities": [vulnerability("CVE-1", "LOW"), vulnerability("CVE-2", "LOW")] }),
    ));
    assert_eq!(scanned.scan(&[]).code, 0);
    let baseline = scanned.workspace.root.join("baseline.json");
    std::fs::copy(scanned.workspace.root.join("target/xtask/reports/scan.json"), &baseline).unwrap();
    std::fs::remove_dir_all(scanned.workspace.root.join("target/xtask/scan")).unwrap();
    scanned.trivy_says(&report(
        json!({ "Vulnerabilities": [vulnerability("CVE-2", "MEDIUM"), vulnerability("CVE-3", "LOW")] }),
    ));
    let ended = scanned.scan(&["--baseline", baseline.to_str().unwrap()]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    let delta = &scanned.report()["evidence"]["delta"];
    assert_eq!(delta["new"], json!(["user vulnerability CVE-3 smallvec (low)"]));
    assert_eq!(delta["worse"], json!(["user vulnerability CVE-2 smallvec (low → medium)"]));
    assert_eq!(delta["fixed"], json!(["user vulnerability CVE-1 smallvec (low)"]));
    let before = scanned.workspace.calls();
    let ended = scanned.scan(&["--baseline", "no-such-file.json"]);
    assert_eq!(ended.code, 3, "{}", ended.all());
    assert!(ended.stdout.contains("--baseline no-such-file.json refused"), "{}", ended.all());
    assert_eq!(scanned.workspace.calls(), before);
}

#[test]
fn an_image_that_is_not_here_is_never_pulled() {
    let scanned = Scanned::new();
    let ended = scanned.scan(&["--image", "mini-usr:local"]);
    assert_eq!(ended.code, 3, "{}", ended.all());
    assert!(ended.stdout.contains("mini-usr:local is not in the local engine"), "{}", ended.all());
    scanned.but("\"docker image inspect\"*) shift 4; for r; do echo \"Error: No such image: $r\" >&2; done; exit 1 ;;");
    let ended = scanned.scan(&[]);
    assert_eq!(ended.code, 3, "{}", ended.all());
    assert!(ended.stdout.contains("mini-user:local; next: `cargo xtask build-images`"), "{}", ended.all());
    let calls = scanned.workspace.calls();
    assert!(!calls.contains("pull") && !calls.contains("trivy image"), "{calls}");
    assert_eq!(scanned.scan(&["usr"]).code, 2);
}

#[test]
fn an_image_by_reference_that_is_a_services_is_judged_as_one() {
    let scanned = Scanned::new();
    scanned.trivy_says(&json!({ "SchemaVersion": 2 }));
    let ended = scanned.scan(&["--image", "mini-user:local"]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert!(ended.stdout.contains("[not-covered]"), "{}", ended.all());
    assert!(!scanned.workspace.calls().contains("sha256:postgres"), "{}", scanned.workspace.calls());
}

#[test]
fn the_record_for_people_is_written_on_demand_alone() {
    let scanned = Scanned::new();
    scanned.trivy_says(&report(json!({ "Vulnerabilities": [vulnerability("CVE-1", "HIGH")] })));
    scanned.scan(&[]);
    assert!(!scanned.workspace.root.join("docs").exists());
    scanned.scan(&["--write"]);
    let record = scanned.workspace.read("docs/scans/user.md");
    for words in
        [&format!("Made on {}", date(0)), "trivy 0.76.0", "CVE-1", "| smallvec | 1.6.0 | >=1.6.1 |", "| fails |"]
    {
        assert!(record.contains(words), "{words}: {record}");
    }
    assert!(scanned.workspace.read("docs/scans/postgres.md").contains("debian 13.8: 1 packages"));
}
