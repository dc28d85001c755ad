//! The manifests: rendered by kubectl, valid for several versions of Kubernetes, and run with their own values.

use std::path::{Path, PathBuf};
use std::process::Output;

use crate::program::{program, root, text, xtask};

const OVERLAYS: [&str; 2] = ["k8s/overlays/local", "k8s/overlays/production"];
/// The oldest that the manifests are written for, one in between, and the newest.
const VERSIONS: [&str; 3] = ["1.30", "1.34", "1.37"];
const COMPILED: [&str; 2] = ["PyYAML==6.0.4", "rpds-py==2026.9.1"];

/// kubernetes-validate with everything that it needs, in a folder of its own.
struct Validator {
    packages: tempfile::TempDir,
}

impl Validator {
    fn install() -> Self {
        let packages = tempfile::tempdir().unwrap();
        let requirements = root().join("xtask/tests/engine/kubernetes-validate.txt");
        let common = ["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", "--target"];
        let pinned = ["--require-hashes", "--requirement", requirements.to_str().unwrap()];
        for what in [&pinned[..], &COMPILED[..]] {
            let output = program("python3").args(common).arg(packages.path()).args(what).output().unwrap();
            assert!(output.status.success(), "{}", text(&output.stderr));
        }
        Self { packages }
    }

    /// Fails for what the schema does not allow, and for a kind that it does not have: of that the tool only warns.
    fn check(&self, file: &Path, version: &str) -> Result<usize, String> {
        let output = program("python3")
            .env("PYTHONPATH", self.packages.path())
            .args(["-m", "kubernetes_validate", "--strict", "--kubernetes-version", version])
            .arg(file)
            .output()
            .unwrap();
        let told = text(&output.stdout) + &text(&output.stderr);
        let passed = told.lines().filter(|line| line.starts_with("INFO") && line.contains(" passed ")).count();
        let is_good = output.status.success() && told.lines().all(|line| line.starts_with("INFO"));
        if is_good { Ok(passed) } else { Err(told) }
    }
}

/// PATH comes first, as in xtask.
fn kubectl(arguments: &[&str]) -> Output {
    let fetched: PathBuf = root().join("target/xtask/tools/kubectl");
    let on_path = program("kubectl").args(["version", "--client"]).output().is_ok_and(|output| output.status.success());
    if !on_path && !fetched.is_file() {
        // It fetches what it needs.
        let output = xtask(&root()).args(["audit-env", "--static"]).output().unwrap();
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    }
    let mut command = if on_path { program("kubectl") } else { program(fetched) };
    command.current_dir(root()).args(arguments).output().unwrap()
}

#[test]
fn every_overlay_fits_the_schemas_of_several_versions_and_nonsense_does_not() {
    let validator = Validator::install();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("manifests.yaml");
    for overlay in OVERLAYS {
        let output = kubectl(&["kustomize", overlay]);
        assert!(output.status.success(), "{overlay}: {}", text(&output.stderr));
        let objects = text(&output.stdout).lines().filter(|line| line.starts_with("kind: ")).count();
        std::fs::write(&file, &output.stdout).unwrap();
        for version in VERSIONS {
            assert_eq!(validator.check(&file, version), Ok(objects), "{overlay} {version}");
        }
    }
    for (nonsense, why) in [
        ("apiVersion: v1\nkind: Nonsense\nmetadata: { name: x }\n", "Couldn't find schema for kind Nonsense"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: { name: x }\nextra: 1\n", "'extra' was unexpected"),
    ] {
        std::fs::write(&file, nonsense).unwrap();
        let told = validator.check(&file, VERSIONS[0]).unwrap_err();
        assert!(told.contains(why), "{told}");
    }
}

#[test]
fn the_journey_passes_on_the_values_of_the_manifests() {
    let output = xtask(&root()).args(["kubernetes-e2e", "--format", "json"]).output().unwrap();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for overlay in OVERLAYS {
        let steps = report["evidence"]["overlays"][overlay]["journey"].as_array().map_or(0, Vec::len);
        assert!(steps > 20, "{overlay}: {report}");
    }
}

/// The networks follow the policies: without the flow from order to product, no order can be made.
#[test]
fn a_flow_that_no_policy_allows_is_a_journey_that_fails() {
    let folder = format!("target/xtask/without-a-flow-{}", std::process::id());
    let patch = r#"[{ "op": "remove", "path": "/spec/egress/0" }]"#;
    let kustomization = format!(
        "resources: [../../../k8s/base]\npatches:\n- target: {{ kind: NetworkPolicy, name: order }}\n  patch: '{patch}'\n"
    );
    std::fs::create_dir_all(root().join(&folder)).unwrap();
    std::fs::write(root().join(&folder).join("kustomization.yaml"), kustomization).unwrap();
    let output = xtask(&root()).args(["kubernetes-e2e", "--overlay", &folder]).output().unwrap();
    std::fs::remove_dir_all(root().join(&folder)).unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("step `create an order`"), "{}", text(&output.stderr));
}
