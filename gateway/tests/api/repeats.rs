//! A request is sent again only where a repeat is harmless.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::{Launch, Upstream};

/// Answers the first request of each connection and closes the connection when the second one has come.
fn closes_on_the_second_request() -> Upstream {
    Upstream::start(|connection| {
        while let Some(request) = connection.request() {
            if connection.requests == 2 {
                return;
            }
            connection.answer("", &request);
        }
    })
}

const WARM_UP: &str = "GET /users/first HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn reading_is_repeated_when_a_kept_connection_was_lost() {
    for (method, body_length) in [("GET", None), ("HEAD", Some(0))] {
        let upstream = closes_on_the_second_request();
        let gateway = Launch::before(&upstream).start();
        let mut client = gateway.client();
        assert_eq!(client.ask(WARM_UP).status, 200);
        client.send(format!("{method} /users/second HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(client.try_receive(body_length.is_some()).unwrap().status, 200);
        let seen = upstream.so_far();
        assert_eq!(seen.len(), 3, "{seen:?}");
        assert_eq!(seen[1], seen[2], "the repeat is the same request");
    }
}

#[test]
fn writing_and_reading_with_a_body_are_not_repeated() {
    for method in ["POST", "PUT", "PATCH", "DELETE", "GET"] {
        let upstream = closes_on_the_second_request();
        let gateway = Launch::before(&upstream).start();
        let mut client = gateway.client();
        assert_eq!(client.ask(WARM_UP).status, 200);
        let response = client.ask(format!("{method} /users/second HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"));
        assert_eq!((response.status, response.problem().as_str()), (502, "/problems/bad-gateway"), "{method}");
        assert_eq!(upstream.so_far().len(), 2, "{method}");
    }
}

#[test]
fn writing_without_a_body_is_not_repeated() {
    let upstream = closes_on_the_second_request();
    let gateway = Launch::before(&upstream).start();
    let mut client = gateway.client();
    assert_eq!(client.ask(WARM_UP).status, 200);
    assert_eq!(client.ask("DELETE /users/second HTTP/1.1\r\nHost: a\r\n\r\n").status, 502);
    assert_eq!(upstream.so_far().len(), 2);
}

#[test]
fn reading_is_repeated_once_and_not_for_ever() {
    let upstream = Upstream::start(|connection| {
        connection.request();
    });
    let gateway = Launch::before(&upstream).start();
    assert_eq!(gateway.client().ask(WARM_UP).status, 502);
    assert_eq!(upstream.so_far().len(), 2);
}

#[test]
fn a_broken_answer_is_not_repeated() {
    let upstream = Upstream::constant("nonsense\r\n\r\n");
    let gateway = Launch::before(&upstream).start();
    assert_eq!(gateway.client().ask(WARM_UP).status, 502);
    assert_eq!(upstream.so_far().len(), 1);
}

/// The upstream closes each connection after one answer without saying so. Whether the gateway has noticed by the time
/// of the next request is up to the system, so both outcomes are right; a second copy is not.
#[test]
fn a_write_arrives_once_at_most_however_connections_end() {
    static SEEN: AtomicUsize = AtomicUsize::new(0);
    let upstream = Upstream::start(|connection| {
        if let Some(request) = connection.request() {
            SEEN.fetch_add(1, Ordering::Relaxed);
            connection.answer("", &request);
        }
    });
    let gateway = Launch::before(&upstream).start();
    let mut client = gateway.client();
    let mut answered = 0;
    for number in 0..100 {
        let body = format!("{number:03}");
        let response = client.ask(format!("POST /orders HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n{body}"));
        assert!([200, 502].contains(&response.status), "{response:?}");
        answered += usize::from(response.status == 200);
    }
    let seen = upstream.so_far();
    assert_eq!(seen.len(), SEEN.load(Ordering::Relaxed));
    assert_eq!(seen.len(), answered);
    for number in 0..100 {
        let copies = seen.iter().filter(|request| request.ends_with(&format!("\r\n\r\n{number:03}"))).count();
        assert!(copies <= 1, "{number} arrived {copies} times");
    }
}
