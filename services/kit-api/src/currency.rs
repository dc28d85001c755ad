//! Currencies, which give amounts of money their units.

use serde::{Serialize, Serializer};

/// An ISO 4217 alphabetic code by its form: three upper-case ASCII letters.
///
/// The form and not the list: the list changes while programs run (XCG came in 2025), and a shop that refuses a new
/// currency until its next release is worse off than one whose administrator can mistype a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Currency([u8; 3]);

impl Currency {
    /// Reads a code.
    ///
    /// # Errors
    /// The rule, for everything but three upper-case ASCII letters.
    pub fn parse(code: &str) -> Result<Self, String> {
        match <[u8; 3]>::try_from(code.as_bytes()) {
            Ok(letters) if letters.iter().all(u8::is_ascii_uppercase) => Ok(Self(letters)),
            _ => Err("must be three upper-case letters, as in EUR (ISO 4217)".to_owned()),
        }
    }

    /// The code, for example `EUR`.
    #[must_use]
    pub fn code(&self) -> &str {
        // The constructor lets only ASCII in, so the fallback is never taken.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_currency_is_three_upper_case_letters() {
        assert_eq!(Currency::parse("EUR").unwrap().code(), "EUR");
        for refused in ["", "EU", "EURO", "eur", "E R", "EÜ", "ÄB", "123", "EUR ", "€"] {
            assert!(Currency::parse(refused).is_err(), "{refused:?}");
        }
    }

    proptest! {
        #[test]
        fn every_currency_is_kept_exactly_or_refused(code in "\\PC{0,5}|[A-Z]{3}|[A-Za-z]{3}") {
            let well_formed = code.len() == 3 && code.chars().all(|letter| letter.is_ascii_uppercase());
            match Currency::parse(&code) {
                Ok(currency) => prop_assert_eq!(currency.code(), code),
                Err(_) => prop_assert!(!well_formed),
            }
        }
    }
}
