//! Registering, logging in, and asking who one is.

use std::time::{Duration, Instant};

use http::StatusCode;
use serde_json::json;
use sqlx::PgPool;

use crate::service::Service;

const PASSWORD: &str = "correct horse";

#[sqlx::test(migrator = "mini_user::MIGRATOR")]
async fn who_registers_can_log_in_and_see_the_account(pool: PgPool) {
    let service = Service::start(pool).await;
    let registered = service.register("alice", PASSWORD).await;
    assert_eq!(registered.status, StatusCode::CREATED);
    assert_eq!((&registered.body["username"], &registered.body["role"]), (&json!("alice"), &json!("user")));
    let token = service.login("alice", PASSWORD).await;
    assert_eq!((token.status, &token.body["token_type"]), (StatusCode::OK, &json!("Bearer")));
    assert_eq!(
        (&token.body["expires_in"], &token.headers["cache-control"]),
        (&json!(900), &"no-store".parse().unwrap())
    );
    let me = service.me(&format!("Bearer {}", token.body["access_token"].as_str().unwrap())).await;
    assert_eq!((me.status, me.body), (StatusCode::OK, registered.body));
}

#[sqlx::test(migrator = "mini_user::MIGRATOR")]
async fn a_name_is_given_once_however_many_ask(pool: PgPool) {
    let service = Service::start(pool).await;
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let service = service.clone();
            tokio::spawn(async move { service.register("alice", PASSWORD).await })
        })
        .collect();
    let mut created = 0;
    for task in tasks {
        let answer = task.await.unwrap();
        match answer.status {
            StatusCode::CREATED => created += 1,
            status => {
                assert_eq!((status, &answer.body["type"]), (StatusCode::CONFLICT, &json!("/problems/username-taken")));
            }
        }
    }
    assert_eq!(created, 1);
}

#[sqlx::test(migrator = "mini_user::MIGRATOR")]
async fn a_wrong_password_and_an_unknown_name_are_answered_alike(pool: PgPool) {
    let service = Service::start(pool).await;
    service.register("alice", PASSWORD).await;
    let mut answers = Vec::new();
    for (username, password) in
        [("alice", "wrong password"), ("bob", PASSWORD), ("No Name!", PASSWORD), ("alice", ""), ("", "")]
    {
        let mut answer = service.login(username, password).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert_eq!(answer.headers["www-authenticate"], "Bearer realm=\"mini\"");
        answer.body["request_id"].take();
        answers.push(answer.body);
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
}

/// Without the work for unknown names their answers would come some hundred times sooner, so a factor of four tells the
/// two apart on the busiest machine.
#[sqlx::test(migrator = "mini_user::MIGRATOR")]
async fn an_unknown_name_costs_as_much_time_as_a_wrong_password(pool: PgPool) {
    let service = Service::start(pool).await;
    service.register("alice", PASSWORD).await;
    let mut fastest = [Duration::MAX; 2];
    for _ in 0..3 {
        for (username, fastest) in ["alice", "bob"].into_iter().zip(&mut fastest) {
            let begin = Instant::now();
            service.login(username, "wrong password").await;
            *fastest = begin.elapsed().min(*fastest);
        }
    }
    assert!(fastest[1] * 4 > fastest[0], "{fastest:?}");
}

#[sqlx::test(migrator = "mini_user::MIGRATOR")]
async fn credentials_that_break_the_rules_are_named_by_field(pool: PgPool) {
    let service = Service::start(pool).await;
    let long = "x".repeat(129);
    for (username, password, pointers) in [
        ("ab", PASSWORD, &["/username"] as &[_]),
        ("Alice", PASSWORD, &["/username"]),
        ("alice smith", PASSWORD, &["/username"]),
        ("älice", PASSWORD, &["/username"]),
        ("-alice", PASSWORD, &["/username"]),
        ("alice\0", PASSWORD, &["/username"]),
        (&"a".repeat(33), PASSWORD, &["/username"]),
        ("alice", "1234567", &["/password"]),
        ("alice", &long, &["/password"]),
        ("", "", &["/username", "/password"]),
    ] {
        let answer = service.register(username, password).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{username:?}");
        let named: Vec<_> =
            answer.body["errors"].as_array().unwrap().iter().map(|error| error["pointer"].clone()).collect();
        assert_eq!(named, pointers, "{username:?}");
    }
    let missing = service.post("/users/register", &json!({"username": "alice"})).await;
    assert_eq!(
        (missing.status, &missing.body["errors"][0]["detail"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("missing field `password`"))
    );
}

#[sqlx::test(migrator = "mini_user::MIGRATOR")]
async fn bodies_are_objects_with_known_fields(pool: PgPool) {
    let service = Service::start(pool).await;
    for path in ["/users/register", "/users/login"] {
        for (body, detail) in [
            (json!(["alice", PASSWORD]), "expected an object"),
            (
                json!({"username": "alice", "password": PASSWORD, "role": "admin"}),
                "unknown field; expected `username` or `password`",
            ),
        ] {
            let answer = service.post(path, &body).await;
            let (status, said) = (answer.status, &answer.body["errors"][0]["detail"]);
            assert_eq!((status, said), (StatusCode::UNPROCESSABLE_ENTITY, &json!(detail)), "{path} {body}");
        }
        let answer = service.get(path).await;
        let allowed = &answer.headers["allow"];
        assert_eq!((answer.status, allowed.to_str().unwrap()), (StatusCode::METHOD_NOT_ALLOWED, "POST"));
    }
}

#[sqlx::test(migrator = "mini_user::MIGRATOR")]
async fn passwords_are_stored_as_argon2id_with_a_salt_of_their_own(pool: PgPool) {
    let service = Service::start(pool.clone()).await;
    service.register("alice", PASSWORD).await;
    service.register("bobby", PASSWORD).await;
    let hashes: Vec<String> = sqlx::query_scalar("select password_hash from users").fetch_all(&pool).await.unwrap();
    assert!(hashes.iter().all(|hash| hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$")), "{hashes:?}");
    assert_ne!(hashes[0], hashes[1]);
}
