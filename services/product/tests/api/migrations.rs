//! Rules of the migrations.

use http::StatusCode;
use mini_kit_api::database;
use mini_product::MIGRATOR;
use sqlx::PgPool;

use crate::catalogue::Catalogue;

#[test]
fn the_migrations_keep_the_rules() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
    assert_eq!(database::migration_mistakes(&MIGRATOR, folder), Vec::<String>::new());
}

#[sqlx::test(migrator = "mini_product::MIGRATOR")]
async fn the_service_is_ready_once_its_schema_is_there(pool: PgPool) {
    let catalogue = Catalogue::new(pool.clone());
    assert_eq!(catalogue.get("/readyz").await.status, StatusCode::OK);
    sqlx::query("UPDATE _sqlx_migrations SET version = 0").execute(&pool).await.unwrap();
    assert_eq!(catalogue.get("/readyz").await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[sqlx::test(migrator = "mini_product::MIGRATOR")]
async fn a_schema_of_the_next_release_suits_this_one(pool: PgPool) {
    let later = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 VALUES (9999, 'later', true, '', 0)";
    sqlx::query(later).execute(&pool).await.unwrap();
    sqlx::query("ALTER TABLE products ADD COLUMN weight_grams integer").execute(&pool).await.unwrap();
    database::migrate(&pool, &MIGRATOR).await.unwrap();
    let catalogue = Catalogue::new(pool);
    assert_eq!(catalogue.get("/readyz").await.status, StatusCode::OK);
    catalogue.create("Pen", 1).await;
}
