//! The way of one request through the gateway.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::Either;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri, Version, request};
use http_body::Body as _;
use hyper::body::Incoming;
use mini_kit::Problem;
use mini_kit::health::{self, Health};
use mini_kit::metrics::{Registry, Route};
use mini_kit::request_id::{REQUEST_ID, RequestId};
use mini_kit::server::{InFlight, Peer};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::access_log::AccessLog;
use crate::admission::{self, Admission};
use crate::body::{RequestBody, ResponseBody, Upload};
use crate::documents;
use crate::headers;
use crate::host;
use crate::origin::Origin;
use crate::pool::Lease;
use crate::rate_limit::ClientLimiter;
use crate::refusal::Refusal;
use crate::settings::Settings;
use crate::target::Upstream;
use crate::upstream::{self, Pool};

/// How the gateway signs a request it passes on (RFC 9110 section 7.6.3).
const VIA: HeaderValue = HeaderValue::from_static("1.1 mini-gateway");

const CLOSE: HeaderValue = HeaderValue::from_static("close");
const CHUNKED: HeaderValue = HeaderValue::from_static("chunked");

/// What all threads have in common.
#[derive(Debug)]
pub struct Shared {
    /// The gateway's own settings.
    pub settings: Settings,
    /// `REQUEST_BODY_LIMIT`.
    pub body_limit_bytes: u64,
    /// `STALL_TIMEOUT`: how long a client may send nothing of its body.
    pub stall_timeout: Duration,
    /// `REQUEST_TIMEOUT`: from the head of the request to the end of the response.
    pub request_timeout: Duration,
    /// The rate limit.
    pub limiter: ClientLimiter,
    /// The requests that may still be sent to each upstream.
    pub slots: Slots,
    /// The exchanges that failed.
    pub failures: UpstreamFailures,
    /// Whether somebody reads the metrics.
    pub is_measured: bool,
}

/// Counts the exchanges with an upstream that failed, by what the client was told.
#[derive(Clone, Debug, Default)]
pub struct UpstreamFailures(Family<FailureLabels, Counter>);

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FailureLabels {
    upstream: &'static str,
    status: u16,
}

impl UpstreamFailures {
    /// Has Prometheus read them.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("upstream_failures", "Exchanges with a service that failed", self.0.clone());
    }

    fn count(&self, upstream: Upstream, refusal: Refusal) {
        let labels = FailureLabels { upstream: upstream.name(), status: refusal.problem().status().as_u16() };
        self.0.get_or_create(&labels).inc();
    }
}

/// The places for requests under way, by upstream, so that a slow service cannot take those of the others.
#[derive(Debug)]
pub struct Slots([Semaphore; Upstream::COUNT]);

impl Slots {
    /// As many places for each upstream.
    pub fn new(max_requests: usize) -> Self {
        Self(std::array::from_fn(|_| Semaphore::new(max_requests)))
    }

    fn take(&self, upstream: Upstream) -> Result<SemaphorePermit<'_>, Refusal> {
        self.0[upstream as usize].try_acquire().map_err(|_| Refusal::Overloaded)
    }
}

/// What the server gets: always a response.
pub type Answer = Result<Response<ResponseBody>, Infallible>;

/// The gateway as one thread has it.
pub struct Gateway {
    /// What all threads have in common.
    pub shared: Arc<Shared>,
    /// What the gateway says about itself.
    pub health: Health,
    /// This thread's connections to the upstreams.
    pub pool: Pool,
}

impl Gateway {
    /// Answers a request, whatever it is.
    ///
    /// What may write runs in a task of its own, from the moment when the head has been read. The client may then leave,
    /// and this future be dropped, without the write being cut off half-way: the time limit bounds the task, and the end
    /// of the gateway waits for it. What only reads ends with its client.
    ///
    /// The future is put together without async blocks of its own, each of which would hold, and move, what it awaits
    /// twice over.
    pub fn answer(self: &Arc<Self>, request: Request<Incoming>) -> impl Future<Output = Answer> + use<> {
        let request_id = RequestId::from_headers(request.headers());
        let reads_only = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        let in_flight = request.extensions().get::<InFlight>().cloned();
        let work = Arc::clone(self).handle(request, request_id.clone());
        if reads_only {
            return Either::Left(work.map(Ok));
        }
        let task = tokio::spawn(async move {
            let response = work.await;
            drop(in_flight);
            response
        });
        // The only failure of a task is a panic, which the log has.
        Either::Right(task.map(move |response| Ok(response.unwrap_or_else(|_| refuse(Refusal::Internal, &request_id)))))
    }

    /// Answers a request and logs it.
    async fn handle(self: Arc<Self>, request: Request<Incoming>, request_id: RequestId) -> Response<ResponseBody> {
        let deadline = Instant::now() + self.shared.request_timeout;
        let peer = request.extensions().get::<Peer>().map_or(IpAddr::from([0; 4]), |peer| peer.0.ip());
        let mut log = AccessLog::begin(&request, &request_id, peer.to_canonical());
        let is_chunked = request.body().size_hint().exact().is_none();
        let mut response = match self.own_answer(&request, &request_id).await {
            Some(response) => response,
            None => match self.forward(request, &request_id, deadline, &mut log).await {
                Ok(response) => response,
                Err(refusal) => refuse(refusal, &request_id),
            },
        };
        // Nobody saw how the body ended, and after a bare LF hyper takes the next request for trailers.
        if is_chunked && matches!(response.body(), ResponseBody::Own(_)) {
            response.headers_mut().insert(header::CONNECTION, CLOSE);
        }
        response.headers_mut().insert(REQUEST_ID, request_id.header_value());
        log.status = Some(response.status());
        if self.shared.is_measured {
            response.extensions_mut().insert(Route(log.upstream.unwrap_or_default().to_owned()));
        }
        response
    }

    /// The gateway's own three paths. They are outside the rate limit and the list of hosts: whoever probes them comes
    /// from one address and asks for an address.
    async fn own_answer(&self, request: &Request<Incoming>, request_id: &RequestId) -> Option<Response<ResponseBody>> {
        let path = request.uri().path();
        if !health::PATHS.contains(&path) {
            return None;
        }
        let has_one_host = host::check_syntax(request.version(), request.headers());
        if let Err(refusal) = admission::check_form(request.uri()).and(has_one_host) {
            return Some(refuse(refusal, request_id));
        }
        let response = match *request.method() {
            Method::GET | Method::HEAD => self.health.answer(path).await?,
            _ => Problem::from_status(StatusCode::METHOD_NOT_ALLOWED)
                .header(header::ALLOW, HeaderValue::from_static("GET, HEAD"))
                .response(Some(request_id)),
        };
        Some(response.map(ResponseBody::from))
    }

    async fn forward(
        &self,
        request: Request<Incoming>,
        request_id: &RequestId,
        deadline: Instant,
        log: &mut AccessLog,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let Shared { settings, body_limit_bytes, stall_timeout, limiter, slots, .. } = &*self.shared;
        let (head, incoming) = request.into_parts();
        let waits_for_continue = head.headers.contains_key(header::EXPECT);
        // From here on the body is read to its end, or what is left of it is discarded, on every way out.
        let body = RequestBody::new(incoming, *body_limit_bytes, deadline, *stall_timeout, waits_for_continue);
        let upload = body.upload();

        let origin = Origin::of(log.client, &head.headers, &settings.trusted_proxies, settings.chain_field);
        log.client = origin.client;
        limiter.check(origin.client).map_err(Refusal::TooManyRequests)?;
        let admission = match admission::admit(&head, settings, *body_limit_bytes) {
            // No service's path: something to read at the gateway itself, or nothing.
            Err(Refusal::NotFound) => {
                let document = documents::answer(&head.method, head.uri.path(), request_id).ok_or(Refusal::NotFound)?;
                return Ok(document.map(ResponseBody::from));
            }
            admitted => admitted?,
        };
        let upstream = admission.upstream;
        log.upstream = Some(upstream.name());
        let _slot = slots.take(upstream)?;

        let mut outbound = outbound(head, body, &admission, &origin, request_id, settings);
        log.trace.write(outbound.headers_mut());
        let head_deadline = deadline.min(Instant::now() + settings.exchange.timeout);
        let destination = (upstream, settings.upstreams.address(upstream));
        match upstream::exchange(&self.pool, destination, outbound, head_deadline).await {
            Ok((response, lease)) => Ok(inbound(response, lease, &upload, deadline)),
            Err(upstream::Failure { refusal, cause }) => {
                self.shared.failures.count(upstream, refusal);
                let upstream = upstream.name();
                let trace_id = log.trace.trace_id();
                tracing::warn!(upstream, request_id = request_id.as_str(), trace_id, cause, "an exchange failed");
                Err(refusal)
            }
        }
    }
}

fn refuse(refusal: Refusal, request_id: &RequestId) -> Response<ResponseBody> {
    refusal.problem().response(Some(request_id)).map(ResponseBody::from)
}

/// The request as the upstream gets it: path, query and method as they came, and the header fields that may cross.
fn outbound(
    head: request::Parts,
    body: RequestBody,
    admission: &Admission,
    origin: &Origin,
    request_id: &RequestId,
    settings: &Settings,
) -> Request<RequestBody> {
    let address = settings.upstreams.address(admission.upstream);
    let mut headers = head.headers;
    headers::remove_hop_by_hop(&mut headers);
    headers::remove_claims(&mut headers);
    origin.write(&mut headers, admission.known_host.as_ref());
    headers.insert(header::HOST, address.host().clone());
    headers.insert(REQUEST_ID, request_id.header_value());
    headers.append(header::VIA, VIA);
    if body.size_hint().exact().is_none() {
        // Without this hyper would send a GET with a body of unknown length without the body.
        headers.insert(header::TRANSFER_ENCODING, CHUNKED);
    }

    let mut request = Request::new(body);
    *request.method_mut() = head.method;
    if let Some(path_and_query) = head.uri.path_and_query() {
        *request.uri_mut() = Uri::from(path_and_query.clone());
    }
    *request.headers_mut() = headers;
    request
}

/// The response as the client gets it. The upstream's connection is no concern of the client's, nor its HTTP version.
fn inbound(
    response: Response<Incoming>,
    lease: Lease<RequestBody>,
    upload: &Upload,
    deadline: Instant,
) -> Response<ResponseBody> {
    let (mut head, body) = response.into_parts();
    headers::remove_hop_by_hop(&mut head.headers);
    if !upload.ends_plainly() {
        head.headers.insert(header::CONNECTION, CLOSE);
    }
    head.version = Version::HTTP_11;
    head.extensions = http::Extensions::default();
    Response::from_parts(head, ResponseBody::upstream(body, lease, deadline))
}
