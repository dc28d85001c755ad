//! The connections to the services that are kept: which are used again, how many, how long, and what happens when they end.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Barrier, Mutex};

use crate::harness::{Client, Gateway, Launch, PATIENCE, Upstream};

const ASK: &str = "GET /users HTTP/1.1\r\nHost: a\r\n\r\n";

/// An upstream that names the connection in each answer and tells when one of them has ended.
fn numbered(close_after: Option<usize>) -> (Upstream, Receiver<usize>) {
    let count = AtomicUsize::new(0);
    let (sender, ended): (Sender<usize>, _) = mpsc::channel();
    let sender = Mutex::new(sender);
    let upstream = Upstream::start(move |connection| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        while connection.request().is_some() {
            connection.answer("", number.to_string().as_bytes());
            if close_after == Some(connection.requests) {
                connection.close();
                break;
            }
        }
        let _ = sender.lock().unwrap().send(number);
    });
    (upstream, ended)
}

fn number(client: &mut Client) -> usize {
    let response = client.ask(ASK);
    assert_eq!(response.status, 200, "{response:?}");
    response.text().parse().unwrap()
}

/// A client that has the same thread of the gateway behind it for each of its requests.
fn asked(gateway: &Gateway, requests: usize) -> Vec<usize> {
    let mut client = gateway.client();
    (0..requests).map(|_| number(&mut client)).collect()
}

#[test]
fn one_client_after_the_other_uses_the_same_connection() {
    let (upstream, _ended) = numbered(None);
    let gateway = Launch::before(&upstream).start();
    let seen: BTreeSet<_> = asked(&gateway, 50).into_iter().collect();
    assert_eq!(seen.len(), 1, "{seen:?}");
}

#[test]
fn an_unused_connection_is_closed_after_its_time() {
    let (upstream, ended) = numbered(None);
    let gateway = Launch::before(&upstream).with("UPSTREAM_IDLE_TIMEOUT", "200ms").start();
    let mut client = gateway.client();
    let first = number(&mut client);
    assert_eq!(ended.recv_timeout(PATIENCE).expect("it is closed without a request"), first);
    assert_ne!(number(&mut client), first);
}

#[test]
fn a_connection_that_the_service_has_closed_is_not_used_for_a_write() {
    let (upstream, ended) = numbered(Some(1));
    let gateway = Launch::before(&upstream).start();
    let mut client = gateway.client();
    let first = number(&mut client);
    assert_eq!(ended.recv_timeout(PATIENCE).unwrap(), first);
    // Once the gateway has answered anything else it has seen the end of the connection too.
    for _ in 0..3 {
        assert_eq!(client.ask("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
    }
    let response = client.ask("POST /users HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
    assert_eq!(response.status, 200, "{response:?}");
}

/// A place is free as soon as an answer has begun, so more connections than places can be in use; they are not all kept.
#[test]
fn no_more_connections_are_kept_than_requests_may_be_under_way() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let together = Arc::new(Barrier::new(2 * threads + 1));
    let (sender, ended) = mpsc::channel();
    let (sender, all_begun) = (Mutex::new(sender), Arc::clone(&together));
    let upstream = Upstream::start(move |connection| {
        connection.request();
        connection.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na");
        all_begun.wait();
        connection.write("b");
        let _ = connection.wait_for_close();
        let _ = sender.lock().unwrap().send(());
    });
    let launch = Launch::before(&upstream).with("UPSTREAM_MAX_REQUESTS", "1").with("UPSTREAM_IDLE_TIMEOUT", "1h");
    let gateway = launch.start();
    let mut clients: Vec<_> = (0..2 * threads).map(|_| gateway.client()).collect();
    for client in &mut clients {
        client.send(ASK);
        assert_eq!(client.try_receive(true).unwrap().status, 200);
    }
    together.wait();
    for client in &mut clients {
        assert_eq!(client.take_bytes(2), b"ab");
    }
    // Each thread of the gateway keeps one.
    for _ in 0..threads {
        ended.recv_timeout(PATIENCE).expect("a connection beyond the limit is closed");
    }
}

#[test]
fn a_connection_whose_answer_nobody_reads_any_more_is_closed() {
    let (sender, ended) = mpsc::channel();
    let sender = Mutex::new(sender);
    let upstream = Upstream::start(move |connection| {
        connection.request();
        connection.write("HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\nhalf");
        let _ = connection.wait_for_close();
        let _ = sender.lock().unwrap().send(());
    });
    let gateway = Launch::before(&upstream).with("UPSTREAM_IDLE_TIMEOUT", "1h").with("STALL_TIMEOUT", "1h").start();
    let mut client = gateway.client();
    client.send(ASK);
    assert_eq!(client.try_receive(true).unwrap().status, 200);
    drop(client);
    ended.recv_timeout(PATIENCE).expect("it is closed");
}
