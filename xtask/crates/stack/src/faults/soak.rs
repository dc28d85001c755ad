//! `compose-e2e --soak`: minutes of load instead of seconds. In the first half every service is restarted again and again; in the
//! second one nothing is done to the stack, and its memory has to stay level.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use xtask_outcome::{Finding, Outcome, Place, Stop};
use xtask_workspace::{Action, Fault};

use super::{Bench, RECOVERY_LIMIT_SECONDS, STEADY_LIMIT_SECONDS, finding, inject, ledger, proof, read};
use crate::measure::{self, Slope};

/// From the end of one round of restarts to the next.
const PAUSE_SECONDS: u64 = 30;
const SAMPLE_SECONDS: u64 = 5;
/// A program fills its buffers and pools after its start, which is no leak: that part of the whole time is not counted.
const SETTLE_SHARE: u64 = 10;
/// With the time in which open writes are still tried.
const CLIENT_MORE_SECONDS: u64 = 120;

/// A service's memory by time: seconds, and KiB that are resident.
type Samples = BTreeMap<String, Vec<(f64, f64)>>;

/// What happened to the stack.
struct Soaked {
    restarts: usize,
    samples: Samples,
}

impl Bench<'_> {
    /// Soaks a stack that is up for so many minutes.
    pub(crate) fn soak(&self, minutes: u64, outcome: &mut Outcome) -> Result<()> {
        let policy = self.stack.context.project.stack.load()?;
        let rolling =
            self.stack.context.project.stack.faults.iter().find(|fault| fault.action == Action::RollingRestart);
        let rolling = rolling.ok_or_else(|| {
            let text = "refused: no [[fault]] of policy/stack.toml restarts the services, so nothing says what a restart may cost";
            Stop::Absent(format!("{text}; next: docs/adopting.md"))
        })?;
        let case = Fault { name: "soak".to_owned(), beside: None, ..rolling.clone() };
        let log = self.run.client_log(self.stack.context, &case.name);
        let soaked = self.loaded(&case, minutes * 60)?;
        let (records, writes) = (read(&log)?, self.writes(&case)?);
        let mut broken = ledger::judge(&case.allowed, &records, &writes);
        broken.extend(proof(&case, self.kinds(), &records));
        let shown = log.strip_prefix(&self.stack.context.project.root).unwrap_or(&log);
        outcome.findings.extend(broken.iter().map(|broken| finding(&case, broken, shown)));
        let limit = f64::from(policy.growth_limit_kib_per_minute);
        outcome.findings.extend(soaked.samples.iter().filter_map(|(service, samples)| grows(service, samples, limit)));
        let failed = records.iter().filter(|record| !record.succeeded()).count();
        outcome.checked("minutes of load", usize::try_from(minutes)?);
        outcome.checked("requests", records.len());
        outcome.checked("writes found exactly once", writes.len());
        outcome.checked("restarts under load", soaked.restarts);
        let memory: Vec<_> = soaked.samples.iter().map(|(service, samples)| evidence(service, samples)).collect();
        outcome.note(format!("soak: {} requests, {failed} failed; {}", records.len(), told(&soaked.samples)));
        outcome.evidence(
            "soak",
            json!({
                "minutes": minutes, "requests": records.len(), "failed": failed, "writes": writes.len(),
                "restarts": soaked.restarts, "p99_ms": ledger::p99(&records, self.kinds()), "memory": memory,
            }),
        );
        Ok(())
    }

    /// The load, and what is done beside it. Whatever happens, the load ends.
    fn loaded(&self, case: &Fault, seconds: u64) -> Result<Soaked> {
        let context = self.stack.context;
        let log = self.run.client_log(context, &case.name);
        let (url, env_file, until) = (self.stack.entrance_url()?, self.run.env_file(), log.with_extension("end"));
        let (prefix, limit) = (super::prefix(case), (seconds + CLIENT_MORE_SECONDS).to_string());
        let arguments = [
            "load",
            "--secrets",
            env_file.as_str(),
            "--log",
            log.as_str(),
            "--until",
            until.as_str(),
            "--limit-seconds",
            &limit,
            "--prefix",
            &prefix,
        ];
        thread::scope(|scope| {
            let load = scope.spawn(|| self.client.run(context, &url, &arguments, seconds + 2 * CLIENT_MORE_SECONDS));
            let done = self.done_beside(case, seconds, &|| load.is_finished());
            std::fs::write(&until, "").with_context(|| format!("write {until}"))?;
            let ended = load.join().unwrap_or_else(|_| bail!("the thread of the load panicked"));
            let _ = std::fs::remove_file(&until);
            ended.and(done)
        })
    }

    fn done_beside(&self, case: &Fault, seconds: u64, over: &dyn Fn() -> bool) -> Result<Soaked> {
        let log = self.run.client_log(self.stack.context, &case.name);
        if self.wait_until_steady(&log, 0, STEADY_LIMIT_SECONDS, over)?.is_none() {
            return Err(Stop::Repository(format!("the load does not work before the soak; see {log}")).into());
        }
        let started = Instant::now();
        let mut restarts = 0;
        while started.elapsed().as_secs() < seconds / 2 {
            inject::inject(self.stack, self.ready, self.images, &case.action)?;
            restarts += self.stack.context.project.stack.load()?.rolling_restart.len();
            let since = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
            if self.wait_until_steady(&log, since, RECOVERY_LIMIT_SECONDS, over)?.is_none() {
                let text = format!("not everything works again {RECOVERY_LIMIT_SECONDS} s after a restart; see {log}");
                return Err(Stop::Repository(text).into());
            }
            self.go_on(PAUSE_SECONDS.min(seconds / 4), over)?;
        }
        self.go_on(seconds / SETTLE_SHARE, over)?;
        Ok(Soaked { restarts, samples: self.samples(started, seconds, over)? })
    }

    /// The memory of each service that is built here, until the time is over.
    fn samples(&self, started: Instant, seconds: u64, over: &dyn Fn() -> bool) -> Result<Samples> {
        let is_own = |name: &str| self.images.iter().any(|image| image.name == name);
        let services: Vec<_> = self.stack.state()?.into_iter().filter(|one| is_own(&one.service)).collect();
        let mut samples = Samples::new();
        while started.elapsed().as_secs() < seconds {
            let at = started.elapsed().as_secs_f64();
            for (name, kib) in measure::resident(self.stack.context, self.ready, &services, measure::IDLE)? {
                let service = name.rsplit('/').next().unwrap_or(&name).to_owned();
                samples.entry(service).or_default().push((at, kib as f64));
            }
            self.go_on(SAMPLE_SECONDS, over)?;
        }
        let restarts = |service: &str| Ok::<_, anyhow::Error>(self.stack.container(service)?.restarts);
        for one in &services {
            if restarts(&one.service)? != one.restarts {
                return Err(Stop::Repository(format!("{} fell over while nothing was done to it", one.service)).into());
            }
        }
        Ok(samples)
    }

    /// Lets time pass; an interrupt and the end of the load are noticed at once.
    fn go_on(&self, seconds: u64, over: &dyn Fn() -> bool) -> Result<()> {
        let started = Instant::now();
        while started.elapsed().as_secs() < seconds {
            self.stack.context.runner.interrupt().check()?;
            if over() {
                return Err(Stop::Broken("the load ended before it was told to".to_owned()).into());
            }
            thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }
}

fn grows(service: &str, samples: &[(f64, f64)], limit: f64) -> Option<Finding> {
    let slope = Slope::of(samples).filter(|slope| slope.exceeds(limit))?;
    Some(Finding {
        rule: "memory-grows",
        place: Place::new(format!("service {service}")),
        message: format!("its memory grows by {:.0} ± {:.0} KiB a minute under load", slope.per_minute, slope.error),
        next_step:
            "look for what is kept for each request; the limit is growth-limit-kib-per-minute in policy/stack.toml"
                .to_owned(),
    })
}

fn evidence(service: &str, samples: &[(f64, f64)]) -> Value {
    let slope = Slope::of(samples);
    let kib = |sample: Option<&(f64, f64)>| sample.map(|(_, kib)| *kib);
    json!({
        "service": service, "samples": samples.len(), "first_kib": kib(samples.first()), "last_kib": kib(samples.last()),
        "kib_per_minute": slope.map(|slope| slope.per_minute), "standard_error": slope.map(|slope| slope.error),
    })
}

fn told(samples: &Samples) -> String {
    let one = |(service, samples): (&String, &Vec<(f64, f64)>)| match Slope::of(samples) {
        Some(Slope { per_minute, error }) => format!("{service} {per_minute:+.1} ± {error:.1} KiB a minute"),
        None => format!("{service}: too few samples"),
    };
    samples.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_keeps_something_of_each_request_is_a_finding_with_its_slope() {
        let leak: Vec<_> = (0..30).map(|number| (f64::from(number) * 5.0, 8000.0 + f64::from(number) * 10.0)).collect();
        let found = grows("cart", &leak, 64.0).unwrap();
        assert_eq!(found.message, "its memory grows by 120 ± 0 KiB a minute under load");
        assert_eq!(grows("cart", &leak, 128.0), None);
        assert_eq!(grows("cart", &[], 64.0), None);
        assert_eq!(told(&[("cart".to_owned(), leak)].into()), "cart +120.0 ± 0.0 KiB a minute");
    }
}
