//! The workspace beside this file in a temporary folder of its own, with xtask copied into it as its people would.

use std::path::{Path, PathBuf};

pub(crate) struct Foreign {
    _folder: tempfile::TempDir,
    pub(crate) root: PathBuf,
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
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap().join("theirs");
        let own = Path::new(env!("CARGO_MANIFEST_DIR"));
        let fixture = own.join("tests/foreign");
        for part in ["hello", "counter"] {
            copy(&fixture.join(part), &root.join(part), true);
        }
        std::fs::copy(fixture.join("Cargo.toml.txt"), root.join("Cargo.toml")).unwrap();
        std::fs::copy(fixture.join("docker-compose.yml"), root.join("docker-compose.yml")).unwrap();
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
        foreign.git(&["init", "--quiet"]);
        foreign
    }

    pub(crate) fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    pub(crate) fn edit(&self, file: &str, from: &str, to: &str) {
        let text = self.read(file);
        assert!(text.contains(from), "{file}: {text}");
        self.write(file, &text.replacen(from, to, 1));
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        let path = self.root.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    #[expect(clippy::disallowed_methods, reason = "a test plays somebody with git")]
    pub(crate) fn git(&self, arguments: &[&str]) {
        let identity = ["-c", "user.name=test", "-c", "user.email=test@example.com"];
        let mut git = std::process::Command::new("git");
        assert!(
            git.args(identity).args(arguments).current_dir(&self.root).status().unwrap().success(),
            "{arguments:?}"
        );
    }

    /// The two programs are to become images; one of them cannot print its contract.
    pub(crate) fn choose_images(&self) {
        for (package, table) in [("hello", "contract = \"contract.json\"\n"), ("counter", "")] {
            let file = format!("{package}/Cargo.toml");
            let text =
                self.read(&file).replacen("\n[dependencies]", "\n[package.metadata.image]\n@\n[dependencies]", 1);
            let text = if text.contains('@') { text } else { text + "\n[package.metadata.image]\n@" };
            self.write(&file, &text.replace('@', table));
        }
    }

    /// What the command made to be added to a file.
    pub(crate) fn offered(&self, file: &str) -> String {
        self.read(&format!("target/xtask/adopt/{file}"))
    }

    /// Its people do what `adopt` told them; what they had to write themselves is in the fixture's `policy`.
    pub(crate) fn follow_the_list(&self) {
        for file in [".cargo/config.toml", ".dockerignore", ".gitignore", "counter/Dockerfile", "hello/Dockerfile"] {
            self.write(file, &self.offered(file));
        }
        // Its program asks itself in a way of its own.
        self.edit("hello/Dockerfile", "\"healthcheck\"", "\"--check\"");
        self.edit("Cargo.toml", "members = ", &(self.offered("Cargo.toml") + "members = "));
        for (file, to) in [
            ("stack.toml", "xtask/policy/stack.toml"),
            ("docker-compose.yml", "docker-compose.yml"),
            ("contract.json", "hello/contract.json"),
        ] {
            let text =
                std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign/policy").join(file));
            self.write(to, &text.unwrap());
        }
        self.replace_table("xtask/policy/env.toml", "[kubernetes]\n", "[live]\n");
        self.replace_table("xtask/policy/images.toml", "[limit-bytes]\n", "\n");
        std::fs::remove_dir_all(self.root.join("xtask/policy/images")).unwrap();
    }

    /// Puts the offered text in the place of a table, up to a line.
    fn replace_table(&self, file: &str, table: &str, end: &str) {
        let (text, offered) = (self.read(file), self.offered(file));
        let start = text.find(table).unwrap_or_else(|| panic!("{file} has no {table}"));
        let after =
            text[start + table.len()..].find(&format!("\n{end}")).expect("the table ends") + start + table.len() + 1;
        let head = if offered.lines().any(|line| line == table.trim_end()) { "" } else { table };
        self.write(file, &format!("{}{head}{offered}\n{}", &text[..start], &text[after..]));
    }
}
