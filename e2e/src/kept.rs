//! Clients that keep their connections, and open new ones only when they are told to: what a roll-out must not lose.
//!
//! A request counts as lost when it was sent on a connection that had answered before, that nobody had said goodbye on, and
//! no answer came. A new connection that is refused, or closed before its first answer, is the gap of a single instance and
//! is tried again.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::client::Attempt;
use crate::end::{End, Until};
use crate::log::Log;

const CLIENTS: usize = 4;
/// Shorter than the `DRAIN_DELAY` of any deployment, so that each client asks while the gateway says goodbye.
const PAUSE: Duration = Duration::from_millis(50);
const RECONNECT_PAUSE: Duration = Duration::from_millis(50);
const ANSWER_LIMIT: Duration = Duration::from_secs(15);
const BODY_LIMIT_BYTES: usize = 1024 * 1024;

#[derive(Debug, Args)]
pub(crate) struct Kept {
    /// Where each request that was answered or lost is written, as one JSON object a line; status 0 is a lost one.
    #[arg(long)]
    log: PathBuf,
    #[command(flatten)]
    until: Until,
}

/// An answer, as far as it matters here.
struct Answer {
    status: u16,
    is_last: bool,
}

impl Kept {
    pub(crate) fn run(&self, base_url: &str) -> Result<()> {
        let address = base_url.trim_end_matches('/').strip_prefix("http://").context("the base URL is not http")?;
        let (log, end) = (Log::create(&self.log)?, self.until.begin());
        thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| keep_asking(address, &log, &end))).collect();
            for client in clients {
                client.join().unwrap_or_else(|_| bail!("a client panicked"))?;
            }
            Ok(())
        })
    }
}

fn keep_asking(address: &str, log: &Log, end: &End<'_>) -> Result<()> {
    while !end.reached() {
        let Ok(stream) = TcpStream::connect(address) else {
            thread::sleep(RECONNECT_PAUSE);
            continue;
        };
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        stream.set_nodelay(true)?;
        let mut connection = BufReader::new(stream);
        let mut has_answered = false;
        while !end.reached() {
            let started = Instant::now();
            let answer = ask(&mut connection, address);
            let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            let Ok(answer) = answer else {
                if has_answered {
                    log.write("kept", None, &Attempt { milliseconds, ..Attempt::default() })?;
                }
                thread::sleep(RECONNECT_PAUSE);
                break;
            };
            has_answered = true;
            log.write("kept", None, &Attempt { milliseconds, status: answer.status, ..Attempt::default() })?;
            if answer.is_last {
                break;
            }
            thread::sleep(PAUSE);
        }
    }
    Ok(())
}

fn ask(connection: &mut BufReader<TcpStream>, address: &str) -> Result<Answer> {
    write!(connection.get_mut(), "GET /products?limit=1 HTTP/1.1\r\nHost: {address}\r\n\r\n")?;
    let mut line = String::new();
    if connection.read_line(&mut line)? == 0 {
        bail!("closed");
    }
    let status = line.split(' ').nth(1).context("no status")?.parse()?;
    let (mut length, mut is_last) = (0, false);
    loop {
        line.clear();
        if connection.read_line(&mut line)? == 0 {
            bail!("closed within an answer");
        }
        let field = line.trim().to_ascii_lowercase();
        match field.split_once(": ") {
            _ if field.is_empty() => break,
            Some(("content-length", value)) => length = value.parse()?,
            Some(("connection", "close")) => is_last = true,
            // The shop's answers have a length.
            Some(("transfer-encoding", _)) => bail!("a coded answer"),
            _ => {}
        }
    }
    if length > BODY_LIMIT_BYTES {
        bail!("an answer of {length} bytes");
    }
    connection.read_exact(&mut vec![0; length])?;
    Ok(Answer { status, is_last })
}
