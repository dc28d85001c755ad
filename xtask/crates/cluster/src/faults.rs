//! Roll-outs and faults under a load from within the cluster, each held to what clients were promised.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use xtask_outcome::{Finding, Outcome, Place, Stop};
use xtask_process::Background;
use xtask_stack::ledger::{self, Broken, Record};
use xtask_stack::rotation;
use xtask_workspace::{ClusterAction, ClusterFault, Load};

use crate::bench::{Bench, parent, rerun};
use crate::client_pod::ClientPod;
use crate::secrets::{Names, apply_text, changed, taken};
use crate::wait::{Snapshot, pause, until_ready};
use crate::workload::text;

const STEADY_LIMIT_SECONDS: u64 = 90;
const RECOVERY_LIMIT_SECONDS: u64 = 60;
const READY_LIMIT_SECONDS: u64 = 240;
/// The load ends by itself should nobody end it; then open orders are still tried.
const LOAD_LIMIT_SECONDS: &str = "600";
const CLIENT_LIMIT_SECONDS: u64 = 120;
const ROLL_OUT_TIMEOUT: &str = "--timeout=240s";
const ROLL_OUT_LIMIT_SECONDS: u64 = 260;
const DELETE_LIMIT_SECONDS: u64 = 120;
const LOG_LIMIT_SECONDS: u64 = 20;
/// Enough to see whether everything works again.
const TAIL_LINES: &str = "400";

/// Does them in turn.
///
/// # Errors
/// When the load does not work or the cluster refuses; a broken promise is a finding.
pub(crate) fn run(bench: &Bench<'_>, pod: &ClientPod, secrets: &Names, outcome: &mut Outcome) -> Result<()> {
    if bench.context.project.stack.cluster.faults.is_empty() {
        outcome.unchecked("what a cluster does under load", "policy/stack.toml has no [[cluster.fault]]");
        return Ok(());
    }
    let hands = Hands { bench, pod, secrets, load: bench.context.project.stack.load()? };
    let (mut done, mut requests, mut last) = (Vec::new(), 0, None);
    for fault in &bench.context.project.stack.cluster.faults {
        bench.context.runner.progress().now(&format!("fault {}: {}", fault.name, fault.promise));
        let ended = hands.case(fault).with_context(|| format!("fault {}", fault.name))?;
        bench.context.runner.progress().say(&format!("fault {}: {}", fault.name, ended.line()));
        requests += ended.requests;
        done.push(ended.evidence(fault));
        outcome.findings.extend(ended.broken.iter().map(|broken| finding(bench, fault, broken)));
        if ended.writes > 1 {
            last = Some(fault);
        }
    }
    if let Some(fault) = last {
        let missed = hands.control(fault).context("the negative control")?;
        outcome.findings.extend(missed.iter().map(|broken| finding(bench, fault, broken)));
        outcome.checked("planted faults that the check has to find", 2);
    }
    outcome.checked("faults", done.len());
    outcome.checked("requests under fault", requests);
    outcome.evidence("faults", done);
    Ok(())
}

fn finding(bench: &Bench<'_>, fault: &ClusterFault, (rule, message): &Broken) -> Finding {
    Finding {
        rule,
        place: Place::new(format!("cluster fault {}", fault.name)),
        message: message.clone(),
        next_step: format!("read {}, then {}", log_file(bench, fault), rerun(bench)),
    }
}

/// Where the client's log stays, relative to the root.
fn log_file(bench: &Bench<'_>, fault: &ClusterFault) -> String {
    let file = parent(bench.context).join(format!("{}.{}.jsonl", bench.run, fault.name));
    file.strip_prefix(&bench.context.project.root).unwrap_or(&file).to_string()
}

/// How a case ended.
struct Ended {
    requests: usize,
    failed: usize,
    writes: usize,
    recovered_milliseconds: Option<u64>,
    figures: Vec<Value>,
    broken: Vec<Broken>,
}

impl Ended {
    fn line(&self) -> String {
        let recovered = self.recovered_milliseconds.map(|ms| format!(", recovered after {ms} ms")).unwrap_or_default();
        let Self { requests, failed, writes, .. } = self;
        format!(
            "{requests} requests, {failed} failed, {writes} writes{recovered}, {} broken promises",
            self.broken.len()
        )
    }

    fn evidence(&self, fault: &ClusterFault) -> Value {
        json!({
            "fault": fault.name, "promise": fault.promise, "requests": self.requests, "failed": self.failed, "writes": self.writes,
            "recovered_after_ms": self.recovered_milliseconds, "figures": self.figures,
        })
    }
}

struct Hands<'a> {
    bench: &'a Bench<'a>,
    pod: &'a ClientPod,
    secrets: &'a Names,
    load: &'a Load,
}

impl Hands<'_> {
    fn kinds(&self) -> &[String] {
        &self.load.kinds
    }

    fn case(&self, fault: &ClusterFault) -> Result<Ended> {
        let [log, beside_log, until] =
            ["jsonl", "beside.jsonl", "end"].map(|end| ClientPod::file(&format!("{}.{end}", fault.name)));
        let (env, prefix) = (ClientPod::file("env"), prefix(fault));
        let limit = ["--until", &until, "--limit-seconds", LOAD_LIMIT_SECONDS];
        let load = [&["load", "--secrets", &env, "--log", &log, "--prefix", &prefix][..], &limit].concat();
        let load = self.pod.start_client(&load)?;
        let beside = match &fault.beside {
            Some(command) => {
                Some(self.pod.start_client(&[&[command.as_str(), "--log", beside_log.as_str()][..], &limit].concat())?)
            }
            None => None,
        };
        let mut figures = Vec::new();
        let driven = self.fault_and_recovery(fault, &log, &load, &mut figures);
        // Whatever happened, the load must end, and open orders get their answer.
        self.pod.read("touch \"$1\"", &[&until])?;
        let recovered = driven?;
        for client in [Some(load), beside].into_iter().flatten() {
            let ended = client.finish(CLIENT_LIMIT_SECONDS)?;
            if !ended.status.success() {
                return Err(Stop::Repository(format!("the client failed: {}", ended.tail())).into());
            }
        }
        let text = self.pod.read("cat \"$1\"", &[&log])?;
        std::fs::write(self.bench.context.project.root.join(log_file(self.bench, fault)), &text)
            .context("keep the client's log")?;
        let (records, writes) = (ledger::parse(&text)?, self.writes(fault)?);
        let mut broken = ledger::judge(&fault.allowed, &records, &writes);
        if let Some(command) = &fault.beside {
            broken.extend(ledger::lost(command, &ledger::parse(&self.pod.read("cat \"$1\"", &[&beside_log])?)?));
        }
        broken.extend(recovered.1);
        if recovered.0.is_none() {
            broken.push((
                "slow-recovery",
                format!("not everything works again {RECOVERY_LIMIT_SECONDS} s after the fault"),
            ));
        }
        let failed = records.iter().filter(|record| !record.succeeded()).count();
        let (requests, writes) = (records.len(), writes.len());
        Ok(Ended { requests, failed, writes, recovered_milliseconds: recovered.0, figures, broken })
    }

    /// Does the fault once the load works, and waits until it works again. Gives after how many milliseconds that was, and the
    /// promises that the hands themselves saw broken.
    fn fault_and_recovery(
        &self,
        fault: &ClusterFault,
        log: &str,
        load: &Background,
        figures: &mut Vec<Value>,
    ) -> Result<(Option<u64>, Vec<Broken>)> {
        if self.until_steady(log, 0, STEADY_LIMIT_SECONDS, load)?.is_none() {
            return Err(Stop::Repository("the load does not work before the fault".to_owned()).into());
        }
        let broken = self.inject(&fault.action, figures)?;
        let since = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
        Ok((self.until_steady(log, since, RECOVERY_LIMIT_SECONDS, load)?, broken))
    }

    fn until_steady(&self, log: &str, since: u64, limit_seconds: u64, load: &Background) -> Result<Option<u64>> {
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(limit_seconds) && !load.has_ended() {
            // The first line of a tail is whole: it begins after a line feed.
            let text = self.pod.read("test ! -e \"$1\" || tail --lines \"$2\" \"$1\"", &[log, TAIL_LINES])?;
            if let Some(after) = ledger::recovered_after(&ledger::parse(&text)?, self.kinds(), since) {
                return Ok(Some(after));
            }
            pause(self.bench)?;
        }
        Ok(None)
    }

    fn inject(&self, action: &ClusterAction, figures: &mut Vec<Value>) -> Result<Vec<Broken>> {
        let services = &self.load.rolling_restart;
        match action {
            ClusterAction::RollOut => services.iter().try_for_each(|name| self.roll_out(name))?,
            ClusterAction::KillPod(service) => self.kill_pod(service)?,
            ClusterAction::DeleteDatabases => return self.delete_databases(figures),
            ClusterAction::Scale(replicas) => self.scale(services, *replicas)?,
            ClusterAction::RotateKeys => self.rotate_keys()?,
        }
        Ok(Vec::new())
    }

    fn roll_out(&self, name: &str) -> Result<()> {
        let target = format!("deployment/{name}");
        let kubectl = &self.bench.kubectl;
        kubectl.read(&["rollout", "restart", &target])?;
        kubectl.read_within(&["rollout", "status", &target, ROLL_OUT_TIMEOUT], ROLL_OUT_LIMIT_SECONDS).map(drop)
    }

    fn kill_pod(&self, service: &str) -> Result<()> {
        let snapshot = Snapshot::take(self.bench)?;
        let workload = snapshot.workload("Deployment", service).with_context(|| format!("no Deployment {service}"))?;
        let pod = snapshot.pods_of(workload).next().with_context(|| format!("{service} has no pod"))?;
        let name = text(&pod["metadata"]["name"]);
        self.bench
            .kubectl
            .read_within(&["delete", "pod", name, "--grace-period=0", "--force"], DELETE_LIMIT_SECONDS)?;
        until_ready(self.bench, READY_LIMIT_SECONDS).map(drop)
    }

    fn delete_databases(&self, figures: &mut Vec<Value>) -> Result<Vec<Broken>> {
        let policy = &self.bench.context.project.stack;
        let snapshot = Snapshot::take(self.bench)?;
        let mut broken = Vec::new();
        for set in snapshot.of_kind("StatefulSet") {
            let Some(neighbour) = policy.neighbour_of(text(&set["metadata"]["name"])) else { continue };
            let pod = snapshot.pods_of(set).next().context("a database without a pod")?;
            let name = text(&pod["metadata"]["name"]);
            let container = text(&set["spec"]["template"]["spec"]["containers"][0]["name"]);
            let kubectl = &self.bench.kubectl;
            // Begun before: the log goes with the pod.
            let log = kubectl.start(&["logs", name, "--container", container, "--follow", "--tail", "1"])?;
            let started = Instant::now();
            kubectl.read_within(&["delete", "pod", name, "--wait=true"], DELETE_LIMIT_SECONDS)?;
            let seconds = started.elapsed().as_secs_f64();
            let log = log.finish(LOG_LIMIT_SECONDS).map(|ended| ended.stdout).unwrap_or_default();
            self.bench.context.runner.progress().say(&format!("{name} was gone after {seconds:.1} s"));
            let is_clean = neighbour.clean_end.as_ref().is_none_or(|end| log.contains(end));
            figures
                .push(json!({ "pod": name, "gone_after_seconds": (seconds * 10.0).round() / 10.0, "clean": is_clean }));
            let limit = neighbour.end_limit_seconds;
            if seconds > limit as f64 {
                broken.push(("slow-end", format!("{name} took {seconds:.1} s to end, more than {limit}")));
            }
            if let Some(end) = neighbour.clean_end.as_ref().filter(|_| !is_clean) {
                broken.push(("unclean-end", format!("the log of {name} does not end with `{end}`")));
            }
            until_ready(self.bench, READY_LIMIT_SECONDS)?;
        }
        if figures.is_empty() {
            broken.push(("nothing-proven", "no database was deleted".to_owned()));
        }
        Ok(broken)
    }

    fn scale(&self, services: &[String], replicas: u32) -> Result<()> {
        let snapshot = Snapshot::take(self.bench)?;
        let before = |name: &String| {
            let workload = snapshot.workload("Deployment", name);
            workload.map(|one| one["spec"]["replicas"].as_u64().unwrap_or(1).to_string())
        };
        let wanted = replicas.to_string();
        for counts in
            [services.iter().map(|_| Some(wanted.clone())).collect::<Vec<_>>(), services.iter().map(before).collect()]
        {
            for (name, count) in services.iter().zip(counts) {
                let (target, count) =
                    (format!("deployment/{name}"), count.with_context(|| format!("no Deployment {name}"))?);
                self.bench.kubectl.read(&["scale", &target, &format!("--replicas={count}")])?;
            }
            until_ready(self.bench, READY_LIMIT_SECONDS)?;
        }
        Ok(())
    }

    /// As docs/deployment.md says: those who verify learn the new key beside the old one, then the new one signs. Only what takes
    /// a Secret that changed is rolled out.
    fn rotate_keys(&self) -> Result<()> {
        let bench = self.bench;
        let file = bench.env_file();
        let mut before = std::fs::read_to_string(&file).with_context(|| format!("read {file}"))?;
        for step in rotation(bench.context, bench.ready, bench.built, &file)? {
            apply_text(&bench.kubectl, self.secrets, &step)?;
            let changed = changed(self.secrets, &before, &step);
            let snapshot = Snapshot::take(bench)?;
            for workload in snapshot.of_kind("Deployment").filter(|one| !taken(one).is_disjoint(&changed)) {
                self.roll_out(text(&workload["metadata"]["name"]))?;
            }
            std::fs::write(&file, &step).with_context(|| format!("write {file}"))?;
            before = step;
        }
        Ok(())
    }

    /// The writes of a case, straight from the database: idempotency key and id.
    fn writes(&self, fault: &ClusterFault) -> Result<Vec<(String, String)>> {
        let rows = self.sql(&self.load.ledger.rows.replace("{prefix}", &prefix(fault)))?;
        let rows = rows.lines().map(|row| row.split_once('|').map(|(key, id)| (key.to_owned(), id.to_owned())));
        rows.map(|row| row.context("the ledger has a row that has no key and id")).collect()
    }

    fn sql(&self, query: &str) -> Result<String> {
        let service = &self.load.ledger.service;
        let snapshot = Snapshot::take(self.bench)?;
        let set = snapshot.workload("StatefulSet", service).with_context(|| format!("no StatefulSet {service}"))?;
        let pod = snapshot.pods_of(set).next().with_context(|| format!("{service} has no pod"))?;
        let (name, container) =
            (text(&pod["metadata"]["name"]), text(&set["spec"]["template"]["spec"]["containers"][0]["name"]));
        let words = self.load.ledger.words(&self.bench.context.project.stack, query)?;
        let words = words.iter().map(String::as_str);
        let call: Vec<_> = ["exec", name, "--container", container, "--"].into_iter().chain(words).collect();
        Ok(self.bench.kubectl.read(&call)?.trim_end().to_owned())
    }

    /// A write that is deleted and one that is doubled behind everybody's back must both be found, or a run without findings
    /// would mean nothing.
    fn control(&self, fault: &ClusterFault) -> Result<Vec<Broken>> {
        let text = std::fs::read_to_string(self.bench.context.project.root.join(log_file(self.bench, fault)))
            .context("read the client's log")?;
        let (records, writes): (Vec<Record>, _) = (ledger::parse(&text)?, self.writes(fault)?);
        let [(lost, _), (doubled, _), ..] = writes.as_slice() else { bail!("the control needs two writes") };
        for (statements, key) in [(&self.load.ledger.lose, lost), (&self.load.ledger.double, doubled)] {
            for statement in statements {
                self.sql(&statement.replace("{key}", key))?;
            }
        }
        let found = ledger::judge(&fault.allowed, &records, &self.writes(fault)?);
        let rules: Vec<_> = found.iter().map(|(rule, _)| *rule).collect();
        let missed = ["write-lost", "write-twice"].into_iter().filter(|rule| !rules.contains(rule));
        Ok(missed.map(|rule| ("control-failed", format!("the check did not notice a planted {rule}"))).collect())
    }
}

fn prefix(fault: &ClusterFault) -> String {
    format!("load-{}", fault.name)
}
