//! Talks to a mini shop at a base URL as its clients would: the journey, a load with a log, a burst, kept
//! connections, clients that are slow or mean harm, as many requests as fit into a given time, and a mix of them.
//!
//! The journey prints one JSON object per request on standard output and one line for people on standard error, and ends with
//! 1 at the first step that answers otherwise than it should. The others write each request into a log and judge nothing.

mod abuse;
mod answer;
mod burst;
mod client;
mod end;
mod journey;
mod kept;
mod load;
mod log;
mod mixed;
mod pressure;
mod secrets;
mod slow;
mod throughput;
mod token;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::client::Client;
use crate::secrets::Secrets;

/// Be a client of the mini shop.
#[derive(Debug, Parser)]
#[command(name = "mini-e2e", version)]
struct Arguments {
    /// Where the gateway answers, such as http://127.0.0.1:8080.
    #[arg(long, global = true, default_value = "http://127.0.0.1:8080")]
    base_url: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Walk the journey: makes users, a product and an order.
    Journey {
        /// An env file with ADMIN_USERNAME (default admin), ADMIN_PASSWORD and JWT_SIGNING_KEY.
        #[arg(long, required_unless_present = "read_only")]
        secrets: Option<PathBuf>,
        /// Only what changes nothing and needs no account.
        #[arg(long, conflicts_with = "secrets")]
        read_only: bool,
    },
    /// Place orders, log in and list products until a file appears; every order is tried until it has its 201.
    Load(load::Load),
    /// Ask as fast as possible until the rate limit answers, then once more after the time that it names.
    Burst {
        /// Where each request is written, as one JSON object a line.
        #[arg(long)]
        log: PathBuf,
    },
    /// Hold connections that send half a head, or that read no answer, until a file appears; only of this machine or a container.
    Abuse(abuse::Abuse),
    /// Ask on kept connections until a file appears, and note each request that a roll-out loses.
    Kept(kept::Kept),
    /// Note how long a probe and a request take, each on a connection of its own, until a file appears.
    Watch(watch::Watch),
    /// Open connections that send their request a byte at a time, and wait until each is closed.
    Slow {
        /// Where each connection is written, as one JSON object a line.
        #[arg(long)]
        log: PathBuf,
    },
    /// Send the same request as often as possible for a given time, to this machine only, and print what the answers took.
    Throughput(throughput::Throughput),
    /// Make a customer and a few products for `mixed`.
    Prepare(mixed::Prepare),
    /// Send a mix of requests for a given time, to this machine only, and print what the answers took.
    Mixed(mixed::Mixed),
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let client = Client::new(&arguments.base_url);
    match &arguments.command {
        Command::Journey { secrets: Some(secrets), .. } => journey::walk(&client, &Secrets::read(secrets)?),
        Command::Journey { secrets: None, .. } => journey::look(&client),
        Command::Load(load) => load.run(&client),
        Command::Burst { log } => burst::run(&client, log),
        Command::Abuse(abuse) => abuse.run(&arguments.base_url),
        Command::Kept(kept) => kept.run(&arguments.base_url),
        Command::Watch(watch) => watch.run(&arguments.base_url),
        Command::Slow { log } => slow::run(&arguments.base_url, log),
        Command::Throughput(throughput) => throughput.run(&arguments.base_url),
        Command::Prepare(prepare) => prepare.run(&client),
        Command::Mixed(mixed) => mixed.run(&arguments.base_url),
    }
}
