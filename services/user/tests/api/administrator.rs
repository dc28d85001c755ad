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
