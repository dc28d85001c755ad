//! Money: integer minor units and their currency. Every sum is checked; none wraps, rounds or mixes currencies.

use mini_kit_api::currency::Currency;
use serde::Serialize;

/// The largest amount, in minor units: 2^53 - 1, the last whole number that clients whose only number is a double read
/// exactly (RFC 8259, section 6).
pub const MAX_AMOUNT: i64 = (1 << 53) - 1;

/// An amount of money in one currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Money {
    /// In minor units of the currency.
    #[cfg_attr(feature = "openapi", schema(minimum = 0, maximum = 9_007_199_254_740_991_i64, example = 249))]
    amount: i64,
    /// The currency of the amount, an ISO 4217 code.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[A-Z]{3}$", example = "EUR"))]
    currency: Currency,
}

impl Money {
    /// Refuses an amount out of range, with the reason.
    pub fn new(amount: i64, currency: Currency) -> Result<Self, String> {
        if (0..=MAX_AMOUNT).contains(&amount) {
            Ok(Self { amount, currency })
        } else {
            Err(format!("an amount must be from 0 to {MAX_AMOUNT} minor units"))
        }
    }

    /// The amount in minor units.
    pub fn amount(self) -> i64 {
        self.amount
    }

    /// The currency of the amount.
    pub fn currency(self) -> Currency {
        self.currency
    }

    /// This amount `count` times; `None` above [`MAX_AMOUNT`].
    pub fn times(self, count: u16) -> Option<Self> {
        let amount = self.amount.checked_mul(i64::from(count))?;
        Self::new(amount, self.currency).ok()
    }

    /// The sum of two amounts of one currency; `None` above [`MAX_AMOUNT`] and for two currencies.
    pub fn plus(self, other: Self) -> Option<Self> {
        let amount = self.amount.checked_add(other.amount)?;
        if self.currency == other.currency { Self::new(amount, self.currency).ok() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn euros(amount: i64) -> Money {
        Money::new(amount, Currency::parse("EUR").unwrap()).unwrap()
    }

    #[test]
    fn amounts_of_two_currencies_have_no_sum() {
        let dollars = Money::new(1, Currency::parse("USD").unwrap()).unwrap();
        assert_eq!(euros(1).plus(dollars), None);
    }

    #[test]
    fn the_largest_amount_has_no_successor_and_no_double() {
        assert_eq!(euros(MAX_AMOUNT).plus(euros(0)), Some(euros(MAX_AMOUNT)));
        assert_eq!(euros(MAX_AMOUNT).plus(euros(1)), None);
        assert_eq!(euros(MAX_AMOUNT).times(1), Some(euros(MAX_AMOUNT)));
        assert_eq!(euros(MAX_AMOUNT).times(2), None);
    }

    #[test]
    fn money_is_written_as_whole_minor_units_and_a_code() {
        assert_eq!(serde_json::to_string(&euros(1999)).unwrap(), r#"{"amount":1999,"currency":"EUR"}"#);
    }

    proptest! {
        #[test]
        fn results_equal_those_of_wider_numbers_or_are_refused(
            left in 0..=MAX_AMOUNT, right in 0..=MAX_AMOUNT, count: u16,
        ) {
            let in_range = |wide: i128| i64::try_from(wide).ok().filter(|amount| *amount <= MAX_AMOUNT).map(euros);
            prop_assert_eq!(euros(left).plus(euros(right)), in_range(i128::from(left) + i128::from(right)));
            prop_assert_eq!(euros(left).times(count), in_range(i128::from(left) * i128::from(count)));
        }

        #[test]
        fn every_amount_is_kept_exactly_or_refused(amount: i64) {
            match Money::new(amount, Currency::parse("EUR").unwrap()) {
                Ok(money) => prop_assert_eq!(money.amount(), amount),
                Err(_) => prop_assert!(!(0..=MAX_AMOUNT).contains(&amount)),
            }
        }
    }
}
