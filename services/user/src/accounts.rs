//! The routes: `POST /users/register`, `POST /users/login`, `GET /users/me`.

use axum::Router;
use axum::extract::State as Shared;
use axum::routing::{get, post};
use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use mini_kit::Problem;
use mini_kit::caller::Caller;
use mini_kit::extract::Json;
use mini_kit::problem::FieldError;
use mini_kit::secret::SecretString;
use mini_kit::token::{Role, now_unix_seconds};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::State;
use crate::credentials::{Credentials, Password, Username};
use crate::store;

pub(crate) fn router() -> Router<State> {
    Router::new()
        .route("/users/register", post(register))
        .route("/users/login", post(login))
        .route("/users/me", get(me))
}

#[derive(Deserialize)]
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

async fn register(
    Shared(state): Shared<State>,
    Json(body): Json<CredentialsBody>,
) -> Result<(StatusCode, Json<AccountBody>), Problem> {
    let Credentials { username, password } = new_credentials(body)?;
    let hash = state.hasher.hash(password.into_secret()).await.map_err(Problem::internal)?;
    let id = store::insert(&state.pool, &username, &hash, Role::User).await?;
    let Some(id) = id else {
        return Err(Problem::new(StatusCode::CONFLICT, "username-taken", "The username is taken"));
    };
    Ok((StatusCode::CREATED, Json(AccountBody { id, username: username.as_str().to_owned(), role: Role::User })))
}

/// An unknown name, one that breaks the rules and a wrong password are answered alike, after the same work.
async fn login(
    Shared(state): Shared<State>,
    Json(body): Json<CredentialsBody>,
) -> Result<([(HeaderName, HeaderValue); 1], Json<TokenBody>), Problem> {
    let user = match Username::new(&body.username) {
        Ok(username) => store::find_by_username(&state.pool, &username).await?,
        Err(_) => None,
    };
    let stored = user.as_ref().map(|user| user.password_hash.clone());
    let is_right = state.hasher.verify(body.password, stored).await.map_err(Problem::internal)?;
    let Some(user) = user.filter(|_| is_right) else {
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "wrong-credentials", "Username or password is wrong")
            .header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
    };
    let expires_in = state.token_lifetime_seconds;
    let access_token = state.signer.issue(user.id, user.role, now_unix_seconds(), expires_in);
    let no_store = [(CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((no_store, Json(TokenBody { access_token, token_type: "Bearer", expires_in })))
}

async fn me(Shared(state): Shared<State>, caller: Caller) -> Result<Json<AccountBody>, Problem> {
    match store::find_by_id(&state.pool, caller.id).await? {
        Some(user) => Ok(Json(AccountBody { id: user.id, username: user.username, role: user.role })),
        // The token outlived its user.
        None => Err(Problem::from_status(StatusCode::NOT_FOUND)),
    }
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
