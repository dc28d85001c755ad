//! The connection to Postgres, and the schema.

mod error;
mod migration;
mod rules;
mod url;

use std::time::Duration;

use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use tokio::time::Instant;

pub use error::broken_rule;
pub use migration::{migrate, migrator, readiness};
pub use rules::migration_mistakes;
pub use url::DatabaseUrl;

use self::error::{describe, may_pass};
use mini_kit::Failure;
use mini_kit::contract::{Contract, Loader};
use mini_kit::types::Integer;

/// The first and the longest pause between two attempts to connect.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// The longest that a request waits for a connection of the pool.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a connection may have been unused and still be taken for alive; then it is asked first.
///
/// To ask is a round trip before each statement. A service that is busy uses its connections again within this time, and those
/// are spared it; where they lie longer, a round trip more does not matter. It is also the time in which a request can
/// get a connection whose end nobody has noticed: docs/decisions/0026-gateway-speed.md.
pub const TRUSTED_IDLE: Duration = Duration::from_millis(20);

/// The parameter of a session that limits each of its statements. It is given at the start of the session, where it needs
/// no round trip, holds from the first statement on and is what `RESET ALL` returns to.
const STATEMENT_TIMEOUT: &str = "statement_timeout";

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
/// No statement on these connections runs longer than `statement_timeout`; services pass their REQUEST_TIMEOUT. A request
/// that runs out of time is answered and forgotten by the service, but its statement goes on in the database and keeps
/// its connection, for ever if it waits for a lock that nobody lets go. Nobody waits for a statement longer than a request
/// may take, so the database ends it then, and the connection is back after twice that time at the latest.
///
/// # Errors
/// When it cannot be reached within [`Settings::connect_timeout`], or when it answers and refuses, for instance because
/// the password is wrong. The message names host and port, and no user information.
pub async fn connect(settings: &Settings, statement_timeout: Duration) -> Result<PgPool, Failure> {
    let Settings { url, connect_timeout, .. } = settings;
    let deadline = Instant::now() + *connect_timeout;
    let options = url.options().options([(STATEMENT_TIMEOUT, milliseconds(statement_timeout))]);
    let mut pause = PAUSES.0;
    loop {
        let attempt = tokio::time::timeout_at(deadline, pool(settings, options.clone())).await;
        let error = match attempt {
            Ok(Ok(pool)) => return Ok(pool),
            Ok(Err(error)) => error,
            Err(_) => return Err(Failure::plain(format!("no answer from {url} within {connect_timeout:?}"))),
        };
        if !may_pass(&error) {
            return Err(Failure::plain(format!("{url} refuses the connection: {}", describe(&error))));
        }
        if Instant::now() + pause >= deadline {
            let why = describe(&error);
            return Err(Failure::plain(format!("no connection to {url} within {connect_timeout:?}: {why}")));
        }
        tracing::info!(database = %url, cause = describe(&error), "waiting for the database");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

async fn pool(settings: &Settings, options: PgConnectOptions) -> Result<PgPool, sqlx::Error> {
    pool_options(settings.max_connections, TRUSTED_IDLE).connect_with(options).await
}

/// A pool in which a connection that was unused for `trusted_idle` is asked whether it is still there.
#[must_use]
pub fn pool_options(max_connections: u32, trusted_idle: Duration) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .before_acquire(move |connection, state| {
            Box::pin(async move {
                if state.idle_for < trusted_idle {
                    return Ok(true);
                }
                let asked = connection.ping().await;
                if let Err(error) = &asked {
                    tracing::info!(
                        cause = describe(error),
                        "a connection to the database was lost while it was not used"
                    );
                }
                Ok(asked.is_ok())
            })
        })
}

/// A duration as Postgres reads it. It has no more than 31 bits for it, which are 24 days.
fn milliseconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
