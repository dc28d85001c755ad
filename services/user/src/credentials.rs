//! Usernames and passwords that keep the rules.

use mini_kit::contract::{Reason, Value};
use mini_kit::secret::{ExposeSecret as _, SecretString, refuse_placeholder};

/// What somebody registers with.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The name.
    pub username: Username,
    /// The password.
    pub password: Password,
}

/// A name of 3 to 32 lower-case letters, digits, hyphens and underscores that begins with a letter or digit. Only lower
/// case, so that no two names differ only for machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Username(String);

impl Username {
    /// Reads a name.
    ///
    /// # Errors
    /// The rule, when the text breaks it.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        let is_letter_or_digit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_allowed = |byte: u8| is_letter_or_digit(byte) || matches!(byte, b'-' | b'_');
        let bytes = text.as_bytes();
        let begins_well = bytes.first().copied().is_some_and(is_letter_or_digit);
        if (3..=32).contains(&bytes.len()) && begins_well && bytes.iter().copied().all(is_allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err("must have 3 to 32 characters, lower-case letters, digits, - and _, and begin with a letter or digit")
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Value for Username {
    const TYPE: &'static str = "string";

    fn parse(text: &str) -> Result<Self, Reason> {
        Self::new(text).map_err(Reason::from)
    }
}

/// A password of 8 to 128 characters, counted as NIST SP 800-63B counts them: each Unicode code point is one. The lower limit is
/// also from there; the upper one bounds the work.
#[derive(Clone, Debug)]
pub struct Password(SecretString);

impl Password {
    /// Takes a text as a password.
    ///
    /// # Errors
    /// The rule, when the text breaks it.
    pub fn new(text: SecretString) -> Result<Self, &'static str> {
        if (8..=128).contains(&text.expose_secret().chars().count()) {
            Ok(Self(text))
        } else {
            Err("must have 8 to 128 characters")
        }
    }

    /// The password as the text that is hashed.
    #[must_use]
    pub fn into_secret(self) -> SecretString {
        self.0
    }
}

impl Value for Password {
    const TYPE: &'static str = "string";
    const SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, Reason> {
        refuse_placeholder(text)?;
        Self::new(text.into()).map_err(Reason::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_counted_in_characters_and_not_in_bytes() {
        for (taken, count) in [("x", 8), ("x", 128), ("語", 8), ("🖋", 128)] {
            assert!(Password::new(taken.repeat(count).into()).is_ok(), "{count} of {taken}");
        }
        for (refused, count) in [("x", 7), ("x", 129), ("🖋", 7), ("語", 129)] {
            assert!(Password::new(refused.repeat(count).into()).is_err(), "{count} of {refused}");
        }
    }
}
