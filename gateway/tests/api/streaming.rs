//! Bodies pass as they come; nobody waits for their end.

use std::sync::Mutex;
use std::sync::mpsc;

use crate::harness::{Launch, PATIENCE, Upstream};

#[test]
fn a_response_begins_to_arrive_before_it_has_ended() {
    let (arrived, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = Upstream::start(move |connection| {
        connection.request();
        connection.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
        wait.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        connection.write("6\r\nsecond\r\n0\r\nX-T: 1\r\n\r\n");
    });
    let gateway = Launch::before(&upstream).start();
    let mut client = gateway.client();
    client.send("GET /products HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.try_receive(true).unwrap().one("transfer-encoding"), "chunked");
    assert_eq!(client.take_bytes(10), b"5\r\nfirst\r\n");
    arrived.send(()).unwrap();
    assert_eq!(client.take_bytes(16), b"6\r\nsecond\r\n0\r\n\r\n", "trailers stay behind");
}

#[test]
fn a_request_begins_to_arrive_before_it_has_ended() {
    let (arrived, wait) = mpsc::channel::<Vec<u8>>();
    let upstream = Upstream::start(move |connection| {
        let head = connection.head().unwrap();
        assert!(String::from_utf8(head).unwrap().contains("transfer-encoding: chunked"));
        while let Some(chunk) = connection.chunk() {
            let is_last = chunk.is_empty();
            arrived.send(chunk).unwrap();
            if is_last {
                connection.answer("", b"done");
            }
        }
    });
    let gateway = Launch::before(&upstream).start();
    let mut client = gateway.client();
    client.send("POST /users HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
    assert_eq!(wait.recv_timeout(PATIENCE).unwrap(), b"first");
    client.send("6\r\nsecond\r\n0\r\nX-User-Id: 1\r\n\r\n");
    assert_eq!(wait.recv_timeout(PATIENCE).unwrap(), b"second");
    assert_eq!(wait.recv_timeout(PATIENCE).unwrap(), b"");
    assert_eq!(client.receive().text(), "done");
}

#[test]
fn a_body_of_unknown_length_arrives_whatever_the_method_is() {
    let upstream = Upstream::echo();
    let gateway = Launch::before(&upstream).start();
    for method in ["GET", "OPTIONS", "DELETE", "PUT"] {
        let request =
            format!("{method} /users HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
        assert_eq!(gateway.client().ask(request).status, 200);
        let seen = upstream.next();
        assert!(seen.contains("\r\ntransfer-encoding: chunked\r\n") && seen.ends_with("\r\n\r\nok"), "{seen}");
    }
}

#[test]
fn a_large_response_arrives_whole() {
    let body = "0123456789".repeat(300_000);
    let sent = body.clone();
    let upstream = Upstream::start(move |connection| {
        while connection.request().is_some() {
            connection.answer("", sent.as_bytes());
        }
    });
    let gateway = Launch::before(&upstream).start();
    let mut client = gateway.client();
    for _ in 0..2 {
        assert!(client.ask("GET /products HTTP/1.1\r\nHost: a\r\n\r\n").body == body.as_bytes());
    }
}
