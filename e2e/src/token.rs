//! Tokens that must be refused: a real one that has expired, and one that somebody else signed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};

/// Far more than any leeway.
const EXPIRED_SECONDS_AGO: i64 = 3600;

/// The claims of a token, without a look at its signature.
fn claims(token: &str) -> Option<Value> {
    let payload = token.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

/// The same token as it would have been issued long ago: the right key, the right claims, the time gone by.
pub(crate) fn expired(token: &str, seed: &[u8; 32]) -> Option<String> {
    let mut claims = claims(token)?;
    let lifetime = claims.get("exp")?.as_i64()? - claims.get("iat")?.as_i64()?;
    for name in ["exp", "iat", "nbf"] {
        if let Some(time) = claims.get(name).and_then(Value::as_i64) {
            claims[name] = json!(time - lifetime - EXPIRED_SECONDS_AGO);
        }
    }
    Some(sign(&claims, seed))
}

/// A token that makes its bearer an administrator, signed with a key that the services do not know.
pub(crate) fn forged(token: &str) -> Option<String> {
    let mut claims = claims(token)?;
    claims["role"] = json!("admin");
    Some(sign(&claims, &[7; 32]))
}

fn sign(claims: &Value, seed: &[u8; 32]) -> String {
    let header = json!({ "alg": "EdDSA", "typ": "JWT" });
    let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let message = format!("{}.{}", encode(&header), encode(claims));
    let signature = SigningKey::from_bytes(seed).sign(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expired_token_differs_in_its_times_only() {
        let real = sign(&json!({ "sub": "u", "iat": 1000, "exp": 1900, "role": "user" }), &[1; 32]);
        let old = claims(&expired(&real, &[1; 32]).unwrap()).unwrap();
        assert_eq!(old, json!({ "sub": "u", "iat": 1000 - 4500, "exp": 1900 - 4500, "role": "user" }));
    }

    #[test]
    fn a_forged_token_claims_more() {
        let real = sign(&json!({ "sub": "u", "iat": 1, "exp": 2, "role": "user" }), &[1; 32]);
        assert_eq!(claims(&forged(&real).unwrap()).unwrap()["role"], "admin");
    }
}
