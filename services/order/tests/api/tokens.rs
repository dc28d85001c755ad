//! Whose orders: every route needs a valid token.

use axum::body::Body;
use http::header::WWW_AUTHENTICATE;
use http::{Request, StatusCode};
use mini_kit_api::token::{LEEWAY_SECONDS, now_unix_seconds};
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use crate::shop::{Shop, User};

fn claims(changes: &Value) -> Value {
    let now = now_unix_seconds();
    let mut claims = json!({
        "iss": "mini-user", "aud": "mini-shop", "sub": Uuid::from_u128(1), "role": "user", "iat": now, "exp": now + 60,
    });
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

#[sqlx::test(migrator = "mini_order::MIGRATOR")]
async fn no_route_answers_without_a_valid_token(pool: PgPool) {
    let shop = Shop::new(pool).await;
    for path in ["/orders", "/orders/01930000-0000-7000-8000-000000000000"] {
        let answer = shop.send(Request::get(path).body(Body::empty()).unwrap()).await;
        assert_eq!((answer.status, answer.problem().as_str()), (StatusCode::UNAUTHORIZED, "unauthorized"));
        assert_eq!(answer.headers[WWW_AUTHENTICATE], "Bearer realm=\"mini\"");
    }
    for authorization in ["Bearer", "Bearer ", "Bearer  ", "Basic dTpw", "Bearer nonsense", "Bearer a.b.c"] {
        let user = User { authorization: authorization.to_owned() };
        assert_eq!(shop.buy(&user, None).await.status, StatusCode::UNAUTHORIZED, "{authorization:?}");
    }
    assert_eq!(shop.upstream.requests(), 0);
}

#[sqlx::test(migrator = "mini_order::MIGRATOR")]
async fn claims_are_all_checked(pool: PgPool) {
    let shop = Shop::new(pool).await;
    let now = now_unix_seconds();
    for accepted in [json!({}), json!({ "exp": now }), json!({ "aud": ["other", "mini-shop"] })] {
        let user = shop.user_with_claims(&claims(&accepted));
        assert_eq!(shop.get(&user, "/orders").await.status, StatusCode::OK, "{accepted}");
    }
    for refused in [
        json!({ "exp": now - LEEWAY_SECONDS - 1 }),
        json!({ "exp": null }),
        json!({ "exp": "9999999999" }),
        json!({ "exp": 9_999_999_999.5 }),
        json!({ "exp": -1 }),
        json!({ "exp": 9_223_372_036_854_775_808_u64 }),
        json!({ "nbf": now + 300 }),
        json!({ "iat": now + 300 }),
        json!({ "iss": "somebody" }),
        json!({ "aud": "another-shop" }),
        json!({ "aud": [] }),
        json!({ "sub": "nobody" }),
        json!({ "sub": null }),
        json!({ "role": "owner" }),
        json!({ "role": null }),
    ] {
        let answer = shop.get(&shop.user_with_claims(&claims(&refused)), "/orders").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{refused}");
        assert!(answer.headers[WWW_AUTHENTICATE].to_str().unwrap().contains("invalid_token"));
    }
}
