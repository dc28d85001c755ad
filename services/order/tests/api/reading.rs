//! `GET /orders` and `GET /orders/{id}`.

use std::time::Duration;

use axum::body::Body;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::shop::{INK, PEN, Shop, items};

#[sqlx::test(migrator = "mini_order::MIGRATOR")]
async fn pages_show_every_own_order_whole_and_once_newest_first(pool: PgPool) {
    let shop = Shop::new(pool).await;
    let (user, other) = (shop.user(), shop.user());
    let mut placed = Vec::new();
    for quantity in 1..=5 {
        placed.push(shop.post(&user, None, items(&[(INK, quantity), (PEN, 1)])).await.json());
        shop.buy(&other, None).await;
    }
    placed.reverse();
    for limit in [1, 2, 5, 100] {
        let mut seen = Vec::new();
        let mut path = format!("/orders?limit={limit}");
        loop {
            let page = shop.get(&user, &path).await.json();
            let orders = page["items"].as_array().unwrap().clone();
            assert!(!orders.is_empty() && orders.len() <= limit);
            seen.extend(orders);
            assert!(seen.len() <= placed.len(), "the cursors go in a circle");
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            path = format!("/orders?limit={limit}&cursor={cursor}");
        }
        assert_eq!(seen, placed, "limit {limit}");
    }
}

#[sqlx::test(migrator = "mini_order::MIGRATOR")]
async fn a_user_without_orders_has_an_empty_page(pool: PgPool) {
    let shop = Shop::new(pool).await;
    shop.buy(&shop.user(), None).await;
    let page = shop.get(&shop.user(), "/orders").await;
    assert_eq!(page.json(), json!({ "items": [], "next_cursor": null }));
}

#[sqlx::test(migrator = "mini_order::MIGRATOR")]
async fn another_users_order_is_answered_like_one_that_does_not_exist(pool: PgPool) {
    let shop = Shop::new(pool).await;
    let order = shop.buy(&shop.user(), None).await.json();
    let stranger = shop.user();
    let without_id = |answer: &Value| {
        let mut answer = answer.clone();
        answer.as_object_mut().unwrap().remove("request_id");
        answer
    };
    let unknown = shop.get(&stranger, "/orders/01930000-0000-7000-8000-000000000000").await;
    let foreign = shop.get(&stranger, &format!("/orders/{}", order["id"].as_str().unwrap())).await;
    let malformed = shop.get(&stranger, "/orders/nonsense").await;
    for answer in [&unknown, &foreign, &malformed] {
        assert_eq!((answer.status, answer.problem().as_str()), (StatusCode::NOT_FOUND, "not-found"));
        assert_eq!(without_id(&answer.json()), without_id(&unknown.json()));
    }
}

#[sqlx::test(migrator = "mini_order::MIGRATOR")]
async fn a_cursor_of_another_user_shows_no_order_of_theirs(pool: PgPool) {
    let shop = Shop::new(pool).await;
    let (user, stranger) = (shop.user(), shop.user());
    shop.buy(&user, None).await;
    shop.buy(&user, None).await;
    let page = shop.get(&user, "/orders?limit=1").await.json();
    let path = format!("/orders?cursor={}", page["next_cursor"].as_str().unwrap());
    assert_eq!(shop.get(&stranger, &path).await.json()["items"], json!([]));
}

#[sqlx::test(migrator = "mini_order::MIGRATOR")]
async fn a_query_that_is_not_understood_is_refused(pool: PgPool) {
    let shop = Shop::new(pool).await;
    let user = shop.user();
    for query in ["limit=0", "limit=101", "limit=x", "cursor=nonsense", "cursor=", "user_id=1", "limit=1&limit=2"] {
        let answer = shop.get(&user, &format!("/orders?{query}")).await;
        assert_eq!((answer.status, answer.problem().as_str()), (StatusCode::BAD_REQUEST, "invalid-query"), "{query}");
    }
}

#[sqlx::test(migrator = "mini_order::MIGRATOR")]
async fn a_database_without_a_free_connection_is_503_and_not_a_failure(pool: PgPool) {
    let options = PgPoolOptions::new().max_connections(1).acquire_timeout(Duration::from_secs(3));
    let pool = options.connect_with((*pool.connect_options()).clone()).await.unwrap();
    let _only_connection = pool.acquire().await.unwrap();
    let shop = Shop::new(pool.clone()).await;
    let answer = shop.get(&shop.user(), "/orders").await;
    assert_eq!((answer.status, answer.problem().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "service-unavailable"));
    assert_eq!(answer.headers["retry-after"], "1");
}

#[sqlx::test(migrator = "mini_order::MIGRATOR")]
async fn an_order_has_a_tag_of_its_own(pool: PgPool) {
    let shop = Shop::new(pool).await;
    let user = shop.user();
    let placed = shop.buy(&user, None).await;
    let found = shop.get(&user, &format!("/orders/{}", placed.json()["id"].as_str().unwrap())).await;
    assert_eq!(found.headers["etag"], placed.headers["etag"]);
    assert_ne!(shop.buy(&user, None).await.headers["etag"], placed.headers["etag"]);
}

#[sqlx::test(migrator = "mini_order::MIGRATOR")]
async fn a_list_has_a_tag_that_changes_with_what_it_shows(pool: PgPool) {
    let shop = Shop::new(pool).await;
    let user = shop.user();
    shop.buy(&user, None).await;
    let before = shop.get(&user, "/orders").await.headers["etag"].clone();
    let ask = async || {
        let request = Request::get("/orders").header("authorization", &user.authorization);
        shop.send(request.header("if-none-match", &before).body(Body::empty()).unwrap()).await
    };
    let known = ask().await;
    assert_eq!((known.status, &known.headers["etag"]), (StatusCode::NOT_MODIFIED, &before));
    shop.buy(&shop.user(), None).await;
    assert_eq!(ask().await.status, StatusCode::NOT_MODIFIED, "the order of somebody else");
    shop.buy(&user, None).await;
    assert_eq!(ask().await.status, StatusCode::OK);
}
