//! Everything has a limit, and each limit its own answer.

use std::sync::mpsc;
use std::sync::{Mutex, PoisonError};

use crate::harness::{Launch, Upstream};

#[test]
fn a_body_that_is_announced_as_too_large_is_refused_before_it_is_sent() {
    let upstream = Upstream::echo();
    let gateway = Launch::before(&upstream).with("REQUEST_BODY_LIMIT", "1000").start();
    let response = gateway.client().ask("POST /users HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n");
    assert_eq!((response.status, response.problem().as_str()), (413, "/problems/payload-too-large"));
    let response = gateway
        .client()
        .ask("POST /users HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 99999999999999999999\r\n\r\n");
    assert!([400, 413].contains(&response.status), "{response:?}");
    assert_eq!(upstream.so_far(), Vec::<String>::new());
    let body = "x".repeat(1000);
    let request = format!("POST /users HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{body}");
    assert_eq!(gateway.client().ask(request).status, 200);
    assert!(upstream.next().ends_with(&body));
}

#[test]
fn a_client_that_sends_its_whole_body_regardless_can_read_the_refusal() {
    let gateway = Launch::before_nobody().start();
    let body = "x".repeat(200_000);
    for _ in 0..20 {
        let mut client = gateway.client();
        client.send_if_open(format!("POST /users HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        assert_eq!(client.receive().status, 413);
    }
}

#[test]
fn a_body_that_is_not_announced_is_counted() {
    let upstream = Upstream::echo();
    let gateway = Launch::before(&upstream).with("REQUEST_BODY_LIMIT", "1000").start();
    let mut client = gateway.client();
    client.send("POST /users HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..3 {
        client.send_if_open(format!("190\r\n{}\r\n", "x".repeat(400)));
    }
    client.send_if_open("0\r\n\r\n");
    let response = client.receive();
    assert_eq!((response.status, response.problem().as_str()), (413, "/problems/payload-too-large"));
    assert_eq!(upstream.so_far(), Vec::<String>::new(), "the upstream never had the whole request");
}

#[test]
fn heads_have_limits() {
    let upstream = Upstream::echo();
    let gateway = Launch::before(&upstream).start();
    let ask = |head: String| gateway.client().ask(format!("{head}\r\n\r\n")).status;
    let get = "GET /users HTTP/1.1\r\nHost: a\r\n";
    assert_eq!(ask(format!("{get}X: {}", "x".repeat(40_000))), 431);
    assert_eq!(ask(format!("{get}{}Y: 1", "X: 1\r\n".repeat(200))), 431);
    assert_eq!(ask(format!("GET /users?{} HTTP/1.1\r\nHost: a", "x".repeat(4100))), 414);
    assert_eq!(upstream.so_far(), Vec::<String>::new());
    assert_eq!(ask(format!("{get}X: {}", "x".repeat(16_000))), 200);
    assert_eq!(ask(format!("GET /users?{} HTTP/1.1\r\nHost: a", "x".repeat(4000))), 200);
}

#[test]
fn slow_heads_and_idle_connections_are_closed() {
    let upstream = Upstream::echo();
    let gateway = Launch::before(&upstream).with("HEADER_READ_TIMEOUT", "200ms").start();
    assert!(gateway.client().is_closed());
    let mut client = gateway.client();
    client.send("GET /users HTTP/1.1\r\nHost: a\r\n");
    assert!(client.try_receive(false).is_none_or(|response| response.status == 408));
    assert!(client.is_closed());
    let mut client = gateway.client();
    assert_eq!(client.ask("GET /users HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
    assert!(client.is_closed());
}

#[test]
fn a_slow_body_is_the_fault_of_the_client() {
    let upstream = Upstream::echo();
    let gateway = Launch::before(&upstream).with("REQUEST_TIMEOUT", "300ms").start();
    for framing in ["Content-Length: 10\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"] {
        for method in ["POST", "GET"] {
            let mut client = gateway.client();
            let response = client.ask(format!("{method} /users HTTP/1.1\r\nHost: a\r\n{framing}"));
            assert_eq!((response.status, response.problem().as_str()), (408, "/problems/request-timeout"), "{framing}");
            assert!(client.is_closed());
        }
    }
    assert_eq!(upstream.so_far(), Vec::<String>::new(), "the upstream never had a whole request");
}

#[test]
fn a_body_that_stands_still_is_refused_long_before_the_time_for_the_request_is_over() {
    let upstream = Upstream::echo();
    let gateway = Launch::before(&upstream).with("STALL_TIMEOUT", "200ms").with("REQUEST_TIMEOUT", "5m").start();
    for framing in ["Content-Length: 10\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"] {
        let mut client = gateway.client();
        let response = client.ask(format!("POST /users HTTP/1.1\r\nHost: a\r\n{framing}"));
        assert_eq!((response.status, response.problem().as_str()), (408, "/problems/request-timeout"), "{framing}");
        assert!(client.is_closed());
    }
    assert_eq!(upstream.so_far(), Vec::<String>::new(), "the upstream never had a whole request");
}

#[test]
fn an_expected_continue_is_answered_by_the_gateway() {
    let upstream = Upstream::echo();
    let gateway = Launch::before(&upstream).start();
    let mut client = gateway.client();
    client.send("POST /users HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    assert_eq!(client.receive().status, 100);
    assert_eq!(client.ask("ok").status, 200);
    assert!(!upstream.next().contains("expect"));
    let response = gateway.client().ask("GET /users HTTP/1.1\r\nHost: a\r\nExpect: miracles\r\n\r\n");
    assert_eq!(response.status, 417);
}

#[test]
fn each_client_has_its_own_rate() {
    let upstream = Upstream::echo();
    let launch = Launch::before(&upstream).with("RATE_LIMIT_PER_SECOND", "1").with("RATE_LIMIT_BURST", "3");
    let gateway = launch.with("TRUSTED_PROXIES", "127.0.0.1").start();
    let ask =
        |from: &str| gateway.client().ask(format!("GET /users HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {from}\r\n\r\n"));
    let answers: Vec<_> = (0..20).map(|_| ask("203.0.113.7")).collect();
    let refused = answers.iter().find(|answer| answer.status == 429).expect("a twentieth request passed");
    assert_eq!(refused.problem(), "/problems/too-many-requests");
    assert_eq!(refused.one("retry-after"), "1");
    assert!(answers[..3].iter().all(|answer| answer.status == 200));
    assert_eq!(ask("203.0.113.8").status, 200);
    assert_eq!(ask("2001:db8::1").status, 200);
}

#[test]
fn one_busy_upstream_does_not_take_the_places_of_the_others() {
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let busy = Upstream::start(move |connection| {
        while let Some(request) = connection.request() {
            let _ = released.lock().unwrap_or_else(PoisonError::into_inner).recv();
            connection.answer("", &request);
        }
    });
    let free = Upstream::echo();
    let launch = Launch::before(&free).with("ORDER_URL", busy.url()).with("UPSTREAM_MAX_REQUESTS", "1");
    let gateway = launch.start();
    let order = "GET /orders HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut first = gateway.client();
    first.send(order);
    busy.next();
    let refused = gateway.client().ask(order);
    assert_eq!((refused.status, refused.problem().as_str()), (503, "/problems/service-unavailable"));
    assert_eq!(refused.one("retry-after"), "1");
    assert_eq!(gateway.client().ask("GET /users HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
    release.send(()).unwrap();
    assert_eq!(first.receive().status, 200);
    release.send(()).unwrap();
    assert_eq!(gateway.client().ask(order).status, 200);
}
