//! Orders in Postgres. Values reach the database as bound parameters only; the statements are constants.

use mini_kit_api::currency::Currency;
use mini_kit_api::database::broken_rule;
use mini_kit_api::page::{Cursor, Limit, Page};
use sqlx::postgres::PgRow;
use sqlx::{PgExecutor, PgPool, Row};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::idempotency::IdempotencyKey;
use crate::money::Money;
use crate::order::{Order, PLACED, PricedItem, PricedItems, Quantity};

/// Begins the transaction of an order.
///
/// READ COMMITTED by name, so that a database with another default works as well: see [`place`]. The limits are for a
/// writer that stands still half-way, for instance on a machine that lost its network and that the database still
/// believes to be there. Its session ends after 3 s of silence, and its twins, who wait up to 5 s, place the order.
/// Without the limits each of them would hold a connection until the pool is empty.
pub const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED;
     SET LOCAL idle_in_transaction_session_timeout = '3s';
     SET LOCAL lock_timeout = '5s'";

/// How an order came to be there.
#[derive(Debug)]
pub enum Placed {
    /// Written now.
    Now(Order),
    /// Written before, under the same key of the same user; nothing was written now.
    Before(Order),
}

/// Writes an order, its items and its key in one transaction: all of it or nothing, whenever the caller, this program
/// or the database stops. Dropping the future before the commit rolls back.
///
/// Of several calls with one key at the same time, the database lets one insert and keeps the others waiting at the
/// unique constraint until that one has committed, and they find its order, or has rolled back, and the next one
/// inserts. This needs READ COMMITTED, where a statement sees what was committed before it began. No second connection
/// is taken meanwhile: waiting twins cannot starve the one they wait for.
pub async fn place(
    pool: &PgPool,
    user_id: Uuid,
    key: Option<&IdempotencyKey>,
    PricedItems { items, total }: PricedItems,
) -> sqlx::Result<Placed> {
    let mut transaction = pool.begin_with(BEGIN).await?;
    let id = Uuid::now_v7();
    let written: Option<OffsetDateTime> = sqlx::query_scalar(
        "INSERT INTO orders (id, user_id, status, currency, total_amount, idempotency_key)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT DO NOTHING
         RETURNING created_at",
    )
    .bind(id)
    .bind(user_id)
    .bind(PLACED)
    .bind(total.currency().code())
    .bind(total.amount())
    .bind(key.map(IdempotencyKey::as_str))
    .fetch_optional(&mut *transaction)
    .await?;

    let Some(created_at) = written else {
        let key = key.ok_or(sqlx::Error::RowNotFound)?;
        let order = find_by_key(&mut *transaction, user_id, key).await?;
        return order.map(Placed::Before).ok_or(sqlx::Error::RowNotFound);
    };
    insert_items(&mut *transaction, id, &items).await?;
    transaction.commit().await?;
    Ok(Placed::Now(Order { id, status: PLACED.to_owned(), items, total, created_at }))
}

async fn insert_items(executor: impl PgExecutor<'_>, order_id: Uuid, items: &[PricedItem]) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO order_items (order_id, position, product_id, quantity, unit_amount)
         SELECT $1, position, product_id, quantity, unit_amount
         FROM unnest($2::uuid[], $3::integer[], $4::bigint[]) WITH ORDINALITY
             AS item (product_id, quantity, unit_amount, position)",
    )
    .bind(order_id)
    .bind(items.iter().map(|item| item.product_id).collect::<Vec<_>>())
    .bind(items.iter().map(|item| i32::from(item.quantity.pieces())).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.unit_price.amount()).collect::<Vec<_>>())
    .execute(executor)
    .await
    .map(|_| ())
}

/// Finds the order that a user placed under a key.
pub async fn find_by_key(
    executor: impl PgExecutor<'_>,
    user_id: Uuid,
    key: &IdempotencyKey,
) -> sqlx::Result<Option<Order>> {
    let rows = sqlx::query(
        "SELECT id, status, currency, total_amount, created_at, product_id, quantity, unit_amount
         FROM orders JOIN order_items ON order_id = id
         WHERE user_id = $1 AND idempotency_key = $2 ORDER BY position",
    )
    .bind(user_id)
    .bind(key.as_str())
    .fetch_all(executor)
    .await?;
    Ok(orders_of_rows(&rows)?.pop())
}

/// Finds one order of a user; another user's order is not found.
pub async fn find(pool: &PgPool, user_id: Uuid, id: Uuid) -> sqlx::Result<Option<Order>> {
    let rows = sqlx::query(
        "SELECT id, status, currency, total_amount, created_at, product_id, quantity, unit_amount
         FROM orders JOIN order_items ON order_id = id
         WHERE user_id = $1 AND id = $2 ORDER BY position",
    )
    .bind(user_id)
    .bind(id)
    .fetch_all(pool)
    .await?;
    Ok(orders_of_rows(&rows)?.pop())
}

/// Reads one page of a user's orders, newest first.
pub async fn list(pool: &PgPool, user_id: Uuid, cursor: Cursor, limit: Limit) -> sqlx::Result<Page<Order>> {
    let rows = sqlx::query(
        "SELECT id, status, currency, total_amount, created_at, product_id, quantity, unit_amount
         FROM (SELECT * FROM orders WHERE user_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3) AS page
         JOIN order_items ON order_id = id
         ORDER BY id DESC, position",
    )
    .bind(user_id)
    .bind(cursor.below())
    .bind(limit.rows_to_read())
    .fetch_all(pool)
    .await?;
    Ok(Page::from_rows(orders_of_rows(&rows)?, limit, |order| order.id))
}

/// Gathers rows, one per item and those of one order together, into orders.
fn orders_of_rows(rows: &[PgRow]) -> sqlx::Result<Vec<Order>> {
    rows.chunk_by(|one, next| one.get::<Uuid, _>("id") == next.get::<Uuid, _>("id")).map(order_of_rows).collect()
}

fn order_of_rows(rows: &[PgRow]) -> sqlx::Result<Order> {
    let first = rows.first().ok_or(sqlx::Error::RowNotFound)?;
    let currency = Currency::parse(first.try_get("currency")?).map_err(|reason| broken_rule("currency", reason))?;
    let money = |row: &PgRow, column: &'static str| -> sqlx::Result<Money> {
        Money::new(row.try_get(column)?, currency).map_err(|reason| broken_rule(column, reason))
    };
    let item = |row: &PgRow| -> sqlx::Result<PricedItem> {
        let pieces: i32 = row.try_get("quantity")?;
        Ok(PricedItem {
            product_id: row.try_get("product_id")?,
            quantity: Quantity::parse(pieces.into()).map_err(|reason| broken_rule("quantity", reason))?,
            unit_price: money(row, "unit_amount")?,
        })
    };
    Ok(Order {
        id: first.try_get("id")?,
        status: first.try_get("status")?,
        items: rows.iter().map(item).collect::<sqlx::Result<_>>()?,
        total: money(first, "total_amount")?,
        created_at: first.try_get("created_at")?,
    })
}
