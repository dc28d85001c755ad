//! Rules of the migrations.

use http::StatusCode;
use mini_order::MIGRATOR;
use sqlx::PgPool;

use crate::shop::Shop;

/// Words of statements that take something away from the previous release, which runs on the new schema while the next
/// one is rolled out. A word in a comment counts too: the check stays simple and the comment is easily put otherwise.
const TAKES_AWAY: &[&str] =
    &["drop", "rename", "truncate", "delete", "update", "alter column", "set not null", "create or replace"];

/// What a migration does besides adding.
fn taken_away(sql: &str) -> Option<&'static str> {
    let sql = sql.to_lowercase();
    let words_of = |text: &str| {
        let words: Vec<_> = text.split(|letter: char| !letter.is_alphanumeric() && letter != '_').collect();
        format!(" {} ", words.join(" "))
    };
    let has = |text: &str, words: &str| words_of(text).contains(&format!(" {words} "));
    // The previous release writes rows without the new column.
    let demands =
        |statement: &str| has(statement, "alter table") && has(statement, "not null") && !has(statement, "default");
    if sql.split(';').any(demands) {
        return Some("a column that must have a value and has no default");
    }
    TAKES_AWAY.iter().copied().find(|words| has(&sql, words))
}

#[test]
fn migrations_only_add() {
    for migration in MIGRATOR.iter() {
        assert_eq!(taken_away(migration.sql.as_str()), None, "migration {}", migration.version);
    }
}

#[test]
fn what_takes_away_is_found() {
    for taking in [
        "ALTER TABLE t DROP COLUMN a",
        "alter table t\n  rename column a to b",
        "ALTER TABLE t ALTER COLUMN a TYPE text",
        "ALTER TABLE t ADD COLUMN a text NOT NULL",
        "UPDATE t SET a = 1",
    ] {
        assert!(taken_away(taking).is_some(), "{taking}");
    }
    for adding in [
        "CREATE TABLE t (updated_at timestamptz NOT NULL); CREATE INDEX i ON t (updated_at)",
        "ALTER TABLE t ADD COLUMN a text NOT NULL DEFAULT ''",
        "ALTER TABLE t ADD COLUMN dropped_at timestamptz",
    ] {
        assert_eq!(taken_away(adding), None, "{adding}");
    }
}

#[test]
fn every_migration_file_is_in_the_program() {
    // Cargo does not notice a file that was added to the folder, and the program would silently lack it.
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
    let files = std::fs::read_dir(folder).unwrap().count();
    assert_eq!(MIGRATOR.iter().count(), files, "touch src/lib.rs: a migration was added after it was compiled");
}

#[sqlx::test(migrator = "mini_order::MIGRATOR")]
async fn the_service_is_ready_once_its_schema_is_there(pool: PgPool) {
    let shop = Shop::new(pool.clone()).await;
    let user = shop.user();
    assert_eq!(shop.get(&user, "/readyz").await.status, StatusCode::OK);
    sqlx::query("UPDATE _sqlx_migrations SET version = 0").execute(&pool).await.unwrap();
    assert_eq!(shop.get(&user, "/readyz").await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[sqlx::test(migrator = "mini_order::MIGRATOR")]
async fn a_schema_of_the_next_release_suits_this_one(pool: PgPool) {
    let later = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 VALUES (9999, 'later', true, '', 0)";
    sqlx::query(later).execute(&pool).await.unwrap();
    sqlx::query("ALTER TABLE orders ADD COLUMN note text").execute(&pool).await.unwrap();
    mini_kit::database::migrate(&pool, &MIGRATOR).await.unwrap();
    let shop = Shop::new(pool).await;
    let user = shop.user();
    assert_eq!(shop.get(&user, "/readyz").await.status, StatusCode::OK);
    assert_eq!(shop.buy(&user, None).await.status, StatusCode::CREATED);
}
