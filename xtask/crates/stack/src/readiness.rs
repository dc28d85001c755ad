//! Is the stack up? Judged from what the engine says of each container, never from Compose's exit status: that is 0 for a
//! container that restarts for ever.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::Stack;
use crate::prober::Prober;
use xtask_outcome::Stop;

const POLL_MILLISECONDS: u64 = 100;

/// What `docker inspect` says of one container, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ContainerState {
    pub(crate) id: String,
    /// The Compose service.
    pub(crate) service: String,
    /// The id of the image it runs.
    pub(crate) image: String,
    /// The folder of the Compose file that it was started from.
    pub(crate) folder: String,
    /// `created`, `running`, `restarting`, `exited`, …
    pub(crate) status: String,
    pub(crate) exit_code: i64,
    /// How often the engine started it again since the stack was brought up; its own count never goes back.
    pub(crate) restarts: i64,
    /// Its first process, as the engine's machine numbers it.
    pub(crate) pid: i64,
    pub(crate) out_of_memory: bool,
    /// `starting`, `healthy`, `unhealthy`; empty without a healthcheck.
    pub(crate) health: String,
    /// What the last health probe printed.
    pub(crate) health_output: String,
    /// The argv of the healthcheck, in exec form.
    pub(crate) healthcheck: Vec<String>,
    /// How long after its start the healthcheck lets it be unhealthy: the start period, then every retry.
    pub(crate) ready_within: Option<Duration>,
    /// What its program ends with when it refuses its environment.
    pub(crate) bad_environment: i64,
    /// It does its work and ends: no healthcheck, and a restart policy that leaves a success alone.
    pub(crate) one_shot: bool,
}

/// The engine's own defaults for what a healthcheck does not say.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
const DEFAULT_RETRIES: u32 = 3;

fn ready_within(healthcheck: &Value) -> Option<Duration> {
    healthcheck.get("Test")?;
    let set = |name: &str| healthcheck.get(name).and_then(Value::as_u64).filter(|value| *value > 0);
    let duration = |name: &str| set(name).map(Duration::from_nanos);
    let retries = set("Retries").and_then(|retries| u32::try_from(retries).ok()).unwrap_or(DEFAULT_RETRIES);
    let round =
        duration("Interval").unwrap_or(DEFAULT_INTERVAL).saturating_add(duration("Timeout").unwrap_or(DEFAULT_TIMEOUT));
    Some(duration("StartPeriod").unwrap_or_default().saturating_add(round.saturating_mul(retries)))
}

/// Reads the array that `docker inspect` prints.
pub(crate) fn parse_inspect(text: &str) -> Result<Vec<Value>> {
    serde_json::from_str(text).context("read what docker inspect printed")
}

/// What matters here of one of its items.
pub(crate) fn container_state(container: &Value, bad_environment: i64) -> ContainerState {
    let text = |pointer: &str| container.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let number = |pointer: &str| container.pointer(pointer).and_then(Value::as_i64).unwrap_or_default();
    let probes = container.pointer("/State/Health/Log").and_then(Value::as_array);
    let last_probe = probes.and_then(|log| log.last()).and_then(|probe| probe["Output"].as_str()).unwrap_or_default();
    let test = container.pointer("/Config/Healthcheck/Test").and_then(Value::as_array);
    let ready_within = container.pointer("/Config/Healthcheck").and_then(ready_within);
    let restart_policy = text("/HostConfig/RestartPolicy/Name");
    ContainerState {
        id: text("/Id"),
        service: text("/Config/Labels/com.docker.compose.service"),
        image: text("/Image"),
        folder: text("/Config/Labels/com.docker.compose.project.working_dir"),
        status: text("/State/Status"),
        exit_code: number("/State/ExitCode"),
        restarts: number("/RestartCount"),
        pid: number("/State/Pid"),
        out_of_memory: container.pointer("/State/OOMKilled").and_then(Value::as_bool).unwrap_or_default(),
        health: text("/State/Health/Status"),
        health_output: last_probe.trim().to_owned(),
        healthcheck: match test.map(Vec::as_slice) {
            Some([Value::String(form), argv @ ..]) if form == "CMD" => {
                argv.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect()
            }
            _ => Vec::new(),
        },
        ready_within,
        bad_environment,
        one_shot: ready_within.is_none() && matches!(restart_policy.as_str(), "" | "no" | "on-failure"),
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// This container can only fail from here; why, in one line.
    Failed(String),
    /// Not there yet; what it is doing.
    Waiting(String),
    /// Up, as far as the engine knows; its own probe has the last word.
    Running,
    /// It runs and did not pass the engine's last rounds of its healthcheck; it may have healed since.
    Unhealthy(String),
    /// A one-shot that has done its work.
    Done,
}

/// Judges one container.
pub(crate) fn judge(container: &ContainerState) -> Verdict {
    let name = &container.service;
    let memory = if container.out_of_memory { ", out of memory" } else { "" };
    if container.restarts > 0 {
        let count = container.restarts;
        // While it runs again, the engine's exit code is 0 whatever the last one was.
        let last = match container.exit_code {
            0 => String::new(),
            _ => format!(", last {}", exit_code(container)),
        };
        return Verdict::Failed(format!("{name} crashes and restarts ({count} restarts{last}{memory})"));
    }
    match container.status.as_str() {
        "exited" if container.one_shot && container.exit_code == 0 => Verdict::Done,
        "running" if container.one_shot => Verdict::Waiting(format!("{name} has not ended yet")),
        "exited" | "dead" => Verdict::Failed(format!("{name} ended with {}{memory}", exit_code(container))),
        "running" if container.health == "unhealthy" => {
            Verdict::Unhealthy(format!("{name} is unhealthy: {}", container.health_output))
        }
        "running" => Verdict::Running,
        other => Verdict::Waiting(format!("{name} is {other}")),
    }
}

/// An exit code, with its meaning where it has one that helps.
fn exit_code(container: &ContainerState) -> String {
    let code = container.exit_code;
    let meaning = match code {
        0 => "",
        refused if refused == container.bad_environment => {
            ": its configuration is refused, and its log names each variable"
        }
        126 | 127 => ": its program cannot be run",
        137 => ": killed",
        _ => "",
    };
    format!("exit code {code}{meaning}")
}

/// Why a container that has run for so long without passing its healthcheck is not waited for any more.
fn overdue(container: &ContainerState, running: Duration) -> Option<String> {
    let limit = container.ready_within.filter(|limit| running > *limit)?;
    Some(format!(
        "{} did not pass its healthcheck within {:.0} s of its start, which is all that the healthcheck allows",
        container.service,
        limit.as_secs_f64()
    ))
}

/// Waits until every service runs and passes its own healthcheck, and every one-shot has ended with 0.
///
/// A service has the time that its healthcheck allows, from its start on; all of them together have `limit_seconds`.
/// Gives the seconds from the call to the first passed probe, per service.
///
/// # Errors
/// [`Stop::Repository`] as soon as a service can only fail; [`Stop::TimedOut`] names what was waited for.
pub(crate) fn wait_until_ready(stack: &Stack<'_>, limit_seconds: u64) -> Result<Vec<(String, f64)>> {
    let started = Instant::now();
    let mut running_since: BTreeMap<String, Instant> = BTreeMap::new();
    let mut ready: Vec<(String, f64)> = Vec::new();
    loop {
        stack.context.runner.interrupt().check()?;
        let containers = stack.state()?;
        let (mut waiting, mut failed, mut late) = (Vec::new(), Vec::new(), Vec::new());
        let mut starting = Vec::new();
        let mut probed = probe_side_by_side(stack.prober(), &containers, &ready, started);
        for container in &containers {
            let passed = probed.remove(&container.service).transpose()?.flatten();
            ready.extend(passed.map(|seconds| (container.service.clone(), seconds)));
            let is_ready = ready.iter().any(|(service, _)| *service == container.service);
            match judge(container) {
                Verdict::Failed(why) => failed.push(why),
                Verdict::Waiting(what) => waiting.push(what),
                Verdict::Done => {}
                Verdict::Running | Verdict::Unhealthy(_) if is_ready => {}
                Verdict::Unhealthy(why) => failed.push(why),
                Verdict::Running => {
                    let since = *running_since.entry(container.service.clone()).or_insert_with(Instant::now);
                    waiting.push(format!("{} does not pass its healthcheck yet", container.service));
                    starting.push(container.service.as_str());
                    late.extend(overdue(container, since.elapsed()));
                }
            }
        }
        if !failed.is_empty() {
            return Err(Stop::Repository(failed.join("; ")).into());
        }
        if !late.is_empty() {
            return Err(Stop::TimedOut(late.join("; ")).into());
        }
        if waiting.is_empty() && !containers.is_empty() {
            return Ok(ready);
        }
        stack.context.runner.progress().now(&waits(&starting, &waiting));
        if started.elapsed() > Duration::from_secs(limit_seconds) {
            let text = format!("the stack was not ready after {limit_seconds} s: {}", waiting.join("; "));
            return Err(Stop::TimedOut(text).into());
        }
        thread::sleep(Duration::from_millis(POLL_MILLISECONDS));
    }
}

/// What is waited for: the healthchecks of services, or everything with its reason where those differ.
fn waits(starting: &[&str], waiting: &[String]) -> String {
    match starting {
        [] if waiting.is_empty() => "waiting for the containers".to_owned(),
        [one] if waiting.len() == 1 => format!("waiting for the healthcheck of {one}"),
        all if waiting.len() == all.len() => format!("waiting for the healthchecks of {}", all.join(", ")),
        _ => format!("waiting: {}", waiting.join("; ")),
    }
}

/// Probes every container that runs and is not ready yet, by service: when it passed, if it did.
fn probe_side_by_side(
    prober: Prober<'_>,
    containers: &[ContainerState],
    ready: &[(String, f64)],
    started: Instant,
) -> BTreeMap<String, Result<Option<f64>>> {
    let is_open = |container: &&ContainerState| {
        let is_ready = ready.iter().any(|(service, _)| *service == container.service);
        !is_ready && matches!(judge(container), Verdict::Running | Verdict::Unhealthy(_))
    };
    thread::scope(|scope| {
        let probe = |one: &ContainerState| {
            let (id, healthcheck) = (one.id.clone(), one.healthcheck.clone());
            move || Ok(prober.passes(&id, &healthcheck)?.then(|| started.elapsed().as_secs_f64()))
        };
        let threads: Vec<_> =
            containers.iter().filter(is_open).map(|one| (one.service.clone(), scope.spawn(probe(one)))).collect();
        let ended =
            |thread: thread::ScopedJoinHandle<'_, _>| thread.join().unwrap_or_else(|_| bail!("a probe panicked"));
        threads.into_iter().map(|(service, thread)| (service, ended(thread))).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running() -> ContainerState {
        ContainerState {
            service: "user".into(),
            status: "running".into(),
            health: "starting".into(),
            ..Default::default()
        }
    }

    #[test]
    fn a_wait_names_its_reason_once_where_it_is_the_same() {
        let waiting = |names: &[&str]| -> Vec<_> {
            names.iter().map(|name| format!("{name} does not pass its healthcheck yet")).collect()
        };
        assert_eq!(waits(&["user"], &waiting(&["user"])), "waiting for the healthcheck of user");
        let both = ["product", "user"];
        assert_eq!(waits(&both, &waiting(&both)), "waiting for the healthchecks of product, user");
        let mixed = ["order-db is created".to_owned(), "user does not pass its healthcheck yet".to_owned()];
        assert_eq!(waits(&["user"], &mixed), "waiting: order-db is created; user does not pass its healthcheck yet");
        assert_eq!(waits(&[], &[]), "waiting for the containers");
    }

    #[test]
    fn a_crash_loop_is_a_failure_even_while_it_runs() {
        let looping = ContainerState { restarts: 2, exit_code: 78, bad_environment: 78, ..running() };
        assert_eq!(
            judge(&looping),
            Verdict::Failed("user crashes and restarts (2 restarts, last exit code 78: its configuration is refused, and its log names each variable)".into())
        );
        let up_again = ContainerState { restarts: 3, exit_code: 0, ..running() };
        assert_eq!(judge(&up_again), Verdict::Failed("user crashes and restarts (3 restarts)".into()));
    }

    #[test]
    fn every_state_has_its_verdict() {
        assert_eq!(judge(&running()), Verdict::Running);
        let exited = ContainerState { status: "exited".into(), exit_code: 137, out_of_memory: true, ..running() };
        assert_eq!(judge(&exited), Verdict::Failed("user ended with exit code 137: killed, out of memory".into()));
        let sick =
            ContainerState { health: "unhealthy".into(), health_output: "connection refused".into(), ..running() };
        assert_eq!(judge(&sick), Verdict::Unhealthy("user is unhealthy: connection refused".into()));
        let created = ContainerState { status: "created".into(), ..running() };
        assert_eq!(judge(&created), Verdict::Waiting("user is created".into()));
    }

    #[test]
    fn a_one_shot_is_judged_by_its_exit() {
        let one_shot = ContainerState { one_shot: true, health: String::new(), ..running() };
        assert_eq!(judge(&one_shot), Verdict::Waiting("user has not ended yet".into()));
        let ended = |exit_code| ContainerState { status: "exited".into(), exit_code, ..one_shot.clone() };
        assert_eq!(judge(&ended(0)), Verdict::Done);
        assert_eq!(judge(&ended(1)), Verdict::Failed("user ended with exit code 1".into()));
        // A service that ends, even well, is not up.
        let service = ContainerState { one_shot: false, ..ended(0) };
        assert_eq!(judge(&service), Verdict::Failed("user ended with exit code 0".into()));
    }

    #[test]
    fn a_service_has_the_time_that_its_healthcheck_allows() {
        let of = |container: &str| container_state(&serde_json::from_str(container).unwrap(), 78);
        let patient = of(r#"{"Config":{"Healthcheck":{"Test":["CMD","x"],"StartPeriod":30000000000,
            "Interval":5000000000,"Timeout":3000000000,"Retries":5}},"HostConfig":{"RestartPolicy":{"Name":"no"}}}"#);
        assert_eq!((patient.ready_within, patient.one_shot), (Some(Duration::from_secs(70)), false));
        assert_eq!(overdue(&patient, Duration::from_secs(70)), None);
        assert!(overdue(&patient, Duration::from_secs(71)).unwrap().contains("within 70 s of its start"));
        let silent = of(r#"{"Config":{"Healthcheck":{"Test":["CMD","x"],"Interval":0}}}"#);
        assert_eq!(silent.ready_within, Some(Duration::from_secs(180)), "the engine's defaults");
        let without = of(r#"{"Config":{"Healthcheck":null},"HostConfig":{"RestartPolicy":{"Name":"on-failure"}}}"#);
        assert_eq!((without.ready_within, without.one_shot), (None, true));
        assert_eq!(overdue(&without, Duration::MAX), None);
        let restarted = of(r#"{"Config":{},"HostConfig":{"RestartPolicy":{"Name":"unless-stopped"}}}"#);
        assert!(!restarted.one_shot);
    }

    #[test]
    fn inspect_gives_states_and_the_exec_form_of_the_healthcheck() {
        let text = r#"[{"Id":"c1","Image":"sha256:i","RestartCount":1,
            "State":{"Status":"running","ExitCode":0,"OOMKilled":false,"Health":{"Status":"unhealthy","Log":[{"ExitCode":-1,"Output":"no such file\n"}]}},
            "Config":{"Labels":{"com.docker.compose.service":"user"},"Healthcheck":{"Test":["CMD","/mini-user","healthcheck"]}}},
            {"Id":"c2","State":{"Status":"exited"},"Config":{"Labels":null,"Healthcheck":{"Test":["CMD-SHELL","true"]}}}]"#;
        let states: Vec<_> = parse_inspect(text).unwrap().iter().map(|one| container_state(one, 78)).collect();
        assert_eq!(states[0].healthcheck, ["/mini-user", "healthcheck"]);
        assert_eq!((states[0].health_output.as_str(), states[0].restarts), ("no such file", 1));
        assert_eq!((states[1].service.as_str(), states[1].healthcheck.len()), ("", 0));
        assert!(parse_inspect("").is_err());
    }
}
