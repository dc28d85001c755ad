//! From the engine's start of a container to its first 200: by a probe of its own, since the engine's health polling sees it
//! seconds later.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use serde_json::Value;
use xshell::{Shell, cmd};

use super::Figures;
use crate::context::Context;
use crate::setup::Ready;
use crate::stack::Stack;

pub(super) const KIND: &str = "start-ms";
const PORT: u16 = 8080;
const ENGINE_LIMIT_SECONDS: u64 = 60;
const ANSWER_LIMIT_SECONDS: u64 = 20;
const POLL_MILLISECONDS: u64 = 2;
const CONNECT_LIMIT_MILLISECONDS: u64 = 200;
const STARTED_FORMAT: &str = "{{.State.StartedAt}}";

/// Ends and starts every service, one after the other, their databases up. A service whose container this machine does not
/// reach (an engine elsewhere) has no figure, and is named as the second result.
pub(crate) fn start_ups(stack: &Stack<'_>, ready: &Ready, services: &[String]) -> Result<(Figures, Vec<String>)> {
    let (mut figures, mut unreachable) = (Figures::new(), Vec::new());
    for container in stack.inspect()? {
        let name = container.pointer("/Config/Labels/com.docker.compose.service").and_then(Value::as_str);
        let Some(name) = name.filter(|name| services.iter().any(|service| service == name)) else { continue };
        match one(stack, ready, &container)? {
            Some(milliseconds) => drop(figures.insert(format!("{KIND}/{name}"), milliseconds)),
            None => unreachable.push(name.to_owned()),
        }
    }
    Ok((figures, unreachable))
}

fn one(stack: &Stack<'_>, ready: &Ready, container: &Value) -> Result<Option<u64>> {
    let shell = Shell::new()?;
    let context = stack.context;
    let runner = &context.runner;
    let (docker, id) = (&ready.docker.program, container["Id"].as_str().unwrap_or_default());
    let addresses = addresses(container);
    if !addresses.iter().any(|address| ask(*address)) {
        return Ok(None);
    }
    runner.read(cmd!(shell, "{docker} kill {id}"), ENGINE_LIMIT_SECONDS)?;
    // The probe starts first: what it sees is then never later than it was.
    let first = thread::scope(|scope| {
        let probe = scope.spawn(|| first_answer(context, &addresses));
        let started = runner.read(cmd!(shell, "{docker} start {id}"), ENGINE_LIMIT_SECONDS);
        started.map(|_| probe.join().unwrap_or_default())
    })?;
    let started = runner.read(cmd!(shell, "{docker} inspect --format {STARTED_FORMAT} {id}"), ENGINE_LIMIT_SECONDS)?;
    let started = milliseconds_of_day(&started).with_context(|| format!("`{started}` is no time"))?;
    // Both are times of today, or of either side of midnight.
    Ok(first.map(|first| (first + DAY_MILLISECONDS - started) % DAY_MILLISECONDS))
}

fn addresses(container: &Value) -> Vec<SocketAddr> {
    let networks = container.pointer("/NetworkSettings/Networks").and_then(Value::as_object);
    let addresses = networks.into_iter().flatten().filter_map(|(_, network)| network["IPAddress"].as_str());
    addresses.filter_map(|text| text.parse::<IpAddr>().ok()).map(|address| SocketAddr::new(address, PORT)).collect()
}

/// The millisecond of the day at which any of the addresses first answered with 200.
fn first_answer(context: &Context, addresses: &[SocketAddr]) -> Option<u64> {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(ANSWER_LIMIT_SECONDS) {
        context.runner.interrupt().check().ok()?;
        if addresses.iter().any(|address| ask(*address)) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
            return u64::try_from(now.as_millis()).ok().map(|now| now % DAY_MILLISECONDS);
        }
        thread::sleep(Duration::from_millis(POLL_MILLISECONDS));
    }
    None
}

/// Whether `/readyz` there answers with 200.
fn ask(address: SocketAddr) -> bool {
    let limit = Duration::from_millis(CONNECT_LIMIT_MILLISECONDS);
    let Ok(mut stream) = TcpStream::connect_timeout(&address, limit) else { return false };
    let mut head = [0; 12];
    stream.set_read_timeout(Some(Duration::from_secs(1))).is_ok()
        && write!(stream, "GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").is_ok()
        && stream.read_exact(&mut head).is_ok()
        && head == *b"HTTP/1.1 200"
}

const DAY_MILLISECONDS: u64 = 24 * 60 * 60 * 1000;

/// The millisecond of the day in `2026-11-25T08:48:00.325208811Z`.
fn milliseconds_of_day(text: &str) -> Option<u64> {
    let time = text.split_once('T')?.1.strip_suffix('Z')?;
    let (clock, fraction) = time.split_once('.').unwrap_or((time, ""));
    let mut parts = clock.split(':').map(|part| part.parse::<u64>().ok());
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    let milliseconds: u64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    Some(((hours * 60 + minutes) * 60 + seconds) * 1000 + milliseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_time_is_read_to_the_millisecond() {
        assert_eq!(milliseconds_of_day("2026-11-25T08:48:00.325208811Z"), Some(31_680_325));
        assert_eq!(milliseconds_of_day("2026-11-25T00:00:01Z"), Some(1000));
        assert_eq!(milliseconds_of_day("2026-11-25T00:00:01.5Z"), Some(1500));
        assert_eq!(milliseconds_of_day("yesterday"), None);
    }
}
