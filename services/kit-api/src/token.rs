//! Access tokens: JWTs (RFC 7519) in compact JWS form (RFC 7515), signed with Ed25519 (RFC 8037) and nothing else.

mod base64_key;
mod claims;
mod keys;
mod settings;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, Signer as _, VerifyingKey};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use base64_key::decode_key;
pub use claims::{Claims, Role, now_unix_seconds};
pub use keys::{PublicKey, SigningKey};
pub use settings::{Audience, VerifierSettings};

/// How many seconds the clocks of two machines may differ. Every service allows exactly this.
pub const LEEWAY_SECONDS: i64 = 5;

/// No token of ours is longer; a longer text is refused before any work is done on it.
const LIMIT_BYTES: usize = 2048;
const ALGORITHM: &str = "EdDSA";

/// Why a token was refused. Clients see only that it is not valid; the reason is for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not three parts of base64url, or not the JSON that belongs into them.
    #[error("malformed")]
    Malformed,
    /// Another algorithm than EdDSA, or a header that demands what is not understood.
    #[error("unsupported header")]
    UnsupportedHeader,
    /// Signed by none of the known keys.
    #[error("wrong signature")]
    WrongSignature,
    /// `exp` is past.
    #[error("expired")]
    Expired,
    /// `nbf` or `iat` is still to come.
    #[error("not valid yet")]
    NotYetValid,
    /// `iss` is another issuer.
    #[error("wrong issuer")]
    WrongIssuer,
    /// `aud` does not contain this audience.
    #[error("wrong audience")]
    WrongAudience,
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    typ: Option<String>,
    /// Extensions that must be understood (RFC 7515 §4.1.11). None is, so its presence alone is a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    crit: Option<serde_json::Value>,
}

/// Makes tokens. Only the user service has one.
pub struct Signer {
    key: SigningKey,
    audience: Audience,
}

impl Signer {
    /// A signer for one issuer and audience.
    #[must_use]
    pub fn new(key: SigningKey, audience: Audience) -> Self {
        Self { key, audience }
    }

    /// A token for `subject` that is valid from `now_unix_seconds` for `lifetime_seconds`.
    #[must_use]
    pub fn issue(&self, subject: Uuid, role: Role, now_unix_seconds: i64, lifetime_seconds: i64) -> String {
        let claims = Claims {
            iss: self.audience.issuer.clone(),
            aud: vec![self.audience.audience.clone()],
            sub: subject,
            role,
            iat: now_unix_seconds,
            exp: now_unix_seconds.saturating_add(lifetime_seconds),
            nbf: None,
        };
        self.sign(&serde_json::to_value(claims).expect("claims consist of texts and numbers"))
    }

    /// Signs any claims at all, also wrong ones: tests show with it what verifiers refuse.
    #[must_use]
    pub fn sign(&self, claims: &serde_json::Value) -> String {
        let header = Header { alg: ALGORITHM.to_owned(), typ: Some("JWT".to_owned()), crit: None };
        let header = serde_json::to_vec(&header).expect("a header consists of texts");
        let mut token = URL_SAFE_NO_PAD.encode(header);
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = self.key.dalek().sign(token.as_bytes());
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(signature.to_bytes()));
        token
    }
}

/// Checks tokens.
#[derive(Clone, Debug)]
pub struct Verifier {
    keys: Vec<VerifyingKey>,
    audience: Audience,
}

impl Verifier {
    /// A verifier for one issuer and audience. `previous` is the public key before the last change of keys: tokens that
    /// it signed stay valid until they expire.
    #[must_use]
    pub fn new(key: PublicKey, previous: Option<PublicKey>, audience: Audience) -> Self {
        Self { keys: [Some(key), previous].into_iter().flatten().map(PublicKey::dalek).collect(), audience }
    }

    /// The claims of a valid token, by this machine's clock.
    ///
    /// # Errors
    /// Why the token is refused.
    pub fn verify(&self, token: &str) -> Result<Claims, Refusal> {
        self.verify_at(token, now_unix_seconds())
    }

    /// The claims of a token that is valid at a time, in seconds since 1970.
    ///
    /// # Errors
    /// Why the token is refused. Nothing in it is looked at before its signature is found right.
    pub fn verify_at(&self, token: &str, now_unix_seconds: i64) -> Result<Claims, Refusal> {
        if token.len() > LIMIT_BYTES {
            return Err(Refusal::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Refusal::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(Refusal::Malformed)?;
        check_header(header)?;
        let signature = decode(signature)?;
        let signature = Signature::from_slice(&signature).map_err(|_| Refusal::Malformed)?;
        if !self.keys.iter().any(|key| key.verify_strict(signed.as_bytes(), &signature).is_ok()) {
            return Err(Refusal::WrongSignature);
        }
        let claims: Claims = serde_json::from_slice(&decode(claims)?).map_err(|_| Refusal::Malformed)?;
        claims.check(&self.audience, now_unix_seconds)?;
        Ok(claims)
    }
}

fn check_header(header: &str) -> Result<(), Refusal> {
    let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| Refusal::Malformed)?;
    let is_jwt = header.typ.is_none_or(|typ| typ.eq_ignore_ascii_case("JWT"));
    if header.alg == ALGORITHM && is_jwt && header.crit.is_none() { Ok(()) } else { Err(Refusal::UnsupportedHeader) }
}

fn decode(part: &str) -> Result<Vec<u8>, Refusal> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Refusal::Malformed)
}
