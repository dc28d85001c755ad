//! A steady load below the rate limit, by clients that keep the one rule of a careful client: an order without an answer is
//! sent again under the same key until it has one.

use std::io::Write as _;
use std::net::TcpStream;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::{Value, json};

use crate::client::{Client, Step};
use crate::end::{End, Until};
use crate::journey::{log_in, text};
use crate::log::{Log, unix_milliseconds};
use crate::secrets::Secrets;

/// Clients that order; one more logs in and lists products. With the pauses they stay below 60 requests a second.
const CUSTOMERS: usize = 4;
const PAUSE: Duration = Duration::from_millis(100);
const RETRY_PAUSE: Duration = Duration::from_millis(250);
/// Every so many orders one is sent again although it was answered.
const REPEAT_EVERY: u64 = 5;
/// After the end of the load an open order is tried for this much longer.
const RESOLVE_LIMIT: Duration = Duration::from_secs(40);

#[derive(Debug, Args)]
pub(crate) struct Load {
    /// An env file with ADMIN_USERNAME (default admin), ADMIN_PASSWORD and JWT_SIGNING_KEY.
    #[arg(long)]
    secrets: PathBuf,
    /// Where each request is written, as one JSON object a line.
    #[arg(long)]
    log: PathBuf,
    #[command(flatten)]
    until: Until,
    /// What the idempotency keys begin with.
    #[arg(long)]
    prefix: String,
    /// Send each order once and hang up before the answer, then ask for it under the same key.
    #[arg(long)]
    leave: bool,
}

/// Who orders what.
struct Customer {
    token: String,
    body: Value,
}

impl Load {
    pub(crate) fn run(&self, client: &Client) -> Result<()> {
        let secrets = Secrets::read(&self.secrets)?;
        let log = Log::create(&self.log)?;
        let run = format!("{:x}", unix_milliseconds());
        let product = product(client, &secrets, &run)?;
        let customers = (0..CUSTOMERS).map(|number| customer(client, &run, number, &product));
        let customers = customers.collect::<Result<Vec<_>>>()?;
        let end = &self.until.begin();
        thread::scope(|scope| {
            let mut threads = vec![scope.spawn(|| self.look_around(client, &run, &log, end))];
            for (number, customer) in customers.iter().enumerate() {
                let log = &log;
                threads.push(scope.spawn(move || self.order(client, customer, number, log, end)));
            }
            for thread in threads {
                thread.join().unwrap_or_else(|_| bail!("a client panicked"))?;
            }
            Ok(())
        })
    }

    fn order(&self, client: &Client, customer: &Customer, number: usize, log: &Log, end: &End<'_>) -> Result<()> {
        for count in 1_u64.. {
            if end.reached() {
                break;
            }
            let key = format!("{}-{number}-{count}", self.prefix);
            let step =
                Step::post("order", "/orders", customer.body.clone()).token(&customer.token).idempotency_key(&key);
            if self.leave {
                // Whether a byte of it arrived is not known, and is the point.
                let _ = client.leave(&step);
            }
            if self.resolve(client, &step, &key, log, end)? && count.is_multiple_of(REPEAT_EVERY) {
                log.write("order", Some(&key), &client.attempt(&step))?;
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Sends an order until it is answered with 201. Gives whether it was.
    fn resolve(&self, client: &Client, step: &Step<'_>, key: &str, log: &Log, end: &End<'_>) -> Result<bool> {
        let mut give_up = None;
        loop {
            let attempt = client.attempt(step);
            log.write("order", Some(key), &attempt)?;
            if attempt.status == 201 {
                return Ok(true);
            }
            if give_up.is_none() && end.reached() {
                give_up = Some(Instant::now() + RESOLVE_LIMIT);
            }
            if end.orphaned() || give_up.is_some_and(|time| Instant::now() > time) {
                return Ok(false);
            }
            thread::sleep(RETRY_PAUSE);
        }
    }

    fn look_around(&self, client: &Client, run: &str, log: &Log, end: &End<'_>) -> Result<()> {
        let account = json!({ "username": format!("load-{run}-0"), "password": password(run) });
        while !end.reached() {
            log.write("log-in", None, &client.attempt(&Step::post("log in", "/users/login", account.clone())))?;
            log.write("list", None, &client.attempt(&Step::get("list", "/products?limit=1")))?;
            thread::sleep(PAUSE);
        }
        Ok(())
    }
}

fn password(run: &str) -> String {
    format!("load and order {run}")
}

fn product(client: &Client, secrets: &Secrets, run: &str) -> Result<String> {
    let admin = log_in(client, "log in as administrator", &secrets.admin_username, &secrets.admin_password)?;
    let product =
        json!({ "name": format!("Load {run}"), "description": "", "price": { "amount": 100, "currency": "EUR" } });
    text(&client.expect(201, &Step::post("create a product", "/products", product).token(&admin))?, "/id")
}

fn customer(client: &Client, run: &str, number: usize, product: &str) -> Result<Customer> {
    let (username, password) = (format!("load-{run}-{number}"), password(run));
    let account = json!({ "username": username, "password": password });
    client.expect(201, &Step::post("register", "/users/register", account))?;
    let token = log_in(client, "log in", &username, &password)?;
    Ok(Customer { token, body: json!({ "items": [{ "product_id": product, "quantity": 1 }] }) })
}

impl Client {
    /// Sends a step on a connection of its own and hangs up without reading.
    fn leave(&self, step: &Step<'_>) -> Result<()> {
        let address = self.base_url().strip_prefix("http://").context("the base URL is not http")?;
        let mut stream = TcpStream::connect(address)?;
        let (body, token) =
            (step.body.as_ref().map(ToString::to_string).unwrap_or_default(), step.token.unwrap_or_default());
        let key = step.idempotency_key.unwrap_or_default();
        write!(
            stream,
            "{} {} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nIdempotency-Key: {key}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            step.method,
            step.path,
            body.len()
        )?;
        Ok(())
    }
}
