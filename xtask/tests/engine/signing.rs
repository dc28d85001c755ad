//! Signatures, SBOMs and provenance against a real registry with a real cosign: what was pushed is proved, and every kind of
//! tampering is found. The images are small ones that stand where `verify` would have put the services'.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};

use crate::program::{docker_ok, program, root, text, xtask};
use crate::registry::Registry;

pub(crate) const PASSWORD: &str = "S3CR3T-c4n4ry";
const LOCK: &str = "images.lock.json";

/// A clone of the repository with a signing key, and the record of a `verify` whose images are small.
struct Shop {
    _folder: tempfile::TempDir,
    path: PathBuf,
    images: Vec<String>,
    /// Before its images' tags on this machine: the tests run beside each other.
    names: String,
    registry: String,
}

impl Shop {
    fn new(registry: &Registry) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clone");
        let clone = program("git").args(["clone", "--quiet"]).arg(root()).arg(&path).status().unwrap();
        assert!(clone.success());
        git(&path, &["checkout", "--quiet", "-B", "main"]);
        std::fs::create_dir_all(path.join("target/xtask/reports")).unwrap();
        std::os::unix::fs::symlink(root().join("target/xtask/tools"), path.join("target/xtask/tools")).unwrap();
        // Two tests, and two runs, may meet in one registry.
        let own = folder.path().file_name().unwrap().to_string_lossy().to_lowercase();
        let own = own.replace('.', "-");
        let (names, registry) = (format!("xtask-test/signing{own}"), format!("{}/shop{own}", registry.host));
        let shop = Self { _folder: folder, path, images: Vec::new(), names, registry };
        for key in ["target/cosign", "target/other"] {
            key_pair(&shop.path, key);
        }
        shop
    }

    fn head(&self) -> String {
        git(&self.path, &["rev-parse", "HEAD"])
    }

    fn commit(&self) {
        let names = ["-c", "user.name=a", "-c", "user.email=a@example.invalid"];
        git(&self.path, &[&names[..], &["commit", "--quiet", "--allow-empty", "--message", "next"]].concat());
    }

    /// Makes an image of one file, as if the checked-out commit had changed it, and the record of its `verify`.
    fn verified(&mut self, content: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("program"), content).unwrap();
        let tar = folder.path().join("image.tar");
        let packed = program("tar").arg("-cf").arg(&tar).arg("-C").arg(folder.path()).arg("program").status().unwrap();
        assert!(packed.success());
        let label = format!("LABEL org.opencontainers.image.revision={}", self.head());
        let id = docker_ok(&["import", "--change", &label, tar.to_str().unwrap()]);
        docker_ok(&["image", "tag", &id, &format!("{}:{}", self.names, self.images.len())]);
        self.images.push(id.clone());
        let record = json!({
            "schema": 2, "date": "2026-11-25", "head": self.head(), "changes": [],
            "images": [{ "name": "user", "package": "mini-user", "id": id, "revision": self.head(), "inputs": "sha256:0", "strategy": "container" }],
            "bases": { "builder": { "reference": "rust:1", "id": "sha256:1", "made_here": true } },
            "tools": { "trivy": { "version": "0.76.0", "origin": "path" } }, "engine": "20.10.24",
            "database": { "updated": "2026-11-24", "key": "k" },
            "checked": [{ "what": "images", "count": 1 }], "unchecked": [],
        });
        std::fs::write(self.path.join("target/xtask/verified.json"), record.to_string()).unwrap();
        let sbom = json!({ "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "metadata": { "component": { "name": id } } });
        let kept = self.path.join("target/xtask/sbom");
        std::fs::create_dir_all(&kept).unwrap();
        std::fs::write(kept.join(format!("{}.cdx.json", &id["sha256:".len()..])), sbom.to_string()).unwrap();
        id
    }

    fn run(&self, words: &[&str]) -> Output {
        let output = xtask(&self.path).args(words).env("COSIGN_PASSWORD", PASSWORD).output().unwrap();
        assert!(!both(&output).contains(PASSWORD), "{words:?}");
        output
    }

    fn push(&self) -> Output {
        self.run(&["push", &self.registry, "--sign", "target/cosign.key"])
    }

    fn pushed(&self) -> Value {
        let output = self.push();
        assert!(output.status.success(), "{}", both(&output));
        self.lock()
    }

    fn lock(&self) -> Value {
        serde_json::from_str(&std::fs::read_to_string(self.path.join(LOCK)).unwrap()).unwrap()
    }

    /// The rules that `verify-pushed` finds broken, by the lock that is given.
    fn broken(&self, lock: &Value, key: &str) -> Vec<String> {
        std::fs::write(self.path.join("target/lock.json"), lock.to_string()).unwrap();
        let words = ["verify-pushed", &self.registry, "--key", key, "--lock", "target/lock.json", "--format", "json"];
        let output = self.run(&words);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", both(&output)));
        let found = report["findings"].as_array().unwrap_or_else(|| panic!("{report}"));
        let rules: Vec<_> = found.iter().map(|finding| finding["rule"].as_str().unwrap().to_owned()).collect();
        assert_eq!(output.status.code(), Some(i32::from(!rules.is_empty())), "{}", both(&output));
        rules
    }

    /// What a tag of the image names in the registry.
    fn digest_of(&self, tag: &str) -> String {
        let reference = format!("{}/mini-user:{tag}", self.registry);
        docker_ok(&["pull", "--quiet", &reference]);
        let digests = docker_ok(&["image", "inspect", "--format", "{{join .RepoDigests \"\\n\"}}", &reference]);
        docker_ok(&["image", "rm", &reference]);
        let prefix = format!("{}/mini-user@", self.registry);
        let digest = digests.lines().find_map(|line| line.strip_prefix(&prefix)).expect("a digest").to_owned();
        // An image that has another name keeps the digest's, too.
        let _ = program("docker").args(["image", "rm", &format!("{prefix}{digest}")]).output();
        digest
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        for (at, _) in self.images.iter().enumerate() {
            let _ = program("docker").args(["image", "rm", "--force", &format!("{}:{at}", self.names)]).output();
        }
    }
}

/// Makes `PREFIX.key` and `PREFIX.pub` in a checkout, locked with [`PASSWORD`].
pub(crate) fn key_pair(checkout: &Path, prefix: &str) {
    let mut make = program(cosign(checkout));
    make.args(["generate-key-pair", "--output-key-prefix", prefix]).env("COSIGN_PASSWORD", PASSWORD);
    let made = make.current_dir(checkout).output().unwrap();
    assert!(made.status.success(), "{}", both(&made));
}

/// On PATH, or fetched by the product itself.
fn cosign(checkout: &Path) -> PathBuf {
    if program("cosign").arg("version").output().is_ok() {
        return "cosign".into();
    }
    let fetched = root().join("target/xtask/tools/cosign");
    if !fetched.is_file() {
        // With a lock of nothing the tool is fetched, and nothing else happens.
        let lock = json!({
            "schema": 2, "version": "0", "revision": "", "verified": "", "registry": "", "builder": "", "images": {},
            "bases": {}, "engine": "", "tools": {}, "database": null, "checked": [], "unchecked": [], "signed": true,
        });
        std::fs::write(checkout.join("target/nothing.json"), lock.to_string()).unwrap();
        let words = ["verify-pushed", "127.0.0.1:1", "--key", "k", "--lock", "target/nothing.json"];
        let fetch = xtask(checkout).args(words).output().unwrap();
        assert!(fetched.is_file(), "{}", both(&fetch));
    }
    fetched
}

fn git(checkout: &Path, arguments: &[&str]) -> String {
    let output = program("git").args(arguments).current_dir(checkout).output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", text(&output.stderr));
    text(&output.stdout).trim().to_owned()
}

fn both(output: &Output) -> String {
    text(&output.stdout) + &text(&output.stderr)
}

#[test]
fn what_is_pushed_signed_is_proved_by_the_registry_and_the_lock_and_tampering_with_either_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::for_signatures(folder.path());
    let mut shop = Shop::new(&registry);
    let id = shop.verified("one");
    let lock = shop.pushed();
    assert_eq!((&lock["signed"], &lock["images"]["user"]["id"]), (&json!(true), &json!(id)));
    assert_eq!(shop.broken(&lock, "target/cosign.pub"), Vec::<String>::new());

    // Somebody else's key, an SBOM and a statement that are not those of the lock.
    assert_eq!(shop.broken(&lock, "target/other.pub"), ["signature-invalid", "sbom-differs", "provenance-differs"]);
    let mut other = lock.clone();
    other["images"]["user"]["inputs"] = json!("sha256:1");
    assert_eq!(shop.broken(&other, "target/cosign.pub"), ["provenance-differs"]);
    let mut other = lock.clone();
    other["database"]["updated"] = json!("2026-11-25");
    assert_eq!(shop.broken(&other, "target/cosign.pub"), ["provenance-differs"]);
    let mut other = lock.clone();
    other["images"]["user"]["sbom"]["sha256"] = json!("00");
    assert_eq!(shop.broken(&other, "target/cosign.pub"), ["sbom-differs"]);
    let mut other = lock.clone();
    other["images"]["user"]["id"] = json!("sha256:other");
    assert_eq!(shop.broken(&other, "target/cosign.pub"), ["shipped-image-differs", "provenance-differs"]);
    let mut other = lock.clone();
    let digest = format!("{}/mini-user@sha256:{}", shop.registry, "0".repeat(64));
    other["images"]["user"]["reference"] = json!(digest);
    assert_eq!(shop.broken(&other, "target/cosign.pub"), ["shipped-image-missing"]);

    // Somebody moves the commit's tag to another image, which nobody signed.
    let other = shop.verified("two");
    let tag = format!("{}/mini-user:{}", shop.registry, &shop.head()[..12]);
    docker_ok(&["image", "tag", &other, &tag]);
    docker_ok(&["image", "push", &tag]);
    docker_ok(&["image", "rm", &tag]);
    assert_eq!(shop.broken(&lock, "target/cosign.pub"), ["shipped-tag-moved"]);
}

#[test]
fn a_commit_ships_one_image_only_and_an_older_commit_does_not_move_the_branchs_tag_back() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::for_signatures(folder.path());
    let mut shop = Shop::new(&registry);
    let first = shop.head();
    shop.verified("one");
    let before = shop.pushed();
    // The same bytes again are no other image.
    assert_eq!(shop.pushed()["images"], before["images"]);

    // Other bytes of the same commit.
    let record = shop.path.join("target/xtask/verified.json");
    let of_one = std::fs::read_to_string(&record).unwrap();
    shop.verified("other bytes");
    let refused = shop.push();
    assert_eq!(refused.status.code(), Some(3), "{}", both(&refused));
    assert!(both(&refused).contains("a commit's tag does not move"), "{}", both(&refused));
    assert_eq!(shop.lock()["images"], before["images"]);

    shop.commit();
    shop.verified("two");
    let after = shop.pushed();
    let digest =
        |lock: &Value| lock["images"]["user"]["reference"].as_str().unwrap().split('@').nth(1).unwrap().to_owned();
    assert_eq!(shop.digest_of("main"), digest(&after));

    // The first commit's job runs again.
    git(&shop.path, &["checkout", "--quiet", "-B", "main", &first]);
    std::fs::write(&record, of_one).unwrap();
    let again = shop.push();
    assert!(again.status.success() && both(&again).contains("main stays where it is"), "{}", both(&again));
    assert_eq!(shop.digest_of("main"), digest(&after));
    assert_eq!(shop.digest_of(&first[..12]), digest(&before));
}
