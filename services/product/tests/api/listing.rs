//! `GET /products` and `GET /products/{id}`.

use std::collections::BTreeSet;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::catalogue::Catalogue;

const UNKNOWN: &str = "01930000-0000-7000-8000-000000000000";

fn ids(page: &Value) -> Vec<String> {
    page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

#[sqlx::test(migrator = "mini_product::MIGRATOR")]
async fn pages_show_every_product_once_newest_first(pool: PgPool) {
    let catalogue = Catalogue::new(pool);
    let mut created = Vec::new();
    for number in 0..7 {
        created.push(catalogue.create(&format!("Pen {number}"), number).await["id"].as_str().unwrap().to_owned());
    }
    created.reverse();
    for limit in [1, 2, 3, 6, 7, 8, 100] {
        let mut seen = Vec::new();
        let mut path = format!("/products?limit={limit}");
        loop {
            let page = catalogue.get(&path).await;
            assert_eq!(page.status, StatusCode::OK, "{page:?}");
            assert!(ids(&page.body).len() <= limit && !ids(&page.body).is_empty());
            seen.extend(ids(&page.body));
            assert!(seen.len() <= created.len(), "the cursors go in a circle");
            let Some(cursor) = page.body["next_cursor"].as_str() else { break };
            path = format!("/products?limit={limit}&cursor={cursor}");
        }
        assert_eq!(seen, created, "limit {limit}");
    }
}

#[sqlx::test(migrator = "mini_product::MIGRATOR")]
async fn a_product_created_meanwhile_moves_no_page(pool: PgPool) {
    let catalogue = Catalogue::new(pool);
    for number in 0..4 {
        catalogue.create("Pen", number).await;
    }
    let first = catalogue.get("/products?limit=2").await.body;
    let second = format!("/products?limit=2&cursor={}", first["next_cursor"].as_str().unwrap());
    let before = catalogue.get(&second).await.body;
    catalogue.create("Newcomer", 1).await;
    assert_eq!(catalogue.get(&second).await.body, before);
    assert_eq!(before["next_cursor"], Value::Null);
}

#[sqlx::test(migrator = "mini_product::MIGRATOR")]
async fn a_page_holds_twenty_when_nothing_is_said(pool: PgPool) {
    let catalogue = Catalogue::new(pool);
    assert_eq!(catalogue.get("/products").await.body, json!({ "items": [], "next_cursor": null }));
    for number in 0..21 {
        catalogue.create("Pen", number).await;
    }
    let page = catalogue.get("/products").await.body;
    assert_eq!(ids(&page).len(), 20);
    assert!(page["next_cursor"].is_string());
}

#[sqlx::test(migrator = "mini_product::MIGRATOR")]
async fn a_query_that_is_not_understood_is_refused(pool: PgPool) {
    let catalogue = Catalogue::new(pool);
    for query in [
        "limit=0",
        "limit=101",
        "limit=-1",
        "limit=ten",
        "limit=",
        "limit=5&limit=6",
        "cursor=",
        "cursor=nonsense",
        "cursor=AQ",
        "cursor=%00",
        "offset=5",
        "ids=",
        "ids=nonsense",
        "ids=01930000-0000-7000-8000-000000000000&limit=5",
    ] {
        let answer = catalogue.get(&format!("/products?{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
        assert_eq!(answer.problem(), "invalid-query", "{query}");
        assert!(answer.body["detail"].is_string(), "{query}");
    }
}

#[sqlx::test(migrator = "mini_product::MIGRATOR")]
async fn products_asked_for_by_id_come_as_far_as_they_exist(pool: PgPool) {
    let catalogue = Catalogue::new(pool);
    let mut wanted = Vec::new();
    for number in 0..3 {
        let product = catalogue.create("Pen", number).await;
        wanted.push(product["id"].as_str().unwrap().to_owned());
    }
    let other = wanted.pop().unwrap();
    let answer = catalogue.get(&format!("/products?ids={},{UNKNOWN},{},{}", wanted[0], wanted[1], wanted[0])).await;
    let found: BTreeSet<_> = ids(&answer.body).into_iter().collect();
    assert_eq!(found, wanted.into_iter().collect());
    assert!(!found.contains(&other));
    assert_eq!(ids(&answer.body).len(), 2);
    assert_eq!(answer.body["next_cursor"], Value::Null);
}

#[sqlx::test(migrator = "mini_product::MIGRATOR")]
async fn an_id_that_names_no_product_is_not_found(pool: PgPool) {
    let catalogue = Catalogue::new(pool);
    let product = catalogue.create("Pen", 1).await;
    let braced = format!("%7B{}%7D", product["id"].as_str().unwrap());
    for id in [UNKNOWN, "1", "nonsense", "%00", "%ff", &braced] {
        let answer = catalogue.get(&format!("/products/{id}")).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{id}: {answer:?}");
        assert_eq!(answer.problem(), "not-found");
    }
}

#[sqlx::test(migrator = "mini_product::MIGRATOR")]
async fn a_database_without_a_free_connection_is_503_and_not_a_failure(pool: PgPool) {
    let options = PgPoolOptions::new().max_connections(1).acquire_timeout(Duration::from_secs(3));
    let pool = options.connect_with((*pool.connect_options()).clone()).await.unwrap();
    let _only_connection = pool.acquire().await.unwrap();
    let answer = Catalogue::new(pool.clone()).get("/products").await;
    assert_eq!((answer.status, answer.problem()), (StatusCode::SERVICE_UNAVAILABLE, "service-unavailable"));
    assert_eq!(answer.headers["retry-after"], "1");
}
