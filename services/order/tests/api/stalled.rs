//! Stops orders between their two inserts, without a clock: a trigger waits for a lock that the test holds.

use sqlx::postgres::PgConnection;
use sqlx::{Connection, PgPool};

/// How often the test looks before it gives up; each look is a round trip to the database.
const MAX_LOOKS: usize = 20_000;

/// Orders stand still after the insert of the order and before that of its items, until [`Stalled::release`].
pub(crate) struct Stalled {
    /// Not of the pool under test, whose connections may all be waiting.
    connection: PgConnection,
}

impl Stalled {
    pub(crate) async fn before_items(pool: &PgPool) -> Self {
        let mut connection = PgConnection::connect_with(&pool.connect_options()).await.unwrap();
        sqlx::raw_sql(
            "CREATE FUNCTION wait_for_test() RETURNS trigger LANGUAGE plpgsql AS
                 'BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NEW; END';
             CREATE TRIGGER wait_for_test BEFORE INSERT ON order_items
                 FOR EACH ROW EXECUTE FUNCTION wait_for_test();
             SELECT pg_advisory_lock(1);",
        )
        .execute(&mut connection)
        .await
        .unwrap();
        Self { connection }
    }

    /// Waits until `count` connections of this database wait for a lock.
    pub(crate) async fn waiting(&mut self, count: i64) {
        for _ in 0..MAX_LOOKS {
            let waiting: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM pg_stat_activity
                 WHERE datname = current_database() AND wait_event_type = 'Lock'",
            )
            .fetch_one(&mut self.connection)
            .await
            .unwrap();
            if waiting >= count {
                return;
            }
        }
        panic!("there were never {count} connections that wait for a lock");
    }

    /// Ends the connections of all orders that stand still between their inserts, as a crash would.
    pub(crate) async fn kill_the_stalled(&mut self) {
        let killed: Vec<bool> = sqlx::query_scalar(
            "SELECT pg_terminate_backend(pid) FROM pg_locks
             WHERE locktype = 'advisory' AND NOT granted
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        )
        .fetch_all(&mut self.connection)
        .await
        .unwrap();
        assert!(!killed.is_empty());
    }

    /// [`Self::waiting`], then [`Self::release`].
    pub(crate) async fn release_when_waiting(&mut self, count: i64) {
        self.waiting(count).await;
        self.release().await;
    }

    pub(crate) async fn release(&mut self) {
        sqlx::query("SELECT pg_advisory_unlock(1)").execute(&mut self.connection).await.unwrap();
    }
}
