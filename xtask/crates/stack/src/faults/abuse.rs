//! Clients that want to keep everybody else out, from addresses of their own, and what everybody else notices of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use xshell::{Shell, cmd};
use xtask_engine::OneShot;
use xtask_process::Background;
use xtask_workspace::{Abuse, Action, Fault};

use super::ledger::{self, Broken, Record, Span};
use super::{Bench, CLIENT_LIMIT_SECONDS, LOAD_LIMIT_SECONDS, beside_log, inject, read};

/// What is judged by itself: before the attack, and again and again while it lasts.
const ROUND_SECONDS: u64 = 10;
/// All abusers are at work after this time.
const START_LIMIT_SECONDS: u64 = 10;
const END_LIMIT_SECONDS: u64 = 30;
const ENGINE_LIMIT_SECONDS: u64 = 60;
/// As a platform does. Each costs a start of the program by the engine, which others notice too.
const PROBE_EVERY: Duration = Duration::from_secs(3);
/// Where the client stands in its container, and a file that nobody makes there: the time alone ends it.
const CLIENT: &str = "/client";
const NEVER: &str = "/never";

/// An attack that is over.
pub(super) struct Attack {
    quiet: Span,
    rounds: Vec<Span>,
    probes: Probes,
    /// What each abuser says of its connections.
    abusers: Vec<Value>,
    /// All of them were there until the end.
    is_whole: bool,
    /// The entrance was started again meanwhile.
    has_restarted: bool,
}

/// How often the entrance was asked for its health, by its own healthcheck.
#[derive(Debug, Default)]
pub(super) struct Probes {
    tried: usize,
    failed: usize,
}

impl Attack {
    /// What was promised and not kept.
    pub(super) fn broken(&self, abuse: &Abuse, watched: &[Record]) -> Vec<Broken> {
        let mut broken: Vec<_> =
            self.noticed(watched).iter().filter_map(|one| one.broken(abuse.p99_below_ms)).collect();
        if self.probes.failed > 0 {
            let Probes { tried, failed } = self.probes;
            broken.push(("probe-failed", format!("{failed} of {tried} probes of the entrance failed")));
        }
        if self.has_restarted {
            broken.push(("probe-failed", "the entrance was started again".to_owned()));
        }
        if !self.is_whole || self.probes.tried == 0 {
            broken.push(("nothing-proven", "an abuser left before the end, or nobody probed".to_owned()));
        }
        // One that was never turned away and never got stuck did no harm.
        let is_harmless = |one: &&Value| {
            [&one["ended"], &one["most_stuck"]].iter().all(|count| count.as_u64().is_none_or(|n| n == 0))
        };
        if let Some(one) = self.abusers.iter().find(is_harmless) {
            broken.push(("nothing-proven", format!("an abuser met no limit: {one}")));
        }
        broken
    }

    /// Why nothing can be said, where the machine alone is slower than the promise.
    pub(super) fn unjudged(&self, abuse: &Abuse, watched: &[Record]) -> Option<String> {
        let busy = self.noticed(watched).into_iter().find(|one| one.is_busy(abuse.p99_below_ms))?;
        Some(format!("{}, and the promise is less than {} ms: the machine is busy", busy.text(), abuse.p99_below_ms))
    }

    fn noticed(&self, watched: &[Record]) -> Vec<ledger::Noticed> {
        ledger::noticed(watched, Some(self.quiet), &self.rounds)
    }

    pub(super) fn evidence(&self, watched: &[Record]) -> Value {
        let p99s = self
            .noticed(watched)
            .into_iter()
            .map(|one| json!({ "kind": one.kind, "p99_ms_before": one.before_ms, "p99_ms_by_round": one.rounds_ms }));
        json!({
            "noticed": p99s.collect::<Vec<_>>(), "probes": self.probes.tried, "probes_failed": self.probes.failed,
            "abusers": self.abusers,
        })
    }

    pub(super) fn line(&self, watched: &[Record]) -> String {
        let noticed: Vec<_> = self.noticed(watched).iter().map(ledger::Noticed::text).collect();
        format!("{}; {} probes, {} failed", noticed.join("; "), self.probes.tried, self.probes.failed)
    }
}

impl Bench<'_> {
    /// Measures without the abusers, then with them.
    pub(super) fn attack(&self, abuse: &Abuse) -> Result<Attack> {
        let progress = self.stack.context.runner.progress();
        let entrance = &self.stack.context.project.stack.entrance.service;
        let before = self.stack.container(entrance)?.restarts;
        progress.now("measures without the abusers");
        // Probed as later, for the probes are noticed as well.
        let (quiet, _) = self.probed(|| self.round())?;
        let abusers = (0..abuse.clients).map(|_| Abuser::create(self, abuse)).collect::<Result<Vec<_>>>()?;
        let mut running = abusers.iter().map(|abuser| abuser.start(self)).collect::<Result<Vec<_>>>()?;
        for abuser in &mut running {
            abuser.wait_for_line(|line| line.contains("\"holding\"").then_some(()), START_LIMIT_SECONDS)?;
        }
        progress.now(&format!("measures beside {} abusers", abusers.len()));
        let rounds = abuse.seconds.div_ceil(ROUND_SECONDS);
        let (rounds, probes) = self.probed(|| (0..rounds).map(|_| self.round()).collect::<Result<Vec<_>>>())?;
        let is_whole = running.iter().all(|abuser| !abuser.has_ended());
        let abusers = running.into_iter().map(last_words).collect::<Result<Vec<_>>>()?;
        let has_restarted = self.stack.container(entrance)?.restarts != before;
        Ok(Attack { quiet, rounds, probes, abusers, is_whole, has_restarted })
    }

    fn round(&self) -> Result<Span> {
        let since = unix_milliseconds()?;
        self.stack.context.runner.interrupt().sleep(Duration::from_secs(ROUND_SECONDS))?;
        Ok((since, unix_milliseconds()?))
    }

    /// Asks the entrance for its health until the work is done.
    fn probed<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<(T, Probes)> {
        let entrance = self.stack.container(&self.stack.context.project.stack.entrance.service)?;
        let (prober, stop) = (self.stack.prober(), AtomicBool::new(false));
        thread::scope(|scope| {
            let probing = scope.spawn(|| -> Result<Probes> {
                let mut probes = Probes::default();
                while !stop.load(Ordering::Relaxed) {
                    let passes = prober.passes(&entrance.id, &entrance.healthcheck)?;
                    probes.tried += 1;
                    probes.failed += usize::from(!passes);
                    prober.runner.interrupt().sleep(PROBE_EVERY)?;
                }
                Ok(probes)
            });
            let result = work();
            // Whatever happened, the probing must end.
            stop.store(true, Ordering::Relaxed);
            let probes = probing.join().unwrap_or_else(|_| bail!("the thread that probes panicked"));
            Ok((result?, probes?))
        })
    }

    /// The entrance stands still again and again: gives when, and whether a probe passed meanwhile.
    fn hold_up(&self) -> Result<(Span, bool)> {
        let entrance = self.stack.container(&self.stack.context.project.stack.entrance.service)?;
        let since = unix_milliseconds()?;
        inject::inject(self.stack, self.ready, self.images, &Action::Slow(entrance.service.clone()))?;
        let until = unix_milliseconds()?;
        let probe = || self.stack.prober().passes(&entrance.id, &entrance.healthcheck);
        Ok(((since, until), inject::while_paused(self.stack, self.ready, &entrance.service, probe)?))
    }

    /// The negative control, on the real stack: an entrance that stands still again and again holds everybody up and fails its
    /// probes, and both must be found.
    pub(super) fn control_attack(&self, case: &Fault, abuse: &Abuse) -> Result<Vec<Broken>> {
        let context = self.stack.context;
        let log = beside_log(&self.run.client_log(context, &format!("{}-control", case.name)));
        let (url, until, limit) =
            (self.stack.entrance_url()?, log.with_extension("end"), LOAD_LIMIT_SECONDS.to_string());
        let command = case.beside.as_deref().context("somebody watches")?;
        let arguments = [command, "--log", log.as_str(), "--until", until.as_str(), "--limit-seconds", &limit];
        let (round, passes) = thread::scope(|scope| {
            let watch = scope.spawn(|| self.client.run(context, &url, &arguments, CLIENT_LIMIT_SECONDS));
            let done = self.hold_up();
            // Whatever happened, the client must end.
            std::fs::write(&until, "").with_context(|| format!("write {until}"))?;
            let ended = watch.join().unwrap_or_else(|_| bail!("the thread of the client panicked"));
            let _ = std::fs::remove_file(&until);
            ended?;
            done
        })?;
        let noticed = ledger::noticed(&read(&log)?, None, &[round]);
        let is_held_up = |one: &ledger::Noticed| one.broken(abuse.p99_below_ms).is_some();
        let mut missed = Vec::new();
        if noticed.is_empty() || !noticed.iter().all(is_held_up) {
            let texts: Vec<_> = noticed.iter().map(ledger::Noticed::text).collect();
            missed.push(format!("a planted held-up: {}", texts.join("; ")));
        }
        if passes {
            missed.push("a planted probe-failed: the probe passed".to_owned());
        }
        Ok(missed.into_iter().map(|what| ("control-failed", format!("the check did not notice {what}"))).collect())
    }
}

/// A client in a container of its own.
struct Abuser<'a> {
    container: OneShot<'a>,
    id: String,
}

impl<'a> Abuser<'a> {
    /// The program is copied in, since an engine elsewhere sees no folder of this machine.
    fn create(bench: &Bench<'a>, abuse: &Abuse) -> Result<Self> {
        let (context, stack) = (bench.stack.context, &bench.stack.context.project.stack);
        let (shell, docker, image) = (Shell::new()?, &bench.ready.docker.program, &bench.ready.shell().id);
        let container = OneShot::new(context, &bench.ready.docker, "abuse")?;
        let own = container.arguments();
        let network = format!("{}_{}", bench.stack.project, abuse.network);
        let url = format!("http://{}:{}", stack.entrance.service, stack.entrance.port);
        let limit = (abuse.seconds.next_multiple_of(ROUND_SECONDS) + START_LIMIT_SECONDS).to_string();
        let arguments = &abuse.arguments;
        let create = cmd!(
            shell,
            "{docker} create --rm {own...} --network {network} --cap-drop ALL --security-opt no-new-privileges --user 65532:65532 --memory 256m --pids-limit 16 --ulimit nofile=8192 --entrypoint {CLIENT} {image} --base-url {url} {arguments...} --until {NEVER} --limit-seconds {limit}"
        );
        let id = context.runner.read(create, ENGINE_LIMIT_SECONDS)?;
        let abuser = Self { container, id };
        let (program, to) = (bench.client.program()?, format!("{}:{CLIENT}", abuser.id));
        context.runner.read(cmd!(shell, "{docker} cp {program} {to}"), ENGINE_LIMIT_SECONDS)?;
        Ok(abuser)
    }

    fn start(&self, bench: &Bench<'_>) -> Result<Background> {
        let (shell, docker, id) = (Shell::new()?, &bench.ready.docker.program, &self.id);
        bench.stack.context.runner.start(cmd!(shell, "{docker} start --attach {id}"))
    }
}

impl Drop for Abuser<'_> {
    /// One that has ended is gone by itself.
    fn drop(&mut self) {
        self.container.remove();
    }
}

/// What an abuser says at its end.
fn last_words(abuser: Background) -> Result<Value> {
    let captured = abuser.finish(END_LIMIT_SECONDS)?;
    ensure!(captured.status.success(), "an abuser ended with {}: {}", captured.status, captured.tail());
    let line = captured.stdout.lines().next_back().unwrap_or_default();
    serde_json::from_str(line).with_context(|| format!("read an abuser's last line, `{line}`"))
}

fn unix_milliseconds() -> Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attack() -> Attack {
        let abusers = vec![json!({ "opened": 2500, "ended": 2400, "most_held": 128, "most_stuck": 0 })];
        let probes = Probes { tried: 30, failed: 0 };
        Attack { quiet: (0, 1), rounds: vec![], probes, abusers, is_whole: true, has_restarted: false }
    }

    fn rules(attack: &Attack) -> Vec<&'static str> {
        let abuse = Abuse { network: "edge".into(), clients: 1, arguments: vec![], seconds: 10, p99_below_ms: 100 };
        attack.broken(&abuse, &[]).into_iter().map(|(rule, _)| rule).collect()
    }

    #[test]
    fn a_probe_that_failed_and_an_entrance_that_fell_over_are_found() {
        assert_eq!(rules(&attack()), [""; 0]);
        let failed = Attack { probes: Probes { tried: 30, failed: 1 }, ..attack() };
        assert_eq!(rules(&failed), ["probe-failed"]);
        assert_eq!(rules(&Attack { has_restarted: true, ..attack() }), ["probe-failed"]);
    }

    #[test]
    fn an_attack_that_met_no_limit_or_ended_early_proves_nothing() {
        let harmless = vec![json!({ "opened": 10, "ended": 0, "most_held": 10, "most_stuck": 0 })];
        assert_eq!(rules(&Attack { abusers: harmless, ..attack() }), ["nothing-proven"]);
        assert_eq!(rules(&Attack { is_whole: false, ..attack() }), ["nothing-proven"]);
        let unprobed = Attack { probes: Probes::default(), ..attack() };
        assert_eq!(rules(&unprobed), ["nothing-proven"]);
    }
}
