//! The administrator that the settings ask for.

use mini_kit::Failure;
use mini_kit_api::token::Role;
use sqlx::PgPool;

use crate::credentials::Credentials;
use crate::password::Hasher;
use crate::store;

/// Makes the administrator, or gives the one of that name the password of the settings. Replicas that do this at once
/// do not disturb each other.
///
/// # Errors
/// When the database fails, or when the name belongs to an ordinary user: whoever registered it first would become
/// administrator.
pub(crate) async fn make(pool: &PgPool, hasher: &Hasher, credentials: Credentials) -> Result<(), Failure> {
    let failed = |error| Failure::caused("the administrator could not be stored", error);
    let unhashed = |error| Failure::caused("the password of the administrator could not be hashed", error);
    let Credentials { username, password } = credentials;
    let password = password.into_secret();
    let Some(user) = store::find_by_username(pool, &username).await.map_err(failed)? else {
        let hash = hasher.hash(password).await.map_err(unhashed)?;
        if store::insert(pool, &username, &hash, Role::Admin).await.map_err(failed)?.is_some() {
            tracing::info!(username = username.as_str(), "administrator made");
            return Ok(());
        }
        // Another replica was faster, with the same settings; or somebody registered, and the next start will say so.
        return Ok(());
    };
    if user.role != Role::Admin {
        return Err(Failure::plain("ADMIN_USERNAME is the name of an ordinary user: choose another one"));
    }
    if !hasher.verify(password.clone(), Some(user.password_hash)).await.map_err(unhashed)? {
        let hash = hasher.hash(password).await.map_err(unhashed)?;
        store::set_password_hash(pool, user.id, &hash).await.map_err(failed)?;
        tracing::info!(username = username.as_str(), "password of the administrator replaced");
    }
    Ok(())
}
