//! Products, and what a request must say to create or change one.

use mini_kit_api::conditional::{Condition, Conditions, EntityTag};
use mini_kit_api::currency::Currency;
use mini_kit_api::problem::FieldError;
use serde::{Deserialize, Deserializer, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::price::{Amount, Price, PriceForm};

/// The longest name, in characters.
pub const MAX_NAME_CHARACTERS: usize = 200;
/// The longest description, in characters.
pub const MAX_DESCRIPTION_CHARACTERS: usize = 2000;

/// A product as readers see it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Product {
    /// A UUID of version 7: its order is the order of creation.
    pub id: Uuid,
    /// One line.
    pub name: String,
    /// May be empty.
    pub description: String,
    /// For one piece.
    pub price: Price,
    /// UTC, as RFC 3339.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// UTC, as RFC 3339; never before `created_at`.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

impl Product {
    /// The tag of this state: every change moves `updated_at`, so no two states of a product have the same.
    pub fn tag(&self) -> EntityTag {
        EntityTag::new(format!("{:x}", self.updated_at.unix_timestamp_nanos() / NANOSECONDS))
    }
}

/// The states that a change may start from, each by its `updated_at`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct States {
    /// One of these, where they are given.
    pub only: Option<Vec<OffsetDateTime>>,
    /// None of these.
    pub never: Vec<OffsetDateTime>,
}

impl States {
    /// Whether every state will do.
    pub fn is_any(&self) -> bool {
        self.only.is_none() && self.never.is_empty()
    }
}

impl From<&Conditions> for States {
    /// A tag that no product can have allows nothing and forbids nothing. Each product has a state, so `If-None-Match: *` allows none.
    fn from(conditions: &Conditions) -> Self {
        let only = match &conditions.if_match {
            Some(Condition::Tags { strong, .. }) => Some(named_by(strong)),
            Some(Condition::Any) | None => None,
        };
        match &conditions.if_none_match {
            Some(Condition::Any) => Self { only: Some(Vec::new()), never: Vec::new() },
            Some(Condition::Tags { strong, weak }) => Self { only, never: [named_by(strong), named_by(weak)].concat() },
            None => Self { only, never: Vec::new() },
        }
    }
}

fn named_by(tags: &[String]) -> Vec<OffsetDateTime> {
    let state = |tag: &String| {
        let microseconds = i128::from_str_radix(tag, 16).ok()?;
        let state = OffsetDateTime::from_unix_timestamp_nanos(microseconds.checked_mul(NANOSECONDS)?).ok()?;
        // Other spellings of the same number are other tags.
        (format!("{microseconds:x}") == *tag).then_some(state)
    };
    tags.iter().filter_map(state).collect()
}

/// In a microsecond, which is what Postgres keeps.
const NANOSECONDS: i128 = 1000;

/// A name that can be shown on one line: 1 to [`MAX_NAME_CHARACTERS`] characters, no control characters, no white space
/// at its ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(String);

impl Name {
    /// Refuses with the reason.
    pub fn parse(text: String) -> Result<Self, String> {
        if !(1..=MAX_NAME_CHARACTERS).contains(&text.chars().count()) {
            Err(format!("must have 1 to {MAX_NAME_CHARACTERS} characters"))
        } else if text.chars().any(char::is_control) {
            Err("must not contain control characters".to_owned())
        } else if text.trim() != text {
            Err("must not begin or end with white space".to_owned())
        } else {
            Ok(Self(text))
        }
    }

    /// The name as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Up to [`MAX_DESCRIPTION_CHARACTERS`] characters of text; line breaks and tabs are its only control characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description(String);

impl Description {
    /// Refuses with the reason.
    pub fn parse(text: String) -> Result<Self, String> {
        if text.chars().count() > MAX_DESCRIPTION_CHARACTERS {
            Err(format!("must have at most {MAX_DESCRIPTION_CHARACTERS} characters"))
        } else if text.chars().any(|character| character.is_control() && !matches!(character, '\n' | '\r' | '\t')) {
            Err("must not contain control characters other than line breaks and tabs".to_owned())
        } else {
            Ok(Self(text))
        }
    }

    /// The description as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A product to create.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = NewProduct))]
pub struct CreateForm {
    /// One line, without white space at its ends.
    #[cfg_attr(
        feature = "openapi",
        schema(
            min_length = 1,
            max_length = 200,
            pattern = r"^[^\s\x00-\x1f\x7f-\x9f]([^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f])?$",
            example = "Pen"
        )
    )]
    name: String,
    /// Line breaks and tabs are its only control characters.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(max_length = 2000, pattern = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$"))]
    description: String,
    /// For one piece.
    price: PriceForm,
}

/// A product that may be created.
#[derive(Debug, PartialEq)]
pub struct NewProduct {
    /// One line.
    pub name: Name,
    /// May be empty.
    pub description: Description,
    /// For one piece.
    pub price: Price,
}

impl CreateForm {
    /// Checks every field and reports all that are wrong at once.
    pub fn parse(self) -> Result<NewProduct, Vec<FieldError>> {
        let mut errors = Vec::new();
        let name = accept(&mut errors, "/name", Name::parse(self.name));
        let description = accept(&mut errors, "/description", Description::parse(self.description));
        let price = accept_price(&mut errors, &self.price);
        match (name, description, price) {
            (Some(name), Some(description), Some(price)) => Ok(NewProduct { name, description, price }),
            _ => Err(errors),
        }
    }
}

/// What to change of a product: a JSON merge patch (RFC 7396) with at least one of the fields that may change. None of them can
/// be removed, so null is refused and does not mean "leave it".
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = ProductChange, min_properties = 1))]
pub struct ChangeForm {
    /// One line, without white space at its ends.
    #[serde(default, deserialize_with = "present")]
    #[cfg_attr(
        feature = "openapi",
        schema(
            nullable = false,
            min_length = 1,
            max_length = 200,
            pattern = r"^[^\s\x00-\x1f\x7f-\x9f]([^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f])?$",
            example = "Pen"
        )
    )]
    name: Option<String>,
    /// Line breaks and tabs are its only control characters.
    #[serde(default, deserialize_with = "present")]
    #[cfg_attr(
        feature = "openapi",
        schema(nullable = false, max_length = 2000, pattern = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$")
    )]
    description: Option<String>,
    /// For one piece. Amount and currency change together.
    #[serde(default, deserialize_with = "present")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    price: Option<PriceForm>,
}

/// What is to change; `None` leaves a field as it is. At least one is `Some`.
#[derive(Debug, PartialEq)]
pub struct Change {
    /// The new name.
    pub name: Option<Name>,
    /// The new description.
    pub description: Option<Description>,
    /// The new price. Amount and currency change together or not at all: half a price would be another price.
    pub price: Option<Price>,
}

impl ChangeForm {
    /// Checks every field that is there and reports all that are wrong at once.
    pub fn parse(self) -> Result<Change, Vec<FieldError>> {
        let mut errors = Vec::new();
        let change = Change {
            name: self.name.and_then(|name| accept(&mut errors, "/name", Name::parse(name))),
            description: self
                .description
                .and_then(|text| accept(&mut errors, "/description", Description::parse(text))),
            price: self.price.and_then(|price| accept_price(&mut errors, &price)),
        };
        if errors.is_empty() && change.name.is_none() && change.description.is_none() && change.price.is_none() {
            errors.push(FieldError::new("", "must have at least one of name, description and price"));
        }
        if errors.is_empty() { Ok(change) } else { Err(errors) }
    }
}

fn accept_price(errors: &mut Vec<FieldError>, form: &PriceForm) -> Option<Price> {
    let amount = accept(errors, "/price/amount", Amount::parse(form.amount));
    let currency = accept(errors, "/price/currency", Currency::parse(&form.currency));
    Some(Price { amount: amount?, currency: currency? })
}

fn accept<T>(errors: &mut Vec<FieldError>, pointer: &str, parsed: Result<T, String>) -> Option<T> {
    parsed.map_err(|reason| errors.push(FieldError::new(pointer, reason))).ok()
}

/// Reads a field that may be absent but not null.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn create(json: &str) -> Result<NewProduct, Vec<String>> {
        let form: CreateForm = serde_json::from_str(json).unwrap();
        form.parse().map_err(pointers)
    }

    fn change(json: &str) -> Result<Change, Vec<String>> {
        let form: ChangeForm = serde_json::from_str(json).unwrap();
        form.parse().map_err(pointers)
    }

    fn pointers(errors: Vec<FieldError>) -> Vec<String> {
        errors.into_iter().map(|error| error.pointer.to_string()).collect()
    }

    #[test]
    fn every_wrong_field_is_reported_at_once() {
        let errors = create(r#"{"name":" ","description":"\u0000","price":{"amount":-1,"currency":"eur"}}"#);
        assert_eq!(errors.unwrap_err(), ["/name", "/description", "/price/amount", "/price/currency"]);
    }

    #[test]
    fn a_description_may_be_left_out_of_a_new_product() {
        let product = create(r#"{"name":"Pen","price":{"amount":0,"currency":"EUR"}}"#).unwrap();
        assert_eq!(product.description, Description::default());
    }

    #[test]
    fn a_change_touches_only_the_fields_it_names() {
        let change = change(r#"{"description":""}"#).unwrap();
        assert_eq!(change, Change { name: None, description: Some(Description::default()), price: None });
    }

    #[test]
    fn a_change_of_nothing_is_refused() {
        assert_eq!(change("{}").unwrap_err(), [""]);
    }

    #[test]
    fn null_unknown_fields_and_half_a_price_are_refused() {
        for refused in [
            r#"{"name":null}"#,
            r#"{"price":null}"#,
            r#"{"price":{"amount":1}}"#,
            r#"{"id":"01930000-0000-7000-8000-000000000000"}"#,
            r#"{"name":"Pen","name":"Pencil"}"#,
        ] {
            assert!(serde_json::from_str::<ChangeForm>(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn lengths_are_counted_in_characters_not_bytes() {
        assert!(Name::parse("ß".repeat(MAX_NAME_CHARACTERS)).is_ok());
        assert!(Name::parse("a".repeat(MAX_NAME_CHARACTERS + 1)).is_err());
        assert!(Name::parse(String::new()).is_err());
        assert!(Description::parse("語".repeat(MAX_DESCRIPTION_CHARACTERS)).is_ok());
        assert!(Description::parse("a".repeat(MAX_DESCRIPTION_CHARACTERS + 1)).is_err());
    }

    proptest! {
        #[test]
        fn a_name_is_kept_exactly_or_refused(text in ".{0,210}") {
            if let Ok(name) = Name::parse(text.clone()) {
                prop_assert_eq!(name.as_str(), text.as_str());
                prop_assert!(!text.contains('\0') && !text.contains('\n') && text.trim() == text && !text.is_empty());
            }
        }
    }
}
