//! `adopt`: xtask copied into a small workspace of somebody else's lists what is missing there until nothing is.

use std::path::{Path, PathBuf};

use crate::workspace::{Ended, stub_command};

struct Foreign {
    _folder: tempfile::TempDir,
    root: PathBuf,
}

/// Copies a folder; a manifest that is hidden from cargo, or a Dockerfile from linters, comes out under its own name.
fn copy(from: &Path, to: &Path, hidden: bool) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            copy(&path, &to.join(name), hidden);
        } else {
            let is_hidden = hidden && ["Cargo.toml.txt", "Dockerfile.txt"].contains(&name);
            std::fs::copy(&path, to.join(if is_hidden { name.trim_end_matches(".txt") } else { name })).unwrap();
        }
    }
}

impl Foreign {
    /// As somebody begins: xtask is copied whole, and is a member.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap().join("theirs");
        let own = Path::new(env!("CARGO_MANIFEST_DIR"));
        copy(&own.join("tests/foreign"), &root, true);
        for part in ["crates", "src", "policy", "templates", "docker", "bases", "Cargo.toml"] {
            let (from, to) = (own.join(part), root.join("xtask").join(part));
            if from.is_dir() {
                copy(&from, &to, false);
            } else {
                std::fs::copy(from, to).unwrap();
            }
        }
        let foreign = Self { _folder: folder, root };
        foreign.edit("Cargo.toml", "\"counter\"]", "\"counter\", \"xtask\"]");
        foreign
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.root.join(file)).unwrap()
    }

    fn edit(&self, file: &str, from: &str, to: &str) {
        let text = self.read(file);
        assert!(text.contains(from), "{file}: {text}");
        self.write(file, &text.replacen(from, to, 1));
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.root.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn adopt(&self) -> Ended {
        let mut command = stub_command(env!("CARGO_BIN_EXE_xtask"));
        command.arg("adopt").current_dir(&self.root).env("CARGO_MANIFEST_DIR", self.root.join("xtask"));
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ended { code: output.status.code().unwrap(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// What the command made to be added to a file.
    fn offered(&self, file: &str) -> String {
        self.read(&format!("target/xtask/adopt/{file}"))
    }
}

#[test]
fn a_workspace_without_an_image_is_refused_with_what_makes_one() {
    let ended = Foreign::new().adopt();
    assert_eq!(ended.code, 2, "{}", ended.all());
    assert!(
        ended.stdout.contains("add `[package.metadata.image]` to the manifest of each program"),
        "{}",
        ended.stdout
    );
}

#[test]
fn everything_that_is_missing_is_listed_at_once_until_nothing_is() {
    let foreign = Foreign::new();
    foreign.write(
        "hello/Cargo.toml",
        &(foreign.read("hello/Cargo.toml") + "\n[package.metadata.image]\ncontract = \"contract.json\"\n"),
    );
    foreign.write("counter/Cargo.toml", &(foreign.read("counter/Cargo.toml") + "\n[package.metadata.image]\n"));
    let ended = foreign.adopt();
    assert_eq!(ended.code, 1, "{}", ended.all());
    let wanted = [
        ".cargo/config.toml [not-adopted]",
        "Cargo.toml [not-adopted]: no `default-members`",
        "Cargo.lock [not-adopted]",
        ".dockerignore [not-adopted]",
        "counter/Dockerfile [not-adopted]: the Dockerfile of counter is not there",
        "hello/Dockerfile [not-adopted]: the Dockerfile of hello takes no IMAGE_REVISION, takes no IMAGE_CREATED, takes no IMAGE_VERSION, \
         does not build with `cargo auditable`, ends in an image that is not `scratch`; one that does is offered",
        "hello/contract.json [not-adopted]",
        "`file = \"docker-compose.yml\"` in policy/stack.toml takes the one that is there",
        "[[fault]] names what this workspace does not have: gateway, order",
        "[client] names what this workspace does not have",
        "[limit-bytes] names what is no image here: gateway",
        "policy/images/hello.toml [not-adopted]: nobody has looked at what the image of hello holds",
        "policy/images/gateway.toml [not-adopted]: gateway is no image here; delete it",
        "docs/adopting.md, In the workspace",
    ];
    for words in wanted {
        assert!(ended.stdout.contains(words), "{words}: {}", ended.stdout);
    }
    // Its people do what they are told; their policy is the fixture's.
    for file in [".cargo/config.toml", ".dockerignore", "counter/Dockerfile", "hello/Dockerfile", "hello/contract.json"]
    {
        foreign.write(file, &foreign.offered(file));
    }
    assert!(foreign.read("counter/Dockerfile").contains("ENTRYPOINT [\"/counter\"]"));
    foreign.edit("Cargo.toml", "members = ", &(foreign.offered("Cargo.toml") + "members = "));
    foreign.write("Cargo.lock", "");
    foreign.write("xtask/policy/stack.toml", &foreign.read("policy/stack.toml"));
    std::fs::remove_dir_all(foreign.root.join("xtask/policy/images")).unwrap();
    foreign.write("xtask/policy/images/hello.toml", "");
    foreign.write("xtask/policy/images/counter.toml", "");
    let limits = foreign.offered("xtask/policy/images.toml");
    let policy = foreign.read("xtask/policy/images.toml");
    let (before, after) = policy.split_once("[limit-bytes]\n").unwrap();
    let after = after.split_once("\n\n").map_or("", |(_, rest)| rest);
    foreign.write("xtask/policy/images.toml", &format!("{before}[limit-bytes]\n{limits}\n{after}"));
    let ended = foreign.adopt();
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert!(ended.stdout.contains("nothing is missing; next: `cargo xtask setup`"), "{}", ended.stdout);
}
