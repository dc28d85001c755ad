//! Postgres. Values reach it as bound parameters only; the statements are constants.

use serde::Serialize;
use sqlx::PgPool;
use uuid::Uuid;

/// The most that a list holds.
const LIMIT: i64 = 100;

/// One row.
#[derive(Debug, Serialize)]
pub struct Item {
    /// A UUID of version 7, so that the primary key is also the order of creation.
    pub id: Uuid,
}

/// The newest rows, newest first.
///
/// # Errors
/// When the database does not answer.
pub async fn newest(pool: &PgPool) -> sqlx::Result<Vec<Item>> {
    let newest = sqlx::query_scalar("SELECT id FROM __table__ ORDER BY id DESC LIMIT $1").bind(LIMIT);
    Ok(newest.fetch_all(pool).await?.into_iter().map(|id| Item { id }).collect())
}
