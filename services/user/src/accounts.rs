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
use mini_kit_api::conditional::{Copy, EntityTag};
use mini_kit_api::extract::Json;
use mini_kit_api::problem::FieldError;
use mini_kit_api::token::{Role, now_unix_seconds};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CredentialsBody {
    username: String,
    password: SecretString,
}

#[derive(Serialize)]
struct AccountBody {
    id: Uuid,
    username: String,
    role: Role,
}

/// An access token response (RFC 6749 §5.1).
#[derive(Serialize)]
struct TokenBody {
    access_token: String,
    token_type: &'static str,
    expires_in: i64,
}

/// The name is asked for before the password is hashed: names that are taken cost nothing. Asked within the client's turn,
/// so that equal registrations at the same time cost one hash.
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
async fn login(
    Shared(state): Shared<State>,
    Sender(client): Sender,
    Json(body): Json<CredentialsBody>,
) -> Result<([(HeaderName, HeaderValue); 1], Json<TokenBody>), Problem> {
    let _turn = state.turns.wait(client).await.ok_or_else(too_many_at_once)?;
    let attempt = state.attempts.begin(&body.username, client).map_err(too_many_failures)?;
    let user = match Username::new(&body.username) {
        Ok(username) => store::find_by_username(&state.pool, &username).await?,
        Err(_) => None,
    };
    let stored = user.as_ref().map(|user| user.password_hash.clone());
    let is_right = state.hasher.verify(body.password, stored).await.map_err(Problem::internal)?;
    let Some(user) = user.filter(|_| is_right) else {
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "wrong-credentials", "Username or password is wrong")
            .header(WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE)));
    };
    attempt.succeeded();
    let expires_in = state.token_lifetime_seconds;
    let access_token = state.signer.issue(user.id, state.role_of(&user), now_unix_seconds(), expires_in);
    let no_store = [(CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((no_store, Json(TokenBody { access_token, token_type: "Bearer", expires_in })))
}

async fn me(Shared(state): Shared<State>, caller: Caller, copy: Copy) -> Result<Response, Problem> {
    match store::find_by_id(&state.pool, caller.id).await? {
        Some(user) => {
            let role = state.role_of(&user);
            let tag = EntityTag::new(format!("{}-{}", user.id, role.as_str()));
            Ok(copy.answer(&tag, Json(AccountBody { id: user.id, username: user.username, role })))
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
    Problem::new(StatusCode::CONFLICT, "username-taken", "The username is taken")
}

fn too_many_failures(RetryAfter(seconds): RetryAfter) -> Problem {
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-failed-logins", "There were too many failed log-ins")
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
