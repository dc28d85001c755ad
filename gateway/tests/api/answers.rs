//! Answers are checked as requests are, and whatever the gateway answers is a problem document with a line in the log.

use std::sync::Mutex;
use std::sync::mpsc;

use crate::harness::{Launch, PATIENCE, Upstream};

const REQUEST: &str = "GET /users HTTP/1.1\r\nHost: a\r\n\r\n";

/// Case R05 and its kind.
#[test]
fn an_answer_that_could_be_read_in_two_ways_is_a_bad_gateway() {
    for (answer, cause) in [
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "both"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "both"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", "more than one length"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 2\r\n\r\nhello", ""),
        ("HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello", ""),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "coding"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nhello", "coding"),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "coding"),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", "status allows none"),
        ("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello", "neither"),
    ] {
        let upstream = Upstream::start(move |connection| {
            if connection.request().is_some() {
                connection.write(answer);
            }
        });
        let mut gateway = Launch::before(&upstream).start();
        let response = gateway.client().ask(REQUEST);
        assert_eq!((response.status, response.problem().as_str()), (502, "/problems/bad-gateway"), "{answer}");
        let line = gateway.wait_for_line(|line| line["message"] == "an exchange failed");
        assert!(line["cause"].as_str().unwrap().contains(cause), "{answer}: {line}");
        assert_eq!(line["request_id"], response.one("x-request-id"));
    }
}

/// Case R11: what hyper refuses before any service sees it.
#[test]
fn requests_that_cannot_be_read_are_answered_like_all_others() {
    let mut gateway = Launch::before_nobody().with("HEADER_READ_TIMEOUT", "200ms").start();
    let large = format!("GET /users HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(200_000));
    for (request, status, problem) in [
        ("GET /users\r\n\r\n", 400, "/problems/bad-request"),
        ("GET /users HTTP/1.1\r\nHost a\r\n\r\n", 400, "/problems/bad-request"),
        ("\x16\x03\x01\x02", 400, "/problems/bad-request"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "/problems/bad-request"),
        (&large, 431, "/problems/request-head-too-large"),
        ("GET /users HTTP/1.1\r\nHost: a\r\n", 408, "/problems/request-timeout"),
    ] {
        let mut client = gateway.client();
        client.send_if_open(request);
        let response = client.receive();
        assert_eq!(
            (response.status, response.problem().as_str()),
            (status, problem),
            "{}",
            &request[..20.min(request.len())]
        );
        assert_eq!(response.one("connection"), "close");
        assert!(client.is_closed());
        let id = response.one("x-request-id").to_owned();
        let line = gateway.wait_for_line(|line| line["request_id"] == id.as_str());
        assert_eq!((&line["status"], &line["client"]), (&status.into(), &"127.0.0.1".into()), "{line}");
    }
}

/// Nothing but a refusal of hyper's own is put in another's place.
#[test]
fn a_refusal_after_good_answers_comes_after_them() {
    let gateway = Launch::before_nobody().start();
    let mut client = gateway.client();
    client
        .send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nPOST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert_eq!((client.receive().status, client.receive().status), (200, 405));
    let refused = client.ask("nonsense\r\n\r\n");
    assert_eq!((refused.status, refused.problem().as_str()), (400, "/problems/bad-request"));
    assert!(client.is_closed());
}

/// Case R11: a target has no fragment.
#[test]
fn a_fragment_in_a_target_is_refused_wherever_the_request_stands() {
    let upstream = Upstream::echo();
    let gateway = Launch::before(&upstream).start();
    for target in ["/orders#x", "/orders?a=b#x", "/orders#", "#", "/#/orders"] {
        let mut client = gateway.client();
        let response = client.ask(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!((response.status, response.problem().as_str()), (400, "/problems/bad-request"), "{target}");
        assert!(client.is_closed());
    }
    for first in
        ["GET /orders HTTP/1.1\r\nHost: a\r\n\r\n", "POST /orders HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n#x"]
    {
        let mut client = gateway.client();
        client.send(format!("{first}GET /orders#x HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!((client.receive().status, client.receive().status), (200, 400), "{first}");
        assert!(!upstream.next().contains('\x7f'));
    }
    assert_eq!(upstream.so_far(), Vec::<String>::new());
}

/// Case R11: the gateway's own paths ask for a host as all others do.
#[test]
fn probes_name_a_host_too() {
    let gateway = Launch::before_nobody().start();
    for path in ["/healthz", "/readyz", "/version"] {
        for host in ["", "Host: a\r\nHost: a\r\n", "Host: a/b\r\n", "Host:\r\n"] {
            let response = gateway.client().ask(format!("GET {path} HTTP/1.1\r\n{host}\r\n"));
            assert_eq!((response.status, response.problem().as_str()), (400, "/problems/bad-host"), "{path} {host}");
        }
        for target in [format!("http://b{path}"), format!("http://a@b{path}")] {
            let response = gateway.client().ask(format!("GET {target} HTTP/1.1\r\nHost: b\r\n\r\n"));
            assert_eq!(
                (response.status, response.problem().as_str()),
                (400, "/problems/bad-request-target"),
                "{target}"
            );
        }
        assert_eq!(gateway.client().ask(format!("GET {path} HTTP/1.0\r\n\r\n")).status, 200);
    }
}

/// Case R11: who has said all that there is to say still wants an answer.
#[test]
fn a_client_that_closes_its_sending_side_gets_its_answer() {
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = Upstream::start(move |connection| {
        while let Some(request) = connection.request() {
            wait.lock().unwrap().recv_timeout(PATIENCE).unwrap();
            connection.answer("", &request);
        }
    });
    let gateway = Launch::before(&upstream).start();
    for request in [REQUEST, "POST /orders HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok"] {
        let mut client = gateway.client();
        client.send(request).half_close();
        upstream.next();
        go_on.send(()).unwrap();
        assert_eq!(client.receive().status, 200);
        assert!(client.is_closed());
    }
}

/// Case R11: so does one that has said half of it.
#[test]
fn a_client_that_closes_its_sending_side_within_a_head_is_told() {
    let gateway = Launch::before_nobody().start();
    for request in ["G", "GET /healthz HTTP/1.1\r\nHost: a\r\n", "\r\nGET /healthz HTTP/1.1\r\nHost: a\r\n"] {
        let mut client = gateway.client();
        client.send(request).half_close();
        let response = client.receive();
        assert_eq!((response.status, response.problem().as_str()), (400, "/problems/bad-request"), "{request:?}");
        assert!(client.is_closed());
    }
    for nothing in ["", "\r\n"] {
        let mut client = gateway.client();
        client.send(nothing).half_close();
        assert!(client.is_closed(), "{nothing:?}");
    }
}

/// Case R08: a bare LF where trailers could begin makes hyper take the next request for trailers.
#[test]
fn a_chunked_body_ends_with_an_empty_line_and_nothing_else() {
    let upstream = Upstream::echo();
    let gateway = Launch::before(&upstream).start();
    let post = "POST /orders HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let next = "GET /users/swallowed HTTP/1.1\r\nHost: a\r\n\r\n";
    for end in ["0\r\n\n", "3\r\nabc\r\n0\r\n\n"] {
        let mut client = gateway.client();
        client.send(format!("{post}{end}{next}"));
        let response = client.receive();
        assert_eq!((response.status, response.problem().as_str()), (400, "/problems/broken-body"), "{end:?}");
        assert!(client.is_closed());
    }
    assert_eq!(upstream.so_far(), Vec::<String>::new());
    // Behind real trailers the same trick cannot be seen, so that no request after them is read.
    for end in ["0\r\nX: 1\r\n\r\n", "0\r\nX: 1\r\n\n"] {
        let mut client = gateway.client();
        client.send(format!("{post}{end}{next}"));
        let response = client.receive();
        assert_eq!((response.status, response.one("connection")), (200, "close"), "{end:?}");
        assert!(client.is_closed());
        assert!(upstream.next().starts_with("POST /orders "));
    }
    assert_eq!(upstream.so_far(), Vec::<String>::new(), "what followed was taken for a request");
}

/// Case R08, where the gateway answers by itself and reads no body.
#[test]
fn a_chunked_body_that_nobody_reads_is_the_last_thing_on_its_connection() {
    let gateway = Launch::before_nobody().start();
    let next = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    for (path, status) in [("/nowhere", 404), ("/openapi.json", 405), ("/healthz", 405)] {
        for end in ["0\r\n\r\n", "0\r\n\n", "0\r\nX: 1\r\n\r\n", "0\r\nX: 1\r\n\n"] {
            let mut client = gateway.client();
            let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
            client.send(format!("{head}3\r\nabc\r\n{end}{next}"));
            let response = client.receive();
            assert_eq!((response.status, response.one("connection")), (status, "close"), "{path} {end:?}");
            assert!(client.is_closed(), "{path} {end:?}");
        }
        // The control: with a length, the connection goes on.
        let mut client = gateway.client();
        client.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc{next}"));
        assert_eq!((client.receive().status, client.receive().status), (status, 200), "{path}");
    }
}

/// Case R09.
#[test]
fn a_foreign_program_on_the_port_is_unhealthy() {
    let foreign = |answer: &'static str| {
        let program = Upstream::start(move |connection| {
            connection.request();
            connection.write(answer);
        });
        let port = program.address.port().to_string();
        Launch::before_nobody().with("PORT", port).run_command(&["healthcheck"])
    };
    for answer in [
        "SSH-2.0 200 x\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n{\"status\":\"alive\",\"service\":\"mini-order\"}",
    ] {
        let output = foreign(answer);
        assert_eq!(output.status.code(), Some(1), "{answer}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("unhealthy"), "{output:?}");
    }
    // The same answer from the right service would do.
    let own =
        foreign("HTTP/1.1 200 OK\r\nContent-Length: 42\r\n\r\n{\"status\":\"alive\",\"service\":\"mini-gateway\"}");
    assert!(own.status.success(), "{own:?}");
}
