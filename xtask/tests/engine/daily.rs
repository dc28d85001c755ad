//! The daily loop on the real engine: checkouts side by side, every state that `up` and `down` meet, and edits that are answered.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use crate::program::{docker_ok, program, root, text, xtask};

/// A clone whose stack is published on a port of its own, and gone at the end whatever happened.
struct Checkout {
    _folder: tempfile::TempDir,
    path: PathBuf,
    port: u16,
}

impl Checkout {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop");
        assert!(program("git").args(["clone", "--quiet"]).arg(root()).arg(&path).status().unwrap().success());
        std::fs::create_dir_all(path.join("target/xtask")).unwrap();
        for shared in ["tools", "host"] {
            let original = root().join("target/xtask").join(shared);
            std::fs::create_dir_all(&original).unwrap();
            std::os::unix::fs::symlink(original, path.join("target/xtask").join(shared)).unwrap();
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let checkout = Self { _folder: folder, path, port };
        checkout.edit("compose.yaml", "${GATEWAY_PORT:-8080}", &format!("${{GATEWAY_PORT:-{port}}}"));
        checkout
    }

    fn edit(&self, file: &str, from: &str, to: &str) {
        let file = self.path.join(file);
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{} has no {from}", file.display());
        std::fs::write(file, text.replacen(from, to, 1)).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        said(&xtask(&self.path).args(arguments).output().unwrap())
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let (code, said) = self.run(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {said}");
        said
    }

    fn project(&self) -> String {
        let env = std::fs::read_to_string(self.path.join(".env")).unwrap();
        env.lines().find_map(|line| line.strip_prefix("COMPOSE_PROJECT_NAME=")).unwrap().to_owned()
    }

    fn get(&self, path: &str) -> String {
        let port = self.port;
        let answer = TcpStream::connect(("127.0.0.1", port)).and_then(|mut stream| {
            let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).map(|_| answer)
        });
        answer.unwrap_or_default()
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        let _ = xtask(&self.path).args(["down", "--volumes"]).output();
    }
}

fn said(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

/// What the engine has of a project.
fn left(project: &str, kind: &[&str]) -> String {
    let label = format!("label=com.docker.compose.project={project}");
    docker_ok(&[kind, &["--quiet", "--filter", &label]].concat())
}

fn within(limit: Duration, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < limit, "it never came");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn checkouts_live_side_by_side_and_every_state_of_a_stack_has_its_answer() {
    let (one, other) = (Checkout::new(), Checkout::new());

    // Two first `up`s at once in one checkout, and another checkout's afterwards.
    let pair =
        [(); 2].map(|()| xtask(&one.path).arg("up").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    for child in pair {
        let (code, said) = said(&child.wait_with_output().unwrap());
        assert_eq!(code, Some(0), "{said}");
    }
    other.ok(&["up"]);
    assert_ne!(one.project(), other.project());
    for checkout in [&one, &other] {
        assert!(checkout.get("/products").starts_with("HTTP/1.1 200"), "{}", checkout.get("/products"));
        assert_eq!(left(&checkout.project(), &["ps"]).lines().count(), 7);
    }

    // A container that crashed and healed.
    let id = left(&one.project(), &["ps", "--filter", "label=com.docker.compose.service=user"]);
    let pid = docker_ok(&["inspect", "--format", "{{.State.Pid}}", &id]);
    assert!(program("kill").args(["-9", &pid]).status().unwrap().success());
    let restarts = || docker_ok(&["inspect", "--format", "{{.RestartCount}} {{.State.Running}}", &id]);
    within(Duration::from_secs(60), || restarts() == "1 true");
    one.ok(&["up"]);
    assert!(one.ok(&["ps"]).contains("1 restarts so far"));

    // A copied .env is no way into another checkout's stack.
    let own = std::fs::read_to_string(other.path.join(".env")).unwrap();
    std::fs::copy(one.path.join(".env"), other.path.join(".env")).unwrap();
    for command in ["up", "down"] {
        let (code, said) = other.run(&[command]);
        assert!(code == Some(3) && said.contains("is the stack of another checkout"), "{command}: {said}");
    }
    std::fs::write(other.path.join(".env"), own).unwrap();

    // A taken port.
    other.ok(&["down"]);
    let project = other.project();
    let listener = TcpListener::bind(("127.0.0.1", other.port)).unwrap();
    let (code, said) = other.run(&["up"]);
    assert!(code == Some(3) && said.contains("is taken, so nothing was started; next: `echo GATEWAY_PORT="), "{said}");
    assert_eq!(left(&project, &["ps", "--all"]), "");
    drop(listener);

    // New secrets beside old databases.
    std::fs::remove_file(other.path.join(".env")).unwrap();
    let (code, said) = other.run(&["up"]);
    assert!(code == Some(3) && said.contains("put that .env back"), "{said}");
    assert_eq!(left(&project, &["ps", "--all"]), "");
    other.ok(&["down", "--volumes"]);
    assert_eq!(left(&project, &["volume", "ls"]), "");

    // Without .env, a running stack is still this checkout's.
    let project = one.project();
    std::fs::remove_file(one.path.join(".env")).unwrap();
    one.ok(&["down", "--volumes"]);
    for kind in [&["ps", "--all"][..], &["network", "ls"], &["volume", "ls"]] {
        assert_eq!(left(&project, kind), "", "{kind:?}");
    }
}

/// The detail of the problem document for a product that does not exist.
const WORDS: &str = "there is no such product";
const PATH: &str = "/products/00000000-0000-4000-8000-000000000000";

#[test]
fn an_edit_is_answered_by_the_running_stack_and_a_watch_ends_with_ctrl_c() {
    let checkout = Checkout::new();
    checkout.ok(&["up", "product", "--profile", "dev"]);
    assert!(checkout.get(PATH).contains(WORDS), "{}", checkout.get(PATH));
    let mut watch = xtask(&checkout.path)
        .args(["up", "product", "--profile", "dev", "--watch"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut until = |words: &str| {
        let seen: Vec<_> = lines.by_ref().take_while(|line| !line.contains(words)).collect();
        seen.join("\n")
    };
    until("watch: waiting for edits");
    let others = || left(&checkout.project(), &["ps", "--filter", "label=com.docker.compose.service=user"]);
    let user = others();
    let source = "services/product/src/routes.rs";
    checkout.edit(source, WORDS, "a first edit");
    until("product answers with it");
    assert!(checkout.get(PATH).contains("a first edit"), "{}", checkout.get(PATH));
    // One that does not compile changes nothing, and the next one is answered.
    until("watch: waiting for edits");
    checkout.edit(source, "\"a first edit\"", "nonsense");
    let broken = until("the stack keeps running as it was");
    assert!(checkout.get(PATH).contains("a first edit"), "{broken}");
    until("watch: waiting for edits");
    checkout.edit(source, "nonsense", "\"a second edit\"");
    until("product answers with it");
    assert!(checkout.get(PATH).contains("a second edit"), "{}", checkout.get(PATH));
    assert_eq!(others(), user, "another service was recreated");
    until("watch: waiting for edits");
    assert!(program("kill").args(["-INT", &watch.id().to_string()]).status().unwrap().success());
    let (code, said) = said(&watch.wait_with_output().unwrap());
    assert_eq!(code, Some(0), "{said}");
    assert!(checkout.get(PATH).contains("a second edit"), "the stack goes on");
    assert!(checkout.ok(&["ps"]).contains("built by dev"), "{}", checkout.ok(&["ps"]));
}
