//! What stands around every route.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use mini_kit::health::Health;
use mini_kit::server::Settings;
use mini_kit::shutdown::{self, Phase, Shutdown};
use mini_kit::{Build, Identity};
use mini_kit_api::router::{Routes, build};
use serde_json::Value;
use tower::ServiceExt as _;

pub(crate) fn settings() -> Settings {
    mini_kit::config::load(Settings::declare, &|_| None).unwrap()
}

pub(crate) fn surround(router: Router, settings: &Settings, shutdown: &Shutdown) -> Router {
    let build_facts = Build { version: "1.2.3", revision: Some("abc"), created: None };
    let identity = Identity { service: "mini-test", build: build_facts };
    let health = Health::new(identity, shutdown.clone(), || async { Ok(()) });
    build(Routes { router, health }, settings)
}

pub(crate) async fn ask(router: Router, request: Request<Body>) -> (http::response::Parts, Value) {
    let response: Response<Body> = router.oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (parts, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

fn get_request(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

fn ordinary(router: Router) -> Router {
    surround(router, &settings(), &shutdown::channel().1)
}

#[tokio::test]
async fn unknown_routes_and_wrong_methods_are_problems() {
    let router = ordinary(Router::new().route("/things", post(async || "made")));
    let (parts, body) = ask(router.clone(), get_request("/nothing")).await;
    assert_eq!((parts.status, &body["type"]), (StatusCode::NOT_FOUND, &"/problems/not-found".into()));
    assert_eq!(parts.headers["content-type"], "application/problem+json");
    assert_eq!(body["request_id"], parts.headers["x-request-id"].to_str().unwrap());
    let (parts, body) = ask(router, get_request("/things")).await;
    assert_eq!((parts.status, &body["status"]), (StatusCode::METHOD_NOT_ALLOWED, &405.into()));
    assert_eq!(parts.headers["allow"], "POST");
}

#[tokio::test]
async fn a_panic_is_answered_with_500_and_the_next_request_is_served() {
    async fn panics() -> &'static str {
        panic!("S3CR3T-c4n4ry")
    }
    let router = ordinary(Router::new().route("/panic", get(panics)).route("/fine", get(async || "fine")));
    let (parts, body) = ask(router.clone(), get_request("/panic")).await;
    assert_eq!(parts.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!body.to_string().contains("S3CR3T"), "{body}");
    assert_eq!(body["request_id"], parts.headers["x-request-id"].to_str().unwrap());
    assert_eq!(ask(router, get_request("/fine")).await.0.status, StatusCode::OK);
}

#[tokio::test]
async fn a_handler_that_takes_too_long_is_dropped_and_answered_with_503() {
    struct Dropped(tokio::sync::mpsc::UnboundedSender<()>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let (sender, mut dropped) = tokio::sync::mpsc::unbounded_channel();
    let handler = move || {
        let guard = Dropped(sender.clone());
        async move {
            let _guard = guard;
            std::future::pending::<()>().await;
        }
    };
    let settings = Settings { request_timeout: Duration::from_millis(20), ..settings() };
    let router = surround(Router::new().route("/slow", get(handler)), &settings, &shutdown::channel().1);
    let (parts, body) = ask(router, get_request("/slow")).await;
    assert_eq!(
        (parts.status, &body["type"]),
        (StatusCode::SERVICE_UNAVAILABLE, &"/problems/service-unavailable".into())
    );
    dropped.recv().await.expect("the handler's values are dropped");
}

#[tokio::test]
async fn well_formed_request_ids_are_kept_and_others_replaced() {
    let router = ordinary(Router::new());
    let long = "a".repeat(65);
    for (sent, is_kept) in [("abc-DEF_123", true), ("", false), ("a b", false), ("a\"b", false), (long.as_str(), false)]
    {
        let request = Request::get("/healthz").header("x-request-id", sent).body(Body::empty()).unwrap();
        let (parts, _) = ask(router.clone(), request).await;
        assert_eq!(parts.headers["x-request-id"] == sent, is_kept, "{sent}");
        assert_eq!(parts.headers.get_all("x-request-id").iter().count(), 1);
    }
    let twice = Request::get("/healthz").header("x-request-id", "a").header("x-request-id", "a").body(Body::empty());
    let (parts, _) = ask(router, twice.unwrap()).await;
    assert_ne!(parts.headers["x-request-id"], "a");
}

#[tokio::test]
async fn health_tells_alive_from_ready() {
    let (trigger, shutdown) = shutdown::channel();
    let router = surround(Router::new(), &settings(), &shutdown);
    assert_eq!(ask(router.clone(), get_request("/readyz")).await.0.status, StatusCode::OK);
    let (_, version) = ask(router.clone(), get_request("/version")).await;
    assert_eq!(
        version,
        serde_json::json!({"service": "mini-test", "version": "1.2.3", "revision": "abc", "created": null})
    );
    trigger.advance(Phase::Draining);
    let (parts, body) = ask(router.clone(), get_request("/readyz")).await;
    assert_eq!((parts.status, &body["type"]), (StatusCode::SERVICE_UNAVAILABLE, &"/problems/not-ready".into()));
    assert_eq!(ask(router, get_request("/healthz")).await.0.status, StatusCode::OK);
}
