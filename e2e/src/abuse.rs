//! Clients that want to keep everybody else out: they hold as many connections as they get, until they are told to stop.
//!
//! From one address they are one client to the gateway. To be other clients than the load they have to come from elsewhere, such
//! as a container of their own on the network `edge`.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};

use crate::client::Attempt;
use crate::end::Until;
use crate::log::Log;

/// Between two looks at all connections. The attack is its connections, not the processor time of the machine.
const PAUSE: Duration = Duration::from_millis(100);
const REQUEST: &str = "GET /healthz HTTP/1.1\r\nHost: shop\r\n\r\n";
/// Requests of a client that reads no answer: together more than the system keeps for it.
const UNREAD_REQUESTS: usize = 400;

#[derive(Debug, Args)]
pub(crate) struct Abuse {
    /// What the connections do.
    #[arg(long)]
    kind: Kind,
    /// How many are held at once; one that is closed is opened again.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=4096))]
    connections: u16,
    /// Where each connection that ended is written, as one JSON object a line, and all that are left at the end.
    #[arg(long)]
    log: PathBuf,
    #[command(flatten)]
    until: Until,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// One byte of a request, and nothing more.
    Heads,
    /// Many small requests, and no answer is read.
    Unread,
}

struct Held {
    stream: TcpStream,
    opened: Instant,
}

impl Abuse {
    pub(crate) fn run(&self, base_url: &str) -> Result<()> {
        let address = base_url.trim_end_matches('/').strip_prefix("http://").context("the base URL is not http")?;
        let (log, end) = (Log::create(&self.log)?, self.until.begin());
        let mut held: Vec<Option<Held>> = Vec::new();
        held.resize_with(self.connections.into(), || None);
        let mut opened = 0_u64;
        while !end.reached() {
            for slot in &mut held {
                if end.reached() {
                    break;
                }
                let Some(connection) = slot else {
                    *slot = self.open(address).ok();
                    opened += u64::from(slot.is_some());
                    continue;
                };
                if let Some(attempt) = self.ended(connection) {
                    log.write(self.name(), None, &attempt)?;
                    *slot = None;
                }
            }
            thread::sleep(PAUSE);
        }
        if opened == 0 {
            bail!("no connection to {address} was made");
        }
        let left = held.iter().flatten().count();
        eprintln!("{}: {opened} connections opened, {left} held at the end", self.name());
        Ok(())
    }

    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Heads => "abuse-heads",
            Kind::Unread => "abuse-unread",
        }
    }

    fn open(&self, address: &str) -> Result<Held> {
        let mut stream = TcpStream::connect(address)?;
        match self.kind {
            Kind::Heads => stream.write_all(b"G")?,
            Kind::Unread => {
                stream.set_nonblocking(true)?;
                // As much as is taken; the rest is not needed.
                let _ = stream.write(REQUEST.repeat(UNREAD_REQUESTS).as_bytes());
            }
        }
        stream.set_nonblocking(true)?;
        Ok(Held { stream, opened: Instant::now() })
    }

    /// How the connection ended; none while it has not. A client that reads nothing looks without taking.
    fn ended(&self, held: &mut Held) -> Option<Attempt> {
        let mut answer = [0; 64];
        let seen = match self.kind {
            Kind::Heads => held.stream.read(&mut answer),
            // Whether the other side has gone shows when something is sent.
            Kind::Unread => held.stream.write(b"G").map(|_| 1),
        };
        let status = match seen {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
            Ok(_) if matches!(self.kind, Kind::Unread) => return None,
            Ok(length) => {
                let text = String::from_utf8_lossy(&answer[..length]);
                text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
            }
            Err(_) => 0,
        };
        let milliseconds = u64::try_from(held.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        Some(Attempt { milliseconds, status, ..Attempt::default() })
    }
}
