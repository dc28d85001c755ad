//! What the database says of the load's writes, and the negative control in it.

use anyhow::{Context as _, Result, bail};
use xshell::{Shell, cmd};
use xtask_workspace::{Fault, Ledger};

use super::ledger::{self, Broken};
use super::{Bench, prefix, read};

const QUERY_LIMIT_SECONDS: u64 = 60;

impl Bench<'_> {
    fn ledger(&self) -> Result<&Ledger> {
        Ok(&self.stack.context.project.stack.load()?.ledger)
    }

    /// The writes of this case, straight from the database: idempotency key and id.
    pub(super) fn writes(&self, case: &Fault) -> Result<Vec<(String, String)>> {
        let rows = self.sql(&self.ledger()?.rows.replace("{prefix}", &prefix(case)))?;
        rows.lines()
            .map(|row| row.split_once('|').map(|(key, id)| (key.to_owned(), id.to_owned())))
            .map(|row| row.context("the ledger has a row that has no key and id"))
            .collect()
    }

    fn sql(&self, query: &str) -> Result<String> {
        let ledger = self.ledger()?;
        let service = &ledger.service;
        let words = ledger.words(&self.stack.context.project.stack, query)?;
        let id = self.stack.container(service)?.id;
        let shell = Shell::new()?;
        let docker = &self.ready.docker.program;
        let ask = cmd!(shell, "{docker} exec {id} {words...}");
        self.stack.context.runner.read(ask, QUERY_LIMIT_SECONDS)
    }

    /// The negative control, in the real database: a write that is deleted and one that is doubled behind the service's back must
    /// both be found, or a run without findings would mean nothing.
    pub(super) fn control(&self, case: &Fault) -> Result<Vec<Broken>> {
        let records = read(&self.run.client_log(self.stack.context, &case.name))?;
        let writes = self.writes(case)?;
        let [(lost, _), (doubled, _), ..] = writes.as_slice() else { bail!("the control needs two writes") };
        for (statements, key) in [(&self.ledger()?.lose, lost), (&self.ledger()?.double, doubled)] {
            for statement in statements {
                self.sql(&statement.replace("{key}", key))?;
            }
        }
        let found = ledger::judge(&case.allowed, &records, &self.writes(case)?);
        let rules: Vec<_> = found.iter().map(|(rule, _)| *rule).collect();
        let missed = ["write-lost", "write-twice"].into_iter().filter(|rule| !rules.contains(rule));
        Ok(missed.map(|rule| ("control-failed", format!("the check did not notice a planted {rule}"))).collect())
    }
}
