//! The connection to Postgres, and the schema.

mod migration;
mod url;

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use tokio::time::Instant;

pub use migration::{migrate, readiness};
pub use url::DatabaseUrl;

use crate::contract::{Contract, Loader};
use crate::run::Failure;
use crate::types::Integer;

/// The first and the longest pause between two attempts to connect.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// The longest that a request waits for a connection of the pool.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// How to reach the database.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `DATABASE_URL`.
    pub url: DatabaseUrl,
    /// `DATABASE_MAX_CONNECTIONS`.
    pub max_connections: u32,
    /// `DATABASE_CONNECT_TIMEOUT`.
    pub connect_timeout: Duration,
}

impl Settings {
    /// Declares the variables about the database.
    pub fn declare(contract: &mut Contract) -> Loader<Self> {
        let url = contract.required(
            "DATABASE_URL",
            "The Postgres database of the service: `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, without TLS.",
        );
        let max_connections = contract.with_default::<Integer<1, 1000>>(
            "DATABASE_MAX_CONNECTIONS",
            "10",
            "The most connections to the database that one instance of the service holds.",
        );
        let connect_timeout = contract.with_default(
            "DATABASE_CONNECT_TIMEOUT",
            "30s",
            "How long the service tries to reach the database at its start before it gives up.",
        );
        Box::new(move |values| Self {
            url: values.take(url),
            max_connections: values.take(max_connections).get(),
            connect_timeout: values.take(connect_timeout),
        })
    }
}

/// Connects, trying again while the database is not there yet.
///
/// # Errors
/// When it cannot be reached within [`Settings::connect_timeout`], or when it answers and refuses, for instance because
/// the password is wrong. The message names host and port, and no user information.
pub async fn connect(settings: &Settings) -> Result<PgPool, Failure> {
    let Settings { url, connect_timeout, .. } = settings;
    let deadline = Instant::now() + *connect_timeout;
    let mut pause = PAUSES.0;
    loop {
        let attempt = tokio::time::timeout_at(deadline, pool(settings, url.options())).await;
        let error = match attempt {
            Ok(Ok(pool)) => return Ok(pool),
            Ok(Err(error)) => error,
            Err(_) => return Err(Failure::plain(format!("no answer from {url} within {connect_timeout:?}"))),
        };
        if !may_pass(&error) {
            return Err(Failure::plain(format!("{url} refuses the connection: {}", explain(&error))));
        }
        if Instant::now() + pause >= deadline {
            let why = explain(&error);
            return Err(Failure::plain(format!("no connection to {url} within {connect_timeout:?}: {why}")));
        }
        tracing::info!(database = %url, cause = explain(&error), "waiting for the database");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

async fn pool(settings: &Settings, options: PgConnectOptions) -> Result<PgPool, sqlx::Error> {
    PgPoolOptions::new()
        .max_connections(settings.max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_with(options)
        .await
}

/// Whether an error may go away by itself: the host is not there yet, the server is starting or stopping, or all its
/// connections are taken (codes 57P… and 53300 of Postgres).
fn may_pass(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| code == "53300" || code.starts_with("57P")),
        _ => false,
    }
}

/// The error in words of our own: those of the server name the user.
fn explain(error: &sqlx::Error) -> String {
    let sqlx::Error::Database(error) = error else { return error.to_string() };
    let code = error.code().unwrap_or_default();
    let meaning = match code.as_ref() {
        "28P01" | "28000" => "user or password is wrong",
        "3D000" => "there is no database of that name",
        "53300" => "it has no connection to spare",
        "57P03" => "it is starting or stopping",
        _ => "see the log of the database",
    };
    format!("{meaning} (code {code})")
}
