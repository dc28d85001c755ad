//! Errors of the database, as the log and as clients may see them.

use http::StatusCode;
use http::header::{HeaderValue, RETRY_AFTER};

use crate::problem::Problem;

/// What the database did not do. What passes by itself is 503 with `Retry-After`: no connection was free, the server is
/// out of reach or stopping, or something held a lock too long. Everything else is a failure of the service, 500. The
/// cause goes to the log in words of our own, and not to the client.
impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        if !may_pass(&error) {
            return Self::internal(format!("the database failed: {}", describe(&error)));
        }
        tracing::warn!(cause = describe(&error), "the database does not serve a request now");
        // A connection that breaks during a commit leaves open whether there was one.
        let outcome = match error {
            sqlx::Error::Io(_) => "the database was lost; whether anything was changed is not known",
            _ => "nothing was changed; the same request may be sent again",
        };
        Self::from_status(StatusCode::SERVICE_UNAVAILABLE)
            .detail(outcome)
            .header(RETRY_AFTER, HeaderValue::from_static("1"))
    }
}

/// The error for a column whose value breaks the rules of its type. No release of the program wrote it, so it is a failure
/// and never guessed at. `reason` goes to the log and must not repeat the value.
pub fn broken_rule(column: &str, reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: reason.into() }
}

/// Whether an error may go away by itself. The codes are those of appendix A of the Postgres manual.
pub(super) fn may_pass(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| meaning_of_passing(&code).is_some()),
        _ => false,
    }
}

fn meaning_of_passing(code: &str) -> Option<&'static str> {
    match code {
        "25P03" => Some("a transaction stood still too long"),
        "40001" | "40P01" => Some("two transactions stood in each other's way"),
        "53300" => Some("it has no connection to spare"),
        "55P03" => Some("a lock was not free in time"),
        "57014" => Some("a statement took too long"),
        _ if code.starts_with("57P") => Some("it is starting or stopping, or ended the connection"),
        _ => None,
    }
}

/// The error in words of our own: those of the server hold values, and the name of the user.
pub(super) fn describe(error: &sqlx::Error) -> String {
    let sqlx::Error::Database(error) = error else { return error.to_string() };
    let code = error.code().unwrap_or_default();
    let meaning = match code.as_ref() {
        "28P01" | "28000" => "user or password is wrong",
        "3D000" => "there is no database of that name",
        code => meaning_of_passing(code).unwrap_or("see the log of the database"),
    };
    let place = match (error.table(), error.constraint()) {
        (Some(table), Some(constraint)) => format!(", table {table}, constraint {constraint}"),
        (Some(table), None) => format!(", table {table}"),
        _ => String::new(),
    };
    format!("{meaning} (code {code}{place})")
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::fmt;
    use std::io;

    use sqlx::error::{BoxDynError, DatabaseError, ErrorKind};

    use super::*;

    /// An error as Postgres words them: `invalid input syntax for type uuid: "…"`.
    #[derive(Debug)]
    struct OfPostgres(&'static str);

    impl fmt::Display for OfPostgres {
        fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str(self.message())
        }
    }

    impl std::error::Error for OfPostgres {}

    impl DatabaseError for OfPostgres {
        fn message(&self) -> &str {
            "invalid input syntax: \"S3CR3T-c4n4ry\""
        }

        fn code(&self) -> Option<Cow<'_, str>> {
            Some(self.0.into())
        }

        fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> BoxDynError {
            self
        }

        fn kind(&self) -> ErrorKind {
            ErrorKind::Other
        }
    }

    /// What is written to the log while `work` runs on this thread. It must fit into a pipe, 64 KiB.
    fn written(work: impl FnOnce()) -> String {
        let (reader, writer) = io::pipe().unwrap();
        let subscriber = tracing_subscriber::fmt().json().with_max_level(tracing::Level::TRACE);
        tracing::subscriber::with_default(subscriber.with_writer(std::sync::Mutex::new(writer)).finish(), work);
        io::read_to_string(reader).unwrap()
    }

    /// The response to an error, and what the log says.
    fn answer(error: sqlx::Error) -> (StatusCode, Option<HeaderValue>, String) {
        let mut response = None;
        let log = written(|| response = Some(Problem::from(error).response(None)));
        let response = response.unwrap();
        (response.status(), response.headers().get(RETRY_AFTER).cloned(), log)
    }

    #[test]
    fn what_passes_is_503_with_a_time_to_come_back() {
        let codes = ["53300", "55P03", "57014", "57P01", "57P03", "40001", "40P01", "25P03"];
        let of_postgres = codes.into_iter().map(|code| sqlx::Error::from(OfPostgres(code)));
        let lost = sqlx::Error::Io(io::ErrorKind::ConnectionReset.into());
        for error in of_postgres.chain([sqlx::Error::PoolTimedOut, sqlx::Error::PoolClosed, lost]) {
            let name = format!("{error:?}");
            let (status, retry_after, log) = answer(error);
            assert_eq!(
                (status, retry_after.unwrap()),
                (StatusCode::SERVICE_UNAVAILABLE, "1".parse().unwrap()),
                "{name}"
            );
            assert!(log.contains("WARN") && !log.contains("S3CR3T"), "{name}: {log}");
        }
    }

    #[test]
    fn everything_else_is_500_and_in_the_log_without_the_words_of_the_server() {
        for (error, word) in [
            (sqlx::Error::from(OfPostgres("22P02")), "22P02"),
            (sqlx::Error::RowNotFound, "no rows"),
            (broken_rule("currency", "must be three letters"), "currency"),
        ] {
            let (status, retry_after, log) = answer(error);
            assert_eq!((status, retry_after), (StatusCode::INTERNAL_SERVER_ERROR, None), "{word}");
            assert!(log.contains("ERROR") && log.contains(word) && !log.contains("S3CR3T"), "{word}: {log}");
        }
    }
}
