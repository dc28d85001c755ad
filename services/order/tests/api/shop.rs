//! The order service under test and the requests that tests send it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use mini_kit::health::Health;
use mini_kit::server::Settings;
use mini_kit::{Build, Identity, Value as _, config, shutdown};
use mini_kit_api::database;
use mini_kit_api::router::{self, Routes};
use mini_kit_api::token::{Audience, Role, Signer, SigningKey, Verifier, now_unix_seconds};
use mini_order::catalogue::{Catalogue, ProductUrl};
use mini_order::{App, MIGRATOR, routes};
use serde_json::{Value, json};
use sqlx::PgPool;
use tower::ServiceExt;
use uuid::Uuid;

use crate::upstream::Upstream;

/// A product that most tests buy.
pub(crate) const PEN: Uuid = Uuid::from_u128(0x0193_0000_0000_7000_8000_0000_0000_0001);
/// Another one.
pub(crate) const INK: Uuid = Uuid::from_u128(0x0193_0000_0000_7000_8000_0000_0000_0002);

/// The service with everything around it but the socket, and its product service.
pub(crate) struct Shop {
    pub(crate) upstream: Upstream,
    pub(crate) pool: PgPool,
    pub(crate) router: Router,
    signer: Signer,
}

/// A user with a token.
#[derive(Clone)]
pub(crate) struct User {
    pub(crate) authorization: String,
}

/// A response, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// Whether the answer says that an earlier request placed the order.
    pub(crate) fn is_replay(&self) -> bool {
        self.headers.get(routes::REPLAYED).is_some_and(|value| value == "true")
    }

    /// The end of the problem's type; panics when the answer is no problem.
    pub(crate) fn problem(&self) -> String {
        assert_eq!(self.headers[CONTENT_TYPE], "application/problem+json", "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status.as_u16(), "{self:?}");
        problem["type"].as_str().and_then(|name| name.strip_prefix("/problems/")).unwrap().to_owned()
    }

    /// The pointers of a 422.
    pub(crate) fn pointers(&self) -> Vec<String> {
        assert_eq!(self.status, StatusCode::UNPROCESSABLE_ENTITY, "{self:?}");
        let problem = self.json();
        problem["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|error| error["pointer"].as_str().unwrap().to_owned())
            .collect()
    }
}

impl Shop {
    /// A shop whose catalogue has a pen for 150 and ink for 600 cents.
    pub(crate) async fn new(pool: PgPool) -> Self {
        Self::with(pool, Upstream::selling([(PEN, (150, "EUR")), (INK, (600, "EUR"))]).await)
    }

    /// A shop with another product service.
    pub(crate) fn with(pool: PgPool, upstream: Upstream) -> Self {
        Self::within(pool, upstream, Duration::from_secs(10), settings())
    }

    /// A shop with other limits.
    pub(crate) fn within(pool: PgPool, upstream: Upstream, product_timeout: Duration, settings: Settings) -> Self {
        let key = SigningKey::from_seed(&[7; 32]);
        let verifier = Arc::new(Verifier::new(key.public_key(), None, audience()));
        let url = ProductUrl::parse(&format!("http://{}", upstream.address)).unwrap();
        let catalogue = Arc::new(Catalogue::new(url, product_timeout));
        let build = Build { version: "0.0.0", revision: None, created: None };
        let (_, shutdown) = shutdown::channel();
        let readiness_pool = pool.clone();
        let health = Health::new(Identity { service: "mini-order", build }, shutdown, move || {
            database::readiness(readiness_pool.clone(), &MIGRATOR)
        });
        let routes = Routes { router: routes::router(App { pool: pool.clone(), verifier, catalogue }), health };
        Self { upstream, pool, router: router::build(routes, &settings), signer: Signer::new(key, audience()) }
    }

    /// A new user.
    pub(crate) fn user(&self) -> User {
        self.user_and_id().0
    }

    /// A new user and the id that the token names.
    pub(crate) fn user_and_id(&self) -> (User, Uuid) {
        let id = Uuid::now_v7();
        let token = self.signer.issue(id, Role::User, now_unix_seconds(), 60);
        (User { authorization: format!("Bearer {token}") }, id)
    }

    /// A user whose token has these claims.
    pub(crate) fn user_with_claims(&self, claims: &Value) -> User {
        User { authorization: format!("Bearer {}", self.signer.sign(claims)) }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        Answer { status: parts.status, headers: parts.headers, bytes: body.collect().await.unwrap().to_bytes() }
    }

    pub(crate) async fn get(&self, user: &User, path: &str) -> Answer {
        let request = Request::get(path).header(AUTHORIZATION, &user.authorization);
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// Sends `POST /orders` with some body and perhaps a key.
    pub(crate) async fn post(&self, user: &User, key: Option<&str>, body: impl ToString) -> Answer {
        let mut request = Request::post("/orders")
            .header(AUTHORIZATION, &user.authorization)
            .header(CONTENT_TYPE, "application/json");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    /// Orders one pen.
    pub(crate) async fn buy(&self, user: &User, key: Option<&str>) -> Answer {
        self.post(user, key, items(&[(PEN, 1)])).await
    }

    /// How many orders there are, and how many of them have no items.
    pub(crate) async fn count_orders(&self) -> (i64, i64) {
        sqlx::query_as(
            "SELECT count(*), count(*) FILTER (WHERE NOT EXISTS (SELECT FROM order_items WHERE order_id = id))
             FROM orders",
        )
        .fetch_one(&self.pool)
        .await
        .unwrap()
    }
}

/// The body of an order.
pub(crate) fn items(items: &[(Uuid, u32)]) -> Value {
    let items: Vec<_> =
        items.iter().map(|(product_id, quantity)| json!({ "product_id": product_id, "quantity": quantity })).collect();
    json!({ "items": items })
}

/// For whom the tokens of the tests are.
pub(crate) fn audience() -> Audience {
    Audience { issuer: "mini-user".to_owned(), audience: "mini-shop".to_owned() }
}

/// The settings of the services in the tests: time enough for machines that do much else.
pub(crate) fn settings() -> Settings {
    let defaults = config::load(Settings::declare, &|_| None).unwrap();
    Settings { request_timeout: Duration::from_secs(30), ..defaults }
}
