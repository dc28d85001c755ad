//! Secrets: values that print as `[REDACTED]` and texts that are nobody's real secret.

pub use secrecy::{ExposeSecret, SecretString};

use crate::contract::{Reason, Value};

/// Words that stand in example files for a secret that somebody still has to choose.
const PLACEHOLDERS: &[&str] = &[
    "changeme",
    "change-me",
    "change_me",
    "default",
    "dummy",
    "example",
    "password",
    "placeholder",
    "secret",
    "todo",
    "xxx",
];

/// Refuses a secret that is only a placeholder, in any case and with blanks around it.
///
/// # Errors
/// The reason, without the text.
pub fn refuse_placeholder(text: &str) -> Result<(), Reason> {
    let word = text.trim().to_ascii_lowercase();
    if PLACEHOLDERS.contains(&word.as_str()) {
        return Err("is a placeholder, not a secret: choose a value of your own".into());
    }
    Ok(())
}

impl Value for SecretString {
    const TYPE: &'static str = "string";
    const SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, Reason> {
        refuse_placeholder(text)?;
        Ok(text.into())
    }
}
