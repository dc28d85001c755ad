//! docs/adopting.md from its first line to a tested stack: xtask copied into somebody else's small workspace, on the real engine.

use crate::foreign::Foreign;
use crate::program::{program, root, text};

impl Foreign {
    fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        // As its people call it: compiled in their workspace, by their alias once they have it.
        let output = program("cargo").args(arguments).current_dir(&self.root).output().unwrap();
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    }

    fn ends(&self, code: i32, arguments: &[&str]) -> String {
        let (ended, said) = self.run(arguments);
        assert_eq!(ended, Some(code), "cargo {arguments:?}: {said}");
        said
    }

    fn commit(&self) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", "As the document says"]);
    }
}

/// Its stack and images, whatever happened.
struct CleanUp<'a>(&'a Foreign);

impl Drop for CleanUp<'_> {
    fn drop(&mut self) {
        self.0.run(&["xtask", "down", "--volumes"]);
        self.0.run(&["xtask", "clean"]);
        let _ = program("docker").args(["image", "rm", "hello:local", "counter:local"]).output();
    }
}

#[test]
fn a_foreign_workspace_ends_with_images_built_scanned_audited_and_its_stack_tested() {
    let foreign = Foreign::new();
    let _clean_up = CleanUp(&foreign);
    foreign.choose_images();
    foreign.commit();
    // The tools of this checkout, and the versions that it is tested with.
    let tools = foreign.root.join("target/xtask/tools");
    std::fs::create_dir_all(tools.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(root().join("target/xtask/tools"), &tools).unwrap();
    std::fs::copy(root().join("Cargo.lock"), foreign.root.join("Cargo.lock")).unwrap();

    let said = foreign.ends(1, &["run", "--quiet", "--package", "xtask", "--", "adopt"]);
    assert!(said.contains("`cargo xtask` is no command here"), "{said}");
    foreign.follow_the_list();
    foreign.commit();
    foreign.ends(0, &["xtask", "setup"]);

    // Nobody has looked at what the images hold; then somebody has.
    let said = foreign.ends(1, &["xtask", "build-images"]);
    assert!(said.contains("[image-without-golden]"), "{said}");
    std::fs::create_dir_all(foreign.root.join("xtask/policy/images")).unwrap();
    for image in ["hello.toml", "counter.toml"] {
        let measured = foreign.read(&format!("target/xtask/images/{image}"));
        foreign.write(&format!("xtask/policy/images/{image}"), &measured);
    }
    foreign.ends(0, &["xtask", "audit-env", "--static", "--write"]);
    foreign.commit();
    let said = foreign.ends(0, &["xtask", "adopt"]);
    assert!(said.contains("nothing is missing"), "{said}");

    let said = foreign.ends(0, &["xtask", "verify"]);
    let report: serde_json::Value = serde_json::from_str(&foreign.read("target/xtask/reports/verify.json")).unwrap();
    for step in ["build-images", "audit-env", "compose-e2e"] {
        assert!(said.contains(step), "{step}: {said}");
    }
    assert_eq!(report["findings"].as_array().map(Vec::len), Some(0), "{said}");
    let counted = |what: &str| {
        let list = report["checked"].as_array().unwrap();
        list.iter().find(|one| one["what"] == what).and_then(|one| one["count"].as_u64()).unwrap_or_default()
    };
    assert!(counted("containers started") == 3 && counted("containers tried") > 4, "{}", report["checked"]);

    // The negative control: a stack that is not hardened any more.
    foreign.edit("docker-compose.yml", "        read_only: true\n", "");
    let said = foreign.ends(1, &["xtask", "compose-e2e"]);
    assert!(said.contains("service hello: its root file system is not read-only"), "{said}");
}
