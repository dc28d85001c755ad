//! Who makes a request, from its bearer token (RFC 6750).

use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use uuid::Uuid;

use crate::problem::Problem;
use crate::token::{Role, Verifier};

/// The value of `WWW-Authenticate` (RFC 6750 section 3) in an answer to a request without a token.
pub const CHALLENGE: &str = "Bearer realm=\"mini\"";

/// The user who makes a request. As an argument of a handler it demands a valid token; without one the answer is 401.
/// The state of the router must give an `Arc<Verifier>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The id of the user.
    pub id: Uuid,
    /// What the user may do.
    pub role: Role,
}

impl Caller {
    /// Lets only administrators pass.
    ///
    /// # Errors
    /// 403 for everybody else.
    pub fn require_admin(self) -> Result<Self, Problem> {
        match self.role {
            Role::Admin => Ok(self),
            Role::User => Err(Problem::from_status(StatusCode::FORBIDDEN)),
        }
    }
}

impl<S> FromRequestParts<S> for Caller
where
    Arc<Verifier>: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Some(token) = bearer_token(&parts.headers) else {
            return Err(unauthorized(CHALLENGE));
        };
        match Arc::<Verifier>::from_ref(state).verify(token) {
            Ok(claims) => Ok(Self { id: claims.sub, role: claims.role }),
            Err(refusal) => {
                tracing::info!(%refusal, "token refused");
                Err(unauthorized("Bearer realm=\"mini\", error=\"invalid_token\""))
            }
        }
    }
}

/// The token of the one `Authorization` header, and `None` for no header, several, or another scheme.
fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty()).then_some(token)
}

fn unauthorized(challenge: &'static str) -> Problem {
    Problem::from_status(StatusCode::UNAUTHORIZED).header(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
}
