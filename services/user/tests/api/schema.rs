//! Migrations and readiness.

use http::StatusCode;
use mini_kit_api::database;
use mini_user::MIGRATOR;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{PgPool, SqlStr};

use crate::service::Service;

#[test]
fn the_migrations_keep_the_rules() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
    assert_eq!(database::migration_mistakes(&MIGRATOR, folder), Vec::<String>::new());
}

#[sqlx::test(migrations = false)]
async fn replicas_that_start_at_once_migrate_once(pool: PgPool) {
    let migrations: Vec<_> = (0..4)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { database::migrate(&pool, &MIGRATOR).await })
        })
        .collect();
    for migration in migrations {
        migration.await.unwrap().unwrap();
    }
    database::readiness(pool, &MIGRATOR).await.unwrap();
}

#[sqlx::test(migrator = "mini_user::MIGRATOR")]
async fn a_newer_schema_is_fine_because_migrations_only_add(pool: PgPool) {
    let newer = "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
                 values (9999, 'of the next release', true, ''::bytea, 0)";
    sqlx::query(newer).execute(&pool).await.unwrap();
    database::migrate(&pool, &MIGRATOR).await.unwrap();
    assert_eq!(Service::start(pool).await.get("/readyz").await.status, StatusCode::OK);
}

#[sqlx::test(migrator = "mini_user::MIGRATOR")]
async fn a_migration_that_was_changed_after_it_was_applied_is_an_error(pool: PgPool) {
    sqlx::query("update _sqlx_migrations set checksum = '\\x00'::bytea").execute(&pool).await.unwrap();
    let failure = database::migrate(&pool, &MIGRATOR).await.unwrap_err();
    let cause = std::error::Error::source(&failure).unwrap().to_string();
    assert!(failure.to_string().contains("schema") && cause.contains("modified"), "{failure}: {cause}");
}

#[sqlx::test(migrations = false)]
async fn a_migration_that_fails_leaves_nothing_behind_and_names_itself(pool: PgPool) {
    let broken = "create table half (id int); select nonsense";
    let migration = Migration::new(7, "broken".into(), MigrationType::Simple, SqlStr::from_static(broken), false);
    let migrator = Box::leak(Box::new(Migrator::with_migrations(vec![migration])));
    let failure = database::migrate(&pool, migrator).await.unwrap_err();
    let cause = std::error::Error::source(&failure).unwrap().to_string();
    assert!(cause.contains('7'), "{cause}");
    let half: Option<String> = sqlx::query_scalar("select to_regclass('half')::text").fetch_one(&pool).await.unwrap();
    assert_eq!(half, None);
    assert!(database::readiness(pool, migrator).await.is_err());
}

#[sqlx::test(migrator = "mini_user::MIGRATOR")]
async fn an_older_schema_and_a_lost_database_are_not_ready(pool: PgPool) {
    let service = Service::start(pool.clone()).await;
    sqlx::query("update _sqlx_migrations set version = version - 1").execute(&pool).await.unwrap();
    let older = service.get("/readyz").await;
    assert_eq!(older.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(older.body["detail"].as_str().unwrap().contains("older"), "{:?}", older.body);
    pool.close().await;
    assert_eq!(service.get("/readyz").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(service.get("/healthz").await.status, StatusCode::OK);
    let login = service.login("alice", "correct horse").await;
    assert_eq!((login.status, &login.headers["retry-after"]), (StatusCode::SERVICE_UNAVAILABLE, &"1".parse().unwrap()));
}
