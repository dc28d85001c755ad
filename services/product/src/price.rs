//! Prices: an amount in integer minor units and the currency that gives the units their size.

use mini_kit_api::currency::Currency;
use serde::{Deserialize, Serialize};

/// The largest price, in minor units. An order of 50 items of 1000 pieces each at this price still totals less than
/// 2^53, so every total is exact in clients whose only number is a double (RFC 8259, section 6).
pub const MAX_AMOUNT: i64 = 100_000_000_000;

/// What one piece of a product costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Price {
    /// In minor units of the currency.
    #[cfg_attr(feature = "openapi", schema(value_type = i64, minimum = 0, maximum = 100_000_000_000_i64, example = 249))]
    pub amount: Amount,
    /// The currency of the amount, an ISO 4217 code.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[A-Z]{3}$", example = "EUR"))]
    pub currency: Currency,
}

/// An amount of money in minor units, 0 to [`MAX_AMOUNT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Amount(i64);

impl Amount {
    /// Refuses negative amounts and amounts above [`MAX_AMOUNT`], with the reason.
    pub fn parse(minor_units: i64) -> Result<Self, String> {
        if (0..=MAX_AMOUNT).contains(&minor_units) {
            Ok(Self(minor_units))
        } else {
            Err(format!("must be from 0 to {MAX_AMOUNT} minor units"))
        }
    }

    /// The amount in minor units.
    pub fn minor_units(self) -> i64 {
        self.0
    }
}

/// What one piece is to cost, as a request states it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = NewPrice))]
pub struct PriceForm {
    /// In minor units; a fraction is refused by the type.
    #[cfg_attr(feature = "openapi", schema(minimum = 0, maximum = 100_000_000_000_i64, example = 249))]
    pub amount: i64,
    /// An ISO 4217 code.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[A-Z]{3}$", example = "EUR"))]
    pub currency: String,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_have_both_bounds() {
        assert_eq!(Amount::parse(0).unwrap().minor_units(), 0);
        assert_eq!(Amount::parse(MAX_AMOUNT).unwrap().minor_units(), MAX_AMOUNT);
        for refused in [-1, MAX_AMOUNT + 1, i64::MIN, i64::MAX] {
            assert!(Amount::parse(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn a_price_is_written_as_whole_minor_units_and_a_code() {
        let price = Price { amount: Amount::parse(1999).unwrap(), currency: Currency::parse("EUR").unwrap() };
        assert_eq!(serde_json::to_string(&price).unwrap(), r#"{"amount":1999,"currency":"EUR"}"#);
    }

    #[test]
    fn a_fraction_of_a_minor_unit_is_no_price() {
        for refused in [
            r#"{"amount":19.99,"currency":"EUR"}"#,
            r#"{"amount":"1999","currency":"EUR"}"#,
            r#"{"amount":1e3,"currency":"EUR"}"#,
            r#"{"amount":9223372036854775808,"currency":"EUR"}"#,
            r#"{"amount":1999,"currency":"EUR","vat":19}"#,
        ] {
            assert!(serde_json::from_str::<PriceForm>(refused).is_err(), "{refused}");
        }
    }

    proptest! {
        #[test]
        fn every_amount_is_kept_exactly_or_refused(minor_units: i64) {
            match Amount::parse(minor_units) {
                Ok(amount) => prop_assert_eq!(amount.minor_units(), minor_units),
                Err(_) => prop_assert!(!(0..=MAX_AMOUNT).contains(&minor_units)),
            }
        }
    }
}
