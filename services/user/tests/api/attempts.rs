//! Case R03: passwords cannot be tried out, and one client does not keep others from logging in.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use http::StatusCode;
use serde_json::json;
use sqlx::PgPool;

use crate::service::Service;

const PASSWORD: &str = "correct horse";
const ATTACKER: &str = "203.0.113.7";
const OTHER: &str = "198.51.100.1";

#[sqlx::test(migrator = "mini_user::MIGRATOR")]
async fn wrong_passwords_in_a_row_are_stopped_and_then_even_the_right_one_is_not_looked_at(pool: PgPool) {
    let service = Service::start(pool).await;
    service.register("alice", PASSWORD).await;
    let mut statuses = Vec::new();
    for number in 0..150 {
        statuses.push(service.login_from(ATTACKER, "alice", &format!("wrong password {number}")).await.status);
    }
    assert_eq!(statuses.iter().filter(|status| **status == StatusCode::UNAUTHORIZED).count(), 20);
    assert!(statuses[20..].iter().all(|status| *status == StatusCode::TOO_MANY_REQUESTS));
    let refused = service.login_from(ATTACKER, "alice", PASSWORD).await;
    assert_eq!(
        (refused.status, &refused.body["type"]),
        (StatusCode::TOO_MANY_REQUESTS, &json!("/problems/too-many-failed-logins"))
    );
    let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=46).contains(&wait), "one in 45 s: {wait}");
    // The owner of the account is somewhere else.
    assert_eq!(service.login_from(OTHER, "alice", PASSWORD).await.status, StatusCode::OK);
    assert_eq!(service.login("alice", PASSWORD).await.status, StatusCode::OK);
}

#[sqlx::test(migrator = "mini_user::MIGRATOR")]
async fn an_account_is_protected_from_many_clients_together_and_a_name_that_does_not_exist_alike(pool: PgPool) {
    let service = Service::start_with(pool, &[("LOGIN_FAILURES_PER_ACCOUNT", "5")]).await.unwrap();
    service.register("alice", PASSWORD).await;
    for name in ["alice", "nobody", "No Name!"] {
        let mut answers = Vec::new();
        for number in 0..7 {
            let answer = service.login_from(&format!("203.0.113.{number}"), name, "wrong password").await;
            answers.push((answer.status.as_u16(), answer.body["type"].clone()));
        }
        let expected: Vec<_> = std::iter::repeat_n((401, json!("/problems/wrong-credentials")), 5)
            .chain(std::iter::repeat_n((429, json!("/problems/too-many-failed-logins")), 2))
            .collect();
        assert_eq!(answers, expected, "{name}");
    }
}

/// Found by deleting the databases' pods on a cluster: everybody was refused for 45 s after the outage.
#[sqlx::test(migrator = "mini_user::MIGRATOR")]
async fn an_outage_of_the_database_locks_nobody_out(pool: PgPool) {
    let service = Service::start_with(pool.clone(), &[("LOGIN_FAILURES_PER_CLIENT", "2")]).await.unwrap();
    service.register("alice", PASSWORD).await;
    let rename = async |statement: &'static str| sqlx::query(statement).execute(&pool).await.unwrap();
    rename("ALTER TABLE users RENAME TO away").await;
    for _ in 0..5 {
        let status = service.login_from(ATTACKER, "alice", PASSWORD).await.status;
        assert!(status.is_server_error(), "{status}");
    }
    rename("ALTER TABLE away RENAME TO users").await;
    assert_eq!(service.login_from(ATTACKER, "alice", PASSWORD).await.status, StatusCode::OK);
}

#[sqlx::test(migrator = "mini_user::MIGRATOR")]
async fn the_right_password_may_come_as_often_as_it_likes(pool: PgPool) {
    let service = Service::start_with(pool, &[("LOGIN_FAILURES_PER_CLIENT", "2")]).await.unwrap();
    service.register("alice", PASSWORD).await;
    for _ in 0..10 {
        assert_eq!(service.login("alice", PASSWORD).await.status, StatusCode::OK);
    }
}

/// A client that has all the passwords in the world to hash has one turn at a time, like everybody else.
#[sqlx::test(migrator = "mini_user::MIGRATOR")]
async fn one_client_does_not_keep_others_from_logging_in(pool: PgPool) {
    // No failure counts here: turns alone have to do.
    let service = Service::start_with(pool, &[("LOGIN_FAILURES_PER_CLIENT", "1000000")]).await.unwrap();
    service.register("alice", PASSWORD).await;
    let hashed = Arc::new(AtomicUsize::new(0));
    let flood: Vec<_> = (0..200)
        .map(|number| {
            let (service, hashed) = (service.clone(), Arc::clone(&hashed));
            tokio::spawn(async move {
                let status = service.login_from(ATTACKER, &format!("flood-{number}"), "wrong password").await.status;
                hashed.fetch_add(usize::from(status == StatusCode::UNAUTHORIZED), Ordering::Relaxed);
                status
            })
        })
        .collect();
    assert_eq!(service.login_from(OTHER, "alice", PASSWORD).await.status, StatusCode::OK);
    // The line of the attacker is 17 hashes long, and most of it still waits.
    let hashed_before = hashed.load(Ordering::Relaxed);
    assert!(hashed_before <= 6, "{hashed_before} of the attacker's passwords came first");
    let mut refused = 0;
    for login in flood {
        refused += usize::from(login.await.unwrap() == StatusCode::TOO_MANY_REQUESTS);
    }
    assert_eq!((refused, hashed.load(Ordering::Relaxed)), (200 - 17, 17));
}

/// Fifty hashes would take fifty times as long as one, so a factor of 25 tells the two apart on the busiest machine.
#[sqlx::test(migrator = "mini_user::MIGRATOR")]
async fn a_name_that_is_taken_costs_no_hash(pool: PgPool) {
    let service = Service::start(pool).await;
    let begin = Instant::now();
    assert_eq!(service.register("alice", PASSWORD).await.status, StatusCode::CREATED);
    let one_hash = begin.elapsed();
    let begin = Instant::now();
    for _ in 0..50 {
        assert_eq!(service.register("alice", PASSWORD).await.status, StatusCode::CONFLICT);
    }
    let fifty = begin.elapsed();
    assert!(fifty < one_hash * 25, "{one_hash:?} for a hash, {fifty:?} for fifty refusals");
}
