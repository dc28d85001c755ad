//! Case J08: what is wrong with an upstream is told apart for the client and explained in the log only.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::harness::{Launch, Upstream};

const REQUEST: &str = "GET /users HTTP/1.1\r\nHost: a\r\n\r\n";

/// Asks and checks that the answer is a problem that says nothing about the upstream, while the log has the cause.
fn check(launch: Launch, hidden: &str, status: u16, problem: &str, cause: &str) {
    let mut gateway = launch.start();
    let response = gateway.client().ask(REQUEST);
    assert_eq!((response.status, response.problem().as_str()), (status, problem));
    assert!(!format!("{response:?}").contains(hidden), "{response:?}");
    let line = gateway.wait_for_line(|line| line["message"] == "an exchange failed");
    assert!(line["cause"].as_str().unwrap().contains(cause), "{line}");
    assert_eq!(line["request_id"], response.one("x-request-id"));
    assert_eq!(gateway.client().ask("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
}

#[test]
fn a_refused_connection_is_a_bad_gateway() {
    check(Launch::before_nobody(), "127.0.0.1", 502, "/problems/bad-gateway", "refused");
}

#[test]
fn an_unknown_name_is_a_bad_gateway() {
    let launch = Launch::before_url("http://no-such-service.invalid:8080");
    check(launch, "no-such-service", 502, "/problems/bad-gateway", "dns");
}

#[test]
fn an_upstream_that_never_answers_is_a_gateway_timeout() {
    let upstream = Upstream::start(|connection| {
        connection.request();
        connection.wait_for_close();
    });
    let begin = Instant::now();
    let launch = Launch::before(&upstream).with("UPSTREAM_TIMEOUT", "300ms");
    check(launch, "127.0.0.1", 504, "/problems/gateway-timeout", "in time");
    assert!(begin.elapsed() >= Duration::from_millis(300));
}

#[test]
fn an_upstream_that_never_accepts_is_a_gateway_timeout() {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    // With its queue full the system answers no further attempt, as if the address led nowhere.
    let patience = Duration::from_millis(100);
    let queued: Vec<_> = std::iter::from_fn(|| TcpStream::connect_timeout(&address, patience).ok()).take(64).collect();
    assert!((1..64).contains(&queued.len()), "the queue took {}", queued.len());
    let launch = Launch::before_url(&format!("http://{address}")).with("UPSTREAM_CONNECT_TIMEOUT", "300ms");
    check(launch, "127.0.0.1", 504, "/problems/gateway-timeout", "connect");
}

#[test]
fn an_answer_that_is_not_http_is_a_bad_gateway() {
    for nonsense in ["SSH-2.0-x\r\n\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP/1.1 200 OK\r\nBad Header: x\r\n\r\n"] {
        let upstream = Upstream::constant(nonsense);
        check(Launch::before(&upstream), "127.0.0.1", 502, "/problems/bad-gateway", "pars");
    }
    let endless = Upstream::start(|connection| {
        connection.request();
        connection.write(format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(200_000)));
        connection.wait_for_close();
    });
    check(Launch::before(&endless), "127.0.0.1", 502, "/problems/bad-gateway", "too large");
}

#[test]
fn a_body_that_is_cut_off_is_never_completed() {
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let upstream = Upstream::start(move |connection| {
            connection.request();
            connection.write(head);
        });
        let gateway = Launch::before(&upstream).start();
        let mut client = gateway.client();
        client.send(REQUEST);
        let response = client.try_receive(true).unwrap();
        assert_eq!(response.status, 200);
        let is_chunked = !response.all("transfer-encoding").is_empty();
        let sent = client.take_bytes(if is_chunked { "4\r\nhalf\r\n".len() } else { "half".len() });
        assert!(String::from_utf8(sent).unwrap().contains("half"));
        assert!(client.is_closed(), "the end of the body was made up");
    }
}

#[test]
fn a_body_that_stalls_ends_with_the_time_for_the_request() {
    let upstream = Upstream::start(|connection| {
        connection.request();
        connection.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
        connection.wait_for_close();
    });
    let gateway = Launch::before(&upstream).with("REQUEST_TIMEOUT", "300ms").start();
    let mut client = gateway.client();
    client.send(REQUEST);
    assert_eq!(client.try_receive(true).unwrap().status, 200);
    assert_eq!(client.take_bytes(4), b"half");
    assert!(client.is_closed());
}
