//! `compose-e2e --faults`: the stack is broken on purpose under a load, and held to what its clients were promised.

mod abuse;
mod inject;
pub mod ledger;
mod soak;
mod writes;

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Value, json};

use self::abuse::Attack;
use self::ledger::{Broken, Record};
use super::client::Client;
use super::run::Run;
use crate::Stack;
use xtask_engine::Ready;
use xtask_image_build::BuiltImage;
use xtask_outcome::{Finding, Outcome, Place, Stop};
use xtask_workspace::{Abuse, Action, Fault, Project};

/// The value of `--faults` without a name.
pub const ALL: &str = "all";
/// The load works before a fault is done to it.
const STEADY_LIMIT_SECONDS: u64 = 60;
/// The promise of docs/operations.md: everything works again after this time, without hands.
const RECOVERY_LIMIT_SECONDS: u64 = 30;
/// The load ends by itself should nobody end it.
const LOAD_LIMIT_SECONDS: u64 = 180;
/// With the time in which open orders are still tried.
const CLIENT_LIMIT_SECONDS: u64 = 300;
const POLL_MILLISECONDS: u64 = 100;

/// The faults that `--faults[=NAME]` means.
///
/// # Errors
/// [`Stop::Usage`] lists the faults there are.
pub fn select<'a>(faults: &'a [Fault], name: &str) -> Result<Vec<&'a Fault>> {
    let found: Vec<_> = faults.iter().filter(|fault| name == ALL || fault.name == name).collect();
    if faults.is_empty() {
        return Err(
            Stop::Absent("refused: policy/stack.toml has no [[fault]]; next: docs/adopting.md".to_owned()).into()
        );
    }
    if found.is_empty() {
        let names: Vec<_> = faults.iter().map(|fault| fault.name.as_str()).collect();
        return Err(Stop::Usage(format!("there is no fault `{name}`; the faults are {}", names.join(", "))).into());
    }
    Ok(found)
}

/// Whether one of these faults is done from a container, so that the client has to be a program that runs in any.
pub(super) fn need_container(project: &Project, name: &str) -> bool {
    let is_meant = |fault: &&Fault| name == ALL || fault.name == name;
    project.stack.faults.iter().filter(is_meant).any(|fault| matches!(fault.action, Action::Abuse(_)))
}

fn finding(case: &Fault, (rule, message): &Broken, log: &Utf8Path) -> Finding {
    Finding {
        rule,
        place: Place::new(format!("fault {}", case.name)),
        message: message.clone(),
        next_step: format!("read {log}, then cargo xtask compose-e2e --faults={}", case.name),
    }
}

/// How a case ended.
struct Ended {
    log: Utf8PathBuf,
    requests: usize,
    failed: usize,
    writes: usize,
    recovered_milliseconds: Option<u64>,
    p99_milliseconds: Option<u64>,
    broken: Vec<Broken>,
    attack: Option<Attacked>,
}

/// What an attack came to.
struct Attacked {
    line: String,
    evidence: Value,
    unjudged: Option<String>,
}

/// What happened in a case.
#[derive(Default)]
struct Went {
    recovered_milliseconds: Option<u64>,
    attack: Option<Attack>,
}

impl Ended {
    fn line(&self) -> String {
        let recovered = self.recovered_milliseconds.map(|ms| format!(", recovered after {ms} ms")).unwrap_or_default();
        let p99 = self.p99_milliseconds.map(|ms| format!(", p99 {ms} ms")).unwrap_or_default();
        let Self { requests, failed, writes, .. } = self;
        let attack = self.attack.as_ref().map(|attack| format!(", {}", attack.line)).unwrap_or_default();
        format!(
            "{requests} requests, {failed} failed, {writes} writes{recovered}{p99}{attack}, {} broken promises",
            self.broken.len()
        )
    }

    fn evidence(&self, case: &Fault) -> Value {
        json!({
            "fault": case.name, "promise": case.promise, "requests": self.requests, "failed": self.failed,
            "writes": self.writes, "recovered_after_ms": self.recovered_milliseconds, "p99_ms": self.p99_milliseconds,
            "broken": self.broken.len(), "attack": self.attack.as_ref().map(|attack| &attack.evidence),
        })
    }
}

impl Attacked {
    fn of(went: &Attack, abuse: &Abuse, watched: &[Record]) -> Self {
        let (line, evidence) = (went.line(watched), went.evidence(watched));
        Self { line, evidence, unjudged: went.unjudged(abuse, watched) }
    }
}

/// What every case needs.
pub(super) struct Bench<'a> {
    pub(super) stack: &'a Stack<'a>,
    pub(super) ready: &'a Ready,
    pub(super) images: &'a [BuiltImage],
    pub(super) client: &'a Client,
    pub(super) run: &'a Run,
}

impl Bench<'_> {
    /// Does the named faults, one after the other, to a stack that is up.
    pub(super) fn run(&self, name: &str, outcome: &mut Outcome) -> Result<()> {
        let mut cases = Vec::new();
        let mut requests = 0;
        let (mut last, mut attacked) = (None, None);
        self.stack.context.project.stack.load()?;
        for case in select(&self.stack.context.project.stack.faults, name)? {
            self.stack.context.runner.progress().now(&format!("fault {}: {}", case.name, case.promise));
            let ended = self.case(case).with_context(|| format!("fault {}", case.name))?;
            self.stack.context.runner.progress().detail(&format!("fault {}: {}", case.name, ended.line()));
            requests += ended.requests;
            cases.push(ended.evidence(case));
            let log = ended.log.strip_prefix(&self.stack.context.project.root).unwrap_or(&ended.log);
            outcome.findings.extend(ended.broken.iter().map(|broken| finding(case, broken, log)));
            if let Some(why) = ended.attack.as_ref().and_then(|attack| attack.unjudged.as_ref()) {
                outcome.unchecked(format!("what others notice of {}", case.name), why.as_str());
            }
            if ended.writes > 0 {
                last = Some(case);
            }
            if let Action::Abuse(abuse) = &case.action {
                attacked = Some((case, abuse));
            }
        }
        if let Some((case, abuse)) = attacked {
            let missed = self.control_attack(case, abuse).context("the negative control of attacks")?;
            let code = Utf8Path::new("xtask/crates/stack/src/faults/abuse.rs");
            outcome.findings.extend(missed.iter().map(|broken| finding(case, broken, code)));
            outcome.checked("planted hold-ups that the check has to find", 2);
        }
        if let Some(case) = last {
            let missed = self.control(case).context("the negative control")?;
            let log = Utf8Path::new("xtask/crates/stack/src/faults/ledger.rs");
            outcome.findings.extend(missed.iter().map(|broken| finding(case, broken, log)));
            outcome.checked("planted faults that the check has to find", 2);
        }
        outcome.checked("faults", cases.len());
        outcome.checked("requests under fault", requests);
        outcome.evidence("faults", cases);
        Ok(())
    }

    fn kinds(&self) -> &[String] {
        self.stack.context.project.stack.load.as_ref().map_or(&[], |load| &load.kinds)
    }

    fn case(&self, case: &Fault) -> Result<Ended> {
        let log = self.run.client_log(self.stack.context, &case.name);
        let restarts = |service: &str| self.stack.container(service).map(|container| container.restarts);
        let before = if let Action::Kill(service) = &case.action { Some((service, restarts(service)?)) } else { None };
        let went = if case.action == Action::Burst { self.burst(&log)? } else { self.under_load(case, &log)? };
        let mut records = read(&log)?;
        if case.action == Action::SlowClients {
            records.extend(read(&slow_log(&log))?);
        }
        let beside = case.beside.as_ref().map(|command| anyhow::Ok((command, read(&beside_log(&log))?))).transpose()?;
        let mut attack = None;
        let mut broken = Vec::new();
        if let (Some(went), Action::Abuse(abuse), Some((_, watched))) = (&went.attack, &case.action, &beside) {
            attack = Some(Attacked::of(went, abuse, watched));
            broken.extend(went.broken(abuse, watched));
            // What others notice is held to everything that the load is held to.
            records.extend(watched.iter().cloned());
        }
        let writes = self.writes(case)?;
        broken.extend(ledger::judge(&case.allowed, &records, &writes));
        if let Some((command, records)) = &beside {
            broken.extend(ledger::lost(command, records));
        }
        broken.extend(proof(case, self.kinds(), &records));
        if let Some((service, before)) = before
            && restarts(service)? == before
        {
            broken.push(("nothing-proven", format!("{service} was not killed, or not by the engine started again")));
        }
        let recovered_milliseconds = went.recovered_milliseconds;
        if case.action != Action::Burst && recovered_milliseconds.is_none() {
            let text = format!("not everything works again {RECOVERY_LIMIT_SECONDS} s after the fault");
            broken.push(("slow-recovery", text));
        }
        let failed = records.iter().filter(|record| !record.succeeded()).count();
        let p99_milliseconds = ledger::p99(&records, self.kinds());
        let (requests, writes) = (records.len(), writes.len());
        Ok(Ended { log, requests, failed, writes, recovered_milliseconds, p99_milliseconds, broken, attack })
    }

    fn burst(&self, log: &Utf8PathBuf) -> Result<Went> {
        let url = self.stack.entrance_url()?;
        self.client.run(self.stack.context, &url, &["burst", "--log", log.as_str()], CLIENT_LIMIT_SECONDS)?;
        Ok(Went::default())
    }

    /// Starts the load, does the fault once the load works, and ends the load when it works again.
    fn under_load(&self, case: &Fault, log: &Utf8PathBuf) -> Result<Went> {
        let context = self.stack.context;
        let (url, env_file) = (self.stack.entrance_url()?, self.run.env_file());
        let until = log.with_extension("end");
        let (prefix, limit) = (prefix(case), LOAD_LIMIT_SECONDS.to_string());
        let mut arguments =
            vec!["load", "--secrets", env_file.as_str(), "--log", log.as_str(), "--until", until.as_str()];
        arguments.extend(["--limit-seconds", &limit, "--prefix", &prefix]);
        if case.action == Action::Leave {
            arguments.push("--leave");
        }
        let own_log = beside_log(log);
        let beside: Option<Vec<&str>> = case.beside.as_deref().map(|command| {
            [command, "--log", own_log.as_str(), "--until", until.as_str(), "--limit-seconds", &limit].to_vec()
        });
        let client = |arguments: &[&str]| self.client.run(context, &url, arguments, CLIENT_LIMIT_SECONDS);
        thread::scope(|scope| {
            let load = scope.spawn(|| client(&arguments));
            let beside = beside.as_ref().map(|arguments| scope.spawn(|| client(arguments)));
            let result = self.fault_and_recovery(case, log, &url, &|| load.is_finished());
            // Whatever happened, the load must end.
            std::fs::write(&until, "").with_context(|| format!("write {until}"))?;
            let ended: Vec<_> = [Some(load), beside]
                .into_iter()
                .flatten()
                .map(|client| client.join().unwrap_or_else(|_| bail!("the thread of the load panicked")))
                .collect();
            let _ = std::fs::remove_file(&until);
            ended.into_iter().collect::<Result<Vec<()>>>()?;
            result
        })
    }

    fn fault_and_recovery(&self, case: &Fault, log: &Utf8PathBuf, url: &str, over: &dyn Fn() -> bool) -> Result<Went> {
        if self.wait_until_steady(log, 0, STEADY_LIMIT_SECONDS, over)?.is_none() {
            return Err(Stop::Repository(format!("the load does not work before the fault; see {log}")).into());
        }
        if case.action == Action::SlowClients {
            let slow = slow_log(log);
            self.client.run(self.stack.context, url, &["slow", "--log", slow.as_str()], CLIENT_LIMIT_SECONDS)?;
        }
        let attack = if let Action::Abuse(abuse) = &case.action { Some(self.attack(abuse)?) } else { None };
        inject::inject(self.stack, self.ready, self.images, &case.action)?;
        let since = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
        let recovered_milliseconds = self.wait_until_steady(log, since, RECOVERY_LIMIT_SECONDS, over)?;
        Ok(Went { recovered_milliseconds, attack })
    }

    fn wait_until_steady(
        &self,
        log: &Utf8PathBuf,
        since_unix_ms: u64,
        limit_seconds: u64,
        over: &dyn Fn() -> bool,
    ) -> Result<Option<u64>> {
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(limit_seconds) {
            self.stack.context.runner.interrupt().check()?;
            let records = if log.exists() { read(log)? } else { Vec::new() };
            if let Some(after) = ledger::recovered_after(&records, self.kinds(), since_unix_ms) {
                return Ok(Some(after));
            }
            if over() {
                break;
            }
            thread::sleep(Duration::from_millis(POLL_MILLISECONDS));
        }
        Ok(None)
    }
}

fn prefix(case: &Fault) -> String {
    format!("load-{}", case.name)
}

fn beside_log(log: &Utf8PathBuf) -> Utf8PathBuf {
    log.with_extension("beside.jsonl")
}

fn slow_log(log: &Utf8PathBuf) -> Utf8PathBuf {
    log.with_extension("slow.jsonl")
}

fn read(log: &Utf8PathBuf) -> Result<Vec<Record>> {
    ledger::parse(&std::fs::read_to_string(log).with_context(|| format!("read {log}"))?)
}

/// What must have happened for the case to prove anything.
fn proof(case: &Fault, kinds: &[String], records: &[Record]) -> Vec<Broken> {
    let count = |kind: &str, status: u16| records.iter().filter(|r| r.kind == kind && r.status == status).count();
    let mut missing = Vec::new();
    if case.action == Action::Burst {
        if count("burst", 429) == 0 {
            missing.push("no request of the burst was refused");
        }
        if count("after-burst", 200) != 1 {
            missing.push("the time that Retry-After names was not enough");
        }
    } else if kinds.iter().any(|kind| !records.iter().any(|record| record.kind == *kind)) {
        missing.push("a kind of the load sent nothing");
    }
    if case.action == Action::SlowClients && !records.iter().any(|record| record.kind == "slow") {
        missing.push("no slow client was there");
    }
    missing.into_iter().map(|text| ("nothing-proven", text.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use xtask_workspace::Project;

    fn faults() -> Vec<Fault> {
        Project::load(env!("CARGO_MANIFEST_DIR")).unwrap().stack.faults
    }

    #[test]
    fn an_unknown_fault_is_a_usage_error_that_lists_the_known() {
        let faults = faults();
        let error = select(&faults, "order-kiled").unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(Stop::Usage(text)) if text.contains("order-killed")), "{error}");
        assert_eq!(select(&faults, ALL).unwrap().len(), faults.len());
        assert_eq!(select(&faults, "burst").unwrap().len(), 1);
    }

    #[test]
    fn a_case_in_which_nothing_happened_proves_nothing() {
        let faults = faults();
        for name in ["burst", "slow-clients", "order-killed"] {
            let fault = select(&faults, name).unwrap()[0];
            assert!(!proof(fault, &["list".to_owned()], &[]).is_empty(), "{name}");
        }
    }

    #[test]
    fn every_fault_is_documented() {
        let project = Project::load(env!("CARGO_MANIFEST_DIR")).unwrap();
        let document = std::fs::read_to_string(project.root.join("docs/testing.md")).unwrap();
        for fault in faults() {
            assert!(document.contains(&fault.name), "docs/testing.md does not name {}", fault.name);
        }
    }
}
