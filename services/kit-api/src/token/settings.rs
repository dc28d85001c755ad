//! The variables about tokens.

use super::{PublicKey, Verifier};
use mini_kit::contract::{Contract, Field, Loader};

/// Who issues tokens, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audience {
    /// `JWT_ISSUER`.
    pub issuer: String,
    /// `JWT_AUDIENCE`.
    pub audience: String,
}

impl Audience {
    /// Declares `JWT_ISSUER` and `JWT_AUDIENCE`.
    pub fn declare(contract: &mut Contract) -> Loader<Self> {
        let issuer = contract.with_default("JWT_ISSUER", "mini-user", "Who issues tokens: the claim `iss`.");
        let audience = contract.with_default("JWT_AUDIENCE", "mini-shop", "Who tokens are for: the claim `aud`.");
        Box::new(move |values| Self { issuer: values.take(issuer), audience: values.take(audience) })
    }
}

impl PublicKey {
    /// Declares `JWT_PUBLIC_KEY_PREVIOUS`.
    pub fn declare_previous(contract: &mut Contract) -> Field<Option<Self>> {
        contract.optional(
            "JWT_PUBLIC_KEY_PREVIOUS",
            "The public key before the last change of keys; tokens that it signed stay valid until they expire.",
        )
    }
}

/// What a service needs to check tokens and cannot make them.
#[derive(Clone, Debug)]
pub struct VerifierSettings {
    key: PublicKey,
    previous: Option<PublicKey>,
    audience: Audience,
}

impl VerifierSettings {
    /// Declares `JWT_PUBLIC_KEY` and the variables beside it.
    pub fn declare(contract: &mut Contract) -> Loader<Self> {
        let key = contract.required("JWT_PUBLIC_KEY", "The Ed25519 public key that checks tokens.");
        let previous = PublicKey::declare_previous(contract);
        let audience = Audience::declare(contract);
        Box::new(move |values| Self {
            key: values.take(key),
            previous: values.take(previous),
            audience: audience(values),
        })
    }

    /// The verifier for these settings.
    #[must_use]
    pub fn verifier(self) -> Verifier {
        Verifier::new(self.key, self.previous, self.audience)
    }
}
