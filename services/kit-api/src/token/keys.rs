//! Ed25519 keys as variables: base64 of the 32 bytes of a public key, or of the seed of a private one (RFC 8032 §5.1.5).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::VerifyingKey;
use secrecy::SecretString;

use super::base64_key::decode_key;
use mini_kit::contract::{Reason, Value};

/// The key that signs tokens. It prints as `[REDACTED]` and is overwritten in memory when it is dropped.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// The key of a seed.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// The seed as the text that the variable takes.
    #[must_use]
    pub fn seed_base64(&self) -> SecretString {
        STANDARD.encode(self.0.as_bytes()).into()
    }

    /// The public key that belongs to it.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    pub(super) fn dalek(&self) -> &ed25519_dalek::SigningKey {
        &self.0
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SigningKey([REDACTED])")
    }
}

impl Value for SigningKey {
    const TYPE: &'static str = "base64-32";
    const SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, Reason> {
        Ok(Self::from_seed(&decode_key(text)?))
    }
}

/// The key that checks tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// The key as the text that the variable takes.
    #[must_use]
    pub fn base64(&self) -> String {
        STANDARD.encode(self.0.as_bytes())
    }

    pub(super) fn dalek(self) -> VerifyingKey {
        self.0
    }
}

impl Value for PublicKey {
    const TYPE: &'static str = "base64-32";

    fn parse(text: &str) -> Result<Self, Reason> {
        let bytes = decode_key(text)?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| "is not an Ed25519 public key")?;
        // With a weak key there are signatures that fit every message.
        if key.is_weak() { Err("is a weak Ed25519 public key".into()) } else { Ok(Self(key)) }
    }
}
