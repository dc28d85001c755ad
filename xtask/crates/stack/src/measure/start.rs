//! From the engine's start of a container to its first 200: by a probe of its own, since the engine's health polling sees it
//! seconds later.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use xshell::{Shell, cmd};

use super::Figures;
use crate::Stack;
use xtask_engine::Ready;
use xtask_outcome::Stop;
use xtask_process::put;
use xtask_workspace::Context;

pub(super) const KIND: &str = "start-ms";
const ENGINE_LIMIT_SECONDS: u64 = 60;
const ANSWER_LIMIT_SECONDS: u64 = 20;
const POLL_MILLISECONDS: u64 = 2;
const CONNECT_LIMIT_MILLISECONDS: u64 = 200;
const STARTED_FORMAT: &str = "{{.State.StartedAt}}";

/// What became of the start-up figures.
#[derive(Debug, Default)]
pub(crate) struct StartUps {
    pub(crate) figures: Figures,
    /// Services whose container this machine does not reach (an engine elsewhere): they have no figure.
    pub(crate) unreachable: Vec<String>,
    /// Services whose figure is that of an earlier run of the same image.
    pub(crate) kept: Vec<String>,
}

/// Ends and starts every service, one after the other, their databases up. With `keep`, a service whose image was measured here
/// before, on the same engine, has that figure: the same program starts in the same way.
pub(crate) fn start_ups(stack: &Stack<'_>, ready: &Ready, services: &[String], keep: bool) -> Result<StartUps> {
    let mut result = StartUps::default();
    let file = stack.context.project.out().join("start-ups.json");
    let mut known: BTreeMap<String, u64> =
        std::fs::read_to_string(&file).ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let mut now = BTreeMap::new();
    for container in stack.inspect()? {
        let name = container.pointer("/Config/Labels/com.docker.compose.service").and_then(Value::as_str);
        let Some(name) = name.filter(|name| services.iter().any(|service| service == name)) else { continue };
        let key = format!("{} {}", ready.engine, container["Image"].as_str().unwrap_or_default());
        let measured = match known.remove(&key).filter(|_| keep) {
            Some(milliseconds) => {
                result.kept.push(name.to_owned());
                Some(milliseconds)
            }
            None => one(stack, ready, &container)?,
        };
        match measured {
            Some(milliseconds) => {
                result.figures.insert(format!("{KIND}/{name}"), milliseconds);
                now.insert(key, milliseconds);
            }
            None => result.unreachable.push(name.to_owned()),
        }
    }
    // Of the images of this run alone, so that the file does not grow.
    put(&file, &serde_json::to_string(&now)?)?;
    Ok(result)
}

fn one(stack: &Stack<'_>, ready: &Ready, container: &Value) -> Result<Option<u64>> {
    let shell = Shell::new()?;
    let context = stack.context;
    let runner = &context.runner;
    let (docker, id) = (&ready.docker.program, container["Id"].as_str().unwrap_or_default());
    let probe = &context.project.stack.probe;
    let addresses = addresses(container, probe.port);
    let ask = |address: &SocketAddr| ask(*address, &probe.ready);
    if !addresses.iter().any(ask) {
        return Ok(None);
    }
    runner.read(cmd!(shell, "{docker} kill {id}"), ENGINE_LIMIT_SECONDS)?;
    // The probe starts first: what it sees is then never later than it was.
    let first = thread::scope(|scope| {
        let probe = scope.spawn(|| first_answer(context, &addresses, &ask));
        let started = runner.read(cmd!(shell, "{docker} start {id}"), ENGINE_LIMIT_SECONDS);
        started.map(|_| probe.join().unwrap_or_default())
    })?;
    context.runner.interrupt().check()?;
    let Some(first) = first else {
        let name = container.pointer("/Config/Labels/com.docker.compose.service").unwrap_or(&Value::Null);
        let text = format!("{name} was started again and did not answer within {ANSWER_LIMIT_SECONDS} s");
        return Err(Stop::TimedOut(text).into());
    };
    let started = runner.read(cmd!(shell, "{docker} inspect --format {STARTED_FORMAT} {id}"), ENGINE_LIMIT_SECONDS)?;
    let started = unix_milliseconds(&started).with_context(|| format!("`{started}` is not a time"))?;
    Ok(Some(u64::try_from(first - started).unwrap_or_default()))
}

fn addresses(container: &Value, port: u16) -> Vec<SocketAddr> {
    let networks = container.pointer("/NetworkSettings/Networks").and_then(Value::as_object);
    let addresses = networks.into_iter().flatten().filter_map(|(_, network)| network["IPAddress"].as_str());
    addresses.filter_map(|text| text.parse::<IpAddr>().ok()).map(|address| SocketAddr::new(address, port)).collect()
}

/// The millisecond of the day at which any of the addresses first answered with 200.
fn first_answer(context: &Context, addresses: &[SocketAddr], ask: &dyn Fn(&SocketAddr) -> bool) -> Option<i128> {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(ANSWER_LIMIT_SECONDS) {
        context.runner.interrupt().check().ok()?;
        if addresses.iter().any(ask) {
            return Some(OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000);
        }
        thread::sleep(Duration::from_millis(POLL_MILLISECONDS));
    }
    None
}

/// Whether `path` there answers with 200.
fn ask(address: SocketAddr, path: &str) -> bool {
    let limit = Duration::from_millis(CONNECT_LIMIT_MILLISECONDS);
    let Ok(mut stream) = TcpStream::connect_timeout(&address, limit) else { return false };
    let mut head = [0; 12];
    stream.set_read_timeout(Some(Duration::from_secs(1))).is_ok()
        && write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").is_ok()
        && stream.read_exact(&mut head).is_ok()
        && head == *b"HTTP/1.1 200"
}

/// The engine's own time, in milliseconds since 1970.
fn unix_milliseconds(text: &str) -> Option<i128> {
    OffsetDateTime::parse(text, &Rfc3339).ok().map(|time| time.unix_timestamp_nanos() / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_time_is_read_to_the_millisecond() {
        assert_eq!(unix_milliseconds("1970-01-02T08:48:00.325208811Z"), Some(118_080_325));
        assert_eq!(unix_milliseconds("1970-01-01T00:00:01Z"), Some(1000));
        assert_eq!(unix_milliseconds("yesterday"), None);
    }
}
