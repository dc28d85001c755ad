//! The workflows' own `cargo xtask` lines, run in order on a clean clone against a real registry on loopback, as the owner of
//! the CI would see them.

#[path = "../cli/scan/bolt.rs"]
#[expect(dead_code, reason = "this suite writes one database and reads none")]
mod bolt;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::PoisonError;

use serde_json::{Value, json};

use crate::program::{docker_ok, program, root, text, xtask};
use crate::registry::{PASSWORD, Registry, USER};
use crate::signing;
use crate::stacks::TURN;

/// A clean clone, on the branch `main`, with what a second run on the same machine has: the tools and the facts of images.
struct Clone {
    _folder: tempfile::TempDir,
    path: PathBuf,
    docker_config: PathBuf,
    registry: String,
    /// One for crates, and one for the system of the stack's databases.
    databases: [PathBuf; 2],
    /// A copy of RustSec's advisories, with one.
    advisories: PathBuf,
}

const ADVISORY: &str = "```toml\n[advisory]\nid = \"RUSTSEC-2020-0001\"\npackage = \"no-such-crate\"\ndate = \"2020-01-01\"\n\n[versions]\npatched = []\n```\n\n# Nothing uses it\n\nx\n";

/// A folder of trivy's form, of today.
fn database(folder: PathBuf, bytes: &[u8]) -> PathBuf {
    std::fs::create_dir_all(folder.join("db")).unwrap();
    std::fs::write(folder.join("db/trivy.db"), bytes).unwrap();
    let today = text(&program("date").args(["--utc", "+%F"]).output().unwrap().stdout);
    let at = format!("{}T00:00:00Z", today.trim());
    let metadata =
        format!(r#"{{"Version":2,"UpdatedAt":"{at}","NextUpdate":"2999-01-01T00:00:00Z","DownloadedAt":"{at}"}}"#);
    std::fs::write(folder.join("db/metadata.json"), metadata).unwrap();
    folder
}

/// What is known of the neighbours' system: one advisory about the C library, which every image of it holds, fixed in that version.
fn of_debian(fixed: &str) -> Vec<u8> {
    let value = |key: &str, value: Value| (key.as_bytes().to_vec(), bolt::Entry::Value(value.to_string().into_bytes()));
    let bucket = |key: &str, entries: &[(Vec<u8>, bolt::Entry)]| (key.as_bytes().to_vec(), bolt::bucket(entries));
    bolt::file(&[
        bucket("debian 13", &[bucket("glibc", &[value("CVE-2026-0001", json!({ "FixedVersion": fixed }))])]),
        bucket("data-source", &[value("debian 13", json!({ "ID": "debian", "Name": "Debian", "URL": "" }))]),
        bucket("vulnerability", &[value("CVE-2026-0001", json!({ "Title": "made up", "Severity": "CRITICAL" }))]),
    ])
}

impl Clone {
    fn new(registry: &Registry) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a clean clone");
        let clone = program("git").args(["clone", "--quiet"]).arg(root()).arg(&path).status().unwrap();
        assert!(clone.success());
        git(&path, &["checkout", "--quiet", "-B", "main"]);
        let own = path.join("target/xtask");
        std::fs::create_dir_all(&own).unwrap();
        let tools = root().join("target/xtask/tools");
        std::fs::create_dir_all(&tools).unwrap();
        std::os::unix::fs::symlink(tools, own.join("tools")).unwrap();
        // What is compiled of the dependencies serves both checkouts; reports and records are the clone's own.
        std::os::unix::fs::symlink(root().join("target/debug"), path.join("target/debug")).unwrap();
        for kept in ["built", "images"] {
            if root().join("target/xtask").join(kept).is_dir() {
                let copied = program("cp").arg("-r").arg(root().join("target/xtask").join(kept)).arg(&own).status();
                assert!(copied.unwrap().success());
            }
        }
        // What the real ones find is no question of this test; an advisory that is fixed in an older version than any there is.
        let crates = bolt::file(&[(b"cargo::RustSec".to_vec(), bolt::bucket(&[]))]);
        let databases = [
            database(folder.path().join("of crates"), &crates),
            database(folder.path().join("of debian"), &of_debian("1.0-1")),
        ];
        let advisories = folder.path().join("advisory-db");
        std::fs::create_dir_all(advisories.join("crates/no-such-crate")).unwrap();
        std::fs::write(advisories.join("crates/no-such-crate/RUSTSEC-2020-0001.md"), ADVISORY).unwrap();
        signing::key_pair(&path, "target/cosign");
        let docker_config = folder.path().join("docker");
        std::fs::create_dir_all(&docker_config).unwrap();
        Self {
            _folder: folder,
            path,
            docker_config,
            registry: format!("{}/shop", registry.host),
            databases,
            advisories,
        }
    }

    fn run(&self, words: &[String]) -> Output {
        let mut command = xtask(&self.path);
        command.env_remove("CARGO_TARGET_DIR").env("DOCKER_CONFIG", &self.docker_config);
        command.env("COSIGN_PASSWORD", signing::PASSWORD);
        command.args(words).output().unwrap()
    }

    /// Runs the lines of a job, which must all succeed, and gives them.
    fn run_job(&self, workflow: &str, job: &str) {
        for words in job_lines(workflow, job) {
            let words = self.here(words);
            let output = self.run(&words);
            assert!(output.status.success(), "{}: {}", words.join(" "), both(&output));
        }
    }

    /// What GitHub's machines have and this one need not: its cache, a registry's name, a database fetched today.
    fn here(&self, mut words: Vec<String>) -> Vec<String> {
        if let Some(at) = words.iter().position(|word| word == "--cache") {
            words.drain(at..at + 2);
        }
        for word in &mut words {
            *word = word.replace("$REGISTRY", &self.registry).replace("keyless", "target/cosign.key");
        }
        // A key stands for the identity that GitHub vouches for.
        if let Some(at) = words.iter().position(|word| word == "--identity") {
            words.splice(at.., ["--key", "target/cosign.pub"].map(str::to_owned));
        }
        if ["scan", "verify"].contains(&words[0].as_str()) {
            let named = self.databases.iter().flat_map(|folder| ["--db".to_owned(), folder.display().to_string()]);
            words.extend(named);
        }
        if words.iter().any(|word| word == "--second-opinion") {
            words.extend(["--advisories".to_owned(), self.advisories.display().to_string()]);
        }
        words
    }

    fn log_in(&self, host: &str) {
        let mut login = program("docker");
        login.env("DOCKER_CONFIG", &self.docker_config).args(["login", host, "--username", USER, "--password-stdin"]);
        let mut login = login.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        login.stdin.take().unwrap().write_all(PASSWORD.as_bytes()).unwrap();
        assert!(login.wait().unwrap().success());
    }

    fn lock(&self) -> Option<Value> {
        let text = std::fs::read_to_string(self.path.join("images.lock.json")).ok()?;
        Some(serde_json::from_str(&text).unwrap())
    }

    fn commit(&self, file: &str, text: &str) {
        std::fs::write(self.path.join(file), text).unwrap();
        let names = ["-c", "user.name=a", "-c", "user.email=a@example.invalid"];
        git(&self.path, &[&names[..], &["commit", "--quiet", "--all", "--message", "another state"]].concat());
    }
}

fn git(checkout: &Path, arguments: &[&str]) {
    let output = program("git").args(arguments).current_dir(checkout).output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", text(&output.stderr));
}

fn both(output: &Output) -> String {
    text(&output.stdout) + &text(&output.stderr)
}

/// The words behind `cargo xtask` in each step of a job that is nothing else.
fn job_lines(workflow: &str, job: &str) -> Vec<Vec<String>> {
    let yaml = std::fs::read_to_string(root().join(".github/workflows").join(workflow)).unwrap();
    let start = yaml.find(&format!("\n  {job}:\n")).unwrap_or_else(|| panic!("{workflow} has no job {job}"));
    let lines = yaml[start + 1..].lines().skip(1).take_while(|line| line.is_empty() || line.starts_with("   "));
    let calls = lines.filter_map(|line| line.split_once("run: cargo xtask "));
    let words = calls.map(|(_, rest)| rest.split_whitespace().map(|word| word.trim_matches('"').to_owned()).collect());
    let words: Vec<_> = words.collect();
    assert!(words.len() > 1, "{workflow} {job}: {words:?}");
    words
}

#[test]
fn what_main_ships_can_be_pulled_by_the_locks_digests_and_pull_requests_compare_with_it() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::start(folder.path(), true);
    let clone = Clone::new(&registry);
    let lines = job_lines("main.yml", "ship");
    let (prove, rest) = lines.split_last().unwrap();
    let (push, before) = rest.split_last().unwrap();
    assert_eq!((push[0].as_str(), prove[0].as_str()), ("push", "verify-pushed"));
    for words in before {
        let output = clone.run(&clone.here(words.clone()));
        assert!(output.status.success(), "{}: {}", words.join(" "), both(&output));
    }
    let refused = clone.run(&clone.here(push.clone()));
    assert_eq!(refused.status.code(), Some(3), "without a password: {}", both(&refused));
    assert!(both(&refused).contains(&format!("`docker login {}`", registry.host)), "{}", both(&refused));
    assert_eq!(clone.lock(), None);

    clone.log_in(&registry.host);
    let pushed = clone.run(&clone.here(push.clone()));
    assert!(pushed.status.success(), "{}", both(&pushed));
    let proved = clone.run(&clone.here(prove.clone()));
    assert!(proved.status.success(), "{}", both(&proved));
    let lock = clone.lock().expect("a lock");
    let images = lock["images"].as_object().unwrap();
    assert_eq!(images.len(), 4, "{lock}");
    for (name, image) in images {
        let reference = image["reference"].as_str().unwrap();
        let mut pull = program("docker");
        let pulled =
            pull.env("DOCKER_CONFIG", &clone.docker_config).args(["pull", "--quiet", reference]).output().unwrap();
        assert!(pulled.status.success(), "{name}: {}", text(&pulled.stderr));
        let id = docker_ok(&["image", "inspect", "--format", "{{.Id}}", reference]);
        docker_ok(&["image", "rm", reference]);
        assert_eq!(image["id"], *id, "{name}");
        let sbom = std::fs::read_to_string(clone.path.join(image["sbom"]["file"].as_str().unwrap())).unwrap();
        assert!(sbom.contains(&id) && sbom.contains("CycloneDX"), "{name}");
    }
    assert_eq!(lock["unchecked"], serde_json::json!([]));
    let names = docker_ok(&["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]);
    assert!(!names.contains(&registry.host), "{names}");
    assert!(!both(&pushed).contains(PASSWORD) && !lock.to_string().contains(PASSWORD));

    // What passed for want of a vulnerable package: the control finds one.
    database(clone.databases[1].clone(), &of_debian("999"));
    let vulnerable = clone.run(&clone.here(vec!["scan".to_owned()]));
    assert_eq!(vulnerable.status.code(), Some(1), "{}", both(&vulnerable));
    assert!(both(&vulnerable).contains("CVE-2026-0001 (critical) in libc6 "), "{}", both(&vulnerable));
    database(clone.databases[1].clone(), &of_debian("1.0-1"));

    // As the artefact of main's run reaches a pull request.
    let baseline = clone.path.join("target/baseline");
    std::fs::create_dir_all(&baseline).unwrap();
    std::fs::copy(clone.path.join("target/xtask/reports/verify.json"), baseline.join("verify.json")).unwrap();
    clone.run_job("pull-request.yml", "verify");
    clone.run_job("weekly.yml", "scan");

    // What was shipped is pulled, measured beside this checkout, and removed again. Whether a busy machine makes a difference is not
    // this test's question.
    let words = ["verify", "--compare", "images.lock.json", "--rounds", "3"].map(str::to_owned);
    let compared = clone.run(&clone.here(words.to_vec()));
    assert!(matches!(compared.status.code(), Some(0 | 1)), "{}", both(&compared));
    let report =
        |end: &str| std::fs::read_to_string(clone.path.join("target/xtask/reports/verify").with_extension(end));
    let evidence: serde_json::Value = serde_json::from_str(&report("json").unwrap()).unwrap();
    assert_eq!(evidence["failures"], serde_json::json!([]), "{}", both(&compared));
    for text in [report("json").unwrap(), report("html").unwrap()] {
        assert!(text.contains("requests-per-second/load") && text.contains("images.lock.json"), "{text}");
    }
    let names = docker_ok(&["image", "ls", "--format", "{{.Repository}}:{{.Tag}} {{.Digest}}"]);
    assert!(!names.contains(&registry.host), "{names}");
}

#[test]
fn a_failing_build_fails_the_job_and_an_unreachable_database_is_no_finding() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::start(folder.path(), false);
    let clone = Clone::new(&registry);
    let lines = job_lines("main.yml", "ship");

    let policy = std::fs::read_to_string(clone.path.join("xtask/policy/scan.toml")).unwrap();
    let start = policy.find("repositories = ").unwrap();
    let end = start + policy[start..].find(']').unwrap() + 1;
    let unreachable = format!("{}repositories = [\"127.0.0.1:1/none\"]{}", &policy[..start], &policy[end..]);
    clone.commit("xtask/policy/scan.toml", &unreachable);
    let scan = clone.run(&["scan".to_owned()]);
    assert_eq!(scan.status.code(), Some(3), "{}", both(&scan));
    assert!(both(&scan).contains("there is no database") && !both(&scan).contains("finding: "), "{}", both(&scan));

    let main = clone.path.join("services/user/src/main.rs");
    let source = std::fs::read_to_string(&main).unwrap();
    clone.commit("services/user/src/main.rs", &format!("{source}\ncompile_error!(\"not today\");\n"));
    let build = clone.run(&clone.here(lines[0].clone()));
    assert_eq!(build.status.code(), Some(1), "{}", both(&build));
    assert!(both(&build).contains("not today"), "{}", both(&build));
    let push = lines.iter().find(|words| words[0] == "push").unwrap();
    let push = clone.run(&clone.here(push.clone()));
    assert_eq!(push.status.code(), Some(3), "{}", both(&push));
    assert_eq!(clone.lock(), None);
}
