//! The gateway's own three paths.

use crate::harness::{Launch, Upstream};

#[test]
fn a_gateway_without_upstreams_is_alive_and_ready() {
    let gateway = Launch::before_nobody().start();
    let mut client = gateway.client();
    for path in ["/healthz", "/readyz"] {
        assert_eq!(client.ask(format!("GET {path} HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n")).status, 200, "{path}");
    }
    let version = client.ask("GET /version HTTP/1.1\r\nHost: a\r\n\r\n");
    let document: serde_json::Value = serde_json::from_slice(&version.body).unwrap();
    assert_eq!(document["service"], "mini-gateway");
    client.send("HEAD /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.try_receive(true).unwrap().status, 200);
    let refused = client.ask("POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert_eq!((refused.status, refused.one("allow")), (405, "GET, HEAD"));
}

#[test]
fn probes_pass_whatever_the_rate_limit_and_the_hosts_are() {
    let upstream = Upstream::echo();
    let launch = Launch::before(&upstream).with("RATE_LIMIT_PER_SECOND", "1").with("RATE_LIMIT_BURST", "1");
    let gateway = launch.with("ALLOWED_HOSTS", "shop.test").start();
    let mut client = gateway.client();
    for _ in 0..10 {
        assert_eq!(client.ask("GET /healthz HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n").status, 200);
    }
}

#[test]
fn every_answer_has_the_request_id_that_came_or_a_new_one() {
    let gateway = Launch::before_nobody().start();
    let mut client = gateway.client();
    for path in ["/healthz", "/nowhere"] {
        let response = client.ask(format!("GET {path} HTTP/1.1\r\nHost: a\r\nX-Request-Id: abc-DEF_123\r\n\r\n"));
        assert_eq!(response.one("x-request-id"), "abc-DEF_123");
    }
    for bad in ["a b", "a\"b", "", &"x".repeat(65)] {
        let response = client.ask(format!("GET /nowhere HTTP/1.1\r\nHost: a\r\nX-Request-Id: {bad}\r\n\r\n"));
        assert_eq!(response.one("x-request-id").len(), 36, "{bad}");
    }
    let response = client.ask("GET /nowhere HTTP/1.1\r\nHost: a\r\nX-Request-Id: a\r\nX-Request-Id: b\r\n\r\n");
    assert_eq!(response.one("x-request-id").len(), 36);
}
