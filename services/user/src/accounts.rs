//! The routes: `POST /users/register`, `POST /users/login`, `GET /users/me`.

use std::convert::Infallible;
use std::net::Ipv4Addr;

use axum::Router;
use axum::extract::{FromRequestParts, State as Shared};
use axum::response::Response;
use axum::routing::{get, post};
use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use mini_kit::client::Client;
use mini_kit::secret::SecretString;
use mini_kit::server::Peer;
use mini_kit_api::Problem;
use mini_kit_api::caller::{CHALLENGE, Caller};
use mini_kit_api::conditional::{Conditions, EntityTag};
use mini_kit_api::extract::Json;
use mini_kit_api::problem::{FieldError, Kind};
use mini_kit_api::token::{Role, now_unix_seconds};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
#[cfg(feature = "openapi")]
use {mini_kit::problem::listed, mini_kit_api::conditional::ConditionHeaders};

use crate::State;
use crate::attempts::RetryAfter;
use crate::credentials::{Credentials, Password, Username};
use crate::store;

pub(crate) fn router() -> Router<State> {
    Router::new()
        .route("/users/register", post(register))
        .route("/users/login", post(login))
        .route("/users/me", get(me))
}

const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// What somebody registers and logs in with.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Credentials))]
struct CredentialsBody {
    /// 3 to 32 lower-case letters, digits, hyphens and underscores; it begins with a letter or digit.
    #[cfg_attr(feature = "openapi", schema(pattern = "^[a-z0-9][a-z0-9_-]{2,31}$", example = "alice"))]
    username: String,
    /// 8 to 128 characters.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "password", min_length = 8, max_length = 128))]
    password: SecretString,
}

/// An account as its owner sees it.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Account))]
struct AccountBody {
    id: Uuid,
    username: String,
    role: Role,
}

/// An access token response (RFC 6749 §5.1).
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Token))]
struct TokenBody {
    /// For the `Authorization` header of later requests, after `Bearer `.
    access_token: String,
    #[cfg_attr(feature = "openapi", schema(pattern = "^Bearer$"))]
    token_type: &'static str,
    /// The seconds after which it expires.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 86400))]
    expires_in: i64,
}

/// The routes, described.
#[cfg(feature = "openapi")]
#[derive(utoipa::OpenApi)]
#[openapi(paths(register, login, me))]
pub struct Description;

/// The name is asked for before the password is hashed: names that are taken cost nothing. Asked within the client's turn,
/// so that equal registrations at the same time cost one hash.
#[cfg_attr(feature = "openapi", utoipa::path(
    post, path = "/users/register", tag = "users", summary = "Register an account",
    description = "The account is an ordinary one; the administrator is made by the server's settings.",
    request_body = CredentialsBody,
    responses(
        (status = CREATED, description = "The account", body = AccountBody),
        (status = CONFLICT, description = listed(&[Kind::UsernameTaken])),
        (status = TOO_MANY_REQUESTS, description = listed(&[Kind::TooManyRequests])),
    ),
))]
async fn register(
    Shared(state): Shared<State>,
    Sender(client): Sender,
    Json(body): Json<CredentialsBody>,
) -> Result<(StatusCode, Json<AccountBody>), Problem> {
    let Credentials { username, password } = new_credentials(body)?;
    let _turn = state.turns.wait(client).await.ok_or_else(too_many_at_once)?;
    if store::find_by_username(&state.pool, &username).await?.is_some() {
        return Err(username_taken());
    }
    let hash = state.hasher.hash(password.into_secret()).await.map_err(Problem::internal)?;
    let id = store::insert(&state.pool, &username, &hash, Role::User).await?;
    let id = id.ok_or_else(username_taken)?;
    Ok((StatusCode::CREATED, Json(AccountBody { id, username: username.as_str().to_owned(), role: Role::User })))
}

/// An unknown name, one that breaks the rules and a wrong password are answered alike, after the same work, and count
/// alike. Too many failures are answered before any work, whether or not the password is right this time.
#[cfg_attr(feature = "openapi", utoipa::path(
    post, path = "/users/login", tag = "users", summary = "Log in for an access token",
    description = "Send the token with later requests as `Authorization: Bearer TOKEN`.",
    request_body = CredentialsBody,
    responses(
        (status = OK, description = "The token", body = TokenBody, headers(("Cache-Control" = String, description = "`no-store`"))),
        (status = UNAUTHORIZED, description = listed(&[Kind::WrongCredentials])),
        (status = TOO_MANY_REQUESTS, description = listed(&[Kind::TooManyFailedLogins])),
    ),
))]
async fn login(
    Shared(state): Shared<State>,
    Sender(client): Sender,
    Json(body): Json<CredentialsBody>,
) -> Result<([(HeaderName, HeaderValue); 1], Json<TokenBody>), Problem> {
    let _turn = state.turns.wait(client).await.ok_or_else(too_many_at_once)?;
    let attempt = state.attempts.begin(&body.username, client).map_err(too_many_failures)?;
    let found = match Username::new(&body.username) {
        Ok(username) => store::find_by_username(&state.pool, &username).await,
        Err(_) => Ok(None),
    };
    let user = match found {
        Ok(user) => user,
        Err(error) => {
            // A password that nobody looked at says nothing about who sent it: an outage of the database locks nobody out.
            attempt.take_back();
            return Err(error.into());
        }
    };
    let stored = user.as_ref().map(|user| user.password_hash.clone());
    let is_right = state.hasher.verify(body.password, stored).await.map_err(Problem::internal)?;
    let Some(user) = user.filter(|_| is_right) else {
        return Err(Problem::new(Kind::WrongCredentials).header(WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE)));
    };
    attempt.take_back();
    let expires_in = state.token_lifetime_seconds;
    let access_token = state.signer.issue(user.id, state.role_of(&user), now_unix_seconds(), expires_in);
    let no_store = [(CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((no_store, Json(TokenBody { access_token, token_type: "Bearer", expires_in })))
}

#[cfg_attr(feature = "openapi", utoipa::path(
    get, path = "/users/me", tag = "users", summary = "Read one's own account", description = "",
    params(ConditionHeaders), security(("bearer" = [])),
    responses(
        (status = OK, description = "The account", body = AccountBody, headers(("ETag" = String, description = "The tag of this state"))),
        (status = NOT_MODIFIED, description = "The reader has this state already", headers(("ETag" = String, description = "The tag of this state"))),
        (status = NOT_FOUND, description = listed(&[Kind::NotFound])),
    ),
))]
async fn me(Shared(state): Shared<State>, caller: Caller, conditions: Conditions) -> Result<Response, Problem> {
    match store::find_by_id(&state.pool, caller.id).await? {
        Some(user) => {
            let role = state.role_of(&user);
            let tag = EntityTag::new(format!("{}-{}", user.id, role.as_str()));
            Ok(conditions.answer(&tag, Json(AccountBody { id: user.id, username: user.username, role })))
        }
        // The token outlived its user.
        None => Err(Problem::from_status(StatusCode::NOT_FOUND)),
    }
}

/// Who sends a request, as the gateway says in `X-Real-IP`: it removes what clients write there. Whoever reaches the service
/// without the gateway is known by its own address.
struct Sender(Client);

impl<S: Send + Sync> FromRequestParts<S> for Sender {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let mut values = parts.headers.get_all(X_REAL_IP).iter();
        let named = match (values.next(), values.next()) {
            (Some(value), None) => value.to_str().ok().and_then(|text| text.parse().ok()),
            _ => None,
        };
        let peer = || parts.extensions.get::<Peer>().map(|peer| peer.0.ip());
        Ok(Self(Client::at(named.or_else(peer).unwrap_or(Ipv4Addr::UNSPECIFIED.into()))))
    }
}

fn username_taken() -> Problem {
    Problem::new(Kind::UsernameTaken)
}

fn too_many_failures(RetryAfter(seconds): RetryAfter) -> Problem {
    Problem::new(Kind::TooManyFailedLogins)
        .detail("the password was not looked at")
        .header(RETRY_AFTER, HeaderValue::from(seconds))
}

fn too_many_at_once() -> Problem {
    Problem::from_status(StatusCode::TOO_MANY_REQUESTS)
        .detail("too many log-ins and registrations of this client are under way")
        .header(RETRY_AFTER, HeaderValue::from_static("1"))
}

fn new_credentials(body: CredentialsBody) -> Result<Credentials, Problem> {
    match (Username::new(&body.username), Password::new(body.password)) {
        (Ok(username), Ok(password)) => Ok(Credentials { username, password }),
        (username, password) => {
            let username = username.err().map(|rule| FieldError::new("/username", rule));
            let password = password.err().map(|rule| FieldError::new("/password", rule));
            Err(Problem::invalid(username.into_iter().chain(password).collect()))
        }
    }
}
