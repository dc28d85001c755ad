//! Accounts and tokens of the mini shop: registration, login, and the key that signs.

mod accounts;
mod administrator;
mod attempts;
mod credentials;
mod keygen;
mod password;
mod settings;
mod store;
mod turn;

use std::sync::{Arc, LazyLock};

use axum::extract::FromRef;
use mini_kit::health::Health;
use mini_kit::shutdown::Shutdown;
use mini_kit::{Failure, Identity, Service, Start};
use mini_kit_api::database;
use mini_kit_api::router::{self, Routes};
use mini_kit_api::token::{Role, Signer, Verifier};
use sqlx::PgPool;
use sqlx::migrate::Migrator;

#[cfg(feature = "openapi")]
pub use accounts::Description;
pub use settings::Settings;

use crate::attempts::Attempts;
use crate::credentials::Username;
use crate::password::Hasher;
use crate::store::User;
use crate::turn::Turns;

/// The schema of the service's database.
pub static MIGRATOR: LazyLock<Migrator> =
    LazyLock::new(|| database::migrator([(1, "users", include_str!("../migrations/0001_users.sql"))]));

/// The service as `main` runs it.
pub static SERVICE: Service<Settings> =
    Service { name: "mini-user", declare: Settings::declare, serve, commands: &[keygen::COMMAND] };

fn serve(start: Start<Settings>) -> Result<(), Failure> {
    let Start { identity, server, config } = start;
    router::run(&server, async |shutdown| {
        let pool = database::connect(&config.database, server.request_timeout).await?;
        database::migrate(&pool, &MIGRATOR).await?;
        routes(identity, shutdown.clone(), pool, config).await
    })
}

/// The routes of the service on a database whose schema is up to date. It makes the administrator of the settings.
///
/// # Errors
/// When the administrator cannot be made.
pub async fn routes(
    identity: Identity,
    shutdown: Shutdown,
    pool: PgPool,
    settings: Settings,
) -> Result<Routes, Failure> {
    let verifier =
        Verifier::new(settings.signing_key.public_key(), settings.previous_public_key, settings.audience.clone());
    let state = State {
        pool: pool.clone(),
        hasher: Hasher::new(settings.password_hash_concurrency),
        signer: Arc::new(Signer::new(settings.signing_key, settings.audience)),
        verifier: Arc::new(verifier),
        token_lifetime_seconds: settings.token_lifetime_seconds,
        attempts: Arc::new(Attempts::new(settings.attempt_limits)),
        turns: Turns::new(settings.password_queue_per_client),
        administrator: settings.administrator.as_ref().map(|administrator| administrator.username.clone()),
    };
    if let Some(administrator) = settings.administrator {
        administrator::make(&state.pool, &state.hasher, administrator).await?;
    }
    let health = Health::new(identity, shutdown, move || database::readiness(pool.clone(), &MIGRATOR));
    Ok(Routes { router: accounts::router().with_state(state), health })
}

/// What the handlers share.
#[derive(Clone)]
struct State {
    pool: PgPool,
    hasher: Hasher,
    signer: Arc<Signer>,
    verifier: Arc<Verifier>,
    token_lifetime_seconds: i64,
    attempts: Arc<Attempts>,
    turns: Turns,
    /// The administrator of the settings.
    administrator: Option<Username>,
}

impl State {
    /// What a user may do. Whoever was administrator under earlier settings is an ordinary user: the role in the database
    /// says who may be one, the settings say who is.
    fn role_of(&self, user: &User) -> Role {
        let is_configured = self.administrator.as_ref().is_some_and(|name| name.as_str() == user.username);
        if is_configured { user.role } else { Role::User }
    }
}

impl FromRef<State> for Arc<Verifier> {
    fn from_ref(state: &State) -> Self {
        Self::clone(&state.verifier)
    }
}
