//! `--verify-reproducible` on the real engine, with an image that takes seconds: one that repeats, and one that cannot.

use crate::workspace::Workspace;

/// The machine's own tools and base in a workspace whose one program a bare rustc compiles; `more` goes into that step.
fn shop(more: &str) -> Workspace {
    let workspace = Workspace::new();
    workspace.use_real_tools();
    let repository = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for shared in ["target/xtask/tools", "xtask/bases"] {
        let link = workspace.root.join(shared);
        std::fs::create_dir_all(link.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(repository.join(shared), link).unwrap();
    }
    let dockerfile = format!(
        "ARG RUST_BASE\nFROM ${{RUST_BASE}} AS build\nWORKDIR /workspace\nCOPY services/user/Cargo.toml services/user/\n\
         COPY xtask/Cargo.toml xtask/\nCOPY services/user/src services/user/src\n\
         RUN --mount=type=cache,id=mini-cargo-home,target=/cargo mkdir /out && \
         rustc -Cstrip=symbols -o /out/mini-user services/user/src/main.rs && {more} touch -d @0 /out /out/*\n\
         FROM scratch\nCOPY --from=build /out/mini-user /mini-user\nCOPY --from=build /out/note /note\n"
    );
    workspace.write("services/user/Dockerfile", &dockerfile);
    workspace
}

fn leftovers(ended: &crate::workspace::Ended) -> bool {
    // The tags hold the process id of that run, which its output names.
    let process = ended.stderr.split("reproducible-").nth(1).and_then(|rest| rest.split('/').next()).unwrap();
    let list = ["image", "ls", "--quiet", "mini-reproducible"];
    let listed = crate::workspace::stub_command("docker").args(list).args(["--format", "{{.Tag}}"]).output().unwrap();
    String::from_utf8_lossy(&listed.stdout).lines().any(|tag| tag.ends_with(process))
}

#[test]
fn what_repeats_is_said_to_and_nothing_is_left_behind() {
    let workspace = shop("echo same >/out/note &&");
    let ended = workspace.xtask(&["build-images", "--verify-reproducible"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert!(ended.stdout.contains("repeats true"), "{}", ended.all());
    assert!(!leftovers(&ended), "{}", ended.all());
}

#[test]
fn a_clock_that_gets_into_an_image_is_found_and_its_file_named() {
    let workspace = shop("date +%s >/out/note &&");
    let ended = workspace.xtask(&["build-images", "--verify-reproducible"]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert!(ended.stdout.contains("[not-reproducible]"), "{}", ended.all());
    assert!(ended.stdout.contains("/note: 11 and 11 bytes, differing from byte "), "{}", ended.all());
    assert!(!leftovers(&ended), "{}", ended.all());
}

#[test]
fn a_folder_that_a_copy_makes_has_the_time_of_the_build_and_is_named() {
    let workspace = shop("echo same >/out/note &&");
    let dockerfile = workspace.read("services/user/Dockerfile").replace(" /note\n", " /etc/note\n");
    workspace.write("services/user/Dockerfile", &dockerfile);
    let ended = workspace.xtask(&["build-images", "--verify-reproducible"]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert!(ended.stdout.contains(" etc/` and `"), "{}", ended.all());
}
