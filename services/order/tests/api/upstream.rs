//! Product services to test against.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// A product service on a port of its own; it ends with the value.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    /// The `X-Request-Id` of every request, in the order of arrival.
    pub(crate) request_ids: Arc<Mutex<Vec<String>>>,
    /// What [`Upstream::selling`] sells: amount and currency.
    pub(crate) prices: Arc<Mutex<HashMap<Uuid, (i64, &'static str)>>>,
    server: JoinHandle<()>,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Upstream {
    /// Sells products as the real service does.
    pub(crate) async fn selling(prices: impl IntoIterator<Item = (Uuid, (i64, &'static str))>) -> Self {
        Self::selling_from(1, prices).await
    }

    /// Sells as well, but answers nobody before `crowd` requests have arrived.
    pub(crate) async fn selling_from(
        crowd: usize,
        prices: impl IntoIterator<Item = (Uuid, (i64, &'static str))>,
    ) -> Self {
        let prices: Arc<Mutex<HashMap<_, _>>> = Arc::new(Mutex::new(prices.into_iter().collect()));
        let shelf = Arc::clone(&prices);
        let arrived = Arc::new(watch::Sender::new(0));
        let mut upstream = Self::answering(move |request| {
            let (shelf, arrived) = (Arc::clone(&shelf), Arc::clone(&arrived));
            async move {
                arrived.send_modify(|count| *count += 1);
                arrived.subscribe().wait_for(|count| *count >= crowd).await.unwrap();
                let query = request.uri().query().unwrap_or_default().strip_prefix("ids=").unwrap().to_owned();
                let shelf = shelf.lock().unwrap();
                let items: Vec<_> = query
                    .split(',')
                    .filter_map(|id| {
                        let (amount, currency) = shelf.get(&id.parse().unwrap())?;
                        Some(json!({ "id": id, "name": "Pen", "price": { "amount": amount, "currency": currency } }))
                    })
                    .collect();
                axum::Json(json!({ "items": items, "next_cursor": null })).into_response()
            }
        })
        .await;
        upstream.prices = prices;
        upstream
    }

    /// Answers every request with `answer`.
    pub(crate) async fn answering<F>(answer: impl Fn(Request) -> F + Clone + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response> + Send,
    {
        let (listener, address) = listen().await;
        let request_ids = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&request_ids);
        let router = Router::new().fallback(move |request: Request| {
            seen.lock().unwrap().push(request.headers()["x-request-id"].to_str().unwrap().to_owned());
            answer(request)
        });
        let server = tokio::spawn(async move { axum_serve(listener, router).await });
        Self { address, request_ids, prices: Arc::default(), server }
    }

    /// Answers every request with a status and a body.
    pub(crate) async fn constant(status: StatusCode, body: &'static str) -> Self {
        Self::answering(move |_| async move { (status, body).into_response() }).await
    }

    /// Reads a request, then sends these bytes and closes. No bytes and `hang`: never answers.
    pub(crate) async fn raw(bytes: &'static [u8], hang: bool) -> Self {
        let (listener, address) = listen().await;
        let request_ids = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&request_ids);
        let server = tokio::spawn(async move {
            let mut open = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let head = read_head(&mut stream).await;
                seen.lock().unwrap().push(head);
                stream.write_all(bytes).await.unwrap();
                if hang {
                    open.push(stream);
                }
            }
        });
        Self { address, request_ids, prices: Arc::default(), server }
    }

    /// A port that nobody listens on.
    pub(crate) async fn closed() -> Self {
        let (listener, address) = listen().await;
        drop(listener);
        Self { address, request_ids: Arc::default(), prices: Arc::default(), server: tokio::spawn(async {}) }
    }

    /// The real product service.
    pub(crate) async fn real(router: Router) -> Self {
        let (listener, address) = listen().await;
        let server = tokio::spawn(async move { axum_serve(listener, router).await });
        Self { address, request_ids: Arc::default(), prices: Arc::default(), server }
    }

    /// How many requests have arrived.
    pub(crate) fn requests(&self) -> usize {
        self.request_ids.lock().unwrap().len()
    }
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

async fn axum_serve(listener: TcpListener, router: Router) {
    let limits = crate::shop::settings().limits;
    let (_trigger, shutdown) = mini_kit::shutdown::channel();
    let service = hyper_util::service::TowerToHyperService::new(router);
    mini_kit::server::serve(listener, service, &mini_kit::server::Terms::plain(limits), &shutdown).await;
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}
