//! One thread for each core, each with a runtime, a listener and a pool of its own.
//!
//! The system spreads new connections over the listeners (`SO_REUSEPORT`). A request then stays on its thread from
//! beginning to end, and the threads share only the rate limit and a few counters: docs/decisions/0004-gateway-proxy.md.

use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use futures_util::future::Either;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use mini_kit::health::Health;
use mini_kit::metrics::Metrics;
use mini_kit::server::{self, Door, Limits, Terms};
use mini_kit::shutdown::{self, Shutdown, Signals};
use mini_kit::{Failure, Start};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use crate::body::ResponseBody;
use crate::gateway::{Gateway, Shared, Slots, UpstreamFailures};
use crate::rate_limit::ClientLimiter;
use crate::settings::Settings;
use crate::upstream::Pool;

/// glibc's allocator gives memory back to the system as soon as 128 KiB at the end of its heap are free, which after an answer of
/// 100 kB is the case: the next one is then written to fresh pages. It learns from the largest block that was ever given back what
/// to take from the heap, and keeps twice as much of that.
const KEPT_HEAP_BYTES: usize = 1024 * 1024;

/// Serves until told to stop.
///
/// # Errors
/// When the address cannot be listened on or a thread cannot be started, and when a second signal cuts the end short.
pub fn serve(start: Start<Settings>) -> Result<(), Failure> {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(KEPT_HEAP_BYTES / 2)));
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let cannot_listen = |error| Failure::caused(format!("cannot listen on {}", start.server.address), error);
    let address = free_address(start.server.address).map_err(cannot_listen)?;
    let (trigger, shutdown) = shutdown::channel();
    let health = Health::new(start.identity, shutdown.clone(), async || Ok(()));
    let (limit, proxies) = (start.config.max_connections_per_client, start.config.trusted_proxies.clone());
    let door = Door::limited(limit, move |address| proxies.contains(address));
    let limits = limits_of_one(&start.server.limits, threads);
    let metrics_address = start.server.metrics_address;
    let failures = UpstreamFailures::default();
    let metrics = metrics_address.map(|_| Metrics::start(start.identity, |registry| failures.register(registry)));
    let terms = Terms { limits, door, metrics };
    let shared = Arc::new(shared(&start.server, start.config, failures));

    let first = Worker::new(address, &shared, &health, &terms, &shutdown)?;
    let mut others = Vec::new();
    for index in 1..threads {
        let worker = Worker::new(address, &shared, &health, &terms, &shutdown)?;
        let thread = thread::Builder::new().name(format!("gateway-{index}")).spawn(|| worker.work());
        others.push(thread.map_err(|error| Failure::caused("cannot start a thread", error))?);
    }
    let signals = first.runtime.block_on(async { Signals::catch() });
    let signals = signals.map_err(|error| Failure::caused("cannot catch signals", error))?;
    if let (Some(metrics), Some(address)) = (terms.metrics, metrics_address) {
        let (listener, terms) = first.runtime.block_on(async { server::listen_for_metrics(address, limits) })?;
        let entrance = Entrance::Metrics(metrics);
        let shutdown = shutdown.clone();
        first.runtime.spawn(async move { entrance.serve(listener, &terms, &shutdown).await });
    }
    first.runtime.spawn(async move { signals.drive(&trigger, start.server.drain_delay).await });
    tracing::info!(%address, threads, "listening");
    first.work();
    for thread in others {
        thread.join().map_err(|_| Failure::plain("a thread of the gateway ended by a panic"))?;
    }
    tracing::info!("stopped");
    shutdown.outcome()
}

/// Makes sure that nobody else listens there, and chooses a port where none is given. Without this a second gateway
/// would share the port of the first and take half of its connections.
fn free_address(address: SocketAddr) -> io::Result<SocketAddr> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async { server::listen(address, false)?.local_addr() })
}

fn shared(server: &server::Settings, settings: Settings, failures: UpstreamFailures) -> Shared {
    let rate = settings.rate_limit;
    Shared {
        body_limit_bytes: server.request_body_limit_bytes as u64,
        request_timeout: server.request_timeout,
        stall_timeout: server.limits.stall_timeout,
        limiter: ClientLimiter::new(rate.per_second, rate.burst, rate.max_clients),
        slots: Slots::new(settings.exchange.max_requests),
        failures,
        is_measured: server.metrics_address.is_some(),
        settings,
    }
}

/// The limits of one of the listeners, which share those of the gateway.
fn limits_of_one(limits: &Limits, threads: usize) -> Limits {
    let threads = u32::try_from(threads).unwrap_or(u32::MAX);
    Limits {
        max_connections: limits.max_connections.div_ceil(threads),
        max_idle_connections: limits.max_idle_connections.div_ceil(threads),
        ..*limits
    }
}

/// What a listener is for. Both kinds are served by the same code: a server for the metrics alone would be in the program
/// a second time.
#[derive(Clone)]
enum Entrance {
    Public(Arc<Gateway>),
    Metrics(Arc<Metrics>),
}

impl Entrance {
    async fn serve(self, listener: TcpListener, terms: &Terms, shutdown: &Shutdown) {
        let service = service_fn(move |request: Request<Incoming>| match &self {
            Self::Public(gateway) => Either::Left(gateway.answer(request)),
            Self::Metrics(metrics) => {
                let response = metrics.answer(request.method(), request.uri().path());
                Either::Right(ready(Ok(response.map(ResponseBody::from))))
            }
        });
        server::serve(listener, service, terms, shutdown).await;
    }
}

/// What one thread works with.
struct Worker {
    runtime: Runtime,
    listener: TcpListener,
    gateway: Arc<Gateway>,
    terms: Terms,
    shutdown: Shutdown,
}

impl Worker {
    fn new(
        address: SocketAddr,
        shared: &Arc<Shared>,
        health: &Health,
        terms: &Terms,
        shutdown: &Shutdown,
    ) -> Result<Self, Failure> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::caused("cannot start a runtime", error))?;
        let listener = runtime
            .block_on(async { server::listen(address, true) })
            .map_err(|error| Failure::caused(format!("cannot listen on {address}"), error))?;
        let pool = Pool::new(&shared.settings.exchange);
        let gateway = Arc::new(Gateway { shared: Arc::clone(shared), health: health.clone(), pool });
        Ok(Self { runtime, listener, gateway, terms: terms.clone(), shutdown: shutdown.clone() })
    }

    fn work(self) {
        let Self { runtime, listener, gateway, terms, shutdown } = self;
        runtime.block_on(Entrance::Public(gateway).serve(listener, &terms, &shutdown));
        // A name that is still being resolved on a blocking thread has nobody left to answer to.
        runtime.shutdown_background();
    }
}
