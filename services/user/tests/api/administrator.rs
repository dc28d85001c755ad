//! The administrator that the settings ask for.

use http::StatusCode;
use serde_json::json;
use sqlx::PgPool;

use crate::service::Service;

fn settings(password: &'static str) -> [(&'static str, &'static str); 2] {
    [("ADMIN_USERNAME", "boss"), ("ADMIN_PASSWORD", password)]
}

#[sqlx::test(migrator = "mini_user::MIGRATOR")]
async fn replicas_that_start_at_once_make_one_administrator(pool: PgPool) {
    let starts: Vec<_> = (0..3)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { Service::start_with(pool, &settings("first password")).await })
        })
        .collect();
    for start in starts {
        let service = start.await.unwrap().unwrap();
        let token = service.login("boss", "first password").await;
        let me = service.me(&format!("Bearer {}", token.body["access_token"].as_str().unwrap())).await;
        assert_eq!((me.status, &me.body["role"]), (StatusCode::OK, &json!("admin")));
    }
    let users: i64 = sqlx::query_scalar("select count(*) from users").fetch_one(&pool).await.unwrap();
    assert_eq!(users, 1);
}

#[sqlx::test(migrator = "mini_user::MIGRATOR")]
async fn a_changed_password_replaces_the_one_before(pool: PgPool) {
    Service::start_with(pool.clone(), &settings("first password")).await.unwrap();
    let service = Service::start_with(pool, &settings("second password")).await.unwrap();
    assert_eq!(service.login("boss", "first password").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(service.login("boss", "second password").await.status, StatusCode::OK);
}

#[sqlx::test(migrator = "mini_user::MIGRATOR")]
async fn an_ordinary_user_of_that_name_never_becomes_administrator(pool: PgPool) {
    let service = Service::start(pool.clone()).await;
    service.register("boss", "first password").await;
    let Err(failure) = Service::start_with(pool, &settings("first password")).await else {
        panic!("the service starts");
    };
    assert!(failure.to_string().contains("ADMIN_USERNAME"), "{failure}");
    let token = service.login("boss", "first password").await;
    let me = service.me(&format!("Bearer {}", token.body["access_token"].as_str().unwrap())).await;
    assert_eq!(me.body["role"], "user");
}

/// A token says what its owner may do until it expires; a new one says what the settings say.
#[sqlx::test(migrator = "mini_user::MIGRATOR")]
async fn an_administrator_who_is_no_longer_configured_is_none(pool: PgPool) {
    let role = async |service: &Service, name: &str| {
        let token = service.login(name, "first password").await;
        let authorization = format!("Bearer {}", token.body["access_token"].as_str().unwrap());
        let payload = authorization.split('.').nth(1).unwrap().to_owned();
        (service.me(&authorization).await.body["role"].clone(), payload)
    };
    let service = Service::start_with(pool.clone(), &settings("first password")).await.unwrap();
    let (before, admin_payload) = role(&service, "boss").await;
    assert_eq!(before, "admin");
    let other = [("ADMIN_USERNAME", "chief"), ("ADMIN_PASSWORD", "first password")];
    for variables in [&[][..], &other] {
        let service = Service::start_with(pool.clone(), variables).await.unwrap();
        let (after, payload) = role(&service, "boss").await;
        assert_eq!(after, "user", "{variables:?}");
        assert_ne!(payload, admin_payload);
    }
    // The way back is open.
    let service = Service::start_with(pool, &settings("first password")).await.unwrap();
    assert_eq!(role(&service, "boss").await.0, "admin");
    assert_eq!(role(&service, "chief").await.0, "user");
}
