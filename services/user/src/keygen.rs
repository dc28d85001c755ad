//! The `keygen` subcommand: a new pair of keys, as lines for an env file.

use std::io::Write;

use mini_kit::secret::ExposeSecret as _;
use mini_kit::{Command, Failure};
use mini_kit_api::token::SigningKey;

pub(crate) const COMMAND: Command =
    Command { name: "keygen", about: "make a pair of keys: prints JWT_SIGNING_KEY=… and JWT_PUBLIC_KEY=…", run };

fn run(out: &mut dyn Write) -> Result<(), Failure> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| Failure::caused("the system gives no random bytes", error))?;
    let key = SigningKey::from_seed(&seed);
    let (seed, public_key) = (key.seed_base64(), key.public_key().base64());
    writeln!(out, "JWT_SIGNING_KEY={}\nJWT_PUBLIC_KEY={public_key}", seed.expose_secret())
        .map_err(|error| Failure::caused("cannot write the keys", error))
}
