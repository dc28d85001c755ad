//! Case J08: a client that leaves never cuts off what it has begun to write.

use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver};

use crate::harness::{Gateway, Launch, PATIENCE, Upstream};

/// Waits with each answer until it is told to go on, then reports whether the gateway still held the connection.
fn waits_for(go_on: Receiver<()>) -> (Upstream, Receiver<bool>) {
    let go_on = Mutex::new(go_on);
    let (report, was_open) = mpsc::channel();
    let upstream = Upstream::start(move |connection| {
        while let Some(request) = connection.request() {
            go_on.lock().unwrap().recv_timeout(PATIENCE).unwrap();
            report.send(connection.is_open()).unwrap();
            connection.answer("", &request);
        }
    });
    (upstream, was_open)
}

fn leave_after(gateway: &Gateway, upstream: &Upstream, request: &str) {
    let mut client = gateway.client();
    client.send(request);
    upstream.next();
}

#[test]
fn a_write_goes_on_when_its_client_has_left() {
    let (go_on, wait) = mpsc::channel();
    let (upstream, was_open) = waits_for(wait);
    let mut gateway = Launch::before(&upstream).start();
    for request in [
        "POST /orders HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok",
        "PATCH /products/1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "DELETE /orders/1 HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        leave_after(&gateway, &upstream, request);
        go_on.send(()).unwrap();
        assert!(was_open.recv_timeout(PATIENCE).unwrap(), "{request}");
        gateway.wait_for_line(|line| line["message"] == "request" && line["status"] == 200);
    }
}

#[test]
fn half_a_write_is_never_passed_off_as_a_whole_one() {
    let upstream = Upstream::echo();
    let mut gateway = Launch::before(&upstream).start();
    for framing in ["Content-Length: 10\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"] {
        let mut client = gateway.client();
        client.send(format!("POST /orders HTTP/1.1\r\nHost: a\r\n{framing}"));
        drop(client);
        gateway.wait_for_line(|line| line["message"] == "an exchange failed");
    }
    assert_eq!(upstream.so_far(), Vec::<String>::new());
}

#[test]
fn many_clients_that_leave_take_nothing_with_them() {
    let upstream = Upstream::echo();
    let gateway =
        Launch::before(&upstream).with("RATE_LIMIT_BURST", "10000").with("MAX_CONNECTIONS_PER_CLIENT", "1000").start();
    for number in 0..200 {
        let request = format!("POST /orders HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n{number:03}");
        gateway.client().send(request);
    }
    let mut bodies: Vec<String> =
        (0..200).map(|_| upstream.next()).map(|seen| seen[seen.len() - 3..].to_owned()).collect();
    bodies.sort();
    assert_eq!(bodies, (0..200).map(|number| format!("{number:03}")).collect::<Vec<_>>());
    assert_eq!(gateway.client().ask("GET /users HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
}
