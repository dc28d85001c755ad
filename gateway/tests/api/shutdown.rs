//! The gateway ends in order: what is under way is finished first, whether or not its client is still there.

use std::sync::Mutex;
use std::sync::mpsc;
use std::time::Instant;

use crate::harness::{Launch, PATIENCE, Upstream};

#[test]
fn requests_under_way_are_answered_and_their_writes_finished() {
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let (report, done) = mpsc::channel();
    let upstream = Upstream::start(move |connection| {
        while let Some(request) = connection.request() {
            wait.lock().unwrap().recv_timeout(PATIENCE).unwrap();
            connection.answer("", &request);
            report.send(()).unwrap();
        }
    });
    let mut gateway = Launch::before(&upstream).with("DRAIN_DELAY", "10ms").with("LOG_LEVEL", "debug").start();
    let mut stays = gateway.client();
    stays.send("GET /users HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut leaves = gateway.client();
    leaves.send("POST /orders HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    upstream.next();
    upstream.next();
    drop(leaves);
    gateway.wait_for_line(|line| line["message"] == "a connection ended early");

    gateway.terminate();
    gateway.wait_for_line(|line| line["message"].as_str().is_some_and(|text| text.starts_with("draining")));
    go_on.send(()).unwrap();
    go_on.send(()).unwrap();
    assert_eq!(stays.receive().status, 200);
    done.recv_timeout(PATIENCE).unwrap();
    done.recv_timeout(PATIENCE).unwrap();
    let (status, lines) = gateway.end();
    assert_eq!(status.code(), Some(0), "{lines:?}");
    assert!(lines.iter().any(|line| line["message"] == "stopped"), "{lines:?}");
}

#[test]
fn a_draining_gateway_serves_but_is_not_ready() {
    let upstream = Upstream::echo();
    let mut gateway = Launch::before(&upstream).with("DRAIN_DELAY", "1m").start();
    gateway.terminate();
    gateway.wait_for_line(|line| line["message"].as_str().is_some_and(|text| text.starts_with("draining")));
    let mut client = gateway.client();
    // The line is written a moment before readiness changes.
    let begin = Instant::now();
    while client.ask("GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n").status != 503 {
        assert!(begin.elapsed() < PATIENCE, "the gateway is still ready");
    }
    assert_eq!(client.ask("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
    assert_eq!(client.ask("GET /users HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
    gateway.terminate();
    assert_eq!(gateway.end().0.code(), Some(143));
}
