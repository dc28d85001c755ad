//! The gateway ends in order: what is under way is finished first, whether or not its client is still there.

use std::sync::Mutex;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use crate::harness::{Client, Launch, PATIENCE, Upstream};

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
    let mut gateway = Launch::before(&upstream).with("DRAIN_DELAY", "10ms").start();
    let mut stays = gateway.client();
    stays.send("GET /users HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut leaves = gateway.client();
    leaves.send("POST /orders HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    upstream.next();
    upstream.next();
    drop(leaves);

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
    let ask = |path: &str| gateway.client().ask(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
    // The line is written a moment before readiness changes.
    let begin = Instant::now();
    while ask("/readyz").status != 503 {
        assert!(begin.elapsed() < PATIENCE, "the gateway is still ready");
    }
    for path in ["/healthz", "/users"] {
        let response = ask(path);
        assert_eq!((response.status, response.one("connection")), (200, "close"), "{path}");
    }
    gateway.terminate();
    assert_eq!(gateway.end().0.code(), Some(143));
}

/// Case R10: a client that keeps its connection, and opens another one after `Connection: close`, loses no request.
#[test]
fn a_roll_out_loses_no_request_on_kept_connections() {
    const CLIENTS: usize = 8;
    let upstream = Upstream::echo();
    let launch =
        || Launch::before(&upstream).with("RATE_LIMIT_PER_SECOND", "1000000").with("RATE_LIMIT_BURST", "1000000");
    let (mut old, new) = (launch().with("DRAIN_DELAY", "2s").start(), launch().start());
    let (old_address, new_address) = (old.address, new.address);
    let (arrived, all_arrived) = mpsc::channel();
    let requests = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let arrived = arrived.clone();
                scope.spawn(move || {
                    let (mut client, mut is_on_old, mut requests) = (Client::connect(old_address), true, 0);
                    let request = match number % 2 {
                        0 => "GET /products HTTP/1.1\r\nHost: a\r\n\r\n",
                        _ => "POST /orders HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok",
                    };
                    // On the new gateway for a while as well, so that the old one is gone before all have ended.
                    for _ in 0..200 {
                        while is_on_old {
                            let response = client.ask(request);
                            assert_eq!(response.status, 200);
                            requests += 1;
                            if requests == 20 {
                                arrived.send(()).unwrap();
                            }
                            if response.all("connection") == ["close"] {
                                (client, is_on_old) = (Client::connect(new_address), false);
                            }
                        }
                        assert_eq!(client.ask(request).status, 200);
                        requests += 1;
                    }
                    requests
                })
            })
            .collect();
        for _ in 0..CLIENTS {
            all_arrived.recv_timeout(PATIENCE).unwrap();
        }
        old.terminate();
        old.wait_for_line(|line| line["message"] == "stopped");
        clients.into_iter().map(|client| client.join().unwrap()).sum::<usize>()
    });
    assert_eq!(old.end().0.code(), Some(0));
    assert!(requests >= CLIENTS * 220, "{requests}");
}
