//! `new-service` in a copy of this repository: what it makes compiles, and nothing is left half-made.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::workspace::{Ended, stub_command};

struct Copy {
    _folder: tempfile::TempDir,
    root: PathBuf,
}

fn source() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        if ["target", ".git", ".env"].iter().any(|left_out| name == *left_out) {
            continue;
        }
        if path.is_dir() {
            copy(&path, &to.join(name));
        } else {
            std::fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

impl Copy {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap().join("shop");
        copy(source(), &root);
        Self { _folder: folder, root }
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Ended {
        let mut command = stub_command(program);
        let target = source().join("target/xtask/test-new-service");
        command.args(arguments).current_dir(&self.root).env("CARGO_MANIFEST_DIR", self.root.join("xtask"));
        let output = command.env("CARGO_TARGET_DIR", target).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ended { code: output.status.code().unwrap(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    fn xtask(&self, arguments: &[&str]) -> Ended {
        self.run(env!("CARGO_BIN_EXE_xtask"), arguments)
    }

    /// Every file but xtask's own output, by its path.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let (mut found, mut open) = (BTreeMap::new(), vec![self.root.clone()]);
        while let Some(folder) = open.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    if path.file_name().is_some_and(|name| name != "target") {
                        open.push(path);
                    }
                } else {
                    found.insert(path.strip_prefix(&self.root).unwrap().to_owned(), std::fs::read(&path).unwrap());
                }
            }
        }
        found
    }
}

#[test]
fn a_new_service_compiles_and_every_place_knows_it() {
    let shop = Copy::new();
    for arguments in [&["new-service", "cart-items"][..], &["new-service", "mailer", "--no-database"]] {
        let ended = shop.xtask(arguments);
        assert_eq!(ended.code, 0, "{}", ended.all());
        assert!(ended.stdout.contains("next: `cargo test --package mini-"), "{}", ended.stdout);
    }
    let files = shop.files();
    for (file, count) in
        [("services/mailer/src/store.rs", 0), ("services/cart-items/src/store.rs", 1), ("k8s/base/mailer-db.yaml", 0)]
    {
        assert_eq!(files.keys().filter(|path| path.as_path() == Path::new(file)).count(), count, "{file}");
    }
    for (path, bytes) in files.iter().filter(|(path, _)| !path.starts_with("xtask/templates")) {
        let text = String::from_utf8_lossy(bytes);
        let is_made = path.iter().any(|part| part == "cart-items" || part == "mailer");
        assert!(
            !is_made || !(text.contains("__") || text.contains("@end") || text.contains("product")),
            "{}: {text}",
            path.display()
        );
    }
    let formatted = shop.run("cargo", &["fmt", "--all", "--check"]);
    assert_eq!(formatted.code, 0, "{}", formatted.all());
    // The lock holds every dependency already, and the new members are in it.
    let packages = [
        "--package",
        "mini-cart-items",
        "--package",
        "mini-mailer",
        "--package",
        "mini-gateway",
        "--package",
        "mini-e2e",
    ];
    // As an image is compiled, without what the tests switch on: a derive of sqlx is there in tests alone.
    let alone = shop.run("cargo", &[&["check", "--quiet", "--offline", "--locked"][..], &packages].concat());
    assert_eq!(alone.code, 0, "{}", alone.all());
    let checked =
        shop.run("cargo", &[&["check", "--quiet", "--offline", "--locked", "--tests"][..], &packages].concat());
    assert_eq!((checked.code, checked.stderr.contains("warning")), (0, false), "{}", checked.all());
}

#[test]
fn a_dry_run_and_a_name_that_is_taken_or_odd_change_nothing() {
    let shop = Copy::new();
    let before = shop.files();
    let ended = shop.xtask(&["new-service", "cart", "--dry-run"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    for line in ["makes services/cart/src/main.rs", "edits compose.yaml", "nothing was written: --dry-run"] {
        assert!(ended.stdout.contains(line), "{line}: {}", ended.stdout);
    }
    for name in ["product", "Cart", "kit", "product-db"] {
        let ended = shop.xtask(&["new-service", name]);
        assert_eq!(ended.code, 2, "{}", ended.all());
    }
    assert!(shop.files() == before);
}

#[test]
fn what_an_interrupted_attempt_left_is_listed_and_nothing_is_written() {
    let shop = Copy::new();
    assert_eq!(shop.xtask(&["new-service", "cart"]).code, 0);
    // As if it had been killed before it wrote the manifest, which comes last.
    std::fs::remove_file(shop.root.join("services/cart/Cargo.toml")).unwrap();
    let gateway = shop.root.join("gateway/src/target.rs");
    let text = std::fs::read_to_string(&gateway).unwrap();
    std::fs::write(&gateway, text.replace("            Self::Product => \"product\",\n", "")).unwrap();
    std::fs::rename(shop.root.join("services/cart"), shop.root.join("services-cart")).unwrap();
    let before = shop.files();
    let ended = shop.xtask(&["new-service", "cart"]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    for said in ["k8s/base/cart.yaml is there already", "compose.yaml has already", "`git status`"] {
        assert!(ended.stdout.contains(said), "{said}: {}", ended.stdout);
    }
    assert!(shop.files() == before);
    // A tree that the template was not written for.
    let ended = shop.xtask(&["new-service", "mailer", "--no-database"]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert!(ended.stdout.contains("gateway/src/target.rs has nowhere"), "{}", ended.stdout);
    assert!(shop.files() == before);
}
