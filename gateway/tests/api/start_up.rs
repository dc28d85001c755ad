//! What the gateway makes of its environment.

use std::net::TcpListener;

use crate::harness::{Launch, Upstream};

#[test]
fn names_that_a_cluster_or_a_shell_sets_change_nothing() {
    let upstream = Upstream::echo();
    let launch = Launch::before(&upstream)
        .with("GATEWAY_PORT", "tcp://10.43.1.7:8080")
        .with("USER_PORT", "tcp://10.43.1.8:8080")
        .with("ORDER_SERVICE_HOST", "10.0.0.1")
        .with("USER", "root")
        .with("HTTP_PROXY", "http://127.0.0.1:1")
        .with("http_proxy", "http://127.0.0.1:1");
    let gateway = launch.start();
    assert_eq!(gateway.client().ask("GET /users HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
}

#[test]
fn a_service_link_as_port_is_refused_with_its_likely_cause() {
    let output = Launch::before_nobody().with("PORT", "tcp://10.43.1.7:8080").run_to_end();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(complaint.contains("PORT is malformed") && complaint.contains("enableServiceLinks"), "{complaint}");
    assert!(!complaint.contains("10.43.1.7"), "{complaint}");
}

#[test]
fn an_upstream_that_cannot_be_used_is_a_configuration_error() {
    for (url, reason) in [
        ("https://user:8443", "without TLS"),
        ("http://user:8080/api", "path"),
        ("http://user:8080/?a=b", "path"),
        ("http://name:hidden@user:8080", "user information"),
        ("user:8080", "is malformed"),
        ("http://", "is malformed"),
    ] {
        let output = Launch::before_nobody().with("USER_URL", url).with("TRUSTED_PROXIES", "10.0.0.0/99").run_to_end();
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{url}: {complaint}");
        assert!(complaint.contains("USER_URL is malformed") && complaint.contains(reason), "{url}: {complaint}");
        assert!(complaint.contains("TRUSTED_PROXIES is malformed"), "{complaint}");
        assert!(!complaint.contains("hidden") && !complaint.contains("10.0.0.0/99"), "{complaint}");
    }
}

#[test]
fn a_port_that_is_taken_is_not_shared() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = Launch::before_nobody().with("PORT", port).run_to_end();
    assert_eq!(output.status.code(), Some(1));

    let first = Launch::before_nobody().start();
    let output = Launch::before_nobody().with("PORT", first.address.port().to_string()).run_to_end();
    assert_eq!(output.status.code(), Some(1));
}
