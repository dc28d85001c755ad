//! What a verifier accepts.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mini_kit_api::token::{Audience, LEEWAY_SECONDS, Refusal, Role, Signer, SigningKey, Verifier};
use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

const NOW: i64 = 1_800_000_000;

fn audience() -> Audience {
    Audience { issuer: "mini-user".to_owned(), audience: "mini-shop".to_owned() }
}

fn key(byte: u8) -> SigningKey {
    SigningKey::from_seed(&[byte; 32])
}

fn signer() -> Signer {
    Signer::new(key(1), audience())
}

fn verifier() -> Verifier {
    Verifier::new(key(1).public_key(), None, audience())
}

fn claims(changes: &Value) -> Value {
    let mut claims = json!({"iss": "mini-user", "aud": "mini-shop", "sub": Uuid::nil(), "role": "user", "iat": NOW, "exp": NOW + 900});
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

fn verdict(changes: &Value) -> Result<(), Refusal> {
    verifier().verify_at(&signer().sign(&claims(changes)), NOW).map(drop)
}

#[test]
fn an_issued_token_is_valid_for_its_lifetime_and_the_leeway() {
    let id = Uuid::now_v7();
    let token = signer().issue(id, Role::Admin, NOW, 900);
    let end = NOW + 900 + LEEWAY_SECONDS;
    let claims = verifier().verify_at(&token, NOW).unwrap();
    assert_eq!((claims.sub, claims.role), (id, Role::Admin));
    assert!(verifier().verify_at(&token, end - 1).is_ok());
    assert_eq!(verifier().verify_at(&token, end), Err(Refusal::Expired));
    assert_eq!(verifier().verify_at(&token, NOW - LEEWAY_SECONDS - 1), Err(Refusal::NotYetValid));
}

#[test]
fn every_claim_is_checked() {
    let l = LEEWAY_SECONDS;
    for (changes, expected) in [
        (json!({}), Ok(())),
        (json!({"exp": NOW - l + 1}), Ok(())),
        (json!({"exp": NOW - l - 1}), Err(Refusal::Expired)),
        (json!({"exp": null}), Err(Refusal::Malformed)),
        (json!({"exp": "1900000000"}), Err(Refusal::Malformed)),
        (json!({"exp": 1_900_000_000.5}), Err(Refusal::Malformed)),
        (json!({"exp": -1}), Err(Refusal::Expired)),
        (json!({"exp": 9_223_372_036_854_775_808_u64}), Err(Refusal::Malformed)),
        (json!({"exp": i64::MAX}), Ok(())),
        (json!({"nbf": NOW + 300}), Err(Refusal::NotYetValid)),
        (json!({"nbf": NOW + l}), Ok(())),
        (json!({"iat": NOW + 300}), Err(Refusal::NotYetValid)),
        (json!({"iat": null}), Err(Refusal::Malformed)),
        (json!({"aud": "another"}), Err(Refusal::WrongAudience)),
        (json!({"aud": ["another", "mini-shop"]}), Ok(())),
        (json!({"aud": []}), Err(Refusal::WrongAudience)),
        (json!({"aud": null}), Err(Refusal::Malformed)),
        (json!({"iss": "another"}), Err(Refusal::WrongIssuer)),
        (json!({"sub": "somebody"}), Err(Refusal::Malformed)),
        (json!({"sub": null}), Err(Refusal::Malformed)),
        (json!({"role": "root"}), Err(Refusal::Malformed)),
        (json!({"role": null}), Err(Refusal::Malformed)),
    ] {
        assert_eq!(verdict(&changes), expected, "{changes}");
    }
}

#[test]
fn only_the_known_keys_sign_and_the_previous_one_counts() {
    let old = Signer::new(key(2), audience()).issue(Uuid::nil(), Role::User, NOW, 900);
    let forged = Signer::new(key(3), audience()).issue(Uuid::nil(), Role::Admin, NOW, 900);
    let rotating = Verifier::new(key(1).public_key(), Some(key(2).public_key()), audience());
    assert!(rotating.verify_at(&old, NOW).is_ok());
    assert_eq!(verifier().verify_at(&old, NOW), Err(Refusal::WrongSignature));
    assert_eq!(rotating.verify_at(&forged, NOW), Err(Refusal::WrongSignature));
}

#[test]
fn the_header_chooses_nothing() {
    let token = signer().issue(Uuid::nil(), Role::User, NOW, 900);
    let (_, rest) = token.split_once('.').unwrap();
    for (header, expected) in [
        (json!({"alg": "none"}), Refusal::UnsupportedHeader),
        (json!({"alg": "HS256", "typ": "JWT"}), Refusal::UnsupportedHeader),
        (json!({"alg": "eddsa"}), Refusal::UnsupportedHeader),
        (json!({"alg": "EdDSA", "crit": ["exp"]}), Refusal::UnsupportedHeader),
        (json!({"alg": "EdDSA", "typ": "at+jwt"}), Refusal::UnsupportedHeader),
        (json!({"alg": "EdDSA", "jwk": {}}), Refusal::WrongSignature),
        (json!({}), Refusal::Malformed),
    ] {
        let changed = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()));
        assert_eq!(verifier().verify_at(&changed, NOW), Err(expected), "{header}");
    }
}

/// The key of RFC 8037 appendix A.1 and the signature of A.4. What is signed there is no JSON, so the claims are what is
/// refused, after the signature was found right.
#[test]
fn signatures_are_those_of_rfc_8037() {
    let seed = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
    let public = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    let key = <SigningKey as mini_kit::contract::Value>::parse(seed).unwrap().public_key();
    assert_eq!(key.base64(), public);
    let verifier = Verifier::new(key, None, audience());
    let token = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    assert_eq!(verifier.verify_at(token, NOW), Err(Refusal::Malformed));
    let changed = token.replace("RXhh", "RXhi");
    assert_eq!(verifier.verify_at(&changed, NOW), Err(Refusal::WrongSignature));
}

#[test]
fn a_token_has_one_form_only() {
    let token = signer().issue(Uuid::nil(), Role::User, NOW, 900);
    let (signed, _) = token.rsplit_once('.').unwrap();
    for text in [
        "",
        ".",
        "..",
        "a.b",
        signed,
        &format!("{signed}."),
        &format!("{token}="),
        &format!("{token}."),
        &format!(" {token}"),
    ] {
        assert!(verifier().verify_at(text, NOW).is_err(), "{text}");
    }
    let long = format!("{}.{}", "A".repeat(10_000), token);
    assert_eq!(verifier().verify_at(&long, NOW), Err(Refusal::Malformed));
}

proptest! {
    // Signatures are slow in a debug build.
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_text_makes_the_verifier_panic(text in "[A-Za-z0-9_.=-]{0,80}|\\PC{0,40}") {
        prop_assert!(verifier().verify_at(&text, NOW).is_err());
    }

    #[test]
    fn no_changed_character_goes_unnoticed(index in 0_usize..400, byte in prop::sample::select(b"ABCxyz019-_.".to_vec())) {
        let token = signer().issue(Uuid::nil(), Role::User, NOW, 900);
        let mut bytes = token.clone().into_bytes();
        let index = index % bytes.len();
        prop_assume!(bytes[index] != byte);
        bytes[index] = byte;
        prop_assert!(verifier().verify_at(&String::from_utf8(bytes).unwrap(), NOW).is_err());
    }
}
