//! JSON bodies and what is said about wrong ones.

use axum::Router;
use axum::body::Body;
use axum::routing::post;
use http::{Request, StatusCode};
use mini_kit::extract::Json;
use mini_kit::server::Settings;
use mini_kit::shutdown;
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::router::{ask, settings, surround};

#[derive(Deserialize)]
#[expect(dead_code, reason = "only the form of the body matters")]
struct Order {
    items: Vec<Item>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only the form of the body matters")]
struct Item {
    name: String,
    quantity: u8,
}

fn router() -> Router {
    let settings = Settings { request_body_limit_bytes: 200, ..settings() };
    surround(Router::new().route("/", post(async |_: Json<Order>| "fine")), &settings, &shutdown::channel().1)
}

async fn send(content_type: &str, body: impl Into<Body>) -> (StatusCode, Value) {
    let request = Request::post("/").header("content-type", content_type).body(body.into()).unwrap();
    let (parts, body) = ask(router(), request).await;
    (parts.status, body)
}

#[tokio::test]
async fn the_status_tells_what_kind_of_mistake_it_is() {
    let good = r#"{"items": [{"name": "a", "quantity": 1}]}"#;
    for (content_type, body, expected) in [
        ("application/json", good, StatusCode::OK),
        ("Application/JSON; charset=utf-8", good, StatusCode::OK),
        ("application/merge-patch+json", good, StatusCode::OK),
        ("text/plain", good, StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("application/jsonx", good, StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("application/json", "", StatusCode::BAD_REQUEST),
        ("application/json", r#"{"items": "x", "#, StatusCode::BAD_REQUEST),
        ("application/json", r#"{"items": []} x"#, StatusCode::BAD_REQUEST),
        ("application/json", "{}", StatusCode::UNPROCESSABLE_ENTITY),
        ("application/json", "[]", StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        assert_eq!(send(content_type, body).await.0, expected, "{content_type} {body}");
    }
    assert_eq!(send("application/json", " ".repeat(201)).await.0, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn mistakes_are_named_by_place_and_without_the_value() {
    for (body, pointer, detail) in [
        (r#"{}"#, "", "missing field `items`"),
        (r#"{"items": [{"name": "a", "quantity": "S3CR3T"}]}"#, "/items/0/quantity", "expected u8"),
        (
            r#"{"items": [{"name": "a", "quantity": 1}, {"name": 7, "quantity": 1}]}"#,
            "/items/1/name",
            "expected a string",
        ),
        (r#"{"items": [{"name": "a", "quantity": 300}]}"#, "/items/0/quantity", "expected u8"),
        (
            r#"{"items": [{"name": "a", "quantity": 1, "S3CR3T": 1}]}"#,
            "/items/0/S3CR3T",
            "expected `name` or `quantity`",
        ),
        (
            r#"{"items": [{"name": ", expected S3CR3T", "quantity": ", expected S3CR3T"}]}"#,
            "/items/0/quantity",
            "expected u8",
        ),
    ] {
        let (status, problem) = send("application/json", body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        assert_eq!(problem["errors"], json!([{"pointer": pointer, "detail": detail}]), "{body}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_body_gets_an_answer(body in prop::collection::vec(any::<u8>(), 0..100)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (status, _) = runtime.block_on(send("application/json", body));
        prop_assert!(status.is_success() || status.is_client_error());
    }
}
