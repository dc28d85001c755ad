@database
//! The service's HTTP interface against a real Postgres; each test has a database of its own.
@no-database
//! The service's HTTP interface.
@end

#![allow(
    clippy::unwrap_used,
    reason = "a test may end at its first surprise; the exception in clippy.toml misses fixtures"
)]

use axum::Router;
use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use mini_kit::health::Health;
use mini_kit::server::Settings;
use mini_kit::{Build, Identity, config, shutdown};
@database
use mini_kit_api::database;
@end
use mini_kit_api::router::{self, Routes};
@database
use __crate__::{App, MIGRATOR, SERVICE, routes};
@no-database
use __crate__::{SERVICE, routes};
@end
use serde_json::{Value, json};
@database
use sqlx::PgPool;
@end
use tower::ServiceExt as _;

/// The service with everything around it but the socket.
@database
fn service(pool: PgPool) -> Router {
@no-database
fn service() -> Router {
@end
    let build = Build { version: "0.0.0", revision: None, created: None };
    let (_, shutdown) = shutdown::channel();
    let identity = Identity { service: "__package__", build };
@database
    let readiness_pool = pool.clone();
    let health = Health::new(identity, shutdown, move || database::readiness(readiness_pool.clone(), &MIGRATOR));
    let routes = Routes { router: routes::router(App { pool }), health };
@no-database
    let health = Health::new(identity, shutdown, async || Ok(()));
    let routes = Routes { router: routes::router(), health };
@end
    router::build(routes, &config::load(Settings::declare, &|_| None).unwrap())
}

async fn get(service: Router, path: &str) -> (StatusCode, Value) {
    let response = service.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    (parts.status, serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap())
}

#[test]
fn the_declared_variables_are_sound() {
    assert_eq!(SERVICE.contract().mistakes(), Vec::<String>::new());
}

@database
#[test]
fn the_migrations_keep_the_rules() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
    assert_eq!(database::migration_mistakes(&MIGRATOR, folder), Vec::<String>::new());
}

#[sqlx::test(migrator = "__crate__::MIGRATOR")]
async fn the_list_is_empty_at_first(pool: PgPool) {
    let service = service(pool);
@no-database
#[tokio::test]
async fn the_list_is_empty_at_first() {
    let service = service();
@end
    assert_eq!(get(service.clone(), "/readyz").await.0, StatusCode::OK);
    assert_eq!(get(service.clone(), "/__path__").await, (StatusCode::OK, json!({ "items": [] })));
    assert_eq!(get(service, "/nowhere").await.0, StatusCode::NOT_FOUND);
}
