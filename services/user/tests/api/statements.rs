//! How long a statement may run.

use std::time::Duration;

use http::StatusCode;
use mini_kit::contract::Value as _;
use mini_kit_api::database::{self, DatabaseUrl};
use mini_user::MIGRATOR;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{PgPool, SqlStr};

use crate::program::database_url;
use crate::service::Service;

/// A limit that is short, and still longer than any statement that waits for nothing.
const LIMIT: Duration = Duration::from_millis(500);

/// The service's own kind of pool, of one connection, on the database of a test.
async fn connect(pool: &PgPool, statement_timeout: Duration) -> PgPool {
    let url = DatabaseUrl::parse(&database_url(pool)).unwrap();
    let settings = database::Settings { url, max_connections: 1, connect_timeout: Duration::from_secs(10) };
    database::connect(&settings, statement_timeout).await.unwrap()
}

async fn statement_timeout(pool: &PgPool) -> String {
    sqlx::query_scalar("show statement_timeout").fetch_one(pool).await.unwrap()
}

#[sqlx::test(migrator = "mini_user::MIGRATOR")]
async fn a_statement_behind_a_lock_is_ended_and_its_connection_serves_on(pool: PgPool) {
    let limited = connect(&pool, LIMIT).await;
    let service = Service::start(limited.clone()).await;
    let mut holder = pool.begin().await.unwrap();
    sqlx::query("lock table users").execute(&mut *holder).await.unwrap();

    let answer = service.login("alice", "correct horse").await;
    assert_eq!(
        (answer.status, &answer.headers["retry-after"]),
        (StatusCode::SERVICE_UNAVAILABLE, &"1".parse().unwrap())
    );

    // A request that runs out of time is dropped in the middle of its statement, and the only connection with it.
    let statement = sqlx::query("select from users").execute(&limited);
    tokio::time::timeout(Duration::from_millis(50), statement).await.unwrap_err();
    assert_eq!(statement_timeout(&limited).await, "500ms");
    holder.rollback().await.unwrap();
    assert_eq!(service.login("alice", "correct horse").await.status, StatusCode::UNAUTHORIZED);
}

#[sqlx::test(migrator = "mini_user::MIGRATOR")]
async fn without_the_limit_the_same_statement_keeps_its_connection(pool: PgPool) {
    let unlimited = connect(&pool, Duration::from_secs(3600)).await;
    let mut holder = pool.begin().await.unwrap();
    sqlx::query("lock table users").execute(&mut *holder).await.unwrap();
    let statement = sqlx::query("select from users").execute(&unlimited);
    tokio::time::timeout(Duration::from_millis(50), statement).await.unwrap_err();
    assert!(matches!(unlimited.acquire().await, Err(sqlx::Error::PoolTimedOut)));
    holder.rollback().await.unwrap();
    assert_eq!(statement_timeout(&unlimited).await, "1h");
}

#[sqlx::test(migrator = "mini_user::MIGRATOR")]
async fn a_migration_may_take_longer_and_changes_no_limit(pool: PgPool) {
    let limited = connect(&pool, Duration::from_millis(200)).await;
    let slow = Migration::new(
        9999,
        "slow".into(),
        MigrationType::Simple,
        SqlStr::from_static("select pg_sleep(0.4); alter table users add column nickname text"),
        false,
    );
    let migrations = MIGRATOR.iter().cloned().chain([slow]).collect();
    let migrator = Box::leak(Box::new(Migrator::with_migrations(migrations)));
    database::migrate(&limited, migrator).await.unwrap();
    assert_eq!(statement_timeout(&limited).await, "200ms");
    database::readiness(limited, migrator).await.unwrap();
}
