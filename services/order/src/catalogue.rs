//! The client of the product service: which products exist and what they cost.

mod answer;
mod product_url;

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use mini_kit::request_id::{REQUEST_ID, RequestId};
use mini_kit::trace_context::TraceContext;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout_at};
use uuid::Uuid;

pub use product_url::ProductUrl;

use crate::money::Money;

/// The most look-ups under way at once; more wait within their deadline.
const MAX_LOOKUPS: usize = 64;
/// More than 50 products of the largest size take.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;
/// What a service that restarts or sheds load is given before it is asked again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// Shorter than the time after which the product service closes an idle connection (its HEADER_READ_TIMEOUT, 5 s), so
/// that a request rarely meets a connection that is just being closed. When it does, the retry answers for it.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(3);

/// Asks the product service. One for the whole program: it keeps the connections and the bound on look-ups.
pub struct Catalogue {
    client: Client<HttpConnector, Empty<Bytes>>,
    url: ProductUrl,
    timeout: Duration,
    lookups: Semaphore,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum CatalogueError {
    /// The product service was not reached, was too slow or failed, twice.
    Unavailable(String),
    /// The product service answered what it must never answer. Asking again would not help.
    Invalid(String),
}

impl fmt::Display for CatalogueError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(cause) => write!(out, "the product service is unavailable: {cause}"),
            Self::Invalid(reason) => write!(out, "the product service gave an invalid answer: {reason}"),
        }
    }
}

impl Catalogue {
    /// A client of the service at `url`. `timeout` is the whole time for one question, the retry included.
    pub fn new(url: ProductUrl, timeout: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        // A connection attempt outlives the request that it was made for; this ends it.
        connector.set_connect_timeout(Some(timeout));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_LOOKUPS)
            .build(connector);
        Self { client, url, timeout, lookups: Semaphore::new(MAX_LOOKUPS) }
    }

    /// The prices of those products that exist; one that is missing from the result does not exist.
    ///
    /// One request asks for all of them, so an order of 50 items costs as many as one of one item. A failed attempt is
    /// repeated once: the question changes nothing, so a repeat is harmless. The first attempt may take half of the
    /// time, or a service that hangs would never be asked twice.
    pub async fn prices(
        &self,
        product_ids: &[Uuid],
        request_id: &RequestId,
        trace: &TraceContext,
    ) -> Result<HashMap<Uuid, Money>, CatalogueError> {
        let deadline = Instant::now() + self.timeout;
        let uri = self.url.of_products(product_ids).map_err(|error| CatalogueError::Invalid(error.to_string()))?;
        let Ok(Ok(_permit)) = timeout_at(deadline, self.lookups.acquire()).await else {
            return Err(CatalogueError::Unavailable(format!("{MAX_LOOKUPS} look-ups were under way already")));
        };
        let first_deadline = Instant::now() + deadline.duration_since(Instant::now()) / 2;
        let body = match self.attempt(&uri, request_id, trace, first_deadline).await {
            Err(CatalogueError::Unavailable(cause)) => {
                tracing::warn!(cause, "the product service did not answer; asking once more");
                sleep_until(deadline.min(Instant::now() + RETRY_PAUSE)).await;
                self.attempt(&uri, request_id, trace, deadline).await
            }
            first => first,
        }?;
        answer::read(&body, product_ids).map_err(CatalogueError::Invalid)
    }

    async fn attempt(
        &self,
        uri: &Uri,
        request_id: &RequestId,
        trace: &TraceContext,
        deadline: Instant,
    ) -> Result<Bytes, CatalogueError> {
        let unavailable = |cause: &(dyn std::error::Error + 'static)| CatalogueError::Unavailable(chain(cause));
        let exchange = async {
            let mut request = Request::new(Empty::new());
            *request.uri_mut() = uri.clone();
            request.headers_mut().insert(REQUEST_ID, request_id.header_value());
            trace.write(request.headers_mut());
            let response = self.client.request(request).await.map_err(|error| unavailable(&error))?;
            let status = response.status();
            if status.is_server_error() {
                return Err(CatalogueError::Unavailable(format!("it answered {status}")));
            }
            if status != StatusCode::OK {
                return Err(CatalogueError::Invalid(format!("it answered {status}")));
            }
            match Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await {
                Ok(body) => Ok(body.to_bytes()),
                Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                    Err(CatalogueError::Invalid(format!("its body exceeds {MAX_ANSWER_BYTES} bytes")))
                }
                Err(error) => Err(unavailable(error.as_ref())),
            }
        };
        timeout_at(deadline, exchange)
            .await
            .unwrap_or_else(|_| Err(CatalogueError::Unavailable("it did not answer in time".to_owned())))
    }
}

/// An error with its causes. hyper's own text stops at "client error (Connect)"; the reason is further down.
fn chain(mut error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    while let Some(source) = error.source() {
        text = format!("{text}: {source}");
        error = source;
    }
    text
}
