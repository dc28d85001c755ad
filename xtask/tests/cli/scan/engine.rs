//! The real trivy on real images, with a database that holds one advisory.

use super::*;
use crate::workspace::stub_command;

/// An image of this test's own, called as nothing else on the machine is.
pub(super) struct Shop {
    pub(super) workspace: Workspace,
    pub(super) database: PathBuf,
    pub(super) package: String,
    auditable: PathBuf,
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _ = stub_command("docker").args(["image", "rm", "--force", &self.tag()]).output();
    }
}

impl Shop {
    /// A program that uses smallvec in the version that the database's one advisory is about.
    fn new(name: &str) -> Self {
        let shop = Self::empty(name);
        shop.depend_on("smallvec = \"1.6\"");
        shop.workspace.write("shop/src/main.rs", "fn main() {\n    let few: smallvec::SmallVec<[u8; 4]> = smallvec::smallvec![1, 2, 3];\n    println!(\"{}\", few.len());\n}\n");
        write_database_of(&shop.database, 0, &advisory());
        shop.cargo(&["update", "--quiet", "-p", "smallvec", "--precise", "1.6.0"]);
        shop
    }

    /// A program that does nothing and depends on nothing; the folder of its database is still to be filled.
    pub(super) fn empty(name: &str) -> Self {
        let workspace = Workspace::new();
        workspace.use_real_tools();
        workspace.write("Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"shop\", \"xtask\"]\n");
        workspace.write("shop/src/main.rs", "fn main() {}\n");
        workspace.write("shop/Dockerfile", "FROM scratch\nUSER 65532:65532\n");
        workspace.write("xtask/policy/scan.toml", POLICY);
        let package = format!("scan-test-{name}-{}", std::process::id());
        let shop =
            Self { database: workspace.root.join("../db"), auditable: auditable(&workspace), package, workspace };
        shop.depend_on("");
        shop
    }

    /// Replaces the program's dependencies, as lines of its manifest. The lock file is made anew.
    pub(super) fn depend_on(&self, dependencies: &str) {
        let manifest = format!(
            "[package]\nname = \"{}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[package.metadata.image]\n[dependencies]\n{dependencies}\n",
            self.package
        );
        self.workspace.write("shop/Cargo.toml", &manifest);
        let _ = std::fs::remove_file(self.workspace.root.join("Cargo.lock"));
    }

    fn tag(&self) -> String {
        format!("{}:local", self.package)
    }

    fn cargo(&self, arguments: &[&str]) {
        self.run(stub_command("cargo").args(arguments));
    }

    fn run(&self, command: &mut std::process::Command) {
        let command = command.current_dir(&self.workspace.root).env_remove("CARGO_TARGET_DIR").env_remove("RUSTFLAGS");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Compiles the program, listing its dependencies or not, and gives its path.
    pub(super) fn compile(&self, listed: bool) -> PathBuf {
        let build = ["build", "--quiet", "--release", "--workspace"];
        if listed {
            self.run(stub_command(self.auditable.to_str().unwrap()).arg("auditable").args(build));
        } else {
            self.cargo(&build);
        }
        self.workspace.root.join("target/release").join(&self.package)
    }

    /// An image of the program, with whatever else its Dockerfile says.
    pub(super) fn image(&self, program: &Path, more: &str) {
        let context = self.workspace.root.join("context");
        std::fs::create_dir_all(&context).unwrap();
        std::fs::copy(program, context.join("program")).unwrap();
        std::fs::write(context.join("key"), format!("token: {TOKEN}\n")).unwrap();
        let dockerfile = format!("FROM scratch\nCOPY program /{}\n{more}USER 65532:65532\n", self.package);
        std::fs::write(context.join("Dockerfile"), dockerfile).unwrap();
        self.run(stub_command("docker").args(["build", "--quiet", "--tag", &self.tag()]).arg(&context));
    }

    /// Scans the image; how old the database is does not matter here.
    pub(super) fn scan(&self) -> Ended {
        let database = self.database.to_str().unwrap();
        self.workspace.xtask(&["scan", &self.package, "--db", database, "--max-db-age-days", "3650"])
    }
}

/// Of the form that scanners look for, and good for nothing.
const TOKEN: &str = concat!("gh", "p_016C7wQ9fbL4cU3a8kJr2ZyXvN5tHs1dPqWe");

fn advisory() -> Vec<u8> {
    let value = |key: &str, value: Value| (key.as_bytes().to_vec(), bolt::Entry::Value(value.to_string().into_bytes()));
    let bucket = |key: &str, entries: &[(Vec<u8>, bolt::Entry)]| (key.as_bytes().to_vec(), bolt::bucket(entries));
    let source = "cargo::RustSec Advisory Database";
    let found = json!({ "PatchedVersions": [">=0.6.14, <1.0.0", ">=1.6.1"], "VendorIDs": ["RUSTSEC-2021-0003"] });
    let detail = json!({ "Title": "overflow in insert_many", "Severity": "CRITICAL" });
    bolt::file(&[
        bucket(source, &[bucket("smallvec", &[value("CVE-2021-25900", found)])]),
        bucket(
            "data-source",
            &[value(source, json!({ "ID": "rustsec", "Name": "RustSec", "URL": "https://rustsec.org" }))],
        ),
        bucket("vulnerability", &[value("CVE-2021-25900", detail)]),
    ])
}

/// A neighbour's system: what the databases of Debian know of two of its packages, by the names of their sources.
fn of_debian(fixed: &str) -> Vec<u8> {
    let value = |key: &str, value: Value| (key.as_bytes().to_vec(), bolt::Entry::Value(value.to_string().into_bytes()));
    let bucket = |key: &str, entries: &[(Vec<u8>, bolt::Entry)]| (key.as_bytes().to_vec(), bolt::bucket(entries));
    bolt::file(&[
        bucket("debian 13", &[bucket("glass", &[value("CVE-2026-0001", json!({ "FixedVersion": fixed }))])]),
        bucket(
            "data-source",
            &[value("debian 13", json!({ "ID": "debian", "Name": "Debian Security Tracker", "URL": "" }))],
        ),
        bucket("vulnerability", &[value("CVE-2026-0001", json!({ "Title": "cracks", "Severity": "CRITICAL" }))]),
    ])
}

/// The package `libglass1` of the source `glass`, and one that no advisory is about, on Debian 13.8.
const STATUS: &str = "Package: libglass1\nStatus: install ok installed\nArchitecture: amd64\nSource: glass\nVersion: 2.4-1\nMaintainer: a <a@example.invalid>\nDescription: x\n\nPackage: wood\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.0-1\nMaintainer: a <a@example.invalid>\nDescription: x\n\n";

/// As RustSec writes them, about the version that [`Shop::new`] links.
const ADVISORY: &str = "```toml\n[advisory]\nid = \"RUSTSEC-2021-0003\"\npackage = \"smallvec\"\ndate = \"2021-01-08\"\naliases = [\"CVE-2021-25900\"]\n\n[versions]\npatched = [\">= 1.6.1\"]\n```\n\n# Overflow in insert_many\n\nx\n";

#[test]
fn the_second_pair_of_eyes_finds_in_the_shipped_program_what_trivys_database_lacks() {
    let shop = Shop::new("second");
    shop.image(&shop.compile(true), "");
    let advisories = shop.workspace.root.join("../advisory-db");
    std::fs::create_dir_all(advisories.join("crates/smallvec")).unwrap();
    std::fs::write(advisories.join("crates/smallvec/RUSTSEC-2021-0003.md"), ADVISORY).unwrap();
    let scan = || {
        let (database, advisories) = (shop.database.to_str().unwrap(), advisories.to_str().unwrap());
        let words = ["scan", &shop.package, "--db", database, "--second-opinion", "--advisories", advisories];
        let ended = shop.workspace.xtask(&words);
        let report: Value = serde_json::from_str(&shop.workspace.read("target/xtask/reports/scan.json")).unwrap();
        (ended, report["evidence"]["second_opinion"].clone())
    };
    // Both know it: one finding, trivy's.
    let (ended, evidence) = scan();
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert!(!ended.stdout.contains("[second-opinion"), "{}", ended.all());
    assert_eq!(evidence["vulnerabilities_by_unit"][&shop.package]["both"], 1, "{evidence}");
    let packages = &evidence["packages_by_image"][&shop.package];
    assert_eq!((&packages["only_trivy"], &packages["only_syft"]), (&json!([]), &json!([])), "{evidence}");
    // A database that knows crates, and nothing of this one.
    write_database(&shop.database, 0, &["cargo::RustSec"]);
    let (ended, _) = scan();
    assert_eq!(ended.code, 1, "{}", ended.all());
    let words = "[second-opinion-vulnerability]: RUSTSEC-2021-0003, CVE-2021-25900 in smallvec 1.6.0";
    assert!(ended.stdout.contains(words) && !ended.stdout.contains("[vulnerable-package]"), "{}", ended.all());
}

#[test]
fn the_openvex_document_silences_in_trivy_what_it_calls_not_affected_and_nothing_else() {
    let shop = Shop::new("vex");
    shop.image(&shop.compile(true), "");
    let scope = format!("{}/smallvec", shop.package);
    let accepted = exception(&scope, -1, 30).replace("\"CVE-1\"", "\"CVE-2021-25900\"");
    let trivy = |with_document: bool| {
        let tools = shop.workspace.root.join("target/xtask/tools/trivy");
        let mut trivy = stub_command(if tools.is_file() { tools.to_str().unwrap() } else { "trivy" });
        let offline = ["--skip-db-update", "--offline-scan", "--skip-version-check", "--disable-telemetry"];
        let what =
            ["--quiet", "--format", "json", "--scanners", "vuln", "--image-src", "docker", "--cache-backend", "memory"];
        trivy.arg("image").args(offline).args(what).arg("--cache-dir").arg(&shop.database);
        if with_document {
            let document = format!("target/xtask/reports/scan-{}.openvex.json", shop.package);
            trivy.arg("--vex").arg(shop.workspace.root.join(document));
        }
        let output = trivy.arg(shop.tag()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).contains("\"VulnerabilityID\": \"CVE-2021-25900\"")
    };
    for (justification, found) in [("justification = \"vulnerable_code_not_in_execute_path\"\n", false), ("", true)] {
        shop.workspace.write("xtask/policy/scan.toml", &format!("{POLICY}{accepted}{justification}"));
        let ended = shop.scan();
        assert_eq!(ended.code, 0, "{}", ended.all());
        assert_eq!((trivy(false), trivy(true)), (true, found), "{justification}");
    }
}

#[test]
fn a_neighbour_is_covered_by_the_database_that_knows_its_system_beside_one_that_does_not() {
    let shop = Shop::empty("neighbour");
    let crates = shop.workspace.root.join("../db of crates");
    write_database(&crates, 0, &["cargo::RustSec"]);
    let context = shop.workspace.root.join("context");
    for (path, text) in [
        ("etc/debian_version", "13.8\n"),
        ("etc/os-release", "ID=debian\nVERSION_ID=\"13\"\nNAME=\"Debian GNU/Linux\"\n"),
        ("var/lib/dpkg/status", STATUS),
    ] {
        std::fs::create_dir_all(context.join("root").join(path).parent().unwrap()).unwrap();
        std::fs::write(context.join("root").join(path), text).unwrap();
    }
    std::fs::write(context.join("Dockerfile"), "FROM scratch\nCOPY root /\nUSER 1\n").unwrap();
    let image = format!("{}-beside:local", shop.package);
    shop.run(stub_command("docker").args(["build", "--quiet", "--tag", &image]).arg(&context));
    let scan = |databases: &[&Path]| {
        let named = databases.iter().flat_map(|folder| ["--db", folder.to_str().unwrap()]);
        shop.workspace.xtask(&["scan", "--image", &image].into_iter().chain(named).collect::<Vec<_>>())
    };
    let alone = scan(&[&crates]);
    write_database_of(&shop.database, 0, &of_debian("2.4-2"));
    let vulnerable = scan(&[&crates, &shop.database]);
    write_database_of(&shop.database, 0, &of_debian("2.4-1"));
    let fixed = scan(&[&crates, &shop.database]);
    let _ = stub_command("docker").args(["image", "rm", "--force", &image]).output();
    assert_eq!(alone.code, 3, "{}", alone.all());
    assert!(alone.stdout.contains("not checked: vulnerabilities of debian 13.8 in "), "{}", alone.all());
    assert_eq!(vulnerable.code, 1, "{}", vulnerable.all());
    let words = "CVE-2026-0001 (critical) in libglass1 2.4-1: cracks; fixed in 2.4-2";
    assert!(vulnerable.stdout.contains(words), "{}", vulnerable.all());
    assert_eq!(fixed.code, 0, "{}", fixed.all());
    let report = shop.workspace.read("target/xtask/reports/scan.json");
    assert!(report.contains("debian 13.8: 2 packages, by the database "), "{report}");
}

/// cargo-auditable as `build-images --strategy host` fetched it, or compiled for this test.
fn auditable(workspace: &Workspace) -> PathBuf {
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/xtask/tools/cargo-auditable");
    if fetched.is_file() {
        return fetched;
    }
    let root = workspace.root.join("../auditable");
    let install =
        ["install", "--quiet", "--locked", "--version", "0.7.7", "--root", root.to_str().unwrap(), "cargo-auditable"];
    let status = stub_command("cargo").args(install).env_remove("CARGO_TARGET_DIR").status().unwrap();
    assert!(status.success());
    root.join("bin/cargo-auditable")
}

#[test]
fn a_vulnerable_crate_fails_with_advisory_path_and_fix_and_the_printed_command_clears_it() {
    let shop = Shop::new("vulnerable");
    shop.image(&shop.compile(true), "");
    let ended = shop.scan();
    assert_eq!(ended.code, 1, "{}", ended.all());
    let command = "cargo update -p smallvec@1.6.0 --precise 1.6.1";
    for words in
        ["CVE-2021-25900 (critical) in smallvec 1.6.0", &format!("{} > smallvec", shop.package), "fixed in", command]
    {
        assert!(ended.stdout.contains(words), "{words}: {}", ended.all());
    }
    shop.cargo(&command.split(' ').skip(1).collect::<Vec<_>>());
    // The lock file has moved on, and the image has not: that is no clean image.
    let ended = shop.scan();
    assert!(ended.stdout.contains("[not-covered]") && ended.stdout.contains("smallvec 1.6.1"), "{}", ended.all());
    shop.image(&shop.compile(true), "");
    let ended = shop.scan();
    assert_eq!(ended.code, 0, "{}", ended.all());
}

#[test]
fn the_same_program_without_its_list_of_dependencies_is_not_covered() {
    let shop = Shop::new("unlisted");
    let program = shop.compile(false);
    shop.image(&program, "");
    let ended = shop.scan();
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert!(
        ended.stdout.contains("[not-covered]") && ended.stdout.contains("without cargo-auditable"),
        "{}",
        ended.all()
    );
    let listed = shop.compile(true);
    shop.run(stub_command("objcopy").args(["--remove-section", ".dep-v0"]).arg(&listed));
    shop.image(&listed, "");
    let ended = shop.scan();
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert!(ended.stdout.contains("[not-covered]"), "{}", ended.all());
}

#[test]
fn a_secret_in_a_layer_an_argument_and_a_variable_is_found_and_its_value_is_nowhere() {
    let shop = Shop::new("secret");
    shop.image(
        &shop.compile(true),
        &format!("COPY key /etc/key\nARG API_TOKEN={TOKEN}\nENV GITHUB_TOKEN={TOKEN} DATABASE_URL=postgres://u:{CANARY}@db/x\nLABEL note={TOKEN}\n"),
    );
    let ended = shop.scan();
    assert_eq!(ended.code, 1, "{}", ended.all());
    for place in [
        "github-pat (critical) in /etc/key",
        "github-pat (critical) in configuration",
        "secret-variable (critical) in API_TOKEN",
        "in GITHUB_TOKEN",
        "in DATABASE_URL",
    ] {
        assert!(ended.stdout.contains(place), "{place}: {}", ended.all());
    }
    let mut texts = vec![ended.all()];
    read_all(&shop.workspace.root.join("target/xtask/reports"), &mut texts);
    read_all(&shop.workspace.root.join("target/xtask/scan"), &mut texts);
    for text in texts {
        assert!(!text.contains(TOKEN) && !text.contains(CANARY), "{text}");
    }
}
