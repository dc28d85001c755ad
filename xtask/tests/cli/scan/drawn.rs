//! Crates drawn by seed from a real database: whatever is in there has to be found in an image that links it.
//!
//! `cargo xtask test --all --db DIR` names the database. A failure prints its seed; `SCAN_TEST_SEED` repeats it.

use std::path::PathBuf;

use cargo_metadata::MetadataCommand;
use cargo_metadata::semver::{Version, VersionReq};
use serde::Deserialize;

use super::bolt::{Found, Reader};
use super::engine::Shop;
use super::*;
use crate::workspace::stub_command;

const SOURCE: &str = "cargo::RustSec Advisory Database";
/// So many crates are tried, and so many are drawn at most: old ones often do not compile any more.
const WANTED: usize = 5;
const DRAWS_LIMIT: usize = 60;
const COMPILE_LIMIT_SECONDS: &str = "120";

/// One advisory about one crate, as the database has it.
struct Advisory {
    package: String,
    id: String,
    severity: String,
    versions: Versions,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Versions {
    vulnerable_versions: Vec<String>,
    patched_versions: Vec<String>,
    unaffected_versions: Vec<String>,
}

impl Versions {
    /// A requirement whose newest match is probably vulnerable.
    fn requirement(&self) -> Option<String> {
        if let Some(range) = self.vulnerable_versions.first() {
            return Some(range.clone());
        }
        let first_fix = self.patched_versions.first()?.split(',').next()?.trim().strip_prefix(">=")?;
        Some(format!("<{}", first_fix.trim()))
    }

    /// As trivy decides it: within a vulnerable range or, where none is stated, outside of all others.
    fn meet(&self, version: &Version) -> bool {
        let any = |ranges: &[String]| {
            ranges.iter().any(|range| VersionReq::parse(range).is_ok_and(|range| range.matches(version)))
        };
        if self.vulnerable_versions.is_empty() {
            !any(&self.patched_versions) && !any(&self.unaffected_versions)
        } else {
            any(&self.vulnerable_versions) && !any(&self.patched_versions)
        }
    }
}

fn advisories(database: &Reader) -> Vec<Advisory> {
    let severities: std::collections::BTreeMap<_, _> = database
        .bucket("vulnerability")
        .into_iter()
        .filter_map(|(id, found)| Some((id, serde_json::from_slice::<Value>(value(&found)?).ok()?)))
        .map(|(id, detail)| (id, detail["Severity"].as_str().unwrap_or("unknown").to_lowercase()))
        .collect();
    let mut advisories = Vec::new();
    for (package, found) in database.bucket(SOURCE) {
        let Found::Bucket(entries) = found else { continue };
        for (id, found) in entries {
            let versions = serde_json::from_slice(value(&found).unwrap()).unwrap();
            let severity = severities.get(&id).cloned().unwrap_or_else(|| "unknown".to_owned());
            advisories.push(Advisory { package: package.clone(), id, severity, versions });
        }
    }
    advisories
}

fn value<'a>(found: &Found<'a>) -> Option<&'a [u8]> {
    match found {
        Found::Value(bytes) => Some(bytes),
        Found::Bucket(_) => None,
    }
}

/// Splitmix64: enough to draw with, and the same everywhere.
fn next(state: &mut u64) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    usize::try_from((mixed ^ (mixed >> 31)) >> 8).unwrap()
}

/// Makes the program link the drawn crate. Gives the version that cargo took; `None` when the draw is of no use here: nothing
/// published in that range, no library, or one that today's compiler does not take.
fn link(shop: &Shop, advisory: &Advisory) -> Option<Version> {
    shop.depend_on(&format!("{} = {:?}", advisory.package, advisory.versions.requirement()?));
    let root = &shop.workspace.root;
    let metadata = MetadataCommand::new().manifest_path(root.join("Cargo.toml")).exec().ok()?;
    let package = metadata.packages.iter().find(|package| package.name == advisory.package)?;
    let library = package.targets.iter().any(cargo_metadata::Target::is_lib);
    if !library || !advisory.versions.meet(&package.version) {
        return None;
    }
    let mut build = stub_command("timeout");
    build.args([COMPILE_LIMIT_SECONDS, "cargo", "build", "--quiet", "--release", "--workspace", "--locked"]);
    let built = build.current_dir(root).env_remove("CARGO_TARGET_DIR").env_remove("RUSTFLAGS").output().unwrap();
    built.status.success().then(|| package.version.clone())
}

#[expect(clippy::disallowed_methods, reason = "a test is told its database and seed from outside")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[test]
fn a_crate_that_is_drawn_from_a_real_database_is_found_in_the_image_that_links_it() {
    let Some(folder) = variable("SCAN_TEST_DATABASE").map(PathBuf::from) else {
        println!("not run: SCAN_TEST_DATABASE names no database (`cargo xtask test --all --db DIR` sets it)");
        return;
    };
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut seed = variable("SCAN_TEST_SEED").map_or_else(now, |text| text.parse().unwrap());
    println!("SCAN_TEST_SEED={seed}");
    let shop = Shop::empty("drawn");
    // Every severity fails here: what is drawn has to be found, whatever it is called.
    let every = r#"vulnerabilities = ["critical", "high", "medium", "low", "unknown"]"#;
    shop.workspace.write(
        "xtask/policy/scan.toml",
        &POLICY.replacen(r#"vulnerabilities = ["critical", "high", "unknown"]"#, every, 1),
    );
    std::fs::create_dir_all(shop.database.join("db")).unwrap();
    for file in ["db/trivy.db", "db/metadata.json"] {
        std::fs::copy(folder.join(file), shop.database.join(file)).unwrap();
    }
    let advisories = advisories(&Reader::open(&folder.join("db/trivy.db")));
    assert!(advisories.len() > 100, "{}", advisories.len());

    let mut found = 0;
    for _ in 0..DRAWS_LIMIT {
        let advisory = &advisories[next(&mut seed) % advisories.len()];
        let Some(version) = link(&shop, advisory) else { continue };
        println!("{} {} in {} {version}", advisory.id, advisory.severity, advisory.package);
        shop.image(&shop.compile(true), "");
        is_found(&shop.scan(), &shop, advisory, &version);
        shop.image(&shop.compile(false), "");
        let ended = shop.scan();
        assert!(ended.code == 1 && ended.stdout.contains("[not-covered]"), "{}: {}", advisory.id, ended.all());
        found += 1;
        if found == WANTED {
            return;
        }
    }
    panic!("only {found} of {DRAWS_LIMIT} drawn crates compile");
}

/// Advisory, severity, package, version, the way it comes in, and the fix.
fn is_found(ended: &Ended, shop: &Shop, advisory: &Advisory, version: &Version) {
    let Advisory { package, id, severity, versions } = advisory;
    let line = ended.stdout.lines().find(|line| line.contains(&format!("{id} ({severity}) in {package} {version}")));
    let line = line.unwrap_or_else(|| panic!("{id} in {package} {version}: {}", ended.all()));
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert!(line.contains("[vulnerable-package]") && line.contains(&shop.package), "{line}");
    assert!(line.contains(&format!("{} > {package}", shop.package)), "{line}");
    for fix in &versions.patched_versions {
        assert!(line.contains(fix.as_str()), "{fix}: {line}");
    }
}
