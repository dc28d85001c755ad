//! Clients that behave, and note how long the gateway takes for a probe and for a request, each on a connection of its own: what
//! everybody else notices of an attack.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

use crate::client::{Client, Step};
use crate::end::Until;
use crate::log::Log;

/// With the load, from the same address, they stay below the gateway's rate limit.
const PAUSE: Duration = Duration::from_millis(35);
const WATCHED: [(&str, &str); 2] = [("probe", "/healthz"), ("request", "/products?limit=1")];

#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Where each request is written, as one JSON object a line.
    #[arg(long)]
    log: PathBuf,
    #[command(flatten)]
    until: Until,
}

impl Watch {
    pub(crate) fn run(&self, base_url: &str) -> Result<()> {
        let (log, end) = (&Log::create(&self.log)?, &self.until.begin());
        thread::scope(|scope| {
            let watch = |(kind, path): (&'static str, &'static str)| {
                scope.spawn(move || {
                    while !end.reached() {
                        // A client of its own keeps no connection.
                        log.write(kind, None, &Client::new(base_url).attempt(&Step::get(kind, path)))?;
                        thread::sleep(PAUSE);
                    }
                    Ok(())
                })
            };
            let threads = WATCHED.map(watch);
            threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| bail!("a client panicked")))
        })
    }
}
