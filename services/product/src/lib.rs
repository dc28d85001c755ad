//! The catalogue of the mini shop: what can be bought, and for how much.
//!
//! A request passes [`routes`], is read into types that hold only what is valid ([`lookup`], [`product`], [`price`]), and
//! reaches Postgres in [`store`].

use std::sync::{Arc, LazyLock};

use axum::extract::FromRef;
use mini_kit::health::Health;
use mini_kit::{Contract, Failure, Loader, Service, Start};
use mini_kit_api::database;
use mini_kit_api::router::{self, Routes};
use mini_kit_api::token::{Verifier, VerifierSettings};
use sqlx::PgPool;
use sqlx::migrate::Migrator;

pub mod lookup;
pub mod price;
pub mod product;
pub mod routes;
pub mod store;

/// The service, as [`mini_kit::run`] runs it.
pub static SERVICE: Service<Config> = Service { name: "mini-product", declare, serve, commands: &[] };

/// The schema. Migrations only add: the previous release runs on the schema of the next one.
pub static MIGRATOR: LazyLock<Migrator> =
    LazyLock::new(|| database::migrator([(1, "products", include_str!("../migrations/0001_products.sql"))]));

/// What the service is told by its environment.
#[derive(Debug)]
pub struct Config {
    /// How to reach the database.
    pub database: database::Settings,
    /// How tokens are checked.
    pub verifier: VerifierSettings,
}

/// What every handler may use.
#[derive(Clone)]
pub struct App {
    /// The catalogue's database.
    pub pool: PgPool,
    /// Checks the tokens of those who write.
    pub verifier: Arc<Verifier>,
}

impl FromRef<App> for Arc<Verifier> {
    fn from_ref(app: &App) -> Self {
        Self::clone(&app.verifier)
    }
}

fn declare(contract: &mut Contract) -> Loader<Config> {
    let database = database::Settings::declare(contract);
    let verifier = VerifierSettings::declare(contract);
    Box::new(move |values| Config { database: database(values), verifier: verifier(values) })
}

fn serve(start: Start<Config>) -> Result<(), Failure> {
    let Start { identity, server, config } = start;
    router::run(&server, async move |shutdown| {
        let pool = database::connect(&config.database, server.request_timeout).await?;
        database::migrate(&pool, &MIGRATOR).await?;
        let app = App { pool: pool.clone(), verifier: Arc::new(config.verifier.verifier()) };
        let health = Health::new(identity, shutdown.clone(), move || database::readiness(pool.clone(), &MIGRATOR));
        Ok(Routes { router: routes::router(app), health })
    })
}
