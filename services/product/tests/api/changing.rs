//! `PATCH /products/{id}`.

use std::sync::Arc;

use axum::body::Body;
use http::{Method, Request, StatusCode};
use mini_kit_api::token::Role;
use serde_json::{Value, json};
use sqlx::PgPool;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::task::JoinSet;

use crate::catalogue::{Answer, Catalogue};

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

async fn change_if(catalogue: &Catalogue, product: &Value, condition: &str, body: Value) -> Answer {
    change_with(catalogue, product, &[("if-match", condition)], body).await
}

async fn change_with(catalogue: &Catalogue, product: &Value, headers: &[(&str, &str)], body: Value) -> Answer {
    let mut request = Request::patch(path(product))
        .header("authorization", format!("Bearer {}", catalogue.token(Role::Admin)))
        .header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    catalogue.send(request.body(Body::from(body.to_string())).unwrap()).await
}

/// Case R07.
#[sqlx::test(migrator = "mini_product::MIGRATOR")]
async fn a_change_of_another_state_than_the_present_one_is_refused(pool: PgPool) {
    let catalogue = Catalogue::new(pool);
    let product = catalogue.create("Pen", 100).await;
    let tag = |answer: &Answer| answer.headers["etag"].to_str().unwrap().to_owned();
    let change =
        async |condition: &str, name: &str| change_if(&catalogue, &product, condition, json!({ "name": name })).await;
    let first = tag(&catalogue.get(&path(&product)).await);
    let weak = format!("W/{first}");
    let padded = first.replacen('"', "\"0", 1);
    for stale in ["\"x\"", "\"0\"", "\"\"", &weak, &padded] {
        let refused = change(stale, "Never").await;
        let said = (refused.status, refused.problem());
        assert_eq!(said, (StatusCode::PRECONDITION_FAILED, "precondition-failed"), "{stale}");
    }
    for malformed in ["x", "", "\"a", "*, \"a\""] {
        let refused = change(malformed, "Never").await;
        assert_eq!((refused.status, refused.problem()), (StatusCode::BAD_REQUEST, "invalid-condition"), "{malformed}");
    }
    assert_eq!(catalogue.get(&path(&product)).await.body, product);

    let changed = change(&format!("\"x\", {first}"), "Pencil").await;
    assert_eq!((changed.status, &changed.body["name"]), (StatusCode::OK, &json!("Pencil")));
    let second = tag(&changed);
    assert_ne!(first, second);
    assert_eq!(tag(&catalogue.get(&path(&product)).await), second);
    assert_eq!(change(&first, "Late").await.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(change("*", "Any").await.status, StatusCode::OK);
    let nobody = json!({ "id": "01930000-0000-7000-8000-000000000000" });
    for condition in ["*", &first] {
        let answer = change_if(&catalogue, &nobody, condition, json!({ "name": "Any" })).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{condition}");
    }
}

/// Of all that begin from the same state one may change it.
#[sqlx::test(migrator = "mini_product::MIGRATOR")]
async fn of_many_changes_of_one_state_one_succeeds(pool: PgPool) {
    let catalogue = Arc::new(Catalogue::new(pool));
    let product = catalogue.create("Pen", 0).await;
    for _ in 0..5 {
        let tag = catalogue.get(&path(&product)).await.headers["etag"].to_str().unwrap().to_owned();
        let mut changes = JoinSet::new();
        for number in 0..8 {
            let (catalogue, product, tag) = (Arc::clone(&catalogue), product.clone(), tag.clone());
            changes.spawn(async move {
                change_if(&catalogue, &product, &tag, json!({ "name": format!("Pen {number}") })).await.status
            });
        }
        let mut statuses = changes.join_all().await;
        statuses.sort();
        assert_eq!(statuses[0], StatusCode::OK);
        assert!(statuses[1..].iter().all(|status| *status == StatusCode::PRECONDITION_FAILED), "{statuses:?}");
    }
}

#[sqlx::test(migrator = "mini_product::MIGRATOR")]
async fn a_reader_with_the_present_state_is_told_so(pool: PgPool) {
    let catalogue = Catalogue::new(pool);
    let product = catalogue.create("Pen", 100).await;
    let tag = catalogue.get(&path(&product)).await.headers["etag"].clone();
    let ask = async |header: &str, condition: &str| {
        let request = Request::get(path(&product)).header("if-none-match", "\"y\"").header(header, condition);
        catalogue.status(request.body(Body::empty()).unwrap()).await
    };
    let tag = tag.to_str().unwrap();
    assert_eq!(ask("if-none-match", tag).await, (StatusCode::NOT_MODIFIED, Some(tag.to_owned())));
    assert_eq!(ask("if-none-match", &format!("W/{tag}, \"x\"")).await.0, StatusCode::NOT_MODIFIED);
    assert_eq!(ask("if-none-match", "\"x\"").await.0, StatusCode::OK);
    assert_eq!(ask("if-match", tag).await.0, StatusCode::OK);
    for other in ["\"x\"", &format!("W/{tag}")] {
        assert_eq!(ask("if-match", other).await, (StatusCode::PRECONDITION_FAILED, None), "{other}");
    }
}

#[sqlx::test(migrator = "mini_product::MIGRATOR")]
async fn a_list_has_a_tag_that_changes_with_what_it_shows(pool: PgPool) {
    let catalogue = Catalogue::new(pool);
    let product = catalogue.create("Pen", 100).await;
    let tag = async |list: &str| catalogue.get(list).await.headers["etag"].to_str().unwrap().to_owned();
    let ids = format!("/products?ids={}", product["id"].as_str().unwrap());
    for list in ["/products?limit=1", &ids] {
        let before = tag(list).await;
        let request = Request::get(list).header("if-none-match", &before).body(Body::empty()).unwrap();
        assert_eq!(catalogue.status(request).await, (StatusCode::NOT_MODIFIED, Some(before.clone())));
        catalogue.write(Method::PATCH, &path(&product), json!({ "description": list })).await;
        assert_ne!(tag(list).await, before);
    }
    let before = tag("/products?limit=1").await;
    catalogue.create("Ink", 600).await;
    assert_ne!(tag("/products?limit=1").await, before);
}

#[sqlx::test(migrator = "mini_product::MIGRATOR")]
async fn a_change_that_excludes_the_present_state_is_refused(pool: PgPool) {
    let catalogue = Catalogue::new(pool);
    let product = catalogue.create("Pen", 100).await;
    let tag = catalogue.get(&path(&product)).await.headers["etag"].to_str().unwrap().to_owned();
    let change =
        async |headers: &[(&str, &str)]| change_with(&catalogue, &product, headers, json!({ "name": "Never" })).await;
    let weak = format!("W/{tag}");
    let both = format!("\"x\", {tag}");
    for excluding in ["*", &tag, &weak, &both] {
        for headers in [&[("if-none-match", excluding)][..], &[("if-none-match", excluding), ("if-match", &tag)]] {
            let refused = change(headers).await;
            let said = (refused.status, refused.problem());
            assert_eq!(said, (StatusCode::PRECONDITION_FAILED, "precondition-failed"), "{headers:?}");
        }
    }
    assert_eq!(change(&[("if-none-match", "x")]).await.problem(), "invalid-condition");
    assert_eq!(change(&[("if-none-match", "\"x\""), ("if-match", "\"y\"")]).await.problem(), "precondition-failed");
    assert_eq!(catalogue.get(&path(&product)).await.body, product);

    let nobody = json!({ "id": "01930000-0000-7000-8000-000000000000" });
    let answer = change_with(&catalogue, &nobody, &[("if-none-match", "*")], json!({ "name": "Any" })).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    let changed =
        change_with(&catalogue, &product, &[("if-none-match", "\"x\""), ("if-match", &tag)], json!({ "name": "Now" }))
            .await;
    assert_eq!((changed.status, &changed.body["name"]), (StatusCode::OK, &json!("Now")));
}
