//! The `healthcheck` subcommand: images without a shell have no other program that could ask.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::{HEALTHZ, READYZ};
use crate::address;
use crate::config::{self, Source};
use crate::failure::Failure;

/// The longest that the whole probe takes. With the start of the program it stays below two seconds, so that a container
/// platform sees the reason and not a probe that it had to kill.
const LIMIT: Duration = Duration::from_millis(1200);
/// More than a healthy service answers.
const ANSWER_LIMIT_BYTES: usize = 4096;

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

    fn good_status(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Ready => "ready",
        }
    }
}

/// Asks the service on this machine, which has to be `service`: another program that happens to answer on the port is not
/// healthy.
///
/// It loads the two variables of the address alone: a probe must not fail for what the running service does not mind.
pub(crate) fn probe(question: Question, service: &str, source: &Source<'_>) -> Result<(), Failure> {
    let unhealthy = |why: String| Failure::Unhealthy { why };
    let bound = config::load(address::declare, source)
        .map_err(|faults| unhealthy(format!("{} cannot be used", faults.all_names().join(" and "))))?;
    let address = loopback(bound);
    let url = format!("http://{address}{}", question.path());
    let answer = ask(address, question.path()).map_err(|error| unhealthy(format!("GET {url} failed: {error}")))?;
    judge(&answer, question, service).map_err(|why| unhealthy(format!("GET {url} {why}")))
}

/// Whether this is the answer that the service itself gives when all is well.
fn judge(answer: &[u8], question: Question, service: &str) -> Result<(), String> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err("was not answered with status 200".to_owned());
    }
    let said: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    if said["service"] == service && said["status"] == question.good_status() {
        return Ok(());
    }
    Err(format!("was answered by something else than {service}: another program has this port"))
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

fn ask(address: SocketAddr, path: &str) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + LIMIT;
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_write_timeout(Some(left(deadline)?))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = vec![0; ANSWER_LIMIT_BYTES];
    let mut length = 0;
    while length < answer.len() {
        stream.set_read_timeout(Some(left(deadline)?))?;
        match stream.read(&mut answer[length..])? {
            0 => break,
            count => length += count,
        }
    }
    answer.truncate(length);
    Ok(answer)
}

fn left(deadline: Instant) -> io::Result<Duration> {
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_service_itself_is_healthy() {
        let answer =
            |status_line: &str, body: &str| format!("{status_line}\r\ncontent-type: application/json\r\n\r\n{body}");
        let own = r#"{"status":"alive","service":"mini-user"}"#;
        let judge = |text: &str| judge(text.as_bytes(), Question::Alive, "mini-user");
        assert_eq!(judge(&answer("HTTP/1.1 200 OK", own)), Ok(()));
        for (status_line, body) in [
            ("SSH-2.0 200 x", own),
            ("HTTP/1.0 200 OK", own),
            ("HTTP/1.1 503 Service Unavailable", own),
            ("HTTP/1.1 200 OK", ""),
            ("HTTP/1.1 200 OK", "<html>it works</html>"),
            ("HTTP/1.1 200 OK", r#"{"status":"alive"}"#),
            ("HTTP/1.1 200 OK", r#"{"status":"alive","service":"mini-order"}"#),
            ("HTTP/1.1 200 OK", r#"{"status":"ready","service":"mini-user"}"#),
        ] {
            assert!(judge(&answer(status_line, body)).is_err(), "{status_line} {body}");
        }
        assert!(judge("HTTP/1.1 200 OK").is_err());
    }
}
