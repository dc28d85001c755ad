//! Which tokens the service takes.

use http::StatusCode;
use mini_kit::contract::Value as _;
use mini_kit_api::token::{Audience, LEEWAY_SECONDS, Role, Signer, SigningKey, now_unix_seconds};
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use crate::service::{Service, signer};

#[sqlx::test(migrator = "mini_user::MIGRATOR")]
async fn without_a_token_the_challenge_names_no_error(pool: PgPool) {
    let service = Service::start(pool).await;
    for answer in [
        service.get("/users/me").await,
        service.me("Bearer ").await,
        service.me("Bearer").await,
        service.me("Bearer  ").await,
        service.me("Basic YTpi").await,
        service.me("").await,
    ] {
        assert_eq!((answer.status, &answer.body["status"]), (StatusCode::UNAUTHORIZED, &json!(401)));
        assert_eq!(answer.headers["www-authenticate"], "Bearer realm=\"mini\"");
    }
}

#[sqlx::test(migrator = "mini_user::MIGRATOR")]
async fn tokens_that_are_not_ours_or_not_valid_now_are_refused(pool: PgPool) {
    let service = Service::start(pool).await;
    let (id, now) = (Uuid::now_v7(), now_unix_seconds());
    let audience = |issuer: &str, audience: &str| Audience { issuer: issuer.to_owned(), audience: audience.to_owned() };
    let key = || SigningKey::parse(crate::service::SEED).unwrap();
    let forged = Signer::new(SigningKey::from_seed(&[9; 32]), audience("mini-user", "mini-shop"));
    for (what, token) in [
        ("expired", signer().issue(id, Role::User, now - 1000, 1000 - LEEWAY_SECONDS - 1)),
        ("from the future", signer().issue(id, Role::User, now + 1000, 900)),
        ("forged", forged.issue(id, Role::Admin, now, 900)),
        ("of another issuer", Signer::new(key(), audience("other", "mini-shop")).issue(id, Role::User, now, 900)),
        ("for another audience", Signer::new(key(), audience("mini-user", "other")).issue(id, Role::User, now, 900)),
        (
            "without an end",
            signer().sign(&json!({"iss": "mini-user", "aud": "mini-shop", "sub": id, "role": "user", "iat": now})),
        ),
        (
            "signed by the empty key of another algorithm",
            "eyJhbGciOiJIUzI1NiJ9.e30.W6V5y3m8D1cJ0w5zVj8QbBzYB1vQ".to_owned(),
        ),
    ] {
        let answer = service.me(&format!("Bearer {token}")).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{what}");
        assert_eq!(answer.headers["www-authenticate"], "Bearer realm=\"mini\", error=\"invalid_token\"", "{what}");
    }
}

#[sqlx::test(migrator = "mini_user::MIGRATOR")]
async fn a_token_of_the_previous_key_is_taken_while_the_key_is_known(pool: PgPool) {
    let old = SigningKey::from_seed(&[7; 32]);
    let old_public = old.public_key().base64();
    let audience = Audience { issuer: "mini-user".to_owned(), audience: "mini-shop".to_owned() };
    let token =
        format!("Bearer {}", Signer::new(old, audience).issue(Uuid::now_v7(), Role::User, now_unix_seconds(), 900));
    let rotating = Service::start_with(pool.clone(), &[("JWT_PUBLIC_KEY_PREVIOUS", &old_public)]).await.unwrap();
    // The token is taken; only its user is not there.
    assert_eq!(rotating.me(&token).await.status, StatusCode::NOT_FOUND);
    assert_eq!(Service::start(pool).await.me(&token).await.status, StatusCode::UNAUTHORIZED);
}
