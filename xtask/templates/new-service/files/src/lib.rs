//! __description__.
@database
//!
//! A request passes [`routes`] and reaches Postgres in [`store`].

use std::sync::LazyLock;
@end

use mini_kit::health::Health;
use mini_kit::{Contract, Failure, Loader, Service, Start};
@database
use mini_kit_api::database;
@end
use mini_kit_api::router::{self, Routes};
@database
use sqlx::PgPool;
use sqlx::migrate::Migrator;
@end

pub mod routes;
@database
pub mod store;
@end

/// The service, as [`mini_kit::run`] runs it.
pub static SERVICE: Service<Config> = Service { name: "__package__", declare, serve, commands: &[] };

@database
/// The schema. Migrations only add: the previous release runs on the schema of the next one.
pub static MIGRATOR: LazyLock<Migrator> =
    LazyLock::new(|| database::migrator([(1, "__path__", include_str!("../migrations/0001___path__.sql"))]));

/// What the service is told by its environment.
#[derive(Debug)]
pub struct Config {
    /// How to reach the database.
    pub database: database::Settings,
}

/// What every handler may use.
#[derive(Clone)]
pub struct App {
    /// The database.
    pub pool: PgPool,
}

fn declare(contract: &mut Contract) -> Loader<Config> {
    let database = database::Settings::declare(contract);
    Box::new(move |values| Config { database: database(values) })
}

fn serve(start: Start<Config>) -> Result<(), Failure> {
    let Start { identity, server, config } = start;
    router::run(&server, async move |shutdown| {
        let pool = database::connect(&config.database, server.request_timeout).await?;
        database::migrate(&pool, &MIGRATOR).await?;
        let app = App { pool: pool.clone() };
        let health = Health::new(identity, shutdown.clone(), move || database::readiness(pool.clone(), &MIGRATOR));
        Ok(Routes { router: routes::router(app), health })
    })
}
@no-database
/// What the service is told by its environment: nothing yet, beside what every service is told.
#[derive(Debug)]
pub struct Config;

fn declare(_: &mut Contract) -> Loader<Config> {
    Box::new(|_| Config)
}

fn serve(start: Start<Config>) -> Result<(), Failure> {
    let Start { identity, server, config: Config } = start;
    router::run(&server, async move |shutdown| {
        let health = Health::new(identity, shutdown.clone(), async || Ok(()));
        Ok(Routes { router: routes::router(), health })
    })
}
@end
