//! `adopt`: xtask copied into a small workspace of somebody else's lists what is missing there until nothing is.

use crate::workspace::{Ended, stub_command};

#[path = "../foreign/workspace.rs"]
mod foreign;

use self::foreign::Foreign;

fn adopt(foreign: &Foreign) -> Ended {
    let mut command = stub_command(env!("CARGO_BIN_EXE_xtask"));
    command.env("CARGO_MANIFEST_DIR", foreign.root.join("xtask")).env_remove("CARGO_TARGET_DIR");
    let output = command.arg("adopt").current_dir(&foreign.root).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ended { code: output.status.code().unwrap(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

#[test]
fn a_workspace_without_an_image_is_refused_with_what_makes_one() {
    let ended = adopt(&Foreign::new());
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
    foreign.choose_images();
    let ended = adopt(&foreign);
    assert_eq!(ended.code, 1, "{}", ended.all());
    let wanted = [
        ".cargo/config.toml [not-adopted]",
        "Cargo.toml [not-adopted]: no `default-members`",
        "Cargo.lock [not-adopted]",
        ".dockerignore [not-adopted]",
        ".gitignore [not-adopted]: git would commit .env, target, images.lock.json, which xtask makes",
        "counter/Dockerfile [not-adopted]: the Dockerfile of counter is not there",
        "hello/Dockerfile [not-adopted]: the Dockerfile of hello takes no IMAGE_REVISION, takes no IMAGE_CREATED, takes no IMAGE_VERSION, \
         does not build with `cargo auditable`, ends in an image that is not `scratch`; one that does is offered",
        "hello/contract.json [not-adopted]",
        "`file = \"docker-compose.yml\"` in policy/stack.toml takes the one that is there",
        "[[fault]] names what this workspace does not have: gateway, order",
        "[client] names what this workspace does not have",
        "xtask/policy/env.toml [not-adopted]: [kubernetes] speaks of manifests, and there is no folder k8s/base",
        "[limit-bytes] names what is no image here: gateway",
        "policy/images/hello.toml [not-adopted]: nobody has looked at what the image of hello holds",
        "policy/images/gateway.toml [not-adopted]: gateway is no image here; delete it",
        "docs/adopting.md, In the workspace",
    ];
    for words in wanted {
        assert!(ended.stdout.contains(words), "{words}: {}", ended.stdout);
    }
    foreign.follow_the_list();
    assert!(foreign.read("counter/Dockerfile").contains("ENTRYPOINT [\"/counter\"]"));
    assert!(foreign.read("counter/Dockerfile").contains("image.licenses=\"MIT\""));
    foreign.write("Cargo.lock", "");
    foreign.write("xtask/policy/images/hello.toml", "");
    foreign.write("xtask/policy/images/counter.toml", "");
    let ended = adopt(&foreign);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert!(ended.stdout.contains("nothing is missing; next: `cargo xtask setup`"), "{}", ended.stdout);
}
