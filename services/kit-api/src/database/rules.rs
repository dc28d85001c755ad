//! The rules that migrations keep, for the tests of the services.

use std::path::Path;

use sqlx::migrate::Migrator;

/// Words of statements that take something away from the previous release, which runs on the new schema while the next
/// one is rolled out, or that demand more of what it writes. A word in a comment counts too: the check stays simple and
/// the comment is easily put otherwise.
const TAKES_AWAY: &[&str] =
    &["drop", "rename", "truncate", "delete", "update", "alter column", "add constraint", "create or replace"];

/// Mistakes in the migrations of a service: one that does more than add, or a file of `folder` that the program lacks.
/// Every service with a database holds in a test that there are none.
#[must_use]
pub fn migration_mistakes(migrator: &Migrator, folder: impl AsRef<Path>) -> Vec<String> {
    let mut mistakes: Vec<_> = migrator
        .iter()
        .filter_map(|migration| {
            let takes = taken_away(migration.sql.as_str())?;
            Some(format!("migration {} does more than add: {takes}", migration.version))
        })
        .collect();
    // Cargo does not notice a file that was added to the folder, and the program would silently lack it.
    let (files, compiled) = (std::fs::read_dir(folder).map(Iterator::count), migrator.iter().count());
    match files {
        Ok(files) if files == compiled => {}
        Ok(files) => {
            mistakes.push(format!("{files} files, but {compiled} migrations in the program: touch its lib.rs"));
        }
        Err(error) => mistakes.push(format!("the folder of the migrations cannot be read: {error}")),
    }
    mistakes
}

/// What a migration does besides adding.
fn taken_away(sql: &str) -> Option<&'static str> {
    let sql = sql.to_lowercase();
    let words_of = |text: &str| {
        let words: Vec<_> = text
            .split(|letter: char| !letter.is_alphanumeric() && letter != '_')
            .filter(|word| !word.is_empty())
            .collect();
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

#[cfg(test)]
mod tests {
    use sqlx::SqlStr;
    use sqlx::migrate::{Migration, MigrationType};

    use super::*;

    /// The mistakes of one migration in a folder of `files` files.
    fn mistakes(sql: &'static str, files: u8) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..files {
            std::fs::write(folder.path().join(number.to_string()), sql).unwrap();
        }
        let migration = Migration::new(1, "one".into(), MigrationType::Simple, SqlStr::from_static(sql), false);
        migration_mistakes(&Migrator::with_migrations(vec![migration]), folder.path())
    }

    #[test]
    fn what_takes_away_or_demands_is_found() {
        for taking in [
            "ALTER TABLE t DROP COLUMN a",
            "alter table t\n  rename column a to b",
            "ALTER TABLE t ALTER  COLUMN a TYPE text",
            "ALTER TABLE t ADD COLUMN a text NOT NULL",
            "ALTER TABLE t ADD CONSTRAINT c CHECK (a <> '')",
            "UPDATE t SET a = 1",
        ] {
            assert_eq!(mistakes(taking, 1).len(), 1, "{taking}");
        }
        for adding in [
            "CREATE TABLE t (updated_at timestamptz NOT NULL); CREATE INDEX i ON t (updated_at)",
            "ALTER TABLE t ADD COLUMN a text NOT NULL DEFAULT ''",
            "ALTER TABLE t ADD COLUMN dropped_at timestamptz",
        ] {
            assert_eq!(mistakes(adding, 1), Vec::<String>::new(), "{adding}");
        }
    }

    #[test]
    fn a_file_that_the_program_lacks_and_a_folder_that_is_not_there_are_found() {
        assert_eq!(mistakes("SELECT 1", 2).len(), 1);
        assert_eq!(mistakes("SELECT 1", 0).len(), 1);
        assert_eq!(migration_mistakes(&Migrator::with_migrations(Vec::new()), "/absent").len(), 1);
    }
}
