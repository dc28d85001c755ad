//! JSON bodies and what is said about wrong ones.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::post;
use http::{Request, StatusCode};
use mini_kit::server::Settings;
use mini_kit::shutdown;
use mini_kit_api::extract::Json;
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
        ("application/json", r#"{"items": [{"name": "a", "quantity": 200.0}]}"#, StatusCode::OK),
        ("application/json", r#"{"items": [{"name": "a", "quantity": 2e2}]}"#, StatusCode::OK),
        ("application/json", r#"{"items": [{"name": "a", "quantity": 3e2}]}"#, StatusCode::UNPROCESSABLE_ENTITY),
        ("application/json", r#"{"items": [{"name": "a", "quantity": 1e300}]}"#, StatusCode::UNPROCESSABLE_ENTITY),
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
    let types = ["application/json", "text/plain"].map(|value| ("content-type", value));
    for types in [types, [types[0]; 2]] {
        let request = types.iter().fold(Request::post("/"), |request, (name, value)| request.header(*name, *value));
        let (parts, _) = ask(router(), request.body(Body::from(good)).unwrap()).await;
        assert_eq!(parts.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{types:?}");
    }
}

#[tokio::test]
async fn mistakes_are_named_by_place_and_without_the_value() {
    for (body, pointer, detail) in [
        (r#"{}"#, "", "missing field `items`"),
        (r#"{"items": [{"name": "a", "quantity": "S3CR3T"}]}"#, "/items/0/quantity", "expected a whole number"),
        (
            r#"{"items": [{"name": "a", "quantity": 1}, {"name": 7, "quantity": 1}]}"#,
            "/items/1/name",
            "expected a string",
        ),
        (
            r#"{"items": [{"name": "a", "quantity": 300}]}"#,
            "/items/0/quantity",
            "expected a whole number within its range",
        ),
        (r#"{"items": [{"name": "a", "quantity": 1.5}]}"#, "/items/0/quantity", "expected a whole number"),
        (r#"{"items": {}}"#, "/items", "expected an array"),
        (r#"[[]]"#, "", "expected an object"),
        (r#""S3CR3T""#, "", "expected an object"),
        ("null", "", "expected an object"),
        (r#"{"items": [["a", 1]]}"#, "/items/0", "expected an object"),
        (r#"{"items": [null]}"#, "/items/0", "expected an object"),
        (
            r#"{"items": [{"name": "a", "quantity": 1, "S3CR3T": 1}]}"#,
            "/items/0/S3CR3T",
            "unknown field; expected `name` or `quantity`",
        ),
        (
            r#"{"items": [{"name": ", expected S3CR3T", "quantity": ", expected S3CR3T"}]}"#,
            "/items/0/quantity",
            "expected a whole number",
        ),
    ] {
        let (status, problem) = send("application/json", body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        assert_eq!(problem["errors"], json!([{"pointer": pointer, "detail": detail}]), "{body}");
    }
}

#[tokio::test]
async fn bytes_that_are_not_text_are_malformed_and_encoded_bodies_not_supported() {
    let (status, problem) =
        send("application/json", &b"{\"items\": [{\"name\": \"\xff\", \"quantity\": 1}]}"[..]).await;
    assert_eq!((status, &problem["detail"]), (StatusCode::BAD_REQUEST, &json!("the body is not valid UTF-8")));
    let send_coded = async |coding: &str| {
        let request = Request::post("/").header("content-type", "application/json").header("content-encoding", coding);
        ask(router(), request.body(r#"{"items": []}"#.into()).unwrap()).await
    };
    for coding in ["gzip", "br", "identity, gzip", ""] {
        let (parts, problem) = send_coded(coding).await;
        let expected = (StatusCode::UNSUPPORTED_MEDIA_TYPE, &json!("/problems/unsupported-content-coding"));
        assert_eq!((parts.status, &problem["type"]), expected, "{coding}");
        assert_eq!(parts.headers["accept-encoding"], "identity");
    }
    assert_eq!(send_coded("Identity").await.0.status, StatusCode::OK);
}

/// No message of serde's names a type of the program, whatever the form wants.
#[test]
fn no_type_of_the_program_is_in_an_answer() {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only the form of the body matters")]
    struct Everything {
        small: Option<i8>,
        large: u64,
        real: f64,
        yes: bool,
        letter: char,
        pair: (u8, String),
        map: std::collections::HashMap<String, u8>,
        choice: Choice,
    }
    #[derive(Deserialize)]
    enum Choice {
        #[serde(rename = "one")]
        One,
    }
    let handler = async |Json(form): Json<Everything>| match form.choice {
        Choice::One => "fine",
    };
    let router = surround(Router::new().route("/", post(handler)), &settings(), &shutdown::channel().1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for wrong in ["null", "true", "-1", "1e300", "\"text\"", "[]", "[1]", "{}", "{\"a\": null}"] {
        for field in ["small", "large", "real", "yes", "letter", "pair", "map", "choice", "unknown"] {
            let request = Request::post("/").header("content-type", "application/json");
            let request = request.body(format!("{{\"{field}\": {wrong}}}").into()).unwrap();
            let (parts, problem) = runtime.block_on(ask(router.clone(), request));
            assert_eq!(parts.status, StatusCode::UNPROCESSABLE_ENTITY, "{field} {wrong}");
            let detail = problem["errors"][0]["detail"].as_str().unwrap();
            let has = |name: &str| detail.split(|letter: char| !letter.is_alphanumeric()).any(|word| word == name);
            for name in ["Everything", "Choice", "struct", "tuple", "enum", "i8", "u8", "u64", "f64", "char", "bool"] {
                assert!(!has(name), "{field} {wrong}: {detail}");
            }
        }
    }
}

#[tokio::test]
async fn a_body_that_stands_still_is_answered_with_408() {
    struct Silent;
    impl http_body::Body for Silent {
        type Data = bytes::Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<http_body::Frame<bytes::Bytes>, Self::Error>>> {
            Poll::Pending
        }
    }
    let mut impatient = settings();
    impatient.limits.stall_timeout = Duration::from_millis(20);
    let router =
        surround(Router::new().route("/", post(async |_: Json<Order>| "fine")), &impatient, &shutdown::channel().1);
    let request = Request::post("/").header("content-type", "application/json").body(Body::new(Silent)).unwrap();
    let (parts, problem) = ask(router, request).await;
    assert_eq!((parts.status, &problem["type"]), (StatusCode::REQUEST_TIMEOUT, &json!("/problems/request-timeout")));
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
