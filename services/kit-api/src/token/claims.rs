//! What a token says.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use super::{Audience, LEEWAY_SECONDS, Refusal};

/// What a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Buys.
    User,
    /// Also changes the catalogue.
    Admin,
}

impl Role {
    /// The role of a word, and `None` for a word that is no role.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::User, Self::Admin].into_iter().find(|role| role.as_str() == word)
    }

    /// The word in tokens, in the database and in responses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Admin => "admin",
        }
    }
}

/// The claims of a token (RFC 7519 §4.1). All but `nbf` are demanded; times are whole seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who issued it.
    pub iss: String,
    /// For whom it is. On the wire it may be one text or a list.
    #[serde(deserialize_with = "one_or_many")]
    pub aud: Vec<String>,
    /// The id of the user.
    pub sub: Uuid,
    /// What the user may do.
    pub role: Role,
    /// When it was issued.
    pub iat: i64,
    /// When it expires.
    pub exp: i64,
    /// Before when it is not valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<i64>,
}

impl Claims {
    /// Checks everything but the signature. A token is valid until `exp` and [`LEEWAY_SECONDS`] more.
    pub(super) fn check(&self, audience: &Audience, now_unix_seconds: i64) -> Result<(), Refusal> {
        if self.iss != audience.issuer {
            return Err(Refusal::WrongIssuer);
        }
        if !self.aud.contains(&audience.audience) {
            return Err(Refusal::WrongAudience);
        }
        if now_unix_seconds >= self.exp.saturating_add(LEEWAY_SECONDS) {
            return Err(Refusal::Expired);
        }
        let latest_begin = now_unix_seconds.saturating_add(LEEWAY_SECONDS);
        if self.iat > latest_begin || self.nbf.is_some_and(|begin| begin > latest_begin) {
            return Err(Refusal::NotYetValid);
        }
        Ok(())
    }
}

/// The time by this machine's clock.
#[must_use]
pub fn now_unix_seconds() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX)
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    })
}
