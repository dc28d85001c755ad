//! Clients that want to keep everybody else out: they hold as many connections as they get, until they are told to stop.
//!
//! From one address they are one client to the gateway. To be other clients than the load they have to come from elsewhere, such
//! as a container of their own on the network `edge`.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};
use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::end::{End, Until};

/// Between two looks at all connections. The attack is its connections, not the processor time of the machine.
const PAUSE: Duration = Duration::from_millis(100);
/// So many of those that were closed are opened again at each look, for the same reason: until a client that reads nothing is stuck,
/// hundreds of its requests are answered.
const REOPENED_HEADS: usize = 50;
const REOPENED_UNREAD: usize = 1;
const REQUEST: &str = "GET /healthz HTTP/1.1\r\nHost: shop\r\n\r\n";
/// Requests that are sent at once by a client that reads no answer.
const UNREAD_REQUESTS: usize = 400;
/// The least that the system lets a client have for answers that it does not read: the rest stays with the gateway.
const RECEIVE_BUFFER_BYTES: usize = 4096;

#[derive(Debug, Args)]
pub(crate) struct Abuse {
    /// What the connections do.
    #[arg(long)]
    kind: Kind,
    /// How many are held at once; one that is closed is opened again.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=4096))]
    connections: u16,
    #[command(flatten)]
    until: Until,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Nothing at all, or one byte of a request and nothing more, in turns.
    Heads,
    /// Many small requests, and no answer is read.
    Unread,
}

struct Held {
    stream: TcpStream,
    /// Bytes of an unfinished request that have been sent.
    offset: usize,
    /// The other side takes nothing more.
    is_stuck: bool,
}

/// What became of the connections.
#[derive(Debug, Default)]
struct Tally {
    opened: u64,
    ended: u64,
    most_held: usize,
    most_stuck: usize,
}

impl Abuse {
    /// Prints `{"holding": N}` once every connection has been tried, and what became of them at the end.
    pub(crate) fn run(&self, base_url: &str) -> Result<()> {
        let address = own_address(base_url)?;
        let end = self.until.begin();
        let requests = REQUEST.repeat(UNREAD_REQUESTS + 1);
        let mut held: Vec<Option<Held>> = Vec::new();
        held.resize_with(self.connections.into(), || None);
        let mut tally = Tally::default();
        let mut look =
            |held: &mut [_], allowed| self.look(held, address, requests.as_bytes(), allowed, &mut tally, &end);
        look(&mut held, usize::MAX);
        println!("{}", json!({ "holding": held.iter().flatten().count() }));
        while !end.reached() {
            thread::sleep(PAUSE);
            look(&mut held, if self.kind == Kind::Heads { REOPENED_HEADS } else { REOPENED_UNREAD });
        }
        let Tally { opened, ended, most_held, most_stuck } = tally;
        println!("{}", json!({ "opened": opened, "ended": ended, "most_held": most_held, "most_stuck": most_stuck }));
        ensure!(opened > 0, "no connection to {address} was made");
        Ok(())
    }

    /// Looks once at every connection, and opens up to `allowed` that are missing.
    fn look(
        &self,
        held: &mut [Option<Held>],
        address: SocketAddr,
        requests: &[u8],
        allowed: usize,
        tally: &mut Tally,
        end: &End<'_>,
    ) {
        let mut left = allowed;
        for (number, slot) in held.iter_mut().enumerate() {
            if end.reached() {
                return;
            }
            if slot.is_none() && left > 0 {
                left -= 1;
                *slot = self.open(address, number).ok();
                tally.opened += u64::from(slot.is_some());
            }
            if slot.as_mut().is_some_and(|connection| self.has_ended(connection, requests)) {
                *slot = None;
                tally.ended += 1;
            }
        }
        tally.most_held = tally.most_held.max(held.iter().flatten().count());
        tally.most_stuck = tally.most_stuck.max(held.iter().flatten().filter(|connection| connection.is_stuck).count());
    }

    fn open(&self, address: SocketAddr, number: usize) -> Result<Held> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        if self.kind == Kind::Unread {
            socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
        }
        socket.connect(&address.into())?;
        let mut stream = TcpStream::from(socket);
        if self.kind == Kind::Heads && number % 2 == 1 {
            stream.write_all(b"G")?;
        }
        stream.set_nonblocking(true)?;
        Ok(Held { stream, offset: 0, is_stuck: false })
    }

    /// Whether the other side has closed it. A client that reads nothing learns that when it sends.
    fn has_ended(&self, held: &mut Held, requests: &[u8]) -> bool {
        let seen = match self.kind {
            Kind::Heads => held.stream.read(&mut [0; 512]),
            Kind::Unread => held.stream.write(&requests[held.offset..]),
        };
        match (seen, self.kind) {
            (Err(error), _) if error.kind() == ErrorKind::WouldBlock => {
                held.is_stuck = self.kind == Kind::Unread;
                false
            }
            (Ok(written), Kind::Unread) => {
                held.offset = (held.offset + written) % REQUEST.len();
                held.is_stuck = false;
                false
            }
            // Whatever is said to half a head is the end of its connection.
            (Ok(_), Kind::Heads) | (Err(_), _) => true,
        }
    }
}

/// Only what runs on this machine or in a network of its containers is put under pressure.
fn own_address(base_url: &str) -> Result<SocketAddr> {
    let authority = base_url.trim_end_matches('/').strip_prefix("http://").context("the base URL is not http")?;
    let mut addresses = authority.to_socket_addrs().with_context(|| format!("look up {authority}"))?;
    let address = addresses.next().with_context(|| format!("{authority} has no address"))?;
    let is_own = match address.ip() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local(),
    };
    ensure!(is_own, "{address} is neither this machine nor a container: others are not put under pressure");
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_and_containers_are_put_under_pressure() {
        for own in ["http://127.0.0.1:8080", "http://[::1]:80/", "http://172.18.0.2:8080", "http://[fd00::1]:80"] {
            own_address(own).unwrap();
        }
        for other in ["http://192.0.2.1:80", "http://[2001:db8::1]:80", "https://127.0.0.1:443", "http://127.0.0.1"] {
            own_address(other).unwrap_err();
        }
    }
}
