//! Orders of the mini shop: who bought what, and at which price.
//!
//! A request passes [`routes`] and is read into types that hold only what is valid ([`order`], [`money`],
//! [`idempotency`]). [`catalogue`] asks the product service for prices; then [`store`] writes the order in one
//! transaction. Why one key makes one order: `docs/decisions/0005-idempotent-orders.md`.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::extract::FromRef;
use mini_kit::health::Health;
use mini_kit::{Contract, Failure, Loader, Service, Start};
use mini_kit_api::database;
use mini_kit_api::router::{self, Routes};
use mini_kit_api::token::{Verifier, VerifierSettings};
use sqlx::PgPool;
use sqlx::migrate::Migrator;

use crate::catalogue::{Catalogue, ProductUrl};

pub mod catalogue;
pub mod idempotency;
pub mod money;
pub mod order;
pub mod routes;
pub mod store;

/// The service, as [`mini_kit::run`] runs it.
pub static SERVICE: Service<Config> = Service { name: "mini-order", declare, serve, commands: &[] };

/// The schema. Migrations only add: the previous release runs on the schema of the next one.
pub static MIGRATOR: LazyLock<Migrator> =
    LazyLock::new(|| database::migrator([(1, "orders", include_str!("../migrations/0001_orders.sql"))]));

/// What the service is told by its environment.
#[derive(Debug)]
pub struct Config {
    /// How to reach the database.
    pub database: database::Settings,
    /// How tokens are checked.
    pub verifier: VerifierSettings,
    /// `PRODUCT_URL`.
    pub product_url: ProductUrl,
    /// `PRODUCT_TIMEOUT`.
    pub product_timeout: Duration,
}

/// What every handler may use.
#[derive(Clone)]
pub struct App {
    /// The database of orders.
    pub pool: PgPool,
    /// Checks the tokens of callers.
    pub verifier: Arc<Verifier>,
    /// Knows products and prices.
    pub catalogue: Arc<Catalogue>,
}

impl FromRef<App> for Arc<Verifier> {
    fn from_ref(app: &App) -> Self {
        Self::clone(&app.verifier)
    }
}

fn declare(contract: &mut Contract) -> Loader<Config> {
    let database = database::Settings::declare(contract);
    let verifier = VerifierSettings::declare(contract);
    let product_url = contract.required("PRODUCT_URL", "The product service: `http://HOST:PORT`.");
    let product_timeout = contract.with_default(
        "PRODUCT_TIMEOUT",
        "2s",
        "The longest that an order waits for the product service, one retry included; less than REQUEST_TIMEOUT.",
    );
    contract.shorter(&product_timeout, "REQUEST_TIMEOUT");
    Box::new(move |values| Config {
        database: database(values),
        verifier: verifier(values),
        product_url: values.take(product_url),
        product_timeout: values.take(product_timeout),
    })
}

fn serve(start: Start<Config>) -> Result<(), Failure> {
    let Start { identity, server, config } = start;
    router::run(&server, async move |shutdown| {
        let pool = database::connect(&config.database, server.request_timeout).await?;
        database::migrate(&pool, &MIGRATOR).await?;
        let app = App {
            pool: pool.clone(),
            verifier: Arc::new(config.verifier.verifier()),
            catalogue: Arc::new(Catalogue::new(config.product_url, config.product_timeout)),
        };
        let health = Health::new(identity, shutdown.clone(), move || database::readiness(pool.clone(), &MIGRATOR));
        Ok(Routes { router: routes::router(app), health })
    })
}
