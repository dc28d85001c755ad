//! As many requests as fit into a given time, over a fixed number of connections: the same request again and again, each sent
//! when the answer before it is complete.
//!
//! It shares the processor with what it measures, so it does as little as it can: one event loop a thread, the request made
//! once, and of an answer only the status, the length and the end are looked at.

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use serde_json::json;

use crate::answer::Answer;
use crate::pressure::{percentile, this_machine};

const EVENTS: usize = 256;
const READ_BYTES: usize = 256 * 1024;
/// How long an answer may be waited for once the time is over.
const LAST_ANSWER: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(crate) struct Throughput {
    /// What is asked for.
    #[arg(long, default_value = "/products?limit=1")]
    path: String,
    /// Send a POST with a body of this many bytes.
    #[arg(long, value_name = "BYTES")]
    post: Option<usize>,
    /// A new connection for each request.
    #[arg(long)]
    new_connections: bool,
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    connections: u16,
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: u16,
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    milliseconds: u64,
    /// End after this many requests, at the latest after --milliseconds.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    requests: Option<u32>,
}

impl Throughput {
    /// Prints one JSON object: how many requests had an answer with status 200, how many had not, and what they took.
    pub(crate) fn run(&self, base_url: &str) -> Result<()> {
        let address = this_machine(base_url)?;
        let request = self.request(address);
        let limit = Duration::from_millis(self.milliseconds);
        let started = Instant::now();
        let parts = thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads)
                .map(|thread| {
                    let (thread, threads) = (u32::from(thread), u32::from(self.threads));
                    let share = |of: u32| of / threads + u32::from(thread < of % threads);
                    let most = self.requests.map_or(usize::MAX, |requests| share(requests) as usize);
                    let connections = (share(self.connections.into()) as usize).min(most);
                    let request = request.as_slice();
                    scope.spawn(move || {
                        let left = most - connections;
                        Client::new(address, request, self.new_connections, started + limit, left)?.work(connections)
                    })
                })
                .collect();
            let join =
                |thread: thread::ScopedJoinHandle<'_, _>| thread.join().unwrap_or_else(|_| bail!("a client panicked"));
            threads.into_iter().map(join).collect::<Result<Vec<Tally>>>()
        })?;
        let seconds = started.elapsed().min(limit).as_secs_f64();
        let failed: usize = parts.iter().map(|part| part.failed).sum();
        let mut micros: Vec<u32> = parts.into_iter().flat_map(|part| part.micros).collect();
        micros.sort_unstable();
        let at = |share: f64| percentile(&micros, share);
        println!(
            "{}",
            json!({ "requests": micros.len(), "failed": failed, "seconds": seconds, "p50_us": at(0.5), "p99_us": at(0.99) })
        );
        Ok(())
    }

    fn request(&self, address: SocketAddr) -> Vec<u8> {
        let method = if self.post.is_some() { "POST" } else { "GET" };
        let close = if self.new_connections { "Connection: close\r\n" } else { "" };
        let length = self.post.map(|bytes| format!("Content-Type: application/json\r\nContent-Length: {bytes}\r\n"));
        let length = length.unwrap_or_default();
        let head = format!("{method} {} HTTP/1.1\r\nHost: {address}\r\n{close}{length}\r\n", self.path);
        let mut request = head.into_bytes();
        request.resize(request.len() + self.post.unwrap_or_default(), b'x');
        request
    }
}

#[derive(Debug, Default)]
struct Tally {
    micros: Vec<u32>,
    failed: usize,
}

/// What one thread does.
struct Client<'a> {
    address: SocketAddr,
    request: &'a [u8],
    new_connections: bool,
    end: Instant,
    /// How many requests may still be begun, beside the first of each connection.
    left: usize,
    poll: Poll,
    buffer: Vec<u8>,
    tally: Tally,
}

struct Connection {
    stream: TcpStream,
    begun: Instant,
    written: usize,
    answer: Answer,
}

impl<'a> Client<'a> {
    fn new(address: SocketAddr, request: &'a [u8], new_connections: bool, end: Instant, left: usize) -> Result<Self> {
        let (poll, buffer) = (Poll::new()?, vec![0; READ_BYTES]);
        Ok(Self { address, request, new_connections, end, left, poll, buffer, tally: Tally::default() })
    }

    fn work(mut self, connections: usize) -> Result<Tally> {
        let mut open = (0..connections)
            .map(|number| self.connect(Token(number)).map(Some))
            .collect::<Result<Vec<Option<Connection>>>>()?;
        let mut events = Events::with_capacity(EVENTS);
        while open.iter().any(Option::is_some) {
            let now = Instant::now();
            if now > self.end + LAST_ANSWER {
                self.tally.failed += open.iter().flatten().count();
                break;
            }
            self.poll.poll(&mut events, Some(LAST_ANSWER))?;
            for event in &events {
                let Token(number) = event.token();
                let Some(mut connection) = open[number].take() else { continue };
                open[number] = match self.advance(&mut connection) {
                    Ok(Next::Wait) => Some(connection),
                    Ok(Next::Over) => None,
                    Ok(Next::Connect) => Some(self.connect(Token(number))?),
                    Err(_) => {
                        self.tally.failed += 1;
                        if self.is_over(Instant::now()) { None } else { Some(self.connect(Token(number))?) }
                    }
                };
            }
        }
        Ok(self.tally)
    }

    /// Whether no further request is begun; otherwise one is.
    fn is_over(&mut self, now: Instant) -> bool {
        let is_over = now >= self.end || self.left == 0;
        self.left = self.left.saturating_sub(1);
        is_over
    }

    fn connect(&self, token: Token) -> Result<Connection> {
        let begun = Instant::now();
        let mut stream = TcpStream::connect(self.address).with_context(|| format!("connect to {}", self.address))?;
        self.poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Connection { stream, begun, written: 0, answer: Answer::default() })
    }

    /// Sends and reads what can be sent and read without waiting. Events come once for each change, so whatever is not used up
    /// here has to be asked for again.
    fn advance(&mut self, connection: &mut Connection) -> io::Result<Next> {
        loop {
            if connection.written == 0 && connection.stream.take_error()?.is_some() {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            if !send(connection, self.request)? {
                return Ok(Next::Wait);
            }
            let count = match connection.stream.read(&mut self.buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Next::Wait),
                Err(error) => return Err(error),
            };
            if !connection.answer.take(&self.buffer[..count])? {
                // Less than there was room for: the next bytes are a new event.
                if count < self.buffer.len() {
                    return Ok(Next::Wait);
                }
                continue;
            }
            let now = Instant::now();
            if connection.answer.status() == 200 {
                let micros = now.duration_since(connection.begun).as_micros();
                self.tally.micros.push(u32::try_from(micros).unwrap_or(u32::MAX));
            } else {
                self.tally.failed += 1;
            }
            if self.is_over(now) {
                return Ok(Next::Over);
            }
            if self.new_connections {
                return Ok(Next::Connect);
            }
            (connection.begun, connection.written, connection.answer) = (now, 0, Answer::default());
            // Nothing can have come before this is sent.
            send(connection, self.request)?;
            return Ok(Next::Wait);
        }
    }
}

enum Next {
    Wait,
    Connect,
    Over,
}

/// Whether all of the request is on its way.
fn send(connection: &mut Connection, request: &[u8]) -> io::Result<bool> {
    while connection.written < request.len() {
        match connection.stream.write(&request[connection.written..]) {
            Ok(count) => connection.written += count,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected) => {
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}
