//! The service under test and the requests that tests send it.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use mini_kit::health::Health;
use mini_kit::server::Settings;
use mini_kit::{Build, Identity, config, shutdown};
use mini_kit_api::database;
use mini_kit_api::router::{self, Routes};
use mini_kit_api::token::{Audience, Role, Signer, SigningKey, Verifier, now_unix_seconds};
use mini_product::{App, MIGRATOR, routes};
use serde_json::{Value, json};
use sqlx::PgPool;
use tower::ServiceExt;
use uuid::Uuid;

/// The service with everything around it but the socket.
pub(crate) struct Catalogue {
    router: Router,
    signer: Signer,
}

/// A response, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    /// The end of the problem's type; panics when the answer is no problem.
    pub(crate) fn problem(&self) -> &str {
        assert_eq!(self.headers[CONTENT_TYPE], "application/problem+json", "{self:?}");
        assert_eq!(self.body["status"], self.status.as_u16(), "{self:?}");
        self.body["type"].as_str().and_then(|name| name.strip_prefix("/problems/")).unwrap()
    }

    /// The pointers of a 422.
    pub(crate) fn pointers(&self) -> Vec<&str> {
        assert_eq!(self.status, StatusCode::UNPROCESSABLE_ENTITY, "{self:?}");
        self.body["errors"].as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap()).collect()
    }
}

impl Catalogue {
    pub(crate) fn new(pool: PgPool) -> Self {
        let audience = Audience { issuer: "mini-user".to_owned(), audience: "mini-shop".to_owned() };
        let key = SigningKey::from_seed(&[7; 32]);
        let verifier = Arc::new(Verifier::new(key.public_key(), None, audience.clone()));
        let build = Build { version: "0.0.0", revision: None, created: None };
        let (_, shutdown) = shutdown::channel();
        let readiness_pool = pool.clone();
        let health = Health::new(Identity { service: "mini-product", build }, shutdown, move || {
            database::readiness(readiness_pool.clone(), &MIGRATOR)
        });
        let settings = config::load(Settings::declare, &|_| None).unwrap();
        let routes = Routes { router: routes::router(App { pool, verifier }), health };
        Self { router: router::build(routes, &settings), signer: Signer::new(key, audience) }
    }

    /// A token of a new user of a role.
    pub(crate) fn token(&self, role: Role) -> String {
        self.signer.issue(Uuid::now_v7(), role, now_unix_seconds(), 60)
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&body).unwrap_or_else(|_| panic!("not JSON: {body:?}"));
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// The status and the tag of a response, which may have no body.
    pub(crate) async fn status(&self, request: Request<Body>) -> (StatusCode, Option<String>) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let tag = response.headers().get("etag").map(|tag| tag.to_str().unwrap().to_owned());
        (response.status(), tag)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    /// Sends a body as an administrator.
    pub(crate) async fn write(&self, method: Method, path: &str, body: impl ToString) -> Answer {
        let token = self.token(Role::Admin);
        self.send(
            Request::builder()
                .method(method)
                .uri(path)
                .header(AUTHORIZATION, format!("Bearer {token}"))
                .header(CONTENT_TYPE, "application/json")
                .body(Body::from(body.to_string()))
                .unwrap(),
        )
        .await
    }

    pub(crate) async fn create(&self, name: &str, amount: i64) -> Value {
        let body = json!({ "name": name, "price": { "amount": amount, "currency": "EUR" } });
        let answer = self.write(Method::POST, "/products", body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        answer.body
    }
}
