//! What stands around the routes of every axum service: request ids, time and size limits, problems, the request log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::header::{ALLOW, CONTENT_TYPE, HOST};
use http::{Method, StatusCode, Uri, Version};
use hyper_util::service::TowerToHyperService;
use tracing::Instrument as _;

use crate::problem::{Kind, PROBLEM_JSON, Problem};
use crate::upload::Upload;
use mini_kit::Failure;
use mini_kit::health::{self, Health};
use mini_kit::metrics::{Metrics, Route};
use mini_kit::request_id::{REQUEST_ID, RequestId};
use mini_kit::server::{self, InFlight, Settings, Terms};
use mini_kit::shutdown::{self, Shutdown, Signals};
use mini_kit::trace_context::TraceContext;
use mini_kit::types::parse_host;

/// Two threads whatever the machine: one request that computes does not hold up the others, and the memory of an idle
/// service does not grow with the cores of its host.
const WORKER_THREADS: usize = 2;

/// What `prepare` of [`run`] makes: the service's routes, and what says whether they can be served.
pub struct Routes {
    /// The routes, state included.
    pub router: Router,
    /// What `/readyz` answers.
    pub health: Health,
}

/// Runs an axum service from its start to its end: catches signals, waits for `prepare` (the database, for instance),
/// listens, serves, drains, stops. A signal during `prepare` ends the service in order.
///
/// # Errors
/// What `prepare` fails with, an address that cannot be listened on, or [`Failure::Aborted`].
pub fn run(
    settings: &Settings,
    prepare: impl AsyncFnOnce(&Shutdown) -> Result<Routes, Failure>,
) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .enable_all()
        .build()
        .map_err(|error| Failure::caused("cannot start the runtime", error))?;
    let result = runtime.block_on(async {
        let signals = Signals::catch().map_err(|error| Failure::caused("cannot catch signals", error))?;
        let (trigger, shutdown) = shutdown::channel();
        let drain_delay = settings.drain_delay;
        tokio::spawn(async move { signals.drive(&trigger, drain_delay).await });
        let Some(routes) = shutdown.unless_ended(prepare(&shutdown)).await else { return shutdown.outcome() };
        serve(routes?, settings, &shutdown).await
    });
    // Whatever still runs, such as a computation on a blocking thread, has nobody left to answer to.
    runtime.shutdown_background();
    result
}

async fn serve(routes: Routes, settings: &Settings, shutdown: &Shutdown) -> Result<(), Failure> {
    let cannot = |error| Failure::caused(format!("cannot listen on {}", settings.address), error);
    let listener = server::listen(settings.address, false).map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    let identity = routes.health.identity();
    let router = build(routes, settings);
    let mut terms = Terms::plain(settings.limits);
    if let Some(address) = settings.metrics_address {
        let metrics = Metrics::start(identity, |_| {});
        let (listener, own_terms) = server::listen_for_metrics(address, settings.limits)?;
        let router = metrics_router(Arc::clone(&metrics));
        let shutdown = shutdown.clone();
        tokio::spawn(async move {
            server::serve(listener, TowerToHyperService::new(router), &own_terms, &shutdown).await;
        });
        terms.metrics = Some(metrics);
    }
    tracing::info!(%address, "listening");
    let router = router.layer(middleware::from_fn(check_host));
    server::serve(listener, TowerToHyperService::new(router), &terms, shutdown).await;
    tracing::info!("stopped");
    shutdown.outcome()
}

/// Puts routes into their surroundings. [`run`] does it; tests call it to send requests without a socket.
pub fn build(routes: Routes, settings: &Settings) -> Router {
    let mut health_routes = Router::new();
    for path in health::PATHS {
        health_routes = health_routes.route(path, get(answer_health));
    }
    routes
        .router
        .merge(health_routes.with_state(routes.health))
        .fallback(async || Problem::from_status(StatusCode::NOT_FOUND))
        .layer(DefaultBodyLimit::max(settings.request_body_limit_bytes))
        .layer(middleware::from_fn_with_state(Times::of(settings), surround))
}

/// How long a request may take.
#[derive(Clone, Copy)]
struct Times {
    request_timeout: Duration,
    stall_timeout: Duration,
    are_measured: bool,
}

impl Times {
    fn of(settings: &Settings) -> Self {
        Self {
            request_timeout: settings.request_timeout,
            stall_timeout: settings.limits.stall_timeout,
            are_measured: settings.metrics_address.is_some(),
        }
    }
}

/// Refuses a request that does not name one host (RFC 9112 section 3.2). It stands outside of [`build`], whose requests need
/// not have come over HTTP.
async fn check_host(request: Request, next: Next) -> Response {
    let mut hosts = request.headers().get_all(HOST).iter();
    let is_valid = match (hosts.next(), hosts.next()) {
        (None, _) => request.version() == Version::HTTP_10,
        (Some(only), None) => only.to_str().ok().and_then(parse_host).is_some(),
        _ => false,
    };
    if is_valid {
        return next.run(request).await;
    }
    let (request_id, status) = (RequestId::from_headers(request.headers()), StatusCode::BAD_REQUEST);
    tracing::info!(method = %request.method(), status = status.as_u16(), %request_id, "request refused: it names no valid host");
    let problem = Problem::new(Kind::BadHost);
    let mut response = problem.response(Some(&request_id));
    response.headers_mut().insert(REQUEST_ID, request_id.header_value());
    response
}

fn metrics_router(metrics: Arc<Metrics>) -> Router {
    Router::new().fallback(async move |method: Method, uri: Uri| metrics.answer(&method, uri.path()).map(Body::new))
}

async fn answer_health(State(health): State<Health>, uri: Uri) -> Response {
    match health.answer(uri.path()).await {
        Some(response) => response.map(Body::new),
        None => Problem::from_status(StatusCode::NOT_FOUND).into_response(),
    }
}

/// Answers one request within the time limit, always with a request id, and logs it.
///
/// This happens in a task of its own. A client that leaves does not cancel it, so no write is cut short half-way by the
/// network; only the time limit cancels the handler, at an `await`, where its open transaction is rolled back.
async fn surround(State(times): State<Times>, request: Request, next: Next) -> Response {
    let time_limit = times.request_timeout;
    let request = request.map(|body| Body::new(Upload::new(body, times.stall_timeout)));
    let begin = Instant::now();
    let request_id = RequestId::from_headers(request.headers());
    let trace = TraceContext::from_headers(request.headers());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let in_flight = request.extensions().get::<InFlight>().cloned();
    let route = times.are_measured.then(|| request.extensions().get::<MatchedPath>().cloned()).flatten();
    let task = tokio::spawn(async move {
        let mut response = answer(request, next, time_limit, &request_id, &trace).await;
        if let Some(route) = route {
            response.extensions_mut().insert(Route(route.as_str().to_owned()));
        }
        log(&method, &path, response.status(), begin, &request_id, &trace);
        drop(in_flight);
        response
    });
    task.await.unwrap_or_else(|_| Problem::from_status(StatusCode::INTERNAL_SERVER_ERROR).into_response())
}

/// Runs the handler in a second task, where a panic ends that task and nothing else.
async fn answer(
    mut request: Request,
    next: Next,
    time_limit: Duration,
    request_id: &RequestId,
    trace: &TraceContext,
) -> Response {
    let span = tracing::info_span!("request", %request_id, trace_id = trace.trace_id());
    request.extensions_mut().insert(request_id.clone());
    request.extensions_mut().insert(trace.clone());
    let handler = tokio::spawn(tokio::time::timeout(time_limit, next.run(request)).instrument(span));
    let response = match handler.await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => Problem::from_status(StatusCode::SERVICE_UNAVAILABLE)
            .detail("the request took longer than the service allows")
            .into_response(),
        // The panic hook has reported it already.
        Err(_) => Problem::from_status(StatusCode::INTERNAL_SERVER_ERROR).into_response(),
    };
    let mut response = complete(response, request_id);
    response.headers_mut().insert(REQUEST_ID, request_id.header_value());
    response
}

/// Gives a problem the id of its request, and makes a problem of any other error, such as axum's own 405.
fn complete(mut response: Response, request_id: &RequestId) -> Response {
    let status = response.status();
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        return problem.response(Some(request_id)).map(Body::new);
    }
    let is_error = status.is_client_error() || status.is_server_error();
    if !is_error || response.headers().get(CONTENT_TYPE) == Some(&PROBLEM_JSON) {
        return response;
    }
    let mut problem = Problem::from_status(status);
    if let Some(allow) = response.headers().get(ALLOW) {
        problem = problem.header(ALLOW, allow.clone());
    }
    problem.response(Some(request_id)).map(Body::new)
}

/// One line a request. Probes come every few seconds, so they are only worth a line when they fail.
fn log(method: &Method, path: &str, status: StatusCode, begin: Instant, request_id: &RequestId, trace: &TraceContext) {
    let trace_id = trace.trace_id();
    let status_code = status.as_u16();
    let duration_ms = (begin.elapsed().as_secs_f64() * 1e6).round() / 1e3;
    if health::PATHS.contains(&path) && status.is_success() {
        tracing::debug!(%method, path, status = status_code, duration_ms, %request_id, trace_id, "request");
    } else {
        tracing::info!(%method, path, status = status_code, duration_ms, %request_id, trace_id, "request");
    }
}
