//! The rules that migrations keep, for the tests of the services.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sqlx::migrate::Migrator;

/// Words of statements that take something away from the previous release, which runs on the new schema while the next
/// one is rolled out, or that demand more of what it writes. A word in a comment counts too: the check stays simple and
/// the comment is easily put otherwise.
const TAKES_AWAY: &[&str] =
    &["drop", "rename", "truncate", "delete", "update", "alter column", "add constraint", "create or replace"];

/// Mistakes in the migrations of a service: one that does more than add, or a file of `folder` that the program lacks or
/// has in another form. Every service with a database holds in a test that there are none.
#[must_use]
pub fn migration_mistakes(migrator: &Migrator, folder: impl AsRef<Path>) -> Vec<String> {
    let mut mistakes: Vec<_> = migrator
        .iter()
        .filter_map(|migration| {
            let takes = taken_away(migration.sql.as_str())?;
            Some(format!("migration {} does more than add: {takes}", migration.version))
        })
        .collect();
    let compiled: BTreeMap<_, _> = migrator
        .iter()
        .map(|migration| {
            let name = format!("{:04}_{}.sql", migration.version, migration.description.replace(' ', "_"));
            (name, migration.sql.as_str().to_owned())
        })
        .collect();
    match files(folder.as_ref()) {
        Ok(files) => {
            let names: BTreeSet<_> = files.keys().chain(compiled.keys()).collect();
            mistakes.extend(names.into_iter().filter(|name| files.get(*name) != compiled.get(*name)).map(|name| {
                format!("{name} is not the same in the folder and in the program: look at MIGRATOR in its lib.rs")
            }));
        }
        Err(error) => mistakes.push(format!("the folder of the migrations cannot be read: {error}")),
    }
    mistakes
}

/// The files of a folder, by name.
fn files(folder: &Path) -> std::io::Result<BTreeMap<String, String>> {
    std::fs::read_dir(folder)?
        .map(|entry| {
            let entry = entry?;
            Ok((entry.file_name().to_string_lossy().into_owned(), std::fs::read_to_string(entry.path())?))
        })
        .collect()
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
    use super::*;
    use crate::database::migrator;

    /// The mistakes of one migration in a folder with `files`.
    fn mistakes(sql: &'static str, files: &[(&str, &str)]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        migration_mistakes(&migrator([(1, "one", sql)]), folder.path())
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
            assert_eq!(mistakes(taking, &[("0001_one.sql", taking)]).len(), 1, "{taking}");
        }
        for adding in [
            "CREATE TABLE t (updated_at timestamptz NOT NULL); CREATE INDEX i ON t (updated_at)",
            "ALTER TABLE t ADD COLUMN a text NOT NULL DEFAULT ''",
            "ALTER TABLE t ADD COLUMN dropped_at timestamptz",
        ] {
            assert_eq!(mistakes(adding, &[("0001_one.sql", adding)]), Vec::<String>::new(), "{adding}");
        }
    }

    #[test]
    fn a_file_that_the_program_lacks_or_has_in_another_form_is_found() {
        let one = ("0001_one.sql", "SELECT 1");
        assert_eq!(mistakes("SELECT 1", &[one]), Vec::<String>::new());
        assert_eq!(mistakes("SELECT 1", &[one, ("0002_two.sql", "SELECT 2")]).len(), 1);
        assert_eq!(mistakes("SELECT 1", &[("0001_one.sql", "SELECT 3")]).len(), 1);
        assert_eq!(mistakes("SELECT 1", &[("0003_one.sql", "SELECT 1")]).len(), 2);
        assert_eq!(mistakes("SELECT 1", &[]).len(), 1);
        assert_eq!(migration_mistakes(&migrator([]), "/absent").len(), 1);
    }
}
