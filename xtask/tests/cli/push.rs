//! `push` with an engine and a registry that fail in ways real ones rarely do.

use serde_json::{Value, json};

use crate::workspace::{CANARY, Ended, Workspace, stub_command};

const PUSH: [&str; 2] = ["push", "registry.example:5000/shop"];
const LOCK: &str = "images.lock.json";
const REPOSITORY: &str = "registry.example:5000/shop/mini-user";

/// An engine whose names are files, and a registry that has what was pushed. `$STATE/held` is the image that it says this is, and
/// `$STATE/label` the commit in that image's label.
const HEALTHY: &str = r#"
mkdir -p "$STATE/names" "$STATE/registry"
file() { printf '%s' "$STATE/names/$(printf '%s' "$1" | tr '/:' '__')"; }
case "$call" in
  "docker image inspect --format {{json .}} "*rust:*|"docker image inspect --format {{json .}} "*postgres:*) ;;
  "docker image inspect --format {{json .}} "*)
    shift 4
    for reference in "$@"; do
      case "$reference" in sha256:*) id=$reference ;; *) id=$(cat "$(file "$reference")" 2>/dev/null) ;; esac
      if [ -n "$id" ]; then echo '{"Id":"'$id'","RepoTags":["mini-user:local"]}'; else echo "Error: No such image: $reference" >&2; lost=1; fi
    done
    exit ${lost:-0} ;;
  "docker image inspect --format {{json .RepoDigests}} sha256:rust") echo '["rust@sha256:base"]'; exit ;;
  "docker image tag "*) echo "$3" >"$(file "$4")"; exit ;;
  "docker image rm "*) rm "$(file "$3")"; exit ;;
  "docker image push "*) echo >"$STATE/registry/$(basename "$(file "$3")")"; exit ;;
  "docker buildx imagetools inspect --format {{json .Manifest}} "*)
    reference=$6
    case "$reference" in *@*) ;; *) [ -f "$STATE/registry/$(basename "$(file "$reference")")" ] || { echo "ERROR: $reference: not found" >&2; exit 1; } ;; esac
    echo '{"digest":"sha256:manifest"}'; exit ;;
  "docker buildx imagetools inspect --format {{json .Image}} "*) echo '{"config":{"Labels":{"org.opencontainers.image.revision":"'$(cat "$STATE/label" 2>/dev/null)'"}}}'; exit ;;
  "docker buildx imagetools inspect --raw "*) echo '{"config":{"digest":"'$(cat "$STATE/held")'"}}'; exit ;;
esac"#;

/// A checkout of one commit with a remote that takes everything, as the last `verify` left it.
struct Shipping {
    workspace: Workspace,
    head: String,
}

impl Shipping {
    fn new() -> Self {
        let workspace = Workspace::new();
        workspace.write(".gitignore", "/target/\n/images.lock.json\n");
        for arguments in [
            &["init", "--quiet", "--initial-branch", "trunk"][..],
            &["config", "user.email", "a@example.invalid"],
            &["config", "user.name", "a"],
            &["add", "--all"],
            &["commit", "--quiet", "--message", "one"],
        ] {
            git(&workspace, arguments);
        }
        let head = git(&workspace, &["rev-parse", "HEAD"]);
        let shipping = Self { workspace, head };
        shipping.verified(json!({}));
        shipping.workspace.stub(HEALTHY);
        shipping.workspace.write("../../state/held", "sha256:user");
        shipping
    }

    /// The record of the last `verify`, with some fields different.
    fn verified(&self, but: Value) {
        let mut record = json!({
            "schema": 2, "date": "2026-11-25", "head": self.head, "changes": [],
            "images": [{ "name": "user", "package": "mini-user", "id": "sha256:user", "revision": "abc", "inputs": "sha256:inputs", "strategy": "container" }],
            "bases": { "rust": { "reference": "rust:1", "id": "sha256:rust", "made_here": false } },
            "tools": { "trivy": { "version": "0.76.0", "origin": "path" } }, "engine": "20.10.24",
            "database": { "updated": "2026-11-24", "key": "k" }, "checked": [], "unchecked": [],
        });
        if let (Value::Object(record), Value::Object(but)) = (&mut record, but) {
            record.extend(but);
        }
        self.workspace.write("target/xtask/verified.json", &record.to_string());
    }

    /// Shell that runs before the healthy answers.
    fn but(&self, cases: &str) {
        self.workspace.stub(&format!("case \"$call\" in\n{cases}\nesac\n{HEALTHY}"));
    }

    /// The registry has an image under a tag already.
    fn in_registry(&self, tag: &str) {
        self.workspace.write(&format!("../../state/registry/registry.example_5000_shop_mini-user_{tag}"), "");
    }

    fn short(&self) -> &str {
        &self.head[..12]
    }

    fn lock(&self) -> Value {
        serde_json::from_str(&self.workspace.read(LOCK)).unwrap()
    }

    /// Nothing was pushed, nothing was written, and the message says why.
    fn refused(&self, ended: &Ended, why: &str) {
        assert_eq!(ended.code, 3, "{}", ended.all());
        assert!(ended.stdout.contains("refused: ") && ended.stdout.contains(why), "{}", ended.all());
        assert!(!self.workspace.calls().contains("docker image push"), "{}", self.workspace.calls());
        assert_eq!(self.workspace.read(LOCK), "");
    }
}

fn git(workspace: &Workspace, arguments: &[&str]) -> String {
    let output = stub_command("git").args(arguments).current_dir(&workspace.root).output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn the_verified_id_is_pushed_read_back_and_locked_and_its_names_are_gone_afterwards() {
    let shipping = Shipping::new();
    // Another build has moved the local tag meanwhile: what was verified ships all the same.
    shipping.workspace.write("../../state/names/mini-user_local", "sha256:newer");
    let ended = shipping.workspace.xtask(&PUSH);
    assert_eq!(ended.code, 0, "{}", ended.all());
    let calls = shipping.workspace.calls();
    for tag in [shipping.short(), "trunk"] {
        assert!(calls.contains(&format!("docker image tag sha256:user {REPOSITORY}:{tag}\n")), "{calls}");
        assert!(calls.contains(&format!("docker image push {REPOSITORY}:{tag}\n")), "{calls}");
        assert!(calls.contains(&format!("docker image rm {REPOSITORY}:{tag}\n")), "{calls}");
    }
    let lock = shipping.lock();
    assert_eq!(lock["images"]["user"]["reference"], format!("{REPOSITORY}@sha256:manifest"));
    assert_eq!(lock["images"]["user"]["tags"], json!([shipping.short(), "trunk"]));
    assert_eq!((&lock["schema"], &lock["revision"]), (&json!(2), &json!(shipping.head)));
    assert_eq!(lock["bases"]["rust"]["digest"], "sha256:base");
    assert_eq!((&lock["database"]["updated"], &lock["unchecked"]), (&json!("2026-11-24"), &json!([])));
    assert_eq!(git(&shipping.workspace, &["status", "--porcelain"]), "", "a push makes the next one impossible");
}

#[test]
fn a_version_is_a_tag_only_of_the_commit_that_git_calls_so() {
    let shipping = Shipping::new();
    git(&shipping.workspace, &["tag", "v0.1.0"]);
    assert_eq!(shipping.workspace.xtask(&PUSH).code, 0);
    assert_eq!(shipping.lock()["images"]["user"]["tags"], json!([shipping.short(), "0.1.0", "trunk"]));
}

#[test]
fn a_version_may_be_an_annotated_tag_and_one_of_another_commit_counts_for_nothing() {
    let shipping = Shipping::new();
    git(&shipping.workspace, &["commit", "--quiet", "--allow-empty", "--message", "two"]);
    git(&shipping.workspace, &["tag", "--annotate", "v0.1.0", "--message", "out", &shipping.head]);
    let other = Shipping { head: git(&shipping.workspace, &["rev-parse", "HEAD"]), ..shipping };
    other.verified(json!({}));
    assert_eq!(other.workspace.xtask(&PUSH).code, 0);
    assert_eq!(other.lock()["images"]["user"]["tags"], json!([other.short(), "trunk"]));
    let shipping = Shipping::new();
    git(&shipping.workspace, &["tag", "--annotate", "v0.1.0", "--message", "out"]);
    assert_eq!(shipping.workspace.xtask(&PUSH).code, 0);
    assert_eq!(shipping.lock()["images"]["user"]["tags"], json!([shipping.short(), "0.1.0", "trunk"]));
}

#[test]
fn a_dry_run_says_what_would_go_where_and_does_nothing() {
    let shipping = Shipping::new();
    let ended = shipping.workspace.xtask(&[&PUSH[..], &["--dry-run"]].concat());
    assert_eq!(ended.code, 0, "{}", ended.all());
    let step = format!("push sha256:user as {REPOSITORY}:{}", shipping.short());
    assert!(ended.stdout.contains(&step), "{}", ended.all());
    for word in ["image tag", "image push", "imagetools"] {
        assert!(!shipping.workspace.calls().contains(word), "{}", shipping.workspace.calls());
    }
    assert_eq!(shipping.workspace.read(LOCK), "");
}

#[test]
fn a_dirty_tree_is_refused_and_a_file_that_git_does_not_know_is_dirt() {
    let shipping = Shipping::new();
    shipping.workspace.write("notes", "");
    shipping.refused(&shipping.workspace.xtask(&PUSH), "?? notes");
}

#[test]
fn another_commit_than_the_verified_one_is_refused() {
    let shipping = Shipping::new();
    git(&shipping.workspace, &["commit", "--quiet", "--allow-empty", "--message", "two"]);
    shipping.refused(&shipping.workspace.xtask(&PUSH), &format!("{} was verified", shipping.head));
}

#[test]
fn without_a_verify_nothing_ships() {
    let shipping = Shipping::new();
    std::fs::remove_file(shipping.workspace.root.join("target/xtask/verified.json")).unwrap();
    shipping.refused(&shipping.workspace.xtask(&PUSH), "next: `cargo xtask verify`");
}

#[test]
fn a_verify_that_has_begun_takes_back_what_the_one_before_found() {
    let shipping = Shipping::new();
    shipping.but(r#""docker buildx bake"*) exit 1 ;;"#);
    assert_eq!(shipping.workspace.xtask(&["verify"]).code, 1);
    shipping.refused(&shipping.workspace.xtask(&PUSH), "the last `verify` did not end without findings");
}

#[test]
fn an_incomplete_verify_ships_only_when_asked_for_and_the_lock_says_what_was_not_checked() {
    let shipping = Shipping::new();
    let unchecked = json!([{ "what": "vulnerabilities", "reason": "there is no database" }]);
    shipping.verified(json!({ "unchecked": unchecked, "database": null }));
    shipping.refused(&shipping.workspace.xtask(&PUSH), "vulnerabilities (there is no database)");
    assert_eq!(shipping.workspace.xtask(&[&PUSH[..], &["--allow-incomplete"]].concat()).code, 0);
    assert_eq!(shipping.lock()["unchecked"], unchecked);
}

#[test]
fn an_image_that_is_gone_is_refused_and_not_built_again() {
    let shipping = Shipping::new();
    shipping.but(
        r#""docker image inspect --format {{json .}} sha256:user") echo "Error: No such image: sha256:user" >&2; exit 1 ;;"#,
    );
    shipping.refused(&shipping.workspace.xtask(&PUSH), "no longer in the engine: user (sha256:user)");
    assert!(!shipping.workspace.calls().contains("bake"));
}

#[test]
fn a_name_that_stands_for_another_image_on_this_machine_is_not_taken_from_it() {
    let shipping = Shipping::new();
    // The last one that would be needed: it is seen before the first push.
    let name = "registry.example_5000_shop_mini-user_trunk";
    shipping.workspace.write(&format!("../../state/names/{name}"), "sha256:other");
    shipping.refused(&shipping.workspace.xtask(&PUSH), "stands for sha256:other on this machine");
    assert_eq!(shipping.workspace.read(&format!("../../state/names/{name}")), "sha256:other");
}

#[test]
fn a_registry_that_has_another_image_afterwards_is_no_success_and_no_tag_moves() {
    let shipping = Shipping::new();
    shipping.workspace.write("../../state/held", "sha256:other");
    let ended = shipping.workspace.xtask(&PUSH);
    assert_eq!(ended.code, 3, "{}", ended.all());
    assert!(ended.stdout.contains("the registry has sha256:other as "), "{}", ended.all());
    let calls = shipping.workspace.calls();
    assert!(!calls.contains(&format!("push {REPOSITORY}:trunk")) && calls.contains("docker image rm"), "{calls}");
    assert_eq!(shipping.workspace.read(LOCK), "");
}

#[test]
fn a_commits_tag_that_names_the_same_image_is_taken_as_it_is() {
    let shipping = Shipping::new();
    shipping.in_registry(shipping.short());
    let ended = shipping.workspace.xtask(&PUSH);
    assert_eq!(ended.code, 0, "{}", ended.all());
    let calls = shipping.workspace.calls();
    assert!(!calls.contains(&format!("push {REPOSITORY}:{}", shipping.short())), "{calls}");
    assert!(calls.contains(&format!("push {REPOSITORY}:trunk")), "{calls}");
    assert_eq!(shipping.lock()["images"]["user"]["reference"], format!("{REPOSITORY}@sha256:manifest"));
}

#[test]
fn a_commits_tag_that_names_another_image_is_refused_before_anything_is_pushed() {
    let shipping = Shipping::new();
    shipping.in_registry(shipping.short());
    shipping.workspace.write("../../state/held", "sha256:other");
    shipping.refused(&shipping.workspace.xtask(&PUSH), "a commit's tag does not move");
}

#[test]
fn an_older_commit_does_not_move_the_branchs_tag_back() {
    let shipping = Shipping::new();
    shipping.in_registry("trunk");
    // What the branch names there is another image, of a commit that this one does not come from.
    shipping.workspace.write("../../state/label", &"f".repeat(40));
    shipping.but(
        r#""docker buildx imagetools inspect --raw "*) if [ -f "$STATE/pushed" ]; then id=sha256:user; else id=sha256:other; fi; echo '{"config":{"digest":"'$id'"}}'; exit ;;
"docker image push "*) touch "$STATE/pushed" ;;"#,
    );
    let ended = shipping.workspace.xtask(&PUSH);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert!(ended.stdout.contains("trunk stays where it is"), "{}", ended.all());
    let calls = shipping.workspace.calls();
    assert!(!calls.contains(&format!("docker image push {REPOSITORY}:trunk")), "{calls}");
    assert!(calls.contains(&format!("docker image push {REPOSITORY}:{}", shipping.short())), "{calls}");
}

#[test]
fn a_registry_that_does_not_answer_is_told_from_one_that_has_nothing() {
    let shipping = Shipping::new();
    shipping.but(r#""docker buildx imagetools "*) echo 'ERROR: unauthorized: authentication required' >&2; exit 1 ;;"#);
    let ended = shipping.workspace.xtask(&PUSH);
    assert_eq!(ended.code, 3, "{}", ended.all());
    assert!(ended.stdout.contains("`docker login registry.example:5000`"), "{}", ended.all());
    assert!(!shipping.workspace.calls().contains("docker image push"), "{}", shipping.workspace.calls());
}

#[test]
fn whatever_else_a_registry_answers_nothing_is_pushed_over_it() {
    let shipping = Shipping::new();
    for answer in [
        "unexpected status from HEAD request: 401 Unauthorized",
        "denied: requested access to the resource is denied",
        "unexpected status from HEAD request: 404 Not Found",
        "unexpected status from HEAD request: 405 Method Not Allowed",
        "unexpected status from HEAD request: 429 Too Many Requests",
        "failed to do request: dial tcp: lookup registry.example: host not found",
        "error getting credentials: helper not found",
    ] {
        shipping.but(&format!("\"docker buildx imagetools \"*) echo 'ERROR: {answer}' >&2; exit 1 ;;"));
        let ended = shipping.workspace.xtask(&PUSH);
        assert_eq!(ended.code, 3, "{answer}: {}", ended.all());
        assert!(ended.stdout.contains(answer), "{answer}: {}", ended.all());
        assert!(!shipping.workspace.calls().contains("docker image push"), "{answer}");
        assert_eq!(shipping.workspace.read(LOCK), "");
    }
}

/// The registry answers from the second question about a tag on as another push left it.
fn meanwhile(shipping: &Shipping, tag: &str, asked: u32) {
    shipping.but(&format!(
        r#""docker buildx imagetools inspect --format {{{{json .Manifest}}}} "*":{tag}")
  echo >>"$STATE/asked"
  if [ "$(wc -l <"$STATE/asked")" -ge {asked} ]; then echo '{{"digest":"sha256:theirs"}}'; exit; fi ;;
"docker buildx imagetools inspect --raw "*@sha256:theirs) echo '{{"config":{{"digest":"sha256:other"}}}}'; exit ;;"#
    ));
}

#[test]
fn a_tag_that_another_push_moves_meanwhile_is_not_pushed_over() {
    // The commit's tag is asked for before anything, before its push, after it, and before the branch's tag moves; that one before
    // anything, and before its push.
    for (tag, asked, pushed) in [("commit", 2, false), ("commit", 4, true), ("trunk", 2, true)] {
        let shipping = Shipping::new();
        let tag = if tag == "commit" { shipping.short().to_owned() } else { tag.to_owned() };
        meanwhile(&shipping, &tag, asked);
        let ended = shipping.workspace.xtask(&PUSH);
        assert_eq!(ended.code, 3, "{tag} {asked}: {}", ended.all());
        assert!(ended.stdout.contains("another push is under way"), "{tag} {asked}: {}", ended.all());
        let calls = shipping.workspace.calls();
        assert_eq!(calls.contains(&format!("push {REPOSITORY}:{}", shipping.short())), pushed, "{calls}");
        assert!(!calls.contains(&format!("push {REPOSITORY}:trunk")), "{calls}");
        assert_eq!(shipping.workspace.read(LOCK), "");
    }
}

#[test]
fn an_index_of_several_platforms_under_the_commits_tag_is_another_image() {
    let shipping = Shipping::new();
    shipping.in_registry(shipping.short());
    shipping.but(
        r#""docker buildx imagetools inspect --raw "*) echo '{"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{},{}]}'; exit ;;
"docker buildx imagetools inspect --format {{json .Image}} "*) echo '{"linux/amd64":{"config":{}},"linux/arm64":null}'; exit ;;"#,
    );
    shipping.refused(&shipping.workspace.xtask(&PUSH), "sha256:manifest there and sha256:user here");
}

#[test]
fn what_cannot_be_signed_is_refused_before_anything_is_pushed() {
    let shipping = Shipping::new();
    let ended = shipping.workspace.xtask(&[&PUSH[..], &["--sign", "no/such.key"]].concat());
    assert_eq!(ended.code, 2, "{}", ended.all());
    assert!(ended.stdout.contains("cosign generate-key-pair"), "{}", ended.all());
    shipping.workspace.write("cosign.key", "");
    std::fs::write(
        shipping.workspace.root.join(".gitignore"),
        "/target/\n/images.lock.json\n/cosign.key\n/.gitignore\n",
    )
    .unwrap();
    git(&shipping.workspace, &["commit", "--quiet", "--all", "--message", "two"]);
    let shipping = Shipping { head: git(&shipping.workspace, &["rev-parse", "HEAD"]), ..shipping };
    shipping.verified(json!({}));
    let cosign = "#!/bin/sh\ncase $1 in version) echo v3.0.2 ;; *) echo 'Error: wrong password' >&2; exit 1 ;; esac\n";
    shipping.workspace.stub_program("cosign", cosign);
    let ended = shipping.workspace.xtask(&[&PUSH[..], &["--sign", "cosign.key"]].concat());
    assert_eq!(ended.code, 3, "{}", ended.all());
    assert_eq!(shipping.workspace.read(LOCK), "");
    assert!(
        !shipping.workspace.calls().contains(&format!("push {REPOSITORY}:trunk")),
        "{}",
        shipping.workspace.calls()
    );
}

#[test]
fn a_half_push_leaves_the_lock_of_the_one_before_and_no_name() {
    let shipping = Shipping::new();
    shipping.workspace.write(LOCK, "the one before");
    shipping.but(
        r#""docker image push "*":trunk") echo 'denied: requested access to the resource is denied' >&2; exit 1 ;;"#,
    );
    let ended = shipping.workspace.xtask(&PUSH);
    assert_eq!(ended.code, 3, "{}", ended.all());
    assert!(ended.stdout.contains("denied: requested access"), "{}", ended.all());
    assert!(ended.stdout.contains("`docker login registry.example:5000`"), "{}", ended.all());
    assert_eq!(shipping.workspace.read(LOCK), "the one before");
    let calls = shipping.workspace.calls();
    assert!(calls.contains(&format!("docker image rm {REPOSITORY}:trunk")), "{calls}");
}

#[test]
fn a_password_in_the_registry_is_a_usage_error_and_stands_nowhere() {
    let shipping = Shipping::new();
    let ended = shipping.workspace.xtask(&["push", &format!("ci:{CANARY}@registry.example")]);
    assert_eq!(ended.code, 2, "{}", ended.all());
    assert!(ended.stdout.contains("docker login"), "{}", ended.all());
    let report = shipping.workspace.read("target/xtask/reports/push.json");
    for text in [ended.all(), report, shipping.workspace.calls()] {
        assert!(!text.contains(CANARY), "{text}");
    }
}

#[test]
fn a_push_is_the_same_from_every_folder() {
    let shipping = Shipping::new();
    let arguments = [&PUSH[..], &["--dry-run"]].concat();
    let plan = |folder| {
        let ended = shipping.workspace.xtask_in(folder, &arguments);
        assert_eq!(ended.code, 0, "{}", ended.all());
        ended.stdout.lines().filter(|line| line.contains("sha256:user")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(plan("services/user/src"), plan("."));
}
