//! The images by themselves: what they refuse, what they need, how they stop.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::program::{docker, docker_ok, image, text};

const SERVICES: [&str; 4] = ["user", "product", "order", "gateway"];
const LOCKED_DOWN: [&str; 6] = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--rm"];

/// A gateway needs no database, so it can run alone; its upstreams are names that nobody has.
fn gateway(more: &[&str]) -> String {
    let image = image("gateway");
    let variables = [
        "-e",
        "USER_URL=http://user:8080",
        "-e",
        "PRODUCT_URL=http://product:8080",
        "-e",
        "ORDER_URL=http://order:8080",
    ];
    let mut arguments = vec!["run", "--detach", "--label", "xtask.purpose=test", "--publish", "127.0.0.1:0:8080"];
    arguments.extend(LOCKED_DOWN);
    arguments.extend(variables);
    arguments.extend(more);
    arguments.push(&image);
    docker_ok(&arguments)
}

fn wait_until_healthy(container: &str) {
    let started = Instant::now();
    while !docker(&["exec", container, "/mini-gateway", "healthcheck"]).status.success() {
        assert!(started.elapsed() < Duration::from_secs(20), "{}", text(&docker(&["logs", container]).stderr));
    }
}

fn connect(container: &str) -> TcpStream {
    let address = docker_ok(&["port", container, "8080/tcp"]);
    let stream = TcpStream::connect(address.lines().next().unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// The whole answer to a GET; empty when the connection broke.
fn ask(container: &str, path: &str) -> String {
    let mut stream = connect(container);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[test]
fn an_image_without_its_variables_ends_with_78_and_names_every_one() {
    for name in SERVICES {
        let image = image(name);
        let contract: serde_json::Value =
            serde_json::from_str(&docker_ok(&["run", "--rm", &image, "env", "--format", "json"])).unwrap();
        let output = docker(&["run", "--rm", &image]);
        assert_eq!(output.status.code(), Some(78), "{name}: {}", text(&output.stderr));
        let variables = contract["variables"].as_array().unwrap();
        let required: Vec<_> =
            variables.iter().filter(|v| v["kind"] == "required").map(|v| v["name"].as_str().unwrap()).collect();
        assert!(!required.is_empty(), "{name}");
        for variable in required {
            assert!(
                text(&output.stderr).contains(variable),
                "{name} does not name {variable}: {}",
                text(&output.stderr)
            );
        }
    }
}

#[test]
fn an_image_runs_read_only_under_any_user_and_keeps_utc() {
    for user in ["65532:65532", "123456"] {
        let container = gateway(&["--user", user, "-e", "TZ=Europe/Paris"]);
        wait_until_healthy(&container);
        let logs = docker(&["logs", &container]);
        let logs = text(&logs.stdout) + &text(&logs.stderr);
        docker_ok(&["rm", "--force", &container]);
        for complaint in ["No such file", "Permission denied", "Read-only"] {
            assert!(!logs.contains(complaint), "{user}: {logs}");
        }
        assert!(logs.contains("Z\""), "times are not in UTC: {logs}");
    }
}

#[test]
fn the_healthcheck_finds_its_service_whatever_localhost_means() {
    for bind in ["0.0.0.0", "127.0.0.1"] {
        let address = format!("BIND_ADDRESS={bind}");
        let container = gateway(&["--add-host", "localhost:::1", "-e", &address]);
        wait_until_healthy(&container);
        docker_ok(&["rm", "--force", &container]);
    }
}

#[test]
fn names_are_resolved_in_the_final_image_and_an_unknown_one_is_no_crash() {
    let container = gateway(&[]);
    wait_until_healthy(&container);
    let answer = ask(&container, "/products");
    let running = docker_ok(&["inspect", "--format", "{{.State.Running}}", &container]);
    docker_ok(&["rm", "--force", &container]);
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    assert!(!answer.contains("product:8080"), "the upstream's address leaks: {answer}");
    assert_eq!(running, "true");
}

#[test]
fn a_stop_takes_less_than_two_seconds_and_answers_the_request_that_was_under_way() {
    let container = gateway(&["-e", "DRAIN_DELAY=1s"]);
    wait_until_healthy(&container);
    let mut stream = connect(&container);
    // Half a request: the rest comes when the service is already ending.
    stream.write_all(b"GET /version HTTP/1.1\r\nHost: shop\r\n").unwrap();
    let stopping = {
        let container = container.clone();
        std::thread::spawn(move || {
            let started = Instant::now();
            docker_ok(&["stop", "--time", "10", &container]);
            started.elapsed()
        })
    };
    while !ask(&container, "/readyz").starts_with("HTTP/1.1 503") {}
    stream.write_all(b"Connection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let took = stopping.join().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn a_file_secret_is_read_by_the_images_user_and_both_forms_at_once_are_refused() {
    let image = image("user");
    let both = ["-e", "DATABASE_URL=postgres://a@b/c", "-e", "DATABASE_URL_FILE=/etc/hostname"];
    let mut arguments = vec!["run", "--rm"];
    arguments.extend(both);
    arguments.push(&image);
    let output = docker(&arguments);
    assert_eq!(output.status.code(), Some(78));
    assert!(text(&output.stderr).contains("DATABASE_URL_FILE"), "{}", text(&output.stderr));
}
