//! From the engine's start of a container to its first 200: by a probe of its own, since the engine's health polling sees it
//! seconds later. It begins when the engine says that the container is started, a few milliseconds after it was: a packet to an
//! address that is not there yet leaves the machine waiting for that address, for up to a second after it is.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
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

pub(crate) const KIND: &str = "start-ms";
const ENGINE_LIMIT_SECONDS: u64 = 60;
const ANSWER_LIMIT_SECONDS: u64 = 20;
const POLL_MILLISECONDS: u64 = 2;
/// How long the next service waits for the one before it.
const PATIENCE_MILLISECONDS: u64 = 1000;
const CONNECT_LIMIT_MILLISECONDS: u64 = 200;
/// The same for one of several addresses of a container that was just started: the others wait.
const POLL_CONNECT_LIMIT_MILLISECONDS: u64 = 20;
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
        let Some(name) = service(&container).filter(|name| services.iter().any(|service| service == name)) else {
            continue;
        };
        let key = format!("{} {}", ready.engine, container["Image"].as_str().unwrap_or_default());
        let measured = match known.remove(&key).filter(|_| keep) {
            Some(milliseconds) => {
                result.kept.push(name.to_owned());
                Some(milliseconds)
            }
            None => {
                let addresses = addresses(&container, stack.context.project.stack.probe.port);
                one(stack.context, ready, &container, &addresses)?
            }
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

/// Ends all services but the entrance at once and starts one after the other, their databases up, and then the entrance: for
/// whoever measures often, it takes less time than [`start_ups`]. An unreachable one goes on as it is and has no figure.
pub(crate) fn start_ups_together(stack: &Stack<'_>, ready: &Ready, services: &[String]) -> Result<Figures> {
    let (context, policy) = (stack.context, &stack.context.project.stack);
    let mut containers = stack.inspect()?;
    containers.retain(|container| service(container).is_some_and(|name| services.iter().any(|one| one == name)));
    let is_entrance = |container: &Value| service(container) == Some(policy.entrance.service.as_str());
    let others = containers.iter().filter(|container| !is_entrance(container));
    let others = others.map(|container| (container, own_addresses(container, &containers, policy.probe.port)));
    let path = &policy.probe.ready;
    let is_reached =
        |addresses: &[SocketAddr]| addresses.iter().any(|address| ask(*address, path, CONNECT_LIMIT_MILLISECONDS));
    let reached: Vec<_> = others.filter(|(_, addresses)| is_reached(addresses)).collect();
    let firsts = start_in_turn(context, ready, &reached)?;
    context.runner.interrupt().check()?;
    let now = stack.inspect()?;
    let mut figures = Figures::new();
    for ((container, _), first) in reached.iter().zip(firsts) {
        let name = service(container).unwrap_or_default();
        let started =
            now.iter().find(|one| one["Id"] == container["Id"]).and_then(|one| one.pointer("/State/StartedAt"));
        let started = started.and_then(Value::as_str).unwrap_or_default();
        figures.insert(format!("{KIND}/{name}"), between(name, started, first)?);
    }
    // It shares its networks with all of them, and keeps its addresses while they keep theirs.
    for entrance in containers.iter().filter(|container| is_entrance(container)) {
        let measured = one(context, ready, entrance, &addresses(entrance, policy.probe.port))?;
        let name = service(entrance).unwrap_or_default();
        figures.extend(measured.map(|milliseconds| (format!("{KIND}/{name}"), milliseconds)));
    }
    Ok(figures)
}

/// Ends all at once and starts one after the other. Gives when each first answered.
fn start_in_turn(context: &Context, ready: &Ready, reached: &[(&Value, Vec<SocketAddr>)]) -> Result<Vec<Option<i128>>> {
    let ids: Vec<_> = reached.iter().filter_map(|(container, _)| container["Id"].as_str()).collect();
    kill_at_once(context, ready, &ids)?;
    let (shell, docker, path) = (Shell::new()?, &ready.docker.program, &context.project.stack.probe.ready);
    thread::scope(|scope| {
        let mut probes = Vec::new();
        for ((_, addresses), id) in reached.iter().zip(&ids) {
            context.runner.read(cmd!(shell, "{docker} start {id}"), ENGINE_LIMIT_SECONDS)?;
            let probe = scope.spawn(move || first_answer(context, addresses, path));
            // One that needs another one first is not waited for.
            let begun = Instant::now();
            while !probe.is_finished() && begun.elapsed() < Duration::from_millis(PATIENCE_MILLISECONDS) {
                thread::sleep(Duration::from_millis(POLL_MILLISECONDS));
            }
            probes.push(probe);
        }
        Ok(probes.into_iter().map(|probe| probe.join().unwrap_or_default()).collect())
    })
}

fn kill_at_once(context: &Context, ready: &Ready, ids: &[&str]) -> Result<()> {
    let docker = &ready.docker.program;
    thread::scope(|scope| {
        let kill = |id| {
            scope.spawn(move || {
                let shell = Shell::new()?;
                context.runner.read(cmd!(shell, "{docker} kill {id}"), ENGINE_LIMIT_SECONDS)
            })
        };
        let threads: Vec<_> = ids.iter().map(kill).collect();
        let ended = threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| bail!("a thread panicked")));
        ended.collect::<Vec<_>>().into_iter().try_for_each(|ended| ended.map(drop))
    })
}

/// The milliseconds from the engine's start to the first answer.
fn between(name: &str, started: &str, first: Option<i128>) -> Result<u64> {
    let Some(first) = first else {
        let text = format!("{name} was started again and did not answer within {ANSWER_LIMIT_SECONDS} s");
        return Err(Stop::TimedOut(text).into());
    };
    let started = unix_milliseconds(started).with_context(|| format!("`{started}` is not a time"))?;
    Ok(u64::try_from(first - started).unwrap_or_default())
}

/// The addresses of a container in networks that none of the others is in: where several are down, the engine may give one's
/// address to another, whose answer would then be taken for its own.
fn own_addresses(container: &Value, all: &[Value], port: u16) -> Vec<SocketAddr> {
    let networks = |of: &Value| of.pointer("/NetworkSettings/Networks").cloned().unwrap_or_default();
    let others: Vec<_> = all.iter().filter(|other| other["Id"] != container["Id"]).map(networks).collect();
    let mut own = container.clone();
    if let Some(networks) = own.pointer_mut("/NetworkSettings/Networks").and_then(Value::as_object_mut) {
        networks.retain(|name, _| others.iter().all(|other| other.get(name).is_none()));
    }
    addresses(&own, port)
}

fn service(container: &Value) -> Option<&str> {
    container.pointer("/Config/Labels/com.docker.compose.service").and_then(Value::as_str)
}

fn one(context: &Context, ready: &Ready, container: &Value, addresses: &[SocketAddr]) -> Result<Option<u64>> {
    let shell = Shell::new()?;
    let runner = &context.runner;
    let (docker, id) = (&ready.docker.program, container["Id"].as_str().unwrap_or_default());
    let path = &context.project.stack.probe.ready;
    if !addresses.iter().any(|address| ask(*address, path, CONNECT_LIMIT_MILLISECONDS)) {
        return Ok(None);
    }
    runner.read(cmd!(shell, "{docker} kill {id}"), ENGINE_LIMIT_SECONDS)?;
    runner.read(cmd!(shell, "{docker} start {id}"), ENGINE_LIMIT_SECONDS)?;
    let first = first_answer(context, addresses, path);
    context.runner.interrupt().check()?;
    let started = runner.read(cmd!(shell, "{docker} inspect --format {STARTED_FORMAT} {id}"), ENGINE_LIMIT_SECONDS)?;
    between(service(container).unwrap_or_default(), &started, first).map(Some)
}

fn addresses(container: &Value, port: u16) -> Vec<SocketAddr> {
    let networks = container.pointer("/NetworkSettings/Networks").and_then(Value::as_object);
    let addresses = networks.into_iter().flatten().filter_map(|(_, network)| network["IPAddress"].as_str());
    addresses.filter_map(|text| text.parse::<IpAddr>().ok()).map(|address| SocketAddr::new(address, port)).collect()
}

/// The millisecond of the day at which any of the addresses first answered with 200.
fn first_answer(context: &Context, addresses: &[SocketAddr], path: &str) -> Option<i128> {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(ANSWER_LIMIT_SECONDS) {
        context.runner.interrupt().check().ok()?;
        if addresses.iter().any(|address| ask(*address, path, POLL_CONNECT_LIMIT_MILLISECONDS)) {
            return Some(OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000);
        }
        thread::sleep(Duration::from_millis(POLL_MILLISECONDS));
    }
    None
}

/// Whether `path` there answers with 200.
fn ask(address: SocketAddr, path: &str, connect_limit_milliseconds: u64) -> bool {
    let limit = Duration::from_millis(connect_limit_milliseconds);
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
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_network_of_its_own_tells_services_apart_that_start_at_once() {
        let container = |id: &str, networks: &[(&str, &str)]| {
            let networks: serde_json::Map<_, _> =
                networks.iter().map(|(name, ip)| ((*name).to_owned(), json!({ "IPAddress": ip }))).collect();
            json!({ "Id": id, "NetworkSettings": { "Networks": networks } })
        };
        let door = container("1", &[("edge", "10.0.0.2"), ("cart", "10.0.1.2")]);
        let cart = container("2", &[("cart", "10.0.1.3"), ("cart-db", "10.0.2.2")]);
        let all = [door.clone(), cart.clone()];
        let own = |of: &Value| own_addresses(of, &all, 80).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(own(&door), ["10.0.0.2:80"]);
        assert_eq!(own(&cart), ["10.0.2.2:80"]);
        assert_eq!(addresses(&cart, 80).len(), 2);
    }

    #[test]
    fn the_engines_time_is_read_to_the_millisecond() {
        assert_eq!(unix_milliseconds("1970-01-02T08:48:00.325208811Z"), Some(118_080_325));
        assert_eq!(unix_milliseconds("1970-01-01T00:00:01Z"), Some(1000));
        assert_eq!(unix_milliseconds("yesterday"), None);
    }
}
