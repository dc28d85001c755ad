//! Walks the journey of the mini shop against a base URL, as a customer, an administrator and an attacker would.
//!
//! One JSON object per request on standard output, one line for people on standard error; ends with 1 at the first step
//! that answers otherwise than it should.

mod client;
mod journey;
mod secrets;
mod token;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::client::Client;
use crate::secrets::Secrets;

/// Walk the journey of the mini shop.
#[derive(Debug, Parser)]
#[command(name = "mini-e2e", version)]
struct Arguments {
    /// Where the gateway answers, such as http://127.0.0.1:8080.
    #[arg(long)]
    base_url: String,
    /// An env file with ADMIN_USERNAME (default admin), ADMIN_PASSWORD and JWT_SIGNING_KEY.
    #[arg(long)]
    secrets: PathBuf,
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
    let secrets = Secrets::read(&arguments.secrets)?;
    let client = Client::new(&arguments.base_url);
    journey::walk(&client, &secrets)
}
