//! The service inside the test, without a socket.

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use mini_kit::contract::{Contract, Value as _};
use mini_kit::{Build, Failure, Identity, config, server, shutdown};
use mini_kit_api::router;
use mini_kit_api::token::{Audience, Signer, SigningKey};
use mini_user::Settings;
use serde_json::{Value, json};
use sqlx::PgPool;
use tower::ServiceExt as _;

/// The seed of the key that the tests sign with.
pub(crate) const SEED: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

/// A running service.
#[derive(Clone)]
pub(crate) struct Service {
    router: Router,
}

/// A response with its body read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Service {
    pub(crate) async fn start(pool: PgPool) -> Self {
        Self::start_with(pool, &[]).await.unwrap()
    }

    /// Starts with further variables beside the required ones.
    pub(crate) async fn start_with(pool: PgPool, variables: &[(&str, &str)]) -> Result<Self, Failure> {
        let source = |name: &str| match name {
            "DATABASE_URL" => Some("postgres://unused@unused/unused".into()),
            "JWT_SIGNING_KEY" => Some(SEED.into()),
            _ => variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into()),
        };
        let settings = config::load(Settings::declare, &source).unwrap();
        let surroundings =
            config::load(|contract: &mut Contract| server::Settings::declare(contract), &source).unwrap();
        let identity = Identity { service: "mini-user", build: Build { version: "0", revision: None, created: None } };
        let (_, shutdown) = shutdown::channel();
        let routes = mini_user::routes(identity, shutdown, pool, settings).await?;
        Ok(Self { router: router::build(routes, &surroundings) })
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        let request = Request::post(path).header("content-type", "application/json");
        self.send(request.body(body.to_string().into()).unwrap()).await
    }

    pub(crate) async fn register(&self, username: &str, password: &str) -> Answer {
        self.post("/users/register", &json!({"username": username, "password": password})).await
    }

    pub(crate) async fn login(&self, username: &str, password: &str) -> Answer {
        self.post("/users/login", &json!({"username": username, "password": password})).await
    }

    /// Logs in as the gateway passes it on for a client at this address.
    pub(crate) async fn login_from(&self, address: &str, username: &str, password: &str) -> Answer {
        let body = json!({"username": username, "password": password}).to_string();
        let request = Request::post("/users/login").header("content-type", "application/json");
        self.send(request.header("x-real-ip", address).body(body.into()).unwrap()).await
    }

    pub(crate) async fn me(&self, authorization: &str) -> Answer {
        let request = Request::get("/users/me").header("authorization", authorization);
        self.send(request.body(Body::empty()).unwrap()).await
    }
}

/// A signer with the service's own key.
pub(crate) fn signer() -> Signer {
    let audience = Audience { issuer: "mini-user".to_owned(), audience: "mini-shop".to_owned() };
    Signer::new(SigningKey::parse(SEED).unwrap(), audience)
}
