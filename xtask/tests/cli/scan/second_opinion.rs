//! `scan --second-opinion` with a syft and a cargo-audit that say what the test wants.

use super::*;

/// What syft says of an image stands in `$STATE/syft-NAME.json`.
const SYFT: &str = r#"#!/bin/sh
echo "syft $*" >>"$STATE/calls.log"
[ "$1" = version ] && { echo 'Application: syft'; echo 'Version: 1.18.1'; exit; }
for place; do :; done
cat "$STATE/syft-${place##*:}.json" || { echo 'FATAL cannot read' >&2; exit 1; }
"#;

/// What cargo-audit says of the program stands in `$STATE/program.json`, of the lock file in `$STATE/locked.json`.
const AUDIT: &str = r#"#!/bin/sh
echo "cargo-audit $*" >>"$STATE/calls.log"
case "$*" in
  --version) echo 'cargo-audit 0.22.2' ;;
  *--json\ bin\ *) cat "$STATE/program.json"; exit 1 ;;
  *) if grep -q package; then cat "$STATE/locked.json"; else cat "$STATE/none.json"; fi ;;
esac
"#;

struct Seconded {
    scanned: Scanned,
    advisories: String,
}

impl Seconded {
    fn new() -> Self {
        let scanned = Scanned::new();
        let state = scanned.workspace.root.join("../../state").canonicalize().unwrap();
        for (program, script) in [("syft", SYFT), ("cargo-audit", AUDIT)] {
            scanned.workspace.stub_program(program, &script.replace("$STATE", state.to_str().unwrap()));
        }
        let advisories = scanned.workspace.root.join("../advisories").to_str().unwrap().to_owned();
        std::fs::create_dir_all(&advisories).unwrap();
        let seconded = Self { scanned, advisories };
        seconded.says("syft-user", &syft(&["pkg:cargo/mini-user@0.1.0"]));
        seconded.says("syft-postgres", &syft(&["pkg:deb/debian/libc6@2.41?arch=amd64"]));
        seconded.says("none", &audited(0, 1225, &[]));
        seconded.says("program", &audited(1, 1225, &[]));
        seconded.says("locked", &audited(2, 1225, &[]));
        seconded
    }

    fn says(&self, file: &str, value: &Value) {
        self.scanned.workspace.write(&format!("../../state/{file}.json"), &value.to_string());
    }

    fn scan(&self) -> Ended {
        self.scanned.scan(&["--second-opinion", "--advisories", &self.advisories])
    }

    fn evidence(&self) -> Value {
        self.scanned.report()["evidence"]["second_opinion"].clone()
    }
}

fn syft(urls: &[&str]) -> Value {
    let artifact = |url: &&str| json!({ "name": "x", "purl": url, "foundBy": "a-cataloger", "locations": [{ "path": "/somewhere" }] });
    json!({ "artifacts": urls.iter().map(artifact).collect::<Vec<_>>() })
}

fn audited(packages: usize, advisories: usize, found: &[(&str, &str)]) -> Value {
    let entry = |(id, package): &(&str, &str)| json!({ "advisory": { "id": id, "title": "overflow", "aliases": ["CVE-1"] }, "package": { "name": package, "version": "1.6.0" } });
    json!({ "database": { "advisory-count": advisories }, "lockfile": { "dependency-count": packages },
        "vulnerabilities": { "list": found.iter().map(entry).collect::<Vec<_>>() }, "warnings": {} })
}

fn accepting(rule: &str, scope: &str) -> String {
    exception(scope, -1, 30).replace("\"CVE-1\"", &format!("\"{rule}\""))
}

#[test]
fn two_pairs_of_eyes_that_agree_are_counted_and_pass() {
    let seconded = Seconded::new();
    let ended = seconded.scan();
    assert_eq!(ended.code, 0, "{}", ended.all());
    let evidence = seconded.evidence();
    assert_eq!(evidence["packages_by_image"]["postgres"], json!({ "both": 1, "only_trivy": [], "only_syft": [] }));
    assert_eq!(evidence["vulnerabilities_by_unit"]["Cargo.lock"]["both"], 0);
    assert_eq!(
        (&evidence["advisories"]["count"], &evidence["advisories"]["origin"]),
        (&json!(1225), &json!("--advisories"))
    );
    assert!(ended.stdout.contains("2 lists of packages compared with syft's"), "{}", ended.all());
    // Nothing of the caller's settings reaches cargo-audit, and no data is fetched.
    let calls = seconded.scanned.workspace.calls();
    assert!(
        calls.lines().filter(|call| call.starts_with("cargo-audit audit")).all(|call| call.contains("--no-fetch")),
        "{calls}"
    );
    // Without the flag neither is called.
    let before = calls.matches("syft").count();
    assert_eq!(seconded.scanned.scan(&[]).code, 0);
    assert_eq!(seconded.scanned.workspace.calls().matches("syft").count(), before);
}

#[test]
fn a_package_that_only_syft_sees_is_a_finding_until_somebody_accepts_it() {
    let seconded = Seconded::new();
    seconded.says(
        "syft-postgres",
        &syft(&["pkg:deb/debian/libc6@2.41", "pkg:deb/debian/hidden@1.0", "pkg:generic/postgresql@17.6"]),
    );
    let ended = seconded.scan();
    assert_eq!(ended.code, 1, "{}", ended.all());
    let words = "finding: postgres [second-opinion-package]: hidden 1.0 (deb): a-cataloger found it in /somewhere; trivy does not list it";
    assert!(ended.stdout.contains(words), "{}", ended.all());
    assert!(!ended.stdout.contains("[second-opinion-package]: postgresql"), "{}", ended.all());
    let told = seconded.evidence()["packages_by_image"]["postgres"]["only_syft"].clone();
    assert_eq!(told.as_array().unwrap().len(), 2, "{told}");

    let policy = format!("{POLICY}{}", accepting("second-opinion-package", "postgres/hidden"));
    seconded.scanned.workspace.write("xtask/policy/scan.toml", &policy);
    assert_eq!(seconded.scan().code, 0);
    // A run that did not ask cannot call it unneeded; one that did can.
    assert_eq!(seconded.scanned.scan(&[]).code, 0);
    seconded.says("syft-postgres", &syft(&["pkg:deb/debian/libc6@2.41"]));
    let ended = seconded.scan();
    assert!(ended.code == 1 && ended.stdout.contains("[exception-unmatched]"), "{}", ended.all());
}

#[test]
fn a_vulnerability_that_only_one_of_them_knows_is_told_by_package() {
    let seconded = Seconded::new();
    seconded.scanned.trivy_says(&report(
        json!({ "Vulnerabilities": [vulnerability("CVE-1", "LOW"), vulnerability("CVE-2", "LOW")] }),
    ));
    seconded.says("program", &audited(9, 1225, &[("RUSTSEC-1", "smallvec"), ("RUSTSEC-9", "other")]));
    let ended = seconded.scan();
    assert_eq!(ended.code, 1, "{}", ended.all());
    let words = "finding: user [second-opinion-vulnerability]: RUSTSEC-9, CVE-1 in other 1.6.0: overflow; trivy's database does not have it";
    assert!(ended.stdout.contains(words), "{}", ended.all());
    let unit = seconded.evidence()["vulnerabilities_by_unit"]["user"].clone();
    assert_eq!((&unit["both"], &unit["only_trivy"][0]["what"]), (&json!(1), &json!("CVE-2 in smallvec 1.6.0")));
    assert_eq!(unit["only_cargo_audit"].as_array().unwrap().len(), 1, "{unit}");

    for (rule, scope) in [("second-opinion-vulnerability", "user/other/RUSTSEC-9"), ("RUSTSEC-9", "user/other")] {
        let policy = format!("{POLICY}{}", accepting(rule, scope));
        seconded.scanned.workspace.write("xtask/policy/scan.toml", &policy);
        let ended = seconded.scan();
        assert_eq!(ended.code, 0, "{rule}: {}", ended.all());
    }
}

#[test]
fn a_second_opinion_that_cannot_be_made_is_refused_and_nothing_is_scanned() {
    let refused = |ended: &Ended, seconded: &Seconded, why: &str| {
        assert_eq!(ended.code, 3, "{why}: {}", ended.all());
        assert!(
            ended.stdout.contains("--second-opinion refused: ") && ended.stdout.contains(why),
            "{why}: {}",
            ended.all()
        );
        let calls = seconded.scanned.workspace.calls();
        assert!(!calls.contains("trivy image") && !calls.contains("syft scan"), "{calls}");
    };
    let seconded = Seconded::new();
    seconded.says("none", &audited(0, 0, &[]));
    refused(&seconded.scan(), &seconded, "there is no advisory in it");
    seconded.scanned.workspace.stub_program("cargo-audit", "#!/bin/sh\n[ \"$1\" = --version ] && echo 'cargo-audit 0.22.2' || { echo 'error: git operation failed: no network' >&2; exit 1; }\n");
    refused(&seconded.scan(), &seconded, "git operation failed: no network");
    let fetching = seconded.scanned.scan(&["--second-opinion"]);
    refused(&fetching, &seconded, "next: `--advisories DIR`");
    std::fs::remove_dir_all(&seconded.advisories).unwrap();
    refused(&seconded.scan(), &seconded, "No such file");

    let seconded = Seconded::new();
    seconded.scanned.workspace.stub_program("syft", "#!/bin/sh\nexit 127\n");
    let database = seconded.scanned.database.to_str().unwrap();
    let words = ["scan", "--db", database, "--second-opinion", "--advisories", &seconded.advisories];
    refused(&seconded.scanned.workspace.xtask_without("python3", &words), &seconded, "syft");
    // What only makes sense together.
    assert_eq!(seconded.scanned.scan(&["--advisories", &seconded.advisories]).code, 2);
}

#[test]
fn one_image_that_the_second_eye_cannot_see_leaves_the_others_compared() {
    let seconded = Seconded::new();
    std::fs::remove_file(seconded.scanned.workspace.root.join("../../state/syft-user.json")).unwrap();
    seconded.says("locked", &audited(0, 1225, &[]));
    let ended = seconded.scan();
    assert_eq!(ended.code, 3, "{}", ended.all());
    for words in [
        "failed: the second opinion of syft on user: syft failed",
        "failed: the second opinion of cargo-audit on Cargo.lock: cargo-audit sees no package",
    ] {
        assert!(ended.stdout.contains(words), "{words}: {}", ended.all());
    }
    let compared = seconded.evidence()["packages_by_image"].clone();
    assert_eq!((compared.get("user"), &compared["postgres"]["both"]), (None, &json!(1)));
}
