//! The API as people and tools use it, on a real stack: the walk of docs/api.md, and Schemathesis with the document that the gateway serves.

use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use serde_json::Value;

use crate::program::{program, root, text, xtask};
use crate::stacks::{CleanUp, Clone, TURN};

/// Differs from run to run.
const ANYTHING: &str = "…";
/// Compiled for each Python and machine, so that these are pinned by version alone.
const COMPILED: [&str; 5] = [
    "MarkupSafe==3.0.4",
    "PyYAML==6.0.4",
    "charset-normalizer==3.5.3",
    "hypothesis==6.170.17",
    "jsonschema_rs==0.60.3",
];

/// A stack that stays up until its checkout is cleaned up.
struct Stack {
    url: String,
    secrets: PathBuf,
}

impl Stack {
    fn start(checkout: &Clone) -> Self {
        let output = xtask(&checkout.path).args(["--format", "json", "compose-e2e", "--keep"]).output().unwrap();
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let kept = report["evidence"]["kept"].as_str().unwrap();
        let (project, rest) = kept.split_once(" is left running on ").expect(kept);
        let url = rest.split(';').next().unwrap().to_owned();
        let secrets = checkout.path.join(format!("target/xtask/e2e/{project}/env"));
        Self { url, secrets }
    }

    fn secret(&self, name: &str) -> String {
        let file = std::fs::read_to_string(&self.secrets).unwrap();
        file.lines().find_map(|line| line.strip_prefix(&format!("{name}="))).unwrap().to_owned()
    }
}

/// What a document has its readers type, and what it says they see.
#[derive(Debug, PartialEq)]
struct Step {
    commands: String,
    answer: Option<(String, String)>,
}

fn steps(document: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut rest = document;
    while let Some((_, after)) = rest.split_once("\n```") {
        let (kind, after) = after.split_once('\n').unwrap();
        let (block, after) = after.split_once("\n```").expect("every block ends");
        match kind {
            "sh" => steps.push(Step { commands: block.to_owned(), answer: None }),
            _ => steps.last_mut().unwrap().answer = Some((kind.to_owned(), block.to_owned())),
        }
        rest = after;
    }
    steps
}

/// Whether JSON is what a document shows, but for what differs from run to run.
fn is_alike(shown: &Value, seen: &Value) -> bool {
    match (shown, seen) {
        (Value::String(text), Value::String(_)) if text == ANYTHING => true,
        (Value::Array(shown), Value::Array(seen)) => {
            shown.len() == seen.len() && shown.iter().zip(seen).all(|(shown, seen)| is_alike(shown, seen))
        }
        (Value::Object(shown), Value::Object(seen)) => {
            shown.keys().eq(seen.keys()) && shown.iter().all(|(name, value)| is_alike(value, &seen[name]))
        }
        _ => shown == seen,
    }
}

#[test]
fn a_document_is_read_as_steps_and_their_answers() {
    let read = steps("x\n```sh\na=1\n```\ny\n```sh\necho $a\n```\n```json\n1\n```\n");
    assert_eq!(read[0], Step { commands: "a=1".into(), answer: None });
    assert_eq!(read[1], Step { commands: "echo $a".into(), answer: Some(("json".into(), "1".into())) });
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert!(is_alike(&json(r#"{"a":"…","b":[1]}"#), &json(r#"{"b":[1],"a":"x"}"#)));
    for other in [r#"{"a":"x","b":[2]}"#, r#"{"a":"x"}"#, r#"{"a":"x","b":[1],"c":1}"#, r#"{"a":1,"b":[1]}"#] {
        assert!(!is_alike(&json(r#"{"a":"…","b":[1]}"#), &json(other)), "{other}");
    }
}

#[test]
fn the_walk_of_the_document_gives_the_answers_that_it_shows() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let checkout = Clone::new();
    let _clean_up = CleanUp(&checkout.path);
    let stack = Stack::start(&checkout);
    let steps = steps(&std::fs::read_to_string(root().join("docs/api.md")).unwrap());
    assert!(steps.len() > 10 && steps.iter().filter(|step| step.answer.is_some()).count() > 8);
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(&stack.secrets, folder.path().join(".env")).unwrap();
    let mut script = "set -euo pipefail\n".to_owned();
    for (number, step) in steps.iter().enumerate() {
        // The stack is up already, under an address of its own.
        let lines = step.commands.lines().filter(|line| !line.starts_with("cargo xtask "));
        let lines: Vec<_> = lines
            .map(|line| if line.starts_with("url=") { format!("url={}", stack.url) } else { line.to_owned() })
            .collect();
        script += &format!("{{\n{}\n}} >answer-{number}\n", lines.join("\n"));
    }
    let output = program("bash").arg("-c").arg(script).current_dir(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    for (number, step) in steps.iter().enumerate() {
        let seen = std::fs::read_to_string(folder.path().join(format!("answer-{number}"))).unwrap();
        let fits = match &step.answer {
            None => seen.is_empty(),
            Some((kind, shown)) if kind == "json" => {
                is_alike(&serde_json::from_str(shown).unwrap(), &serde_json::from_str(&seen).unwrap_or_default())
            }
            Some((_, shown)) => shown.trim() == seen.trim(),
        };
        assert!(fits, "{}\nshown: {:?}\nseen: {seen}", step.commands, step.answer);
    }
}

/// Schemathesis with everything that it needs, in a folder of its own.
fn schemathesis() -> tempfile::TempDir {
    let packages = tempfile::tempdir().unwrap();
    let requirements = root().join("xtask/tests/engine/schemathesis.txt");
    let common = ["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", "--target"];
    let pinned = ["--require-hashes", "--requirement", requirements.to_str().unwrap()];
    for what in [&pinned[..], &COMPILED[..]] {
        let output = program("python3").args(common).arg(packages.path()).args(what).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    packages
}

/// An access token of the administrator.
fn administrator(stack: &Stack) -> String {
    let body = serde_json::json!({ "username": "admin", "password": stack.secret("ADMIN_PASSWORD") });
    let mut curl = program("curl");
    curl.args(["--silent", "--fail", "--json", &body.to_string(), &format!("{}/users/login", stack.url)]);
    let answer: Value = serde_json::from_slice(&curl.output().unwrap().stdout).unwrap();
    answer["access_token"].as_str().unwrap().to_owned()
}

/// Runs it against a stack, for the whole document or for one with fewer truths in it.
fn tried(stack: &Stack, token: &str, packages: &Path, document: &str, more: &[&str]) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let output = program("python3")
        .env("PYTHONPATH", packages)
        .env("MINI_TOKEN", token)
        .args(["-m", "schemathesis.cli", "--config-file"])
        .arg(root().join("xtask/tests/engine/schemathesis.toml"))
        .args(["run", document, "--url", &stack.url])
        .args(more)
        .current_dir(folder.path())
        .output()
        .unwrap();
    (output.status.success(), text(&output.stdout) + &text(&output.stderr))
}

#[test]
fn the_services_keep_what_the_document_says() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let packages = schemathesis();
    let checkout = Clone::new();
    let _clean_up = CleanUp(&checkout.path);
    let stack = Stack::start(&checkout);
    // Once: afterwards this client has failed to log in too often.
    let token = administrator(&stack);
    let (passes, told) = tried(&stack, &token, packages.path(), &format!("{}/openapi.json", stack.url), &[]);
    assert!(passes, "{told}");
    let mut document: Value =
        serde_json::from_slice(&std::fs::read(root().join("gateway/openapi.json")).unwrap()).unwrap();
    let items = document["paths"].as_object().unwrap().values();
    let operations: usize = items.map(|item| item.as_object().unwrap().len()).sum();
    assert!(told.contains(&format!("Tested: {operations}\n")), "{operations} operations: {told}");

    // The control: what is not true is found.
    document["components"]["schemas"]["Account"]["required"] = serde_json::json!(["id", "email"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("untrue.json");
    std::fs::write(&file, document.to_string()).unwrap();
    let one = ["--include-path", "/users/me", "--phases", "fuzzing", "--max-examples", "5"];
    let (passes, told) = tried(&stack, &token, packages.path(), file.to_str().unwrap(), &one);
    assert!(!passes && told.contains("email"), "{told}");
}
