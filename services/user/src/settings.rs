//! The variables of the service.

use std::num::NonZeroUsize;
use std::time::Duration;

use mini_kit::contract::{Contract, Loader, Reason, Value};
use mini_kit::types::Integer;
use mini_kit_api::database;
use mini_kit_api::token::{Audience, PublicKey, SigningKey};

use crate::attempts::AttemptLimits;
use crate::credentials::{Credentials, Password, Username};

/// What the service needs beside what every service needs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `DATABASE_URL` and its relatives.
    pub database: database::Settings,
    /// `JWT_SIGNING_KEY`.
    pub signing_key: SigningKey,
    /// `JWT_PUBLIC_KEY_PREVIOUS`.
    pub previous_public_key: Option<PublicKey>,
    /// `JWT_ISSUER` and `JWT_AUDIENCE`.
    pub audience: Audience,
    /// `TOKEN_LIFETIME`.
    pub token_lifetime_seconds: i64,
    /// `PASSWORD_HASH_CONCURRENCY`.
    pub password_hash_concurrency: usize,
    /// `PASSWORD_QUEUE_PER_CLIENT`.
    pub password_queue_per_client: usize,
    /// `LOGIN_*`.
    pub attempt_limits: AttemptLimits,
    /// `ADMIN_USERNAME` and `ADMIN_PASSWORD`.
    pub administrator: Option<Credentials>,
}

impl Settings {
    /// Declares the variables.
    pub fn declare(contract: &mut Contract) -> Loader<Self> {
        let database = database::Settings::declare(contract);
        let signing_key = contract.required(
            "JWT_SIGNING_KEY",
            "The seed of the Ed25519 key that signs tokens; the subcommand `keygen` makes one.",
        );
        let previous_public_key = PublicKey::declare_previous(contract);
        let audience = Audience::declare(contract);
        let token_lifetime = contract.with_default::<TokenLifetime>(
            "TOKEN_LIFETIME",
            "15m",
            "How long a token is valid, from 1s to 24h.",
        );
        let concurrency = contract.with_default::<Integer<1, 64>>(
            "PASSWORD_HASH_CONCURRENCY",
            "2",
            "The most passwords that are hashed at once; each takes 19 MiB of memory and one core meanwhile.",
        );
        let queue_per_client = contract.with_default::<Integer<0, 1000>>(
            "PASSWORD_QUEUE_PER_CLIENT",
            "16",
            "The most log-ins and registrations of one client that wait while one of them is worked on; more get 429.",
        );
        let attempt_limits = declare_attempts(contract);
        let admin_username = contract.optional::<Username>(
            "ADMIN_USERNAME",
            "The name of an administrator to make at the start; together with ADMIN_PASSWORD.",
        );
        let admin_password = contract.optional::<Password>(
            "ADMIN_PASSWORD",
            "The password of that administrator; changing it replaces the old password.",
        );
        contract.together(&admin_username, &admin_password);
        Box::new(move |values| Self {
            database: database(values),
            signing_key: values.take(signing_key),
            previous_public_key: values.take(previous_public_key),
            audience: audience(values),
            token_lifetime_seconds: values.take(token_lifetime).seconds,
            password_hash_concurrency: values.take(concurrency).get() as usize,
            password_queue_per_client: values.take(queue_per_client).get() as usize,
            attempt_limits: attempt_limits(values),
            administrator: values
                .take(admin_username)
                .zip(values.take(admin_password))
                .map(|(username, password)| Credentials { username, password }),
        })
    }
}

fn declare_attempts(contract: &mut Contract) -> Loader<AttemptLimits> {
    let per_account = contract.with_default::<Integer<1, 1_000_000>>(
        "LOGIN_FAILURES_PER_ACCOUNT",
        "100",
        "Failed log-ins to one account within LOGIN_FAILURE_WINDOW, whoever tries; more attempts get 429.",
    );
    let per_client = contract.with_default::<Integer<1, 1_000_000>>(
        "LOGIN_FAILURES_PER_CLIENT",
        "20",
        "Failed log-ins of one client within LOGIN_FAILURE_WINDOW; fewer than per account, or one client could lock an account.",
    );
    let window = contract.with_default::<Duration>(
        "LOGIN_FAILURE_WINDOW",
        "15m",
        "The time in which a full count of failed log-ins runs down to nothing, evenly.",
    );
    let max_remembered = contract.with_default::<Integer<1, 10_000_000>>(
        "LOGIN_MAX_REMEMBERED",
        "65536",
        "Accounts, and clients, whose failed log-ins are remembered, in about 100 bytes each; the least recent one makes room.",
    );
    // The contract refuses zero, so the lower bound here only satisfies the type.
    Box::new(move |values| AttemptLimits {
        per_account: values.take(per_account).get(),
        per_client: values.take(per_client).get(),
        window: values.take(window),
        max_remembered: NonZeroUsize::MIN.saturating_add(values.take(max_remembered).get() as usize - 1),
    })
}

/// A duration that makes sense for a token. Tokens cannot be called back, so a long-lived one is a mistake.
struct TokenLifetime {
    seconds: i64,
}

impl Value for TokenLifetime {
    const TYPE: &'static str = Duration::TYPE;

    fn parse(text: &str) -> Result<Self, Reason> {
        const LIMIT_SECONDS: i64 = 24 * 3600;
        let seconds = i64::try_from(Duration::parse(text)?.as_secs()).unwrap_or(i64::MAX);
        if (1..=LIMIT_SECONDS).contains(&seconds) { Ok(Self { seconds }) } else { Err("is not from 1s to 24h".into()) }
    }
}
