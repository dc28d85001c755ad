//! Invariants of the repository that no compiler holds.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

#[path = "repository/workflows.rs"]
mod workflows;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use xtask_workspace::Project;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

#[expect(clippy::disallowed_methods, reason = "a test asks git and bash itself")]
fn program(name: &str) -> std::process::Command {
    std::process::Command::new(name)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[expect(clippy::disallowed_methods, reason = "git knows which files belong to the repository")]
fn git(arguments: &[&str]) -> String {
    let output = std::process::Command::new("git").args(arguments).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Those of the image packages, which no list names.
fn dockerfiles() -> Vec<String> {
    let project = Project::load(env!("CARGO_MANIFEST_DIR")).unwrap();
    assert!(project.images.len() >= 4, "{:?}", project.images);
    project.images.iter().map(|image| image.folder.join("Dockerfile").into_string()).collect()
}

/// The part of a Dockerfile that BuildKit should run once for all images.
fn shared_stages(dockerfile: &str) -> &str {
    let start = dockerfile.find("FROM ${RUST_BASE} AS toolchain").expect("a toolchain stage");
    let end = dockerfile.find("FROM libraries AS build").expect("a build stage");
    &dockerfile[start..end]
}

#[test]
fn the_shared_stages_of_all_dockerfiles_are_the_same_to_the_letter() {
    let paths = dockerfiles();
    let first = read(&paths[0]);
    for path in &paths[1..] {
        let is_same = shared_stages(&read(path)) == shared_stages(&first);
        assert!(is_same, "{path} differs from {} before its build stage", paths[0]);
    }
}

/// What `adopt` offers is what the services have.
#[test]
fn the_template_of_a_dockerfile_is_that_of_the_services() {
    let model = read("services/product/Dockerfile");
    let words = [
        ("mini-product", "__package__"),
        ("MINI_PRODUCT", "__PACKAGE__"),
        ("services/product", "__folder__"),
        ("The catalogue of the mini shop", "__description__"),
        ("MIT OR Apache-2.0", "__license__"),
    ];
    let template = words.into_iter().fold(model, |text, (word, mark)| text.replace(word, mark));
    if update_templates() {
        std::fs::write(root().join("xtask/templates/Dockerfile.txt"), &template).unwrap();
    }
    let next = "next: UPDATE_TEMPLATES=1 cargo test --package xtask --test repository";
    assert!(
        read("xtask/templates/Dockerfile.txt") == template,
        "xtask/templates/Dockerfile.txt is not up to date; {next}"
    );
}

#[expect(clippy::disallowed_methods, reason = "UPDATE_TEMPLATES is for this test alone")]
fn update_templates() -> bool {
    std::env::var_os("UPDATE_TEMPLATES").is_some()
}

#[test]
fn no_dockerfile_names_another_package_of_the_workspace() {
    let project = Project::load(env!("CARGO_MANIFEST_DIR")).unwrap();
    let packages: Vec<_> = project.images.iter().map(|image| image.package.as_str()).collect();
    for path in dockerfiles() {
        let text = read(&path);
        let is_word = |c: char| !c.is_ascii_alphanumeric() && c != '-';
        let named: Vec<_> =
            packages.iter().filter(|package| text.split(is_word).any(|word| word == **package)).collect();
        assert_eq!(named.len(), 1, "{path} names {named:?}");
    }
}

/// Whoever scans the gateway's image reads and patches what it links. The kit that it is built on is kept as small as it is.
#[test]
fn the_gateway_links_no_web_framework_no_database_and_no_tokens() {
    let dependencies = |path: &str| {
        let text = read(path);
        let rest = text.split_once("[dependencies]\n").unwrap().1.to_owned();
        rest.split("\n[").next().unwrap().to_owned()
    };
    let linked = |manifest: &str, package: &str| {
        dependencies(manifest).lines().any(|line| line.split(['.', ' ']).next() == Some(package))
    };
    for package in ["axum", "sqlx", "ed25519-dalek", "argon2", "url", "mini-kit-api"] {
        for manifest in ["gateway/Cargo.toml", "services/kit/Cargo.toml"] {
            assert!(!linked(manifest, package), "{manifest} names {package}");
        }
    }
    // The positive control: this is how they would be found.
    assert!(linked("services/kit-api/Cargo.toml", "sqlx") && linked("gateway/Cargo.toml", "mini-kit"));
}

/// Every variable that limits something has a line that says how its limit looks from outside.
#[test]
fn the_effect_of_every_limit_is_documented() {
    let (variables, operations) = (read("docs/deployment.md"), read("docs/operations.md"));
    let mut limits = Vec::new();
    for line in variables.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = line.split(" | ").collect();
        if cells.get(1).is_some_and(|kind| ["integer", "duration"].contains(kind)) {
            limits.push(cells[0].trim_start_matches("| "));
        }
    }
    assert!(limits.len() > 20, "the tables of docs/deployment.md have another form: {limits:?}");
    for limit in limits {
        assert!(operations.contains(limit), "docs/operations.md does not say what a client sees of {limit}");
    }
}

#[test]
fn no_cache_mount_holds_compiled_code() {
    for path in dockerfiles() {
        for mount in read(&path).split("--mount=").skip(1).filter(|mount| mount.starts_with("type=cache")) {
            let mount = mount.split_whitespace().next().unwrap();
            assert_eq!(mount, "type=cache,id=mini-cargo-home,target=/cargo", "{path}");
        }
    }
}

#[test]
fn dockerfiles_need_no_frontend_from_a_registry_and_no_shell_in_the_image() {
    for path in dockerfiles() {
        let text = read(&path);
        assert!(!text.contains("# syntax"), "{path}: a syntax line is fetched from a registry");
        let runtime = &text[text.find("FROM scratch AS runtime").unwrap()..];
        for line in runtime.lines().filter(|line| line.starts_with("ENTRYPOINT") || line.starts_with("HEALTHCHECK")) {
            assert!(line.contains("[\"/mini-"), "{path}: `{line}` is not in exec form");
        }
        assert!(runtime.contains("USER 65532:65532"), "{path}");
        assert!(!runtime.contains("ENV "), "{path}: an image sets no variable");
    }
}

#[test]
fn compose_probes_over_tcp_and_without_a_shell() {
    let text = read("compose.yaml");
    let tests: Vec<_> = text.lines().filter(|line| line.contains("test: [")).collect();
    let services = text.split("\nservices:\n").nth(1).unwrap().split("\nnetworks:\n").next().unwrap();
    let services =
        services.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   ") && line.ends_with(':'));
    assert_eq!(tests.len(), services.count(), "each service is probed: {tests:?}");
    assert!(tests.len() >= 7, "{tests:?}");
    for line in tests {
        assert!(line.contains("test: [CMD, "), "{line}");
        assert!(!line.contains("pg_isready") || line.contains("-h, 127.0.0.1"), "{line}");
    }
}

/// The manifests of xtask and its crates.
fn own_manifests() -> Vec<PathBuf> {
    let mut found = vec![root().join("xtask/Cargo.toml")];
    for entry in std::fs::read_dir(root().join("xtask/crates")).unwrap() {
        let manifest = entry.unwrap().path().join("Cargo.toml");
        if manifest.is_file() {
            found.push(manifest);
        }
    }
    found
}

/// The sources of a crate without their tests: what stands behind `#[cfg(test)]`, and files of tests alone.
fn product_sources(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let is_test =
            ["tests.rs", "cases", "mutations", "oracle.rs", "repository.rs"].iter().any(|test| name.starts_with(test));
        if is_test {
            continue;
        }
        if path.is_dir() {
            product_sources(&path, found);
        } else if name.ends_with(".rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let product = text
                .split("#[cfg(test)]\nmod tests")
                .next()
                .unwrap()
                .split("#[cfg(test)]\npub")
                .next()
                .unwrap()
                .to_owned();
            found.push((path, product));
        }
    }
}

#[test]
fn no_library_crate_names_a_service_of_the_shop() {
    let mut sources = Vec::new();
    for manifest in own_manifests().iter().skip(1) {
        product_sources(&manifest.parent().unwrap().join("src"), &mut sources);
    }
    assert!(sources.len() > 80, "{}", sources.len());
    // In comments, too: whoever reads them works on another shop.
    let everywhere = ["mini-", "mini_", "\"gateway\"", "\"user\"", "\"order\"", "\"product\"", "5432", "8080"];
    // What one neighbour or one program's interface is called may be an example in a comment.
    let in_code = ["postgres", "pg_isready", "psql", "PGPASSWORD", "readyz", "healthz", "keygen", "JWT_"];
    // The entrypoint of the home-made base that has one goes by this name to the script that makes it.
    let allowed = "POSTGRES_ENTRYPOINT";
    let named = |line: &str| {
        let code = if line.trim_start().starts_with("//") { "" } else { line };
        let code = code.replace(allowed, "").replace("postgres-entrypoint.sh", "");
        let mut found: Vec<_> = everywhere.into_iter().filter(|name| line.contains(name)).collect();
        found.extend(in_code.into_iter().filter(|name| code.contains(name)));
        found
    };
    let mut found = Vec::new();
    for (path, text) in &sources {
        for (number, line) in text.lines().enumerate() {
            found.extend(named(line).into_iter().map(|name| format!("{}:{}: {name}", path.display(), number + 1)));
        }
    }
    assert!(found.is_empty(), "next: make it data in xtask/policy/stack.toml: {found:#?}");
    // The control: what must be found.
    assert_eq!(named("    let port = 8080; // \"user\""), ["\"user\"", "8080"]);
    assert_eq!((named("// psql"), named("x(\"psql\")")), (vec![], vec!["psql"]));
}

#[test]
fn xtask_inherits_nothing_and_names_every_version_once() {
    let mut versions = BTreeMap::new();
    let mut lints = BTreeSet::new();
    let table = read("Cargo.toml");
    for manifest in own_manifests() {
        let text = std::fs::read_to_string(&manifest).unwrap();
        assert!(!text.contains("workspace = true") && !text.contains(".workspace"), "{}", manifest.display());
        lints.insert(
            text.split("[lints.rust]").nth(1).expect("lints").split("[features]").next().unwrap().trim().to_owned(),
        );
        for line in text.lines().filter(|line| line.contains(" = ") && !line.contains("path = ")) {
            let (name, rest) = line.split_once(" = ").unwrap();
            let Some(version) = rest.split('"').nth(1).filter(|text| text.starts_with(|c: char| c.is_ascii_digit()))
            else {
                continue;
            };
            if ["version", "edition", "rust-version"].contains(&name)
                || name.contains('_') && !rest.contains("version") && name != "cargo_metadata" && name != "serde_json"
            {
                continue;
            }
            let known = versions.entry(name.to_owned()).or_insert_with(|| version.to_owned());
            assert_eq!(known, version, "{name} in {}", manifest.display());
            // The services' table, where it has the same package.
            if let Some(line) = table.split(&format!("\n{name} = ")).nth(1).and_then(|rest| rest.lines().next()) {
                let exact = line.split('"').find(|text| text.starts_with(|c: char| c.is_ascii_digit()));
                assert_eq!(exact, Some(version), "{name} in the workspace's table");
            }
        }
    }
    assert!(versions.len() > 12, "{versions:?}");
    assert_eq!(lints.len(), 1, "the lints of all crates are the same: {lints:#?}");
}

/// What is redrawn on a terminal and what is printed beside it would overwrite each other.
#[test]
fn standard_error_is_written_to_in_one_place() {
    let mut sources = Vec::new();
    for manifest in own_manifests() {
        product_sources(&manifest.parent().unwrap().join("src"), &mut sources);
    }
    let writes = |text: &str| ["eprintln!", "eprint!", "stderr()"].iter().any(|way| text.contains(way));
    // Before there is any progress, and when even a file cannot be written; the progress itself, and what it asks the terminal.
    let allowed = ["src/main.rs", "src/panics.rs", "src/face.rs", "progress/plain.rs", "progress/live.rs"];
    let found: Vec<_> = sources
        .iter()
        .filter(|(path, text)| writes(text) && !allowed.iter().any(|file| path.ends_with(file)))
        .map(|(path, _)| path)
        .collect();
    assert!(found.is_empty(), "next: say it on `context.runner.progress()`: {found:#?}");
    assert!(writes("    eprintln!(\"x\");"), "the control: what must be found");
}

/// Which modules of a crate import which: by the first part of their paths, without tests and comments.
fn imports(source: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let mut files = Vec::new();
    product_sources(source, &mut files);
    let module = |path: &Path| {
        let first = path.strip_prefix(source).unwrap().components().next().unwrap().as_os_str().to_string_lossy();
        first.trim_end_matches(".rs").to_owned()
    };
    let modules: BTreeSet<_> = files.iter().map(|(path, _)| module(path)).collect();
    let mut found = BTreeMap::<String, BTreeSet<String>>::new();
    for (path, text) in &files {
        let own = module(path);
        // `super` in a file below a folder is that folder's module, or one of its own.
        let depth = path.strip_prefix(source).unwrap().components().count();
        let is_top = depth == 1 || depth == 2 && path.ends_with("mod.rs");
        let up = if is_top { "super::" } else { "super::super::" };
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for (prefix, whole) in [("crate::", true), (up, is_top || line.contains("super::super::"))] {
                if !whole {
                    continue;
                }
                for rest in line.split(prefix).skip(1) {
                    let named = rest.strip_prefix('{').map_or(rest, |list| list.split('}').next().unwrap());
                    let count = if rest.starts_with('{') { usize::MAX } else { 1 };
                    let words = named.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|w| !w.is_empty());
                    let known = words.take(count).filter(|word| modules.contains(*word) && *word != own);
                    found.entry(own.clone()).or_default().extend(known.map(str::to_owned));
                }
            }
        }
    }
    for file in ["lib", "main"] {
        found.remove(file);
    }
    found
}

/// A module on a way from itself back to itself.
fn circle(imports: &BTreeMap<String, BTreeSet<String>>) -> Option<String> {
    imports
        .keys()
        .find(|start| {
            let (mut seen, mut open) = (BTreeSet::new(), imports[*start].iter().collect::<Vec<_>>());
            while let Some(module) = open.pop() {
                if module == *start {
                    return true;
                }
                if seen.insert(module) {
                    open.extend(imports.get(module).into_iter().flatten());
                }
            }
            false
        })
        .cloned()
}

#[test]
fn no_crate_has_a_circle_of_imports() {
    let mut sources: Vec<_> = own_manifests().iter().map(|manifest| manifest.parent().unwrap().join("src")).collect();
    sources.extend(["gateway", "e2e"].map(|member| root().join(member).join("src")));
    sources.extend(std::fs::read_dir(root().join("services")).unwrap().map(|entry| entry.unwrap().path().join("src")));
    for source in sources {
        let imports = imports(&source);
        assert_eq!(circle(&imports), None, "{}: {imports:#?}", source.display());
    }
    // The control: what must be found.
    let imports = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(from, to)| ((*from).to_owned(), BTreeSet::from([(*to).to_owned()]))).collect()
    };
    assert!(circle(&imports(&[("a", "b"), ("b", "c"), ("c", "a")])).is_some());
    assert_eq!(circle(&imports(&[("a", "b"), ("b", "c")])), None);
}

/// The blocks of Markdown that people paste into a shell, each with its file and line.
fn shell_blocks(file: &str, text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut block: Option<(String, String)> = None;
    for (number, line) in text.lines().enumerate() {
        match (&mut block, line.trim()) {
            (None, "```sh" | "```bash" | "```shell" | "```console") => {
                block = Some((format!("{file}:{}", number + 1), String::new()));
            }
            (Some(_), "```") => found.extend(block.take()),
            (Some((_, script)), _) => *script += &format!("{}\n", line.trim_start()),
            _ => {}
        }
    }
    found
}

/// What bash says against a script that it only reads.
fn syntax_error(script: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("script");
    std::fs::write(&file, script).unwrap();
    let output = program("bash").arg("-n").arg(&file).output().unwrap();
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn every_shell_block_of_the_documents_can_be_pasted_into_a_shell() {
    let output = program("git").args(["ls-files", "-z", "*.md"]).current_dir(root()).output().unwrap();
    let listed = String::from_utf8(output.stdout).unwrap();
    let mut blocks = Vec::new();
    for file in listed.split('\0').filter(|file| !file.is_empty() && root().join(file).is_file()) {
        blocks.extend(shell_blocks(file, &read(file)));
    }
    assert!(blocks.len() > 20, "{}", blocks.len());
    let wrong: Vec<_> =
        blocks.iter().filter_map(|(place, script)| Some(format!("{place}: {}", syntax_error(script)?))).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The control: what must be found.
    let broken = shell_blocks("a.md", "```sh\necho \"open\n```\n");
    assert!(broken[0].0 == "a.md:1" && syntax_error(&broken[0].1).is_some(), "{broken:?}");
}

/// `cargo xtask test` does not start rustdoc for each crate to find nothing in it.
#[test]
fn no_comment_holds_an_example_that_only_rustdoc_would_run() {
    let holds_example = |text: &str| {
        let is_fence = |line: &str| {
            let line = line.trim_start();
            ["///", "//!"]
                .iter()
                .any(|mark| line.strip_prefix(mark).is_some_and(|rest| rest.trim_start().starts_with("```")))
        };
        text.lines().any(is_fence)
    };
    let listed = git(&["ls-files", "-z", "*.rs"]);
    let files: Vec<_> = listed.split('\0').filter(|file| !file.is_empty() && root().join(file).is_file()).collect();
    assert!(files.len() > 100, "{}", files.len());
    let found: Vec<_> = files.into_iter().filter(|file| holds_example(&read(file))).collect();
    assert!(found.is_empty(), "next: make a test of it\n{}", found.join("\n"));
    assert!(holds_example("    /// Adds.\n    /// ```\n    /// assert_eq!(1 + 1, 2);\n"));
}
