//! Hashing passwords with Argon2id (RFC 9106).

use std::sync::Arc;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Block, Params, Version};
use mini_kit::secret::{ExposeSecret as _, SecretString};
use tokio::sync::Semaphore;

/// 19 MiB, two passes, one lane: the least that the OWASP Password Storage Cheat Sheet asks of Argon2id. The library's
/// default is the same today; it is spelt out because stored hashes and the memory limit of the container follow from it.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;

/// How much memory is asked for, in blocks of 1 KiB; only what is used ever becomes real.
///
/// The C library keeps freed memory for later once it has seen a block of that size, unless the block is above 32 MiB:
/// such a block always goes back to the system. Without this an instance would stay 19 MiB larger for each hash that
/// ever ran at the same time as others.
const RESERVED_BLOCKS: usize = 33 * 1024;

/// Why a password could not be hashed or compared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("hashing failed: {0}")]
    Argon2(#[from] argon2::Error),
    #[error("the stored hash is not one of ours")]
    Stored,
    #[error("no random bytes: {0}")]
    Random(#[from] getrandom::Error),
    #[error("the computation was cut short: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// Hashes passwords, a limited number at once, away from the threads that serve requests.
#[derive(Clone)]
pub(crate) struct Hasher {
    permits: Arc<Semaphore>,
}

impl Hasher {
    pub(crate) fn new(concurrency: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(concurrency)) }
    }

    /// The hash of a new password, as a PHC string.
    pub(crate) async fn hash(&self, password: SecretString) -> Result<String, Error> {
        let mut salt = [0; SALT_BYTES];
        getrandom::fill(&mut salt)?;
        self.compute(move || {
            let hash = argon2id(&password, &salt, &parameters())?;
            Ok(stored_form(&salt, hash))
        })
        .await
    }

    /// Whether `password` is the one that `stored` was made from. For an unknown user `stored` is `None`: then the same
    /// work is done, so that the time of the answer does not tell who has an account, and the answer is no.
    pub(crate) async fn verify(&self, password: SecretString, stored: Option<String>) -> Result<bool, Error> {
        self.compute(move || {
            let Some(stored) = stored else {
                argon2id(&password, &[0; SALT_BYTES], &parameters())?;
                return Ok(false);
            };
            let stored = PasswordHash::new(&stored).map_err(|_| Error::Stored)?;
            let parameters = Params::try_from(&stored).map_err(|_| Error::Stored)?;
            let (Some(salt), Some(expected)) = (stored.salt, stored.hash) else { return Err(Error::Stored) };
            // Outputs are compared in constant time.
            Ok(argon2id(&password, salt.as_ref(), &parameters)? == expected)
        })
        .await
    }

    /// The permit moves into the computation: a request that gives up does not make room while its work still runs.
    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.expect("the semaphore is never closed");
        tokio::task::spawn_blocking(move || {
            let result = work();
            drop(permit);
            result
        })
        .await?
    }
}

fn parameters() -> Params {
    Params::new(MEMORY_KIB, PASSES, LANES, Some(HASH_BYTES)).expect("the parameters are within Argon2's limits")
}

fn argon2id(password: &SecretString, salt: &[u8], parameters: &Params) -> Result<Output, Error> {
    let mut memory = Vec::with_capacity(RESERVED_BLOCKS.max(parameters.block_count()));
    memory.resize(parameters.block_count(), Block::new());
    let mut hash = [0; HASH_BYTES];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters.clone()).hash_password_into_with_memory(
        password.expose_secret().as_bytes(),
        salt,
        &mut hash,
        &mut memory[..],
    )?;
    Ok(Output::new(&hash).expect("the length of the hash is within the limits of the format"))
}

fn stored_form(salt: &[u8], hash: Output) -> String {
    let form = PasswordHash {
        algorithm: ARGON2ID_IDENT,
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&parameters()).expect("three numbers fit"),
        salt: Some(Salt::new(salt).expect("the length of the salt is within the limits of the format")),
        hash: Some(hash),
    };
    form.to_string()
}
