//! Users in the database.

use mini_kit_api::database::broken_rule;
use mini_kit_api::token::Role;
use sqlx::Row as _;
use sqlx::postgres::{PgPool, PgRow};
use uuid::Uuid;

use crate::credentials::Username;

/// A user as stored.
pub(crate) struct User {
    pub(crate) id: Uuid,
    pub(crate) username: String,
    pub(crate) password_hash: String,
    pub(crate) role: Role,
}

/// Adds a user. `None` means that the name is taken, also when somebody else took it a moment ago.
pub(crate) async fn insert(
    pool: &PgPool,
    username: &Username,
    password_hash: &str,
    role: Role,
) -> Result<Option<Uuid>, sqlx::Error> {
    // The first part of a version 7 id is the time, so new rows stand at the end of the index.
    let id = Uuid::now_v7();
    let statement = "insert into users (id, username, password_hash, role) values ($1, $2, $3, $4)
                     on conflict (username) do nothing";
    let query = sqlx::query(statement).bind(id).bind(username.as_str()).bind(password_hash).bind(role.as_str());
    let inserted = query.execute(pool).await?.rows_affected();
    Ok((inserted == 1).then_some(id))
}

/// The user with a name.
pub(crate) async fn find_by_username(pool: &PgPool, username: &Username) -> Result<Option<User>, sqlx::Error> {
    let statement = "select id, username, password_hash, role from users where username = $1";
    sqlx::query(statement).bind(username.as_str()).try_map(|row| user(&row)).fetch_optional(pool).await
}

/// The user with an id.
pub(crate) async fn find_by_id(pool: &PgPool, id: Uuid) -> Result<Option<User>, sqlx::Error> {
    let statement = "select id, username, password_hash, role from users where id = $1";
    sqlx::query(statement).bind(id).try_map(|row| user(&row)).fetch_optional(pool).await
}

/// Replaces the password of a user.
pub(crate) async fn set_password_hash(pool: &PgPool, id: Uuid, password_hash: &str) -> Result<(), sqlx::Error> {
    let statement = "update users set password_hash = $2 where id = $1";
    sqlx::query(statement).bind(id).bind(password_hash).execute(pool).await.map(drop)
}

fn user(row: &PgRow) -> Result<User, sqlx::Error> {
    let word: &str = row.try_get("role")?;
    let role = Role::from_word(word).ok_or_else(|| broken_rule("role", "this program does not know it"))?;
    Ok(User {
        id: row.try_get("id")?,
        username: row.try_get("username")?,
        password_hash: row.try_get("password_hash")?,
        role,
    })
}
