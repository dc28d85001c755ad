//! Who may do what.

use axum::body::Body;
use http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{Method, Request, StatusCode};
use mini_kit_api::token::Role;
use serde_json::json;
use sqlx::PgPool;

use crate::catalogue::{Answer, Catalogue};

async fn write(catalogue: &Catalogue, method: Method, path: &str, authorization: Option<&str>) -> Answer {
    let body = json!({ "name": "Pen", "price": { "amount": 1, "currency": "EUR" } });
    let mut request = Request::builder().method(method).uri(path).header(CONTENT_TYPE, "application/json");
    if let Some(authorization) = authorization {
        request = request.header(AUTHORIZATION, authorization);
    }
    catalogue.send(request.body(Body::from(body.to_string())).unwrap()).await
}

#[sqlx::test(migrator = "mini_product::MIGRATOR")]
async fn only_administrators_write(pool: PgPool) {
    let catalogue = Catalogue::new(pool);
    let product = catalogue.create("Pen", 1).await;
    let one = format!("/products/{}", product["id"].as_str().unwrap());
    let user = format!("Bearer {}", catalogue.token(Role::User));
    for (method, path) in [(Method::POST, "/products"), (Method::PATCH, &one)] {
        let without = write(&catalogue, method.clone(), path, None).await;
        assert_eq!(without.status, StatusCode::UNAUTHORIZED);
        assert_eq!(without.headers[WWW_AUTHENTICATE], "Bearer realm=\"mini\"");
        let with_nonsense = write(&catalogue, method.clone(), path, Some("Bearer nonsense")).await;
        assert_eq!(with_nonsense.status, StatusCode::UNAUTHORIZED);
        assert!(with_nonsense.headers[WWW_AUTHENTICATE].to_str().unwrap().contains("invalid_token"));
        let as_user = write(&catalogue, method.clone(), path, Some(&user)).await;
        assert_eq!((as_user.status, as_user.problem()), (StatusCode::FORBIDDEN, "forbidden"));
    }
    assert_eq!(catalogue.get("/products").await.body["items"], json!([product]));
}

#[sqlx::test(migrator = "mini_product::MIGRATOR")]
async fn who_may_not_write_is_not_told_what_is_wrong_with_the_body(pool: PgPool) {
    let catalogue = Catalogue::new(pool);
    let request = Request::post("/products")
        .header(AUTHORIZATION, format!("Bearer {}", catalogue.token(Role::User)))
        .header(CONTENT_TYPE, "application/json")
        .body(Body::from("{"))
        .unwrap();
    assert_eq!(catalogue.send(request).await.status, StatusCode::FORBIDDEN);
}

#[sqlx::test(migrator = "mini_product::MIGRATOR")]
async fn reading_needs_no_token_and_is_not_stopped_by_a_bad_one(pool: PgPool) {
    let catalogue = Catalogue::new(pool);
    let request = Request::get("/products").header(AUTHORIZATION, "Bearer nonsense").body(Body::empty()).unwrap();
    assert_eq!(catalogue.send(request).await.status, StatusCode::OK);
}
