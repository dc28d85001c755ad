//! Connections, and the way a service ends, over real sockets.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use hyper_util::service::TowerToHyperService;
use mini_kit::server::{self, Limits, Peer, Terms};
use mini_kit::shutdown::{self, Phase, Trigger};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::router::{settings, surround};

/// How long a test waits for what must happen. It only ends a test that fails.
const PATIENCE: Duration = Duration::from_secs(20);

struct Running {
    address: SocketAddr,
    trigger: Trigger,
    ended: JoinHandle<()>,
}

fn start(router: Router, limits: Limits) -> Running {
    let (trigger, shutdown) = shutdown::channel();
    let router = surround(router, &settings(), &shutdown);
    let listener = server::listen((Ipv4Addr::LOCALHOST, 0).into(), false).unwrap();
    let address = listener.local_addr().unwrap();
    let service = TowerToHyperService::new(router);
    let ended = tokio::spawn(async move { server::serve(listener, service, &Terms::plain(limits), &shutdown).await });
    Running { address, trigger, ended }
}

async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

async fn open(address: SocketAddr, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

async fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = within("the end of the connection", stream.read_to_end(&mut bytes)).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A handler that says when it has begun and when it is done, and waits in between until it may go on.
#[derive(Clone, Default)]
struct Gate {
    begun: Arc<Notify>,
    go_on: Arc<Notify>,
    done: Arc<Notify>,
}

impl Gate {
    fn router(&self) -> Router {
        let gate = self.clone();
        Router::new().route(
            "/gate",
            get(move || {
                let gate = gate.clone();
                async move {
                    gate.begun.notify_one();
                    gate.go_on.notified().await;
                    gate.done.notify_one();
                    "through"
                }
            }),
        )
    }
}

const ASK_GATE: &str = "GET /gate HTTP/1.1\r\nHost: x\r\n\r\n";

#[tokio::test]
async fn a_client_that_leaves_does_not_cancel_the_handler_and_the_end_waits_for_it() {
    let gate = Gate::default();
    let Running { address, trigger, mut ended } = start(gate.router(), settings().limits);
    let stream = open(address, ASK_GATE).await;
    within("the handler's begin", gate.begun.notified()).await;
    drop(stream);
    trigger.advance(Phase::Stopping);
    // The listener is gone once connections are refused; the server is still there, because of the handler.
    within("refusal", async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert!(!ended.is_finished());
    gate.go_on.notify_one();
    within("the handler's end", gate.done.notified()).await;
    within("the server's end", &mut ended).await.unwrap();
}

#[tokio::test]
async fn a_request_in_flight_is_finished_at_the_end() {
    let gate = Gate::default();
    let Running { address, trigger, ended } = start(gate.router(), settings().limits);
    let stream = open(address, ASK_GATE).await;
    within("the handler's begin", gate.begun.notified()).await;
    trigger.advance(Phase::Stopping);
    gate.go_on.notify_one();
    let answer = rest(stream).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("through"), "{answer}");
    assert!(answer.to_ascii_lowercase().contains("connection: close"), "{answer}");
    within("the server's end", ended).await.unwrap();
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_the_end() {
    let Running { address, trigger, ended } = start(Router::new(), settings().limits);
    let mut stream = open(address, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let mut byte = [0];
    within("the answer", stream.read_exact(&mut byte)).await.unwrap();
    trigger.advance(Phase::Stopping);
    within("the server's end", ended).await.unwrap();
}

#[tokio::test]
async fn the_end_waits_no_longer_than_the_shutdown_timeout_and_a_second_signal_cuts_it_short() {
    let gate = Gate::default();
    let short = Limits { shutdown_timeout: Duration::from_millis(20), ..settings().limits };
    let Running { address, trigger, ended } = start(gate.router(), short);
    let _stream = open(address, ASK_GATE).await;
    within("the handler's begin", gate.begun.notified()).await;
    trigger.advance(Phase::Stopping);
    within("the server's end", ended).await.unwrap();

    let long = Limits { shutdown_timeout: Duration::from_secs(3600), ..settings().limits };
    let Running { address, trigger, ended } = start(gate.router(), long);
    let _stream = open(address, ASK_GATE).await;
    within("the handler's begin", gate.begun.notified()).await;
    trigger.advance(Phase::Stopping);
    trigger.advance(Phase::Aborting { exit_code: 143 });
    within("the server's end", ended).await.unwrap();
}

#[tokio::test]
async fn slow_and_large_headers_end_the_connection() {
    let limits = Limits { header_read_timeout: Duration::from_millis(30), ..settings().limits };
    let Running { address, .. } = start(Router::new(), limits);
    assert!(!rest(open(address, "GET /healthz HTTP/1.1\r\nHos").await).await.contains("200"));
    let many = format!("GET /healthz HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(101));
    assert!(rest(open(address, &many).await).await.starts_with("HTTP/1.1 431"));
    let large = format!("GET /healthz HTTP/1.1\r\nA: {}\r\n\r\n", "b".repeat(40_000));
    // The server closes with bytes unread, so the system may reset the connection before its answer is read.
    let answer = rest(open(address, &large).await).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn a_client_that_ends_its_half_gets_its_answer() {
    let gate = Gate::default();
    let Running { address, .. } = start(gate.router(), settings().limits);
    let mut stream = open(address, ASK_GATE).await;
    within("the handler's begin", gate.begun.notified()).await;
    stream.shutdown().await.unwrap();
    gate.go_on.notify_one();
    assert!(rest(stream).await.ends_with("through"));
}

#[tokio::test]
async fn a_connection_above_the_limit_takes_the_place_of_an_idle_one() {
    let limits = Limits { max_connections: 1, ..settings().limits };
    let Running { address, .. } = start(Router::new(), limits);
    let idle = open(address, "").await;
    let second = open(address, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(rest(second).await.starts_with("HTTP/1.1 200"));
    assert_eq!(rest(idle).await, "");
}

#[tokio::test]
async fn a_connection_above_the_limit_is_answered_with_503_when_none_is_idle_and_probes_as_ever() {
    let gate = Gate::default();
    let limits = Limits { max_connections: 1, ..settings().limits };
    let Running { address, .. } = start(gate.router(), limits);
    let first = open(address, ASK_GATE).await;
    within("the handler's begin", gate.begun.notified()).await;
    let refused = rest(open(address, ASK_GATE).await).await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after: 1"), "{refused}");
    let probe = rest(open(address, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await).await;
    assert!(probe.starts_with("HTTP/1.1 200") && probe.contains("connection: close"), "{probe}");
    drop(first);
    gate.go_on.notify_one();
}

#[tokio::test]
async fn answers_say_close_from_the_first_moment_of_the_end() {
    let Running { address, trigger, ended } = start(Router::new(), settings().limits);
    let mut kept = open(address, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let mut answer = [0; 512];
    let length = within("the answer", kept.read(&mut answer)).await.unwrap();
    assert!(!String::from_utf8_lossy(&answer[..length]).contains("connection: close"));
    trigger.advance(Phase::Draining);
    kept.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let last = rest(kept).await;
    assert!(last.starts_with("HTTP/1.1 200") && last.contains("connection: close"), "{last}");
    trigger.advance(Phase::Stopping);
    within("the server's end", ended).await.unwrap();
}

#[tokio::test]
async fn handlers_see_the_peer() {
    let handler = async |axum::Extension(Peer(peer)): axum::Extension<Peer>| peer.to_string();
    let Running { address, .. } = start(Router::new().route("/peer", get(handler)), settings().limits);
    let stream = open(address, "GET /peer HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    let own = stream.local_addr().unwrap().to_string();
    assert!(rest(stream).await.ends_with(&own));
}
