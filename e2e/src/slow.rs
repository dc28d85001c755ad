//! Clients that hold connections open with requests that never end.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::client::Attempt;
use crate::log::Log;

const CONNECTIONS: usize = 50;
const BYTE_EVERY: Duration = Duration::from_millis(500);
/// Whoever is still connected then has won.
const LIMIT: Duration = Duration::from_secs(30);

pub(crate) fn run(base_url: &str, log: &Path) -> Result<()> {
    let address = base_url.trim_end_matches('/').strip_prefix("http://").context("the base URL is not http")?;
    let log = Log::create(log)?;
    thread::scope(|scope| {
        let threads: Vec<_> =
            (0..CONNECTIONS).map(|_| scope.spawn(|| log.write("slow", None, &hold(address)?))).collect();
        for thread in threads {
            thread.join().unwrap_or_else(|_| bail!("a client panicked"))?;
        }
        Ok(())
    })
}

/// Sends a header a byte at a time until the other side has enough. Gives how long that took, and its answer.
fn hold(address: &str) -> Result<Attempt> {
    let mut stream = TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
    // Waiting for an answer is the pause between two bytes.
    stream.set_read_timeout(Some(BYTE_EVERY))?;
    let started = Instant::now();
    let mut answer = [0; 512];
    let mut status = 0;
    let mut rest = b"GET /products HTTP/1.1\r\nHost: shop\r\nX-Slow: ".iter().chain(std::iter::repeat(&b'a'));
    while started.elapsed() < LIMIT {
        let Some(byte) = rest.next() else { break };
        if stream.write_all(&[*byte]).is_err() {
            break;
        }
        match stream.read(&mut answer) {
            Ok(0) => break,
            Ok(length) => {
                let text = String::from_utf8_lossy(&answer[..length]);
                status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(status);
            }
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(Attempt { milliseconds, status, ..Attempt::default() })
}
