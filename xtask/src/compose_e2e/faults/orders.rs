//! What the order database says, and the negative control in it.

use anyhow::{Context as _, Result, bail};
use xshell::{Shell, cmd};

use super::case::Case;
use super::ledger::{self, Broken};
use super::{Bench, prefix, read};

const QUERY_LIMIT_SECONDS: u64 = 60;

impl Bench<'_> {
    /// The orders of this case, straight from the database: idempotency key and id.
    pub(super) fn orders(&self, case: &Case) -> Result<Vec<(String, String)>> {
        let query = format!("SELECT idempotency_key, id FROM orders WHERE idempotency_key LIKE '{}-%'", prefix(case));
        let rows = self.sql(&query)?;
        rows.lines()
            .map(|row| row.split_once('|').map(|(key, id)| (key.to_owned(), id.to_owned())))
            .map(|row| row.context("psql printed a row that is none"))
            .collect()
    }

    fn sql(&self, query: &str) -> Result<String> {
        let id = self.stack.container("order-db")?.id;
        let shell = Shell::new()?;
        let docker = &self.ready.docker.program;
        // Over TCP, with the password that only the container knows.
        let script = "PGPASSWORD=$POSTGRES_PASSWORD exec psql --host 127.0.0.1 --username order --dbname order --no-align --tuples-only --quiet --set ON_ERROR_STOP=1 --command \"$1\"";
        self.stack
            .context
            .runner
            .read(cmd!(shell, "{docker} exec {id} sh -c {script} sql {query}"), QUERY_LIMIT_SECONDS)
    }

    /// The negative control, in the real database: an order that is deleted and one that is doubled behind the shop's back must
    /// both be found, or a run without findings would mean nothing.
    pub(super) fn control(&self, case: &Case) -> Result<Vec<Broken>> {
        let records = read(&self.run.client_log(self.stack.context, case.name))?;
        let orders = self.orders(case)?;
        let [(lost, _), (doubled, _), ..] = orders.as_slice() else { bail!("the control needs two orders") };
        self.sql(&format!(
            "DELETE FROM order_items USING orders WHERE order_id = orders.id AND idempotency_key = '{lost}'"
        ))?;
        self.sql(&format!("DELETE FROM orders WHERE idempotency_key = '{lost}'"))?;
        self.sql("ALTER TABLE orders DROP CONSTRAINT orders_one_per_idempotency_key")?;
        self.sql(&format!(
            "INSERT INTO orders (id, user_id, status, currency, total_amount, idempotency_key) SELECT gen_random_uuid(), user_id, status, currency, total_amount, idempotency_key FROM orders WHERE idempotency_key = '{doubled}'"
        ))?;
        let found = ledger::judge(case, &records, &self.orders(case)?);
        let rules: Vec<_> = found.iter().map(|(rule, _)| *rule).collect();
        let missed = ["order-lost", "order-twice"].into_iter().filter(|rule| !rules.contains(rule));
        Ok(missed.map(|rule| ("control-failed", format!("the check did not notice a planted {rule}"))).collect())
    }
}
