//! `Idempotency-Key`, one request after the other. Requests at the same time are in `twins`.

use axum::body::Body;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, StatusCode};
use sqlx::PgPool;

use crate::shop::{INK, PEN, Shop, items};

#[sqlx::test(migrator = "mini_order::MIGRATOR")]
async fn a_repeat_gets_the_same_bytes_and_is_told_so(pool: PgPool) {
    let shop = Shop::new(pool).await;
    let user = shop.user();
    let first = shop.buy(&user, Some("key")).await;
    assert_eq!((first.status, first.is_replay()), (StatusCode::CREATED, false));
    // What changes meanwhile does not matter: neither the price nor whether there is such a product.
    for _ in 0..2 {
        let repeat = shop.buy(&user, Some("key")).await;
        assert_eq!((repeat.status, repeat.is_replay()), (StatusCode::CREATED, true));
        assert_eq!(repeat.bytes, first.bytes);
        assert_eq!(repeat.headers["location"], first.headers["location"]);
        shop.upstream.prices.lock().unwrap().clear();
    }
    assert_eq!(shop.upstream.requests(), 1);
    assert_eq!(shop.count_orders().await, (1, 0));
}

#[sqlx::test(migrator = "mini_order::MIGRATOR")]
async fn another_spelling_of_the_same_order_is_a_repeat(pool: PgPool) {
    let shop = Shop::new(pool).await;
    let user = shop.user();
    let first = shop.post(&user, Some("key"), items(&[(PEN, 1)])).await;
    let spaced = format!("{{ \"items\" : [ {{ \"quantity\": 1, \"product_id\": \"{PEN}\" }} ] }}\n");
    let repeat = shop.post(&user, Some("key"), spaced).await;
    assert!(repeat.is_replay());
    assert_eq!(repeat.bytes, first.bytes);
}

#[sqlx::test(migrator = "mini_order::MIGRATOR")]
async fn another_order_under_the_same_key_is_refused(pool: PgPool) {
    let shop = Shop::new(pool).await;
    let user = shop.user();
    shop.post(&user, Some("key"), items(&[(PEN, 1), (INK, 1)])).await;
    for other in [items(&[(PEN, 2), (INK, 1)]), items(&[(PEN, 1)]), items(&[(INK, 1), (PEN, 1)])] {
        let answer = shop.post(&user, Some("key"), other).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(answer.problem(), "idempotency-key-reused");
    }
    assert_eq!(shop.count_orders().await, (1, 0));
}

#[sqlx::test(migrator = "mini_order::MIGRATOR")]
async fn keys_of_two_users_and_two_keys_of_one_user_do_not_meet(pool: PgPool) {
    let shop = Shop::new(pool).await;
    let (one, two) = (shop.user(), shop.user());
    for (user, key) in [(&one, "key"), (&two, "key"), (&one, "KEY"), (&one, "\"key\"")] {
        let answer = shop.buy(user, Some(key)).await;
        assert_eq!((answer.status, answer.is_replay()), (StatusCode::CREATED, false), "{key}");
    }
    assert_eq!(shop.count_orders().await, (4, 0));
}

#[sqlx::test(migrator = "mini_order::MIGRATOR")]
async fn without_a_key_every_request_is_an_order(pool: PgPool) {
    let shop = Shop::new(pool).await;
    let user = shop.user();
    let ids = [shop.buy(&user, None).await.json()["id"].clone(), shop.buy(&user, None).await.json()["id"].clone()];
    assert_ne!(ids[0], ids[1]);
    assert_eq!(shop.count_orders().await, (2, 0));
}

#[sqlx::test(migrator = "mini_order::MIGRATOR")]
async fn a_failed_request_uses_no_key_up(pool: PgPool) {
    let shop = Shop::new(pool).await;
    let user = shop.user();
    let pen = shop.upstream.prices.lock().unwrap().remove(&PEN).unwrap();
    assert_eq!(shop.buy(&user, Some("key")).await.status, StatusCode::NOT_FOUND);
    shop.upstream.prices.lock().unwrap().insert(PEN, pen);
    let answer = shop.buy(&user, Some("key")).await;
    assert_eq!((answer.status, answer.is_replay()), (StatusCode::CREATED, false));
}

#[sqlx::test(migrator = "mini_order::MIGRATOR")]
async fn a_header_that_is_no_key_is_an_error_and_not_no_key(pool: PgPool) {
    let shop = Shop::new(pool).await;
    let user = shop.user();
    let too_long = "k".repeat(256);
    let malformed = [&b""[..], b"two words", b"\xc3\xbc", too_long.as_bytes()].map(|value| vec![value]);
    for values in malformed.into_iter().chain([vec![&b"key"[..], b"key"], vec![&b"key"[..], b""]]) {
        let mut request = Request::post("/orders")
            .header(AUTHORIZATION, &user.authorization)
            .header(CONTENT_TYPE, "application/json");
        for value in &values {
            request = request.header("Idempotency-Key", HeaderValue::from_bytes(value).unwrap());
        }
        let answer = shop.send(request.body(Body::from(items(&[(PEN, 1)]).to_string())).unwrap()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{values:?}");
        assert_eq!(answer.problem(), "invalid-idempotency-key");
    }
    assert_eq!(shop.count_orders().await, (0, 0));
    assert_eq!(shop.buy(&user, Some(&too_long[..255])).await.status, StatusCode::CREATED);
}

#[sqlx::test(migrator = "mini_order::MIGRATOR")]
async fn a_key_that_looks_like_sql_is_a_key(pool: PgPool) {
    let shop = Shop::new(pool).await;
    let user = shop.user();
    shop.buy(&user, Some("plain")).await;
    for key in ["'OR'1'='1", "';DROP/**/TABLE/**/orders;--", "$1", "\\'"] {
        assert!(!shop.buy(&user, Some(key)).await.is_replay(), "{key}");
        assert!(shop.buy(&user, Some(key)).await.is_replay(), "{key}");
    }
}
