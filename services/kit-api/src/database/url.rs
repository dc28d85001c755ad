//! The address of the database.

use std::fmt;

use ::url::{Host, Url};
use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use mini_kit::contract::{Reason, Value};
use mini_kit::secret::refuse_placeholder;

const DEFAULT_PORT: u16 = 5432;

/// A Postgres database. It prints as `database at HOST:PORT`, without user information.
#[derive(Clone)]
pub struct DatabaseUrl {
    host: String,
    port: u16,
    options: PgConnectOptions,
}

impl DatabaseUrl {
    /// The options for a connection, with nothing logged about statements: they may hold values.
    #[must_use]
    pub fn options(&self) -> PgConnectOptions {
        self.options.clone()
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the database at {}:{}", self.host, self.port)
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "DatabaseUrl({self})")
    }
}

impl Value for DatabaseUrl {
    const TYPE: &'static str = "url";
    const SECRET: bool = true;

    /// Reads `postgres://USER:PASSWORD@HOST:PORT/DATABASE`. Every part goes into the options by itself, so that no part
    /// is left to what the library would take from elsewhere.
    fn parse(text: &str) -> Result<Self, Reason> {
        let url = Url::parse(text).map_err(|error| format!("is not a URL: {error}"))?;
        if !matches!(url.scheme(), "postgres" | "postgresql") {
            return Err("does not begin with postgres://".into());
        }
        let host = match url.host() {
            Some(Host::Domain(name)) if !name.is_empty() => decode(name)?,
            Some(Host::Ipv4(ip)) => ip.to_string(),
            Some(Host::Ipv6(ip)) => ip.to_string(),
            _ => return Err("names no host".into()),
        };
        let (user, password) = (decode(url.username())?, decode(url.password().unwrap_or_default())?);
        let database = decode(url.path().trim_start_matches('/'))?;
        if user.is_empty() || database.is_empty() {
            return Err("names no user or no database".into());
        }
        refuse_placeholder(&password).map_err(|reason| format!("has a password that {reason}"))?;
        check_parameters(&url)?;
        let port = url.port().unwrap_or(DEFAULT_PORT);
        let mut options = PgConnectOptions::new_without_pgpass()
            .host(&host)
            .port(port)
            .username(&user)
            .database(&database)
            .ssl_mode(PgSslMode::Disable)
            .disable_statement_logging();
        if !password.is_empty() {
            options = options.password(&password);
        }
        Ok(Self { host, port, options })
    }
}

/// Parameters that are not understood must not be passed over: somebody who asks for TLS would believe to have it.
fn check_parameters(url: &Url) -> Result<(), Reason> {
    for (name, value) in url.query_pairs() {
        match (name.as_ref(), value.as_ref()) {
            ("sslmode", "disable" | "allow" | "prefer") => {}
            ("sslmode", _) => {
                return Err(
                    "asks for TLS (sslmode), which this program does not have: the database stands on a private \
                            network"
                        .into(),
                );
            }
            _ => return Err("has parameters other than sslmode".into()),
        }
    }
    Ok(())
}

fn decode(part: &str) -> Result<String, Reason> {
    let bytes: Vec<u8> = percent_encoding::percent_decode_str(part).collect();
    String::from_utf8(bytes).map_err(|_| "has a part that is not valid UTF-8 after percent-decoding".into())
}
