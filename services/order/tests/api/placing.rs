//! `POST /orders`.

use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::response::IntoResponse;
use http::{Request, StatusCode};
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use crate::shop::{INK, PEN, Shop, items};
use crate::upstream::Upstream;

#[sqlx::test(migrator = "mini_order::MIGRATOR")]
async fn an_order_shows_the_prices_paid_and_their_sum(pool: PgPool) {
    let shop = Shop::new(pool).await;
    let user = shop.user();
    let placed = shop.post(&user, None, items(&[(INK, 2), (PEN, 3)])).await;
    assert_eq!(placed.status, StatusCode::CREATED, "{placed:?}");
    let order = placed.json();
    assert_eq!(order["status"], "placed");
    assert_eq!(order["total"], json!({ "amount": 1650, "currency": "EUR" }));
    assert_eq!(
        order["items"],
        json!([
            { "product_id": INK, "quantity": 2, "unit_price": { "amount": 600, "currency": "EUR" } },
            { "product_id": PEN, "quantity": 3, "unit_price": { "amount": 150, "currency": "EUR" } },
        ])
    );
    let location = placed.headers["location"].to_str().unwrap();
    assert_eq!(location, format!("/orders/{}", order["id"].as_str().unwrap()));
    assert_eq!(shop.get(&user, location).await.bytes, placed.bytes);
    assert!(!placed.is_replay());
}

#[sqlx::test(migrator = "mini_order::MIGRATOR")]
async fn a_later_price_does_not_change_an_order(pool: PgPool) {
    let shop = Shop::new(pool).await;
    let user = shop.user();
    let placed = shop.buy(&user, None).await;
    shop.upstream.prices.lock().unwrap().insert(PEN, (999, "USD"));
    let location = placed.headers["location"].to_str().unwrap();
    assert_eq!(shop.get(&user, location).await.bytes, placed.bytes);
}

#[sqlx::test(migrator = "mini_order::MIGRATOR")]
async fn an_invalid_order_is_refused_before_anybody_is_asked(pool: PgPool) {
    let shop = Shop::new(pool).await;
    let user = shop.user();
    let too_many: Vec<_> = (0..51).map(|number| (Uuid::from_u128(number), 1)).collect();
    for (body, pointers) in [
        (items(&[]), &["/items"][..]),
        (items(&too_many), &["/items"]),
        (items(&[(PEN, 0)]), &["/items/0/quantity"]),
        (items(&[(PEN, 1001)]), &["/items/0/quantity"]),
        (items(&[(PEN, 1), (INK, 1), (PEN, 1)]), &["/items/2/product_id"]),
        (json!({ "items": [{ "product_id": "x", "quantity": -1 }] }), &["/items/0/product_id", "/items/0/quantity"]),
    ] {
        assert_eq!(shop.post(&user, None, body).await.pointers(), pointers);
    }
    for (body, status) in [
        ("", StatusCode::BAD_REQUEST),
        (r#"{"items":"#, StatusCode::BAD_REQUEST),
        (r#"{"items":{}}"#, StatusCode::UNPROCESSABLE_ENTITY),
        (r#"{"items":[],"total":0}"#, StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        assert_eq!(shop.post(&user, None, body).await.status, status, "{body}");
    }
    assert_eq!(shop.upstream.requests(), 0);
    assert_eq!(shop.count_orders().await, (0, 0));
}

#[sqlx::test(migrator = "mini_order::MIGRATOR")]
async fn an_unknown_product_is_named_in_a_404(pool: PgPool) {
    let shop = Shop::new(pool).await;
    let unknown = Uuid::from_u128(9);
    let answer = shop.post(&shop.user(), None, items(&[(PEN, 1), (unknown, 1)])).await;
    assert_eq!((answer.status, answer.problem().as_str()), (StatusCode::NOT_FOUND, "unknown-product"));
    let detail = format!("there is no product {unknown}");
    assert_eq!(answer.json()["errors"], json!([{ "pointer": "/items/1/product_id", "detail": detail }]));
    assert_eq!(shop.count_orders().await, (0, 0));
}

#[sqlx::test(migrator = "mini_order::MIGRATOR")]
async fn two_currencies_and_a_total_beyond_exact_numbers_are_refused(pool: PgPool) {
    const MOST: i64 = (1 << 53) - 1;
    let upstream = Upstream::selling([(PEN, (MOST, "EUR")), (INK, (600, "USD"))]).await;
    let shop = Shop::with(pool, upstream);
    let user = shop.user();
    assert_eq!(shop.post(&user, None, items(&[(PEN, 1), (INK, 1)])).await.pointers(), ["/items/1/product_id"]);
    assert_eq!(shop.post(&user, None, items(&[(PEN, 2)])).await.pointers(), ["/items"]);
    assert_eq!(shop.post(&user, None, items(&[(PEN, 1000)])).await.pointers(), ["/items"]);
    let largest = shop.post(&user, None, items(&[(PEN, 1)])).await;
    assert_eq!(largest.json()["total"]["amount"], MOST);
}

#[sqlx::test(migrator = "mini_order::MIGRATOR")]
async fn the_largest_order_asks_once_under_the_id_of_its_request(pool: PgPool) {
    let products: Vec<_> = (1..=50).map(Uuid::from_u128).collect();
    let shop = Shop::with(pool, Upstream::selling(products.iter().map(|id| (*id, (100_000_000_000, "EUR")))).await);
    let wanted: Vec<_> = products.iter().map(|id| (*id, 1000)).collect();
    let answer = shop.post(&shop.user(), None, items(&wanted)).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    assert_eq!(answer.json()["total"]["amount"], 5_000_000_000_000_000_i64);
    let request_id = answer.headers["x-request-id"].to_str().unwrap();
    assert_eq!(*shop.upstream.request_ids.lock().unwrap(), [request_id]);
}

#[sqlx::test(migrator = "mini_order::MIGRATOR")]
async fn no_database_connection_is_held_while_the_catalogue_is_asked(pool: PgPool) {
    let every_connection = pool.options().get_max_connections();
    let (asked, mut is_asked) = tokio::sync::mpsc::unbounded_channel();
    let (release, released) = tokio::sync::watch::channel(false);
    let upstream = Upstream::answering(move |_| {
        let (asked, mut released) = (asked.clone(), released.clone());
        async move {
            asked.send(()).unwrap();
            released.wait_for(|released| *released).await.unwrap();
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    })
    .await;
    let shop = Shop::with(pool.clone(), upstream);
    let user = shop.user();
    let asking = async {
        is_asked.recv().await.unwrap();
        let mut connections = Vec::new();
        for _ in 0..every_connection {
            connections.push(pool.acquire().await.unwrap());
        }
        release.send(true).unwrap();
    };
    let (answer, ()) = tokio::join!(shop.buy(&user, Some("key")), asking);
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[sqlx::test(migrator = "mini_order::MIGRATOR")]
async fn the_trace_of_an_order_goes_on_to_the_catalogue(pool: PgPool) {
    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let seen = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&seen);
    let upstream = Upstream::answering(move |request| {
        let headers = ["traceparent", "tracestate"].map(|name| request.headers()[name].to_str().unwrap().to_owned());
        record.lock().unwrap().push(headers);
        async { StatusCode::BAD_REQUEST.into_response() }
    })
    .await;
    let shop = Shop::with(pool, upstream);
    let request = Request::post("/orders")
        .header("authorization", shop.user().authorization)
        .header("content-type", "application/json")
        .header("traceparent", PARENT)
        .header("tracestate", "vendor=1");
    shop.send(request.body(Body::from(items(&[(PEN, 1)]).to_string())).unwrap()).await;
    let seen = seen.lock().unwrap();
    let [parent, state] = &seen[0];
    assert!(parent.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && parent != PARENT, "{parent}");
    assert_eq!(state, "vendor=1");
}
