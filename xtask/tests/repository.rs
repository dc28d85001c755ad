//! Invariants of the repository that no compiler holds.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

const DOCKERFILES: [&str; 4] =
    ["services/user/Dockerfile", "services/product/Dockerfile", "services/order/Dockerfile", "gateway/Dockerfile"];

/// The part of a Dockerfile that BuildKit should run once for all images.
fn shared_stages(dockerfile: &str) -> &str {
    let start = dockerfile.find("FROM ${RUST_BASE} AS toolchain").expect("a toolchain stage");
    let end = dockerfile.find("FROM kit AS build").expect("a build stage");
    &dockerfile[start..end]
}

#[test]
fn the_shared_stages_of_all_dockerfiles_are_the_same_to_the_letter() {
    let first = read(DOCKERFILES[0]);
    for path in &DOCKERFILES[1..] {
        assert!(
            shared_stages(&read(path)) == shared_stages(&first),
            "{path} differs from {} before its build stage",
            DOCKERFILES[0]
        );
    }
}

#[test]
fn every_image_package_has_its_dockerfile_in_that_list_and_its_program_in_the_shared_stages() {
    let mut found = 0;
    for folder in ["services/kit", "services/user", "services/product", "services/order", "gateway", "e2e", "xtask"] {
        let manifest = read(&format!("{folder}/Cargo.toml"));
        if !manifest.contains("[package.metadata.image]") {
            continue;
        }
        found += 1;
        assert!(DOCKERFILES.contains(&format!("{folder}/Dockerfile").as_str()), "{folder}");
        let name = manifest.lines().find_map(|line| line.strip_prefix("name = \"")).unwrap().trim_end_matches('"');
        for path in DOCKERFILES {
            assert!(
                shared_stages(&read(path)).contains(&format!("--bin {name}")),
                "{path} does not build {name} with the others"
            );
        }
    }
    assert_eq!(found, DOCKERFILES.len());
}

#[test]
fn no_cache_mount_holds_compiled_code() {
    for path in DOCKERFILES {
        for mount in read(path).split("--mount=").skip(1).filter(|mount| mount.starts_with("type=cache")) {
            let mount = mount.split_whitespace().next().unwrap();
            assert_eq!(mount, "type=cache,id=mini-cargo-home,target=/cargo", "{path}");
        }
    }
}

#[test]
fn dockerfiles_need_no_frontend_from_a_registry_and_no_shell_in_the_image() {
    for path in DOCKERFILES {
        let text = read(path);
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
    assert_eq!(tests.len(), 7, "{tests:?}");
    for line in tests {
        assert!(line.contains("test: [CMD, "), "{line}");
        assert!(!line.contains("pg_isready") || line.contains("-h, 127.0.0.1"), "{line}");
    }
}
