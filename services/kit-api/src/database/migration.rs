//! The schema: brought up to date at the start, checked by `/readyz`.

use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::PgPoolOptions;
use sqlx::{PgPool, SqlStr};

use super::STATEMENT_TIMEOUT;
use super::error::describe;
use mini_kit::Failure;

/// The longest that a start waits for its migrations, the wait for another replica's included.
const MIGRATION_LIMIT: Duration = Duration::from_secs(600);
/// The longest that `/readyz` waits for the database.
const READINESS_LIMIT: Duration = Duration::from_secs(1);

/// The migrations of a service: number, description and text of each. Its tests hold them against the folder with
/// [`migration_mistakes`](super::migration_mistakes).
pub fn migrator(migrations: impl IntoIterator<Item = (i64, &'static str, &'static str)>) -> Migrator {
    let one = |(version, description, sql): (i64, &'static str, &'static str)| {
        Migration::new(version, description.into(), MigrationType::Simple, SqlStr::from_static(sql), false)
    };
    Migrator::with_migrations(migrations.into_iter().map(one).collect())
}

/// Applies the migrations that the database lacks. Replicas that start at once take turns by an advisory lock.
///
/// A database with newer migrations than this program is fine: migrations only add, and the previous release must run
/// while the next one is rolled out.
///
/// # Errors
/// When a migration fails, or when one that is already applied was changed afterwards.
pub async fn migrate(pool: &PgPool, migrator: &'static Migrator) -> Result<(), Failure> {
    match tokio::time::timeout(MIGRATION_LIMIT, apply(pool, migrator)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Failure::caused("the schema cannot be brought up to date", error)),
        Err(_) => Err(Failure::plain(format!("the schema was not brought up to date within {MIGRATION_LIMIT:?}"))),
    }
}

/// Applies them on a connection of its own: one without the limit on statements that the pool has, for the wait for
/// another replica and the work on a large table both take their time. And a migration that fails leaves the advisory
/// lock behind, which ends with the connection.
async fn apply(pool: &PgPool, migrator: &'static Migrator) -> Result<(), MigrateError> {
    let mut tolerant = Migrator { ..Migrator::DEFAULT };
    tolerant.migrations = migrator.migrations.clone();
    tolerant.set_ignore_missing(true);
    let unlimited = (*pool.connect_options()).clone().options([(STATEMENT_TIMEOUT, 0)]);
    let own = PgPoolOptions::new().max_connections(1).connect_with(unlimited).await?;
    let result = tolerant.run(&own).await;
    own.close().await;
    result
}

/// Whether the database answers and has at least the schema that this program needs.
///
/// # Errors
/// What is missing, without details that are not for everybody.
pub async fn readiness(pool: PgPool, migrator: &'static Migrator) -> Result<(), String> {
    let needed = migrator.iter().map(|migration| migration.version).max().unwrap_or_default();
    let query = sqlx::query_scalar::<_, Option<i64>>("select max(version) from _sqlx_migrations where success");
    match tokio::time::timeout(READINESS_LIMIT, query.fetch_one(&pool)).await {
        Ok(Ok(Some(version))) if version >= needed => Ok(()),
        Ok(Ok(_)) => Err("the schema of the database is older than this program needs".to_owned()),
        Ok(Err(error)) => {
            tracing::warn!(cause = describe(&error), "not ready: the database does not answer");
            Err("the database does not answer".to_owned())
        }
        Err(_) => Err("the database does not answer in time".to_owned()),
    }
}
