//! A shop's day in a few seconds: lists, products, accounts and orders in a fixed mix, over kept connections.
//!
//! Closed: each connection asks again as soon as it has its answer. Open (`--rate`): requests are due at fixed times whatever the
//! answers before them take, and a latency counts from the time at which its request was due, not from when a connection was free
//! for it; so an answer that holds everything up counts for all the requests that waited behind it.

use std::fs::OpenOptions;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::client::{Client, Step};
use crate::journey::{log_in, text};
use crate::log::unix_milliseconds;
use crate::pressure::{percentile, this_machine};
use crate::secrets::Secrets;

const PRODUCTS: usize = 20;
const READ_BYTES: usize = 64 * 1024;
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// What each connection asks for, again and again, each beginning at another place.
const MIX: [Kind; 10] = [
    Kind::List,
    Kind::Product,
    Kind::Order,
    Kind::List,
    Kind::Account,
    Kind::Product,
    Kind::List,
    Kind::Orders,
    Kind::Order,
    Kind::List,
];

#[derive(Debug, Clone, Copy)]
enum Kind {
    List,
    Product,
    Account,
    Order,
    Orders,
}

#[derive(Debug, Args)]
pub(crate) struct Prepare {
    /// An env file with ADMIN_USERNAME (default admin), ADMIN_PASSWORD and JWT_SIGNING_KEY.
    #[arg(long)]
    secrets: PathBuf,
    /// Where a customer's token and the products are written for `mixed`.
    #[arg(long)]
    state: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Mixed {
    /// What `prepare` wrote.
    #[arg(long)]
    state: PathBuf,
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    connections: u16,
    /// For so long the answers count.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    milliseconds: u64,
    /// For so long before that they do not.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(0..=60_000))]
    warm_up_milliseconds: u64,
    /// Requests a second that are due whatever the answers take; without it each connection asks as often as it is answered.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: Option<u32>,
}

/// What `prepare` hands to `mixed`.
struct State {
    run: String,
    token: String,
    products: Vec<String>,
}

impl Prepare {
    /// Makes a customer and a few products.
    pub(crate) fn run(&self, client: &Client) -> Result<()> {
        let secrets = Secrets::read(&self.secrets)?;
        let run = format!("{:x}", unix_milliseconds());
        let admin = log_in(client, "log in as administrator", &secrets.admin_username, &secrets.admin_password)?;
        let product = |number: usize| {
            let price = json!({ "amount": 100 + number, "currency": "EUR" });
            let product = json!({ "name": format!("Load {run} {number}"), "description": "Green, loose leaf, 100 g", "price": price });
            text(&client.expect(201, &Step::post("create a product", "/products", product).token(&admin))?, "/id")
        };
        let products = (0..PRODUCTS).map(product).collect::<Result<Vec<_>>>()?;
        let (username, password) = (format!("mixed-{run}"), format!("lists and orders {run}"));
        let account = json!({ "username": username, "password": password });
        client.expect(201, &Step::post("register", "/users/register", account))?;
        let token = log_in(client, "log in", &username, &password)?;
        let state = json!({ "run": run, "token": token, "products": products });
        // It holds a token.
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&self.state);
        let mut file = file.with_context(|| format!("create {}", self.state.display()))?;
        file.write_all(state.to_string().as_bytes()).with_context(|| format!("write {}", self.state.display()))
    }
}

impl State {
    fn read(file: &Path) -> Result<Self> {
        let read = || format!("read {}, which `prepare` writes", file.display());
        let state: Value = serde_json::from_slice(&std::fs::read(file).with_context(read)?).with_context(read)?;
        let products = state["products"].as_array().into_iter().flatten();
        let products: Vec<_> = products.filter_map(|id| Some(id.as_str()?.to_owned())).collect();
        ensure!(!products.is_empty(), "{} names no product", file.display());
        Ok(Self { run: text(&state, "/run")?, token: text(&state, "/token")?, products })
    }
}

impl Mixed {
    /// Prints one JSON object: how many requests were answered as they should be, how many were not, and what they took.
    pub(crate) fn run(&self, base_url: &str) -> Result<()> {
        let address = this_machine(base_url)?;
        let state = State::read(&self.state)?;
        let begin = Instant::now();
        let counted_from = begin + Duration::from_millis(self.warm_up_milliseconds);
        let end = counted_from + Duration::from_millis(self.milliseconds);
        let schedule = Schedule { begin, end, rate: self.rate, next: AtomicU64::new(0) };
        let (state, schedule) = (&state, &schedule);
        let parts = thread::scope(|scope| {
            let ask = |number: u16| {
                move || Customer { address, state, number, counted_from, tally: Tally::default() }.ask_until(schedule)
            };
            let threads: Vec<_> = (0..self.connections).map(|number| scope.spawn(ask(number))).collect();
            let join =
                |thread: thread::ScopedJoinHandle<'_, _>| thread.join().unwrap_or_else(|_| bail!("a client panicked"));
            threads.into_iter().map(join).collect::<Result<Vec<Tally>>>()
        })?;
        let sum = |of: fn(&Tally) -> usize| parts.iter().map(of).sum::<usize>();
        let (failed, warm_up) = (sum(|part| part.failed), sum(|part| part.warm_up));
        let mut micros: Vec<u32> = parts.into_iter().flat_map(|part| part.micros).collect();
        micros.sort_unstable();
        let at = |share: f64| percentile(&micros, share);
        let seconds = counted_from.elapsed().as_secs_f64();
        println!(
            "{}",
            json!({
                "requests": micros.len(), "failed": failed, "warm_up_requests": warm_up, "seconds": seconds,
                "p50_us": at(0.5), "p95_us": at(0.95), "p99_us": at(0.99), "p999_us": at(0.999),
            })
        );
        Ok(())
    }
}

/// When the next request is due; shared by all connections.
struct Schedule {
    begin: Instant,
    end: Instant,
    rate: Option<u32>,
    next: AtomicU64,
}

impl Schedule {
    /// Waits until a request is due and gives the time from which its latency counts; none when the time is over.
    fn next(&self) -> Option<Instant> {
        let now = Instant::now();
        let Some(rate) = self.rate else { return (now < self.end).then_some(now) };
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let due = self.begin + Duration::from_secs_f64(number as f64 / f64::from(rate));
        if due >= self.end {
            return None;
        }
        thread::sleep(due.saturating_duration_since(now));
        Some(due)
    }
}

#[derive(Debug, Default)]
struct Tally {
    micros: Vec<u32>,
    failed: usize,
    warm_up: usize,
}

/// One connection.
struct Customer<'a> {
    address: SocketAddr,
    state: &'a State,
    number: u16,
    counted_from: Instant,
    tally: Tally,
}

impl Customer<'_> {
    fn ask_until(mut self, schedule: &Schedule) -> Result<Tally> {
        let mut stream = None;
        let mut buffer = vec![0; READ_BYTES];
        let mut count = usize::from(self.number);
        while let Some(due) = schedule.next() {
            let (request, expected) = self.request(MIX[count % MIX.len()], count);
            count += 1;
            let status = match exchange(&mut stream, self.address, &request, &mut buffer) {
                Ok(status) => status,
                Err(_) => {
                    stream = None;
                    0
                }
            };
            let now = Instant::now();
            if status != expected {
                self.tally.failed += 1;
            } else if due < self.counted_from {
                self.tally.warm_up += 1;
            } else {
                self.tally.micros.push(u32::try_from(now.duration_since(due).as_micros()).unwrap_or(u32::MAX));
            }
        }
        Ok(self.tally)
    }

    /// The bytes of a request, and the status that it has to be answered with.
    fn request(&self, kind: Kind, count: usize) -> (Vec<u8>, u16) {
        let product = &self.state.products[count % self.state.products.len()];
        let body = match kind {
            Kind::Order => json!({ "items": [{ "product_id": product, "quantity": 1 + count % 3 }] }).to_string(),
            _ => String::new(),
        };
        let (method, path, expected) = match kind {
            Kind::List => ("GET", "/products?limit=20".to_owned(), 200),
            Kind::Product => ("GET", format!("/products/{product}"), 200),
            Kind::Account => ("GET", "/users/me".to_owned(), 200),
            Kind::Order => ("POST", "/orders".to_owned(), 201),
            Kind::Orders => ("GET", "/orders?limit=10".to_owned(), 200),
        };
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        if !matches!(kind, Kind::List | Kind::Product) {
            head += &format!("Authorization: Bearer {}\r\n", self.state.token);
        }
        if matches!(kind, Kind::Order) {
            // Of its own: it would otherwise be an answer to an earlier order.
            let key = format!("mixed-{}-{:x}-{}-{count}", self.state.run, unix_milliseconds(), self.number);
            head += &format!(
                "Idempotency-Key: {key}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n",
                body.len()
            );
        }
        (format!("{head}\r\n{body}").into_bytes(), expected)
    }
}

/// Sends a request on the connection, a new one if there is none, and gives the status of its answer.
fn exchange(kept: &mut Option<TcpStream>, address: SocketAddr, request: &[u8], buffer: &mut [u8]) -> io::Result<u16> {
    if kept.is_none() {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        *kept = Some(stream);
    }
    let Some(stream) = kept.as_mut() else { return Err(io::ErrorKind::NotConnected.into()) };
    stream.write_all(request)?;
    let mut answer = Answer::default();
    loop {
        match stream.read(buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count if answer.take(&buffer[..count])? => return Ok(answer.status()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn state() -> State {
        State { run: "1".into(), token: "t".into(), products: vec!["p".into(), "q".into()] }
    }

    #[test]
    fn every_order_has_a_key_of_its_own_and_a_body_as_long_as_it_says() {
        let (state, address) = (state(), "127.0.0.1:1".parse().unwrap());
        let customer =
            Customer { address, state: &state, number: 3, counted_from: Instant::now(), tally: Tally::default() };
        let text = |count| String::from_utf8(customer.request(Kind::Order, count).0).unwrap();
        let (one, other) = (text(1), text(2));
        let key = |text: &str| text.lines().find(|line| line.starts_with("Idempotency-Key")).unwrap().to_owned();
        assert_ne!(key(&one), key(&other));
        let (head, body) = one.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())) && head.contains("Bearer t"), "{one}");
    }

    /// A server that takes a while for its first answer: in an open loop those that were due meanwhile have waited, too.
    #[test]
    fn in_an_open_loop_a_latency_counts_from_when_the_request_was_due() {
        let slow = Duration::from_millis(200);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut buffer = [0; 4096];
            thread::sleep(slow);
            while stream.read(&mut buffer).is_ok_and(|count| count > 0) {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
            }
        });
        let state = state();
        let now = Instant::now();
        let end = now + Duration::from_millis(100);
        let schedule = Schedule { begin: now, end, rate: Some(100), next: AtomicU64::new(0) };
        let customer = Customer { address, state: &state, number: 0, counted_from: now, tally: Tally::default() };
        let tally = customer.ask_until(&schedule).unwrap();
        // Ten were due within 100 ms, and none was answered before 200 ms had gone; orders are answered with 200 here, not 201.
        assert_eq!((tally.micros.len(), tally.failed), (8, 2));
        assert!(tally.micros.iter().all(|micros| *micros >= 100_000), "{:?}", tally.micros);
        drop(server);
    }
}
