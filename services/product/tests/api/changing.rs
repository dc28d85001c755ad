//! `PATCH /products/{id}`.

use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::PgPool;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::task::JoinSet;

use crate::catalogue::Catalogue;

fn path(product: &Value) -> String {
    format!("/products/{}", product["id"].as_str().unwrap())
}

fn updated_at(product: &Value) -> OffsetDateTime {
    OffsetDateTime::parse(product["updated_at"].as_str().unwrap(), &Rfc3339).unwrap()
}

#[sqlx::test(migrator = "mini_product::MIGRATOR")]
async fn a_change_keeps_what_it_does_not_name(pool: PgPool) {
    let catalogue = Catalogue::new(pool);
    let product = catalogue.create("Pen", 100).await;
    let changed = catalogue.write(Method::PATCH, &path(&product), json!({ "description": "New." })).await;
    assert_eq!(changed.status, StatusCode::OK, "{changed:?}");
    assert_eq!(changed.body["description"], "New.");
    for field in ["id", "name", "price", "created_at"] {
        assert_eq!(changed.body[field], product[field]);
    }
    assert_ne!(changed.body["updated_at"], product["updated_at"]);
    assert_eq!(catalogue.get(&path(&product)).await.body, changed.body);
}

#[sqlx::test(migrator = "mini_product::MIGRATOR")]
async fn a_change_that_is_empty_or_invalid_is_refused(pool: PgPool) {
    let catalogue = Catalogue::new(pool);
    let product = catalogue.create("Pen", 100).await;
    for (body, pointers) in [
        (json!({}), &[""][..]),
        (json!({ "name": "" }), &["/name"]),
        (json!({ "price": { "amount": -1, "currency": "eur" } }), &["/price/amount", "/price/currency"]),
        (json!({ "name": "Fine", "description": "\u{0}" }), &["/description"]),
    ] {
        let answer = catalogue.write(Method::PATCH, &path(&product), body).await;
        assert_eq!(answer.pointers(), pointers);
    }
    for body in [json!({ "name": null }), json!({ "price": { "amount": 1 } }), json!({ "id": product["id"] })] {
        let answer = catalogue.write(Method::PATCH, &path(&product), &body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    }
    assert_eq!(catalogue.get(&path(&product)).await.body, product);
}

#[sqlx::test(migrator = "mini_product::MIGRATOR")]
async fn a_product_that_does_not_exist_cannot_be_changed(pool: PgPool) {
    let catalogue = Catalogue::new(pool);
    for id in ["01930000-0000-7000-8000-000000000000", "nonsense", "%00", "01930000000070008000000000000000"] {
        let answer = catalogue.write(Method::PATCH, &format!("/products/{id}"), json!({ "name": "Pen" })).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{id}");
        assert_eq!(answer.problem(), "not-found");
    }
}

#[sqlx::test(migrator = "mini_product::MIGRATOR")]
async fn changes_at_the_same_time_lose_nothing_and_mix_no_price(pool: PgPool) {
    const ROUNDS: i64 = 20;
    let catalogue = Arc::new(Catalogue::new(pool));
    let product = catalogue.create("Pen", 0).await;
    let mut changes = JoinSet::new();
    for round in 1..=ROUNDS {
        // Amount and currency go together, so a mixture of two prices can be told from each of them.
        let currency = if round % 2 == 0 { "EUR" } else { "USD" };
        for body in [
            json!({ "name": format!("Pen {round}") }),
            json!({ "description": format!("Version {round}") }),
            json!({ "price": { "amount": round, "currency": currency } }),
        ] {
            let (catalogue, path) = (Arc::clone(&catalogue), path(&product));
            changes.spawn(async move { catalogue.write(Method::PATCH, &path, body).await });
        }
    }
    let answers = changes.join_all().await;
    assert!(answers.iter().all(|answer| answer.status == StatusCode::OK));
    for seen in answers.iter().map(|answer| &answer.body["price"]) {
        let amount = seen["amount"].as_i64().unwrap();
        assert_eq!(seen["currency"], if amount % 2 == 0 { "EUR" } else { "USD" });
    }
    // The last to get the row's lock saw every change before it, and its answer is what stays.
    let last = answers.iter().map(|answer| &answer.body).max_by_key(|body| updated_at(body)).unwrap();
    assert_eq!(catalogue.get(&path(&product)).await.body, *last);
    assert_ne!(last["name"], "Pen");
    assert_ne!(last["description"], "");
    assert_ne!(last["price"]["amount"], 0);
}
