//! More requests at once than one client may send.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::client::{Client, Step};
use crate::log::Log;

const THREADS: usize = 8;
/// More than any machine is likely to answer within the rate limit's second.
const MOST_REQUESTS: usize = 5_000;
const ENOUGH_REFUSALS: usize = 50;
/// A named waiting time beyond this is not waited for.
const MOST_WAIT_SECONDS: u64 = 10;

pub(crate) fn run(client: &Client, log: &Path) -> Result<()> {
    let log = Log::create(log)?;
    let (sent, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let step = Step::get("list", "/products?limit=1");
    let mut wait_seconds = 0;
    thread::scope(|scope| {
        let ask = || -> Result<u64> {
            let mut wait_seconds = 0;
            while refused.load(Ordering::Relaxed) < ENOUGH_REFUSALS
                && sent.fetch_add(1, Ordering::Relaxed) < MOST_REQUESTS
            {
                let attempt = client.attempt(&step);
                log.write("burst", None, &attempt)?;
                if attempt.status == 429 {
                    refused.fetch_add(1, Ordering::Relaxed);
                    wait_seconds = attempt.retry_after_seconds.unwrap_or_default();
                }
            }
            Ok(wait_seconds)
        };
        for thread in (0..THREADS).map(|_| scope.spawn(ask)).collect::<Vec<_>>() {
            wait_seconds = wait_seconds.max(thread.join().unwrap_or_else(|_| bail!("a client panicked"))?);
        }
        Ok::<_, anyhow::Error>(())
    })?;
    // What the answers themselves ask for.
    thread::sleep(Duration::from_secs(wait_seconds.min(MOST_WAIT_SECONDS)));
    log.write("after-burst", None, &client.attempt(&step))
}
