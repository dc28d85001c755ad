//! The catalogue in Postgres. Values reach the database as bound parameters only; the statements are constants.

use mini_kit_api::currency::Currency;
use mini_kit_api::database::broken_rule;
use mini_kit_api::page::{Cursor, Limit, Page};
use sqlx::PgPool;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row};
use uuid::Uuid;

use crate::price::{Amount, Price};
use crate::product::{Change, Description, Name, NewProduct, Product, States};

/// Stores a new product under a new id.
pub async fn create(pool: &PgPool, product: &NewProduct) -> sqlx::Result<Product> {
    sqlx::query_as(
        "INSERT INTO products (id, name, description, price_amount, price_currency)
         VALUES ($1, $2, $3, $4, $5)
         RETURNING id, name, description, price_amount, price_currency, created_at, updated_at",
    )
    .bind(Uuid::now_v7())
    .bind(product.name.as_str())
    .bind(product.description.as_str())
    .bind(product.price.amount.minor_units())
    .bind(product.price.currency.code())
    .fetch_one(pool)
    .await
}

/// Changes the named fields of one product, if it is in one of `states`; `None` when there is no such product or it is in another
/// state.
///
/// One statement, so that changes of different fields at the same time all last: the row's lock puts them in order and
/// each sees what the one before it wrote. `clock_timestamp()` and not `now()`: a change that waited for the lock is the
/// later one, although its transaction may have begun first. Postgres looks at the condition again once it has the lock. Each
/// change moves `updated_at`, even when the clock stands still or goes back.
pub async fn change(pool: &PgPool, id: Uuid, change: &Change, states: &States) -> sqlx::Result<Option<Product>> {
    sqlx::query_as(
        "UPDATE products
         SET name = coalesce($2, name),
             description = coalesce($3, description),
             price_amount = coalesce($4, price_amount),
             price_currency = coalesce($5, price_currency),
             updated_at = greatest(updated_at + interval '1 microsecond', clock_timestamp())
         WHERE id = $1 AND ($6::timestamptz[] IS NULL OR updated_at = ANY($6)) AND updated_at <> ALL($7)
         RETURNING id, name, description, price_amount, price_currency, created_at, updated_at",
    )
    .bind(id)
    .bind(change.name.as_ref().map(Name::as_str))
    .bind(change.description.as_ref().map(Description::as_str))
    .bind(change.price.map(|price| price.amount.minor_units()))
    .bind(change.price.as_ref().map(|price| price.currency.code()))
    .bind(states.only.as_deref())
    .bind(&*states.never)
    .fetch_optional(pool)
    .await
}

/// Finds one product.
pub async fn find(pool: &PgPool, id: Uuid) -> sqlx::Result<Option<Product>> {
    sqlx::query_as(
        "SELECT id, name, description, price_amount, price_currency, created_at, updated_at
         FROM products WHERE id = $1",
    )
    .bind(id)
    .fetch_optional(pool)
    .await
}

/// Finds those of the named products that exist, newest first.
pub async fn find_all(pool: &PgPool, ids: &[Uuid]) -> sqlx::Result<Vec<Product>> {
    sqlx::query_as(
        "SELECT id, name, description, price_amount, price_currency, created_at, updated_at
         FROM products WHERE id = ANY($1) ORDER BY id DESC",
    )
    .bind(ids)
    .fetch_all(pool)
    .await
}

/// Reads one page, newest first.
pub async fn list(pool: &PgPool, cursor: Cursor, limit: Limit) -> sqlx::Result<Page<Product>> {
    let rows = sqlx::query_as(
        "SELECT id, name, description, price_amount, price_currency, created_at, updated_at
         FROM products WHERE id < $1 ORDER BY id DESC LIMIT $2",
    )
    .bind(cursor.below())
    .bind(limit.rows_to_read())
    .fetch_all(pool)
    .await?;
    Ok(Page::from_rows(rows, limit, |product: &Product| product.id))
}

impl<'r> FromRow<'r, PgRow> for Product {
    fn from_row(row: &'r PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            description: row.try_get("description")?,
            price: Price {
                amount: Amount::parse(row.try_get("price_amount")?)
                    .map_err(|reason| broken_rule("price_amount", reason))?,
                currency: Currency::parse(row.try_get("price_currency")?)
                    .map_err(|reason| broken_rule("price_currency", reason))?,
            },
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
        })
    }
}
