//! `POST /products`.

use http::{Method, StatusCode};
use serde_json::json;
use sqlx::PgPool;

use crate::catalogue::Catalogue;

#[sqlx::test(migrator = "mini_product::MIGRATOR")]
async fn a_created_product_is_found_under_its_location(pool: PgPool) {
    let catalogue = Catalogue::new(pool);
    let body = json!({
        "name": "Fountain pen", "description": "Blue ink.\nMade in 2026.", "price": { "amount": 1999, "currency": "EUR" },
    });
    let created = catalogue.write(Method::POST, "/products", &body).await;
    assert_eq!(created.status, StatusCode::CREATED, "{created:?}");
    for field in ["name", "description", "price"] {
        assert_eq!(created.body[field], body[field]);
    }
    assert_eq!(created.body["created_at"], created.body["updated_at"]);
    assert!(created.body["created_at"].as_str().unwrap().ends_with('Z'));

    let found = catalogue.get(created.headers["location"].to_str().unwrap()).await;
    assert_eq!((found.status, &found.body), (StatusCode::OK, &created.body));
}

#[sqlx::test(migrator = "mini_product::MIGRATOR")]
async fn every_invalid_field_is_reported_and_nothing_is_stored(pool: PgPool) {
    let catalogue = Catalogue::new(pool);
    let body = json!({ "name": "", "description": "\u{7}", "price": { "amount": -1, "currency": "Euro" } });
    let answer = catalogue.write(Method::POST, "/products", body).await;
    assert_eq!(answer.problem(), "invalid-body");
    assert_eq!(answer.pointers(), ["/name", "/description", "/price/amount", "/price/currency"]);
    assert_eq!(catalogue.get("/products").await.body["items"], json!([]));
}

#[sqlx::test(migrator = "mini_product::MIGRATOR")]
async fn a_body_of_another_form_is_refused_with_the_right_status(pool: PgPool) {
    let catalogue = Catalogue::new(pool);
    for (body, status) in [
        ("{", StatusCode::BAD_REQUEST),
        ("", StatusCode::BAD_REQUEST),
        ("[]", StatusCode::UNPROCESSABLE_ENTITY),
        // Case R06.
        (r#"["Pen","desc",[1,"EUR"]]"#, StatusCode::UNPROCESSABLE_ENTITY),
        (r#"{"name":"Pen","price":[1,"EUR"]}"#, StatusCode::UNPROCESSABLE_ENTITY),
        (r#"{"name":"Pen"}"#, StatusCode::UNPROCESSABLE_ENTITY),
        (r#"{"name":"Pen","price":{"amount":1.5,"currency":"EUR"}}"#, StatusCode::UNPROCESSABLE_ENTITY),
        (r#"{"name":"Pen","price":{"amount":1,"currency":"EUR"},"stock":3}"#, StatusCode::UNPROCESSABLE_ENTITY),
        // A NUL is valid in JSON and impossible in Postgres.
        (r#"{"name":"P\u0000n","price":{"amount":1,"currency":"EUR"}}"#, StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        let answer = catalogue.write(Method::POST, "/products", body).await;
        assert_eq!(answer.status, status, "{body}: {answer:?}");
        answer.problem();
        assert!(!answer.body.to_string().contains("Form") && !answer.body.to_string().contains("struct"), "{answer:?}");
    }
    let answer = catalogue.write(Method::POST, "/products", r#"["Pen","desc",[1,"EUR"]]"#).await;
    assert_eq!(answer.body["errors"], json!([{ "pointer": "", "detail": "expected an object" }]));
}

#[sqlx::test(migrator = "mini_product::MIGRATOR")]
async fn text_that_looks_like_sql_is_stored_as_text(pool: PgPool) {
    let catalogue = Catalogue::new(pool);
    for name in ["'); DROP TABLE products; --", "\\' OR 1=1", "$1", "%_%", "\"quoted\""] {
        let created = catalogue.create(name, 1).await;
        let found = catalogue.get(&format!("/products/{}", created["id"].as_str().unwrap())).await;
        assert_eq!(found.body["name"], name);
    }
}
