//! The product service, well and unwell.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::IntoResponse;
use http::StatusCode;
use mini_kit_api::token::{SigningKey, Verifier};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use uuid::Uuid;

use crate::shop::{PEN, Shop, audience, items, settings};
use crate::upstream::Upstream;

const TIMEOUT: Duration = Duration::from_secs(2);

/// Orders a pen from a shop with this product service; gives status, problem, and how often the service was asked.
async fn buy_from(pool: &PgPool, upstream: Upstream) -> (u16, String, usize) {
    let shop = Shop::within(pool.clone(), upstream, TIMEOUT, settings());
    let begin = Instant::now();
    let answer = shop.buy(&shop.user(), Some("key")).await;
    assert!(begin.elapsed() < TIMEOUT + Duration::from_secs(1), "{:?}", begin.elapsed());
    let text = String::from_utf8(answer.bytes.to_vec()).unwrap();
    assert!(!text.contains("127.0.0.1") && !text.contains("hyper"), "{text}");
    assert_eq!(shop.count_orders().await, (0, 0));
    (answer.status.as_u16(), answer.problem(), shop.upstream.requests())
}

#[sqlx::test(migrator = "mini_order::MIGRATOR")]
async fn a_catalogue_out_of_reach_is_asked_twice_and_then_503(pool: PgPool) {
    let unavailable = |requests| (503, "catalogue-unavailable".to_owned(), requests);
    let hangs = Upstream::raw(b"", true);
    assert_eq!(buy_from(&pool, hangs.await).await, unavailable(2), "accepts and never answers");
    let half_head = Upstream::raw(b"HTTP/1.1 200 OK\r\nconte", true);
    assert_eq!(buy_from(&pool, half_head.await).await, unavailable(2), "half a head, then nothing");
    let half_body = Upstream::raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"items\"", false);
    assert_eq!(buy_from(&pool, half_body.await).await, unavailable(2), "half a body, then closed");
    let no_answer = Upstream::raw(b"", false);
    assert_eq!(buy_from(&pool, no_answer.await).await, unavailable(2), "closed without an answer");
    let not_http = Upstream::raw(b"220 mail ready\r\n", false);
    assert_eq!(buy_from(&pool, not_http.await).await, unavailable(2), "another protocol");
    assert_eq!(buy_from(&pool, Upstream::closed().await).await, unavailable(0), "nobody listens");
    for status in [500, 502, 503, 504].map(|status| StatusCode::from_u16(status).unwrap()) {
        assert_eq!(buy_from(&pool, Upstream::constant(status, "").await).await, unavailable(2), "{status}");
    }
}

#[sqlx::test(migrator = "mini_order::MIGRATOR")]
async fn an_answer_that_cannot_be_right_is_502_at_once(pool: PgPool) {
    for (status, body) in [
        (200, ""),
        (200, "<html>Welcome</html>"),
        (200, r#"{"items":null}"#),
        (200, r#"{"items":[{"id":"01930000-0000-7000-8000-000000000001","price":{"amount":-1,"currency":"EUR"}}]}"#),
        (200, r#"{"items":[{"id":"01930000-0000-7000-8000-000000000009","price":{"amount":1,"currency":"EUR"}}]}"#),
        (204, ""),
        (302, ""),
        (400, "{}"),
        (404, "{}"),
    ] {
        let upstream = Upstream::constant(StatusCode::from_u16(status).unwrap(), body).await;
        let expected = (502, "catalogue-invalid".to_owned(), 1);
        assert_eq!(buy_from(&pool, upstream).await, expected, "{status} {body}");
    }
    let endless = Upstream::answering(|_| async { Body::from(vec![b' '; 2 * 1024 * 1024]).into_response() }).await;
    assert_eq!(buy_from(&pool, endless).await, (502, "catalogue-invalid".to_owned(), 1));
}

#[sqlx::test(migrator = "mini_order::MIGRATOR")]
async fn one_failure_is_made_good_by_the_retry(pool: PgPool) {
    let asked = Arc::new(AtomicUsize::new(0));
    let upstream = Upstream::answering(move |_| {
        let first = asked.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if first {
                return StatusCode::SERVICE_UNAVAILABLE.into_response();
            }
            let product = serde_json::json!({ "id": PEN, "price": { "amount": 150, "currency": "EUR" } });
            axum::Json(serde_json::json!({ "items": [product] })).into_response()
        }
    })
    .await;
    let shop = Shop::with(pool, upstream);
    let answer = shop.buy(&shop.user(), None).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    let request_ids = shop.upstream.request_ids.lock().unwrap().clone();
    assert_eq!(request_ids.len(), 2);
    assert_eq!(request_ids[0], request_ids[1]);
}

#[sqlx::test(migrator = "mini_order::MIGRATOR")]
async fn the_real_catalogue_is_understood(pool: PgPool) {
    // The catalogue's tables live in a schema of their own beside those of the orders.
    sqlx::query("CREATE SCHEMA catalogue").execute(&pool).await.unwrap();
    let options = (*pool.connect_options()).clone().options([("search_path", "catalogue")]);
    let products = PgPoolOptions::new().max_connections(2).connect_with(options).await.unwrap();
    mini_product::MIGRATOR.run(&products).await.unwrap();
    let verifier = Arc::new(Verifier::new(SigningKey::from_seed(&[7; 32]).public_key(), None, audience()));
    let app = mini_product::App { pool: products.clone(), verifier };
    let shop = Shop::with(pool, Upstream::real(mini_product::routes::router(app)).await);

    let mut wanted = Vec::new();
    for number in 1..=50 {
        let id: Uuid = sqlx::query_scalar(
            "INSERT INTO products (id, name, description, price_amount, price_currency)
             VALUES ($1, 'Pen', repeat('\"', 2000), $2, 'EUR') RETURNING id",
        )
        .bind(Uuid::now_v7())
        .bind(i64::from(number))
        .fetch_one(&products)
        .await
        .unwrap();
        wanted.push((id, 2));
    }
    let answer = shop.post(&shop.user(), None, items(&wanted)).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    assert_eq!(answer.json()["total"]["amount"], 2 * (1..=50).sum::<i64>());

    let unknown = Uuid::from_u128(9);
    let answer = shop.post(&shop.user(), None, items(&[wanted[0], (unknown, 1)])).await;
    assert_eq!((answer.status, answer.problem().as_str()), (StatusCode::NOT_FOUND, "unknown-product"));
    products.close().await;
}
