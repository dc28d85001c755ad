//! The `healthcheck` subcommand: images without a shell have no other program that could ask.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::{HEALTHZ, READYZ};
use crate::config::{self, Source};
use crate::run::Failure;
use crate::server::declare_address;

/// The longest that the whole probe takes. With the start of the program it stays below two seconds, so that a container
/// platform sees the reason and not a probe that it had to kill.
const LIMIT: Duration = Duration::from_millis(1200);
/// As much of the answer as a status line takes.
const STATUS_LINE_BYTES: u64 = 64;

/// What the probe asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// Does it answer at all? What decides whether to restart it.
    Alive,
    /// Would it serve a request now? What decides whether others should come.
    Ready,
}

impl Question {
    fn path(self) -> &'static str {
        match self {
            Self::Alive => HEALTHZ,
            Self::Ready => READYZ,
        }
    }
}

/// Asks the service on this machine.
///
/// It loads the two variables of the address alone: a probe must not fail for what the running service does not mind.
pub(crate) fn probe(question: Question, source: &Source<'_>) -> Result<(), Failure> {
    let bound = config::load(declare_address, source)
        .map_err(|faults| Failure::Unhealthy { why: format!("{} cannot be used", faults.all_names().join(" and ")) })?;
    let address = loopback(bound);
    let path = question.path();
    let status_line = ask(address, path)
        .map_err(|error| Failure::Unhealthy { why: format!("GET http://{address}{path} failed: {error}") })?;
    if status_line.split(' ').nth(1) == Some("200") {
        return Ok(());
    }
    Err(Failure::Unhealthy { why: format!("GET http://{address}{path} was not answered with status 200") })
}

/// The literal address under which a service that listens on `bound` can be reached from the same machine. The name
/// `localhost` would not do: it may mean the other family.
fn loopback(bound: SocketAddr) -> SocketAddr {
    let ip = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, bound.port())
}

fn ask(address: SocketAddr, path: &str) -> io::Result<String> {
    let deadline = Instant::now() + LIMIT;
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_write_timeout(Some(left(deadline)?))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut head = Vec::new();
    while !head.contains(&b'\n') && (head.len() as u64) < STATUS_LINE_BYTES {
        stream.set_read_timeout(Some(left(deadline)?))?;
        let mut byte = [0];
        if stream.read(&mut byte)? == 0 {
            break;
        }
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn left(deadline: Instant) -> io::Result<Duration> {
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}
