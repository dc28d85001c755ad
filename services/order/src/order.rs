//! Orders, and what a request must say to place one.

use std::collections::HashMap;

use mini_kit_api::conditional::EntityTag;
use mini_kit_api::id;
use mini_kit_api::problem::FieldError;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::money::Money;

/// The most items of one order.
pub const MAX_ITEMS: usize = 50;
/// The most pieces of one item.
pub const MAX_QUANTITY: u16 = 1000;
/// The status of an order that was placed; there is no other yet.
pub const PLACED: &str = "placed";

/// An order as its owner sees it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Order {
    /// A UUID of version 7: its order is the order of creation.
    pub id: Uuid,
    /// `placed`; there is no other status yet.
    #[cfg_attr(feature = "openapi", schema(pattern = "^placed$"))]
    pub status: String,
    /// In the order of the request; never empty.
    #[cfg_attr(feature = "openapi", schema(min_items = 1, max_items = 50))]
    pub items: Vec<PricedItem>,
    /// The sum of quantity times unit price.
    pub total: Money,
    /// UTC, as RFC 3339.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

impl Order {
    /// The tag of this state: an order never changes, but for its status one day.
    pub fn tag(&self) -> EntityTag {
        EntityTag::new(format!("{}-{}", self.id, self.status))
    }
}

/// One product of an order and the price paid for it, whatever the product costs later.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = OrderItem))]
pub struct PricedItem {
    /// A product of the catalogue.
    pub product_id: Uuid,
    /// How many pieces.
    #[cfg_attr(feature = "openapi", schema(value_type = u16, minimum = 1, maximum = 1000, example = 2))]
    pub quantity: Quantity,
    /// The price of one piece when the order was placed.
    pub unit_price: Money,
}

/// How many pieces: 1 to [`MAX_QUANTITY`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Quantity(u16);

impl Quantity {
    /// Refuses a number out of range, with the reason.
    pub fn parse(pieces: i64) -> Result<Self, String> {
        match u16::try_from(pieces) {
            Ok(pieces @ 1..=MAX_QUANTITY) => Ok(Self(pieces)),
            _ => Err(format!("must be from 1 to {MAX_QUANTITY}")),
        }
    }

    /// The number of pieces.
    pub fn pieces(self) -> u16 {
        self.0
    }
}

/// An order to place.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = NewOrder))]
pub struct OrderForm {
    /// Each product once, and all of them in one currency.
    #[cfg_attr(feature = "openapi", schema(min_items = 1, max_items = 50))]
    items: Vec<ItemForm>,
}

/// A product to order.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = NewOrderItem))]
struct ItemForm {
    /// A product of the catalogue.
    #[cfg_attr(feature = "openapi", schema(value_type = Uuid))]
    product_id: String,
    /// How many pieces.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 1000, example = 2))]
    quantity: i64,
}

/// What a client asks for: 1 to [`MAX_ITEMS`] items, each product once.
#[derive(Debug, PartialEq)]
pub struct Wanted(Vec<Item>);

/// One product and how many pieces of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// Not yet known to exist.
    pub product_id: Uuid,
    /// How many pieces.
    pub quantity: Quantity,
}

impl OrderForm {
    /// Checks every field and reports all that are wrong at once.
    ///
    /// A product that comes twice is refused and not merged: it is more likely the client's mistake than its wish, and
    /// the items of an order stay those of its request, place for place.
    pub fn parse(self) -> Result<Wanted, Vec<FieldError>> {
        if !(1..=MAX_ITEMS).contains(&self.items.len()) {
            return Err(vec![FieldError::new("/items", format!("must have 1 to {MAX_ITEMS} items"))]);
        }
        let mut errors = Vec::new();
        let mut places = HashMap::new();
        let mut items = Vec::with_capacity(self.items.len());
        for (place, form) in self.items.iter().enumerate() {
            let known_id = id::parse(&form.product_id).ok_or_else(|| "must be a UUID".to_owned());
            let product_id = known_id.and_then(|id| match places.insert(id, place) {
                None => Ok(id),
                Some(first) => Err(format!("is the product of /items/{first} again; use its quantity")),
            });
            let quantity = Quantity::parse(form.quantity);
            match (product_id, quantity) {
                (Ok(product_id), Ok(quantity)) => items.push(Item { product_id, quantity }),
                (product_id, quantity) => {
                    errors.extend(product_id.err().map(|reason| FieldError::new(product_pointer(place), reason)));
                    errors.extend(
                        quantity.err().map(|reason| FieldError::new(format!("/items/{place}/quantity"), reason)),
                    );
                }
            }
        }
        if errors.is_empty() { Ok(Wanted(items)) } else { Err(errors) }
    }
}

impl Wanted {
    /// The items, in the order of the request.
    pub fn items(&self) -> &[Item] {
        &self.0
    }

    /// Whether `order` is what this request asks for: the same items, place for place.
    ///
    /// An order keeps all that its request said, so no copy or digest of the request needs to be stored beside it.
    pub fn is_of(&self, order: &Order) -> bool {
        let ordered = order.items.iter().map(|item| Item { product_id: item.product_id, quantity: item.quantity });
        self.0.iter().copied().eq(ordered)
    }

    /// Puts the prices to the items and adds them up.
    pub fn priced(&self, prices: &HashMap<Uuid, Money>) -> Result<PricedItems, PricingError> {
        let mut items = Vec::with_capacity(self.0.len());
        let mut unknown = Vec::new();
        for (place, &Item { product_id, quantity }) in self.0.iter().enumerate() {
            if let Some(&unit_price) = prices.get(&product_id) {
                items.push(PricedItem { product_id, quantity, unit_price });
            } else {
                unknown.push(FieldError::new(product_pointer(place), format!("there is no product {product_id}")));
            }
        }
        if !unknown.is_empty() {
            return Err(PricingError::UnknownProducts(unknown));
        }
        let total = total(&items).map_err(PricingError::NoTotal)?;
        Ok(PricedItems { items, total })
    }
}

/// Items with their prices and the sum of them.
#[derive(Debug, PartialEq)]
pub struct PricedItems {
    /// In the order of the request; never empty.
    pub items: Vec<PricedItem>,
    /// The sum of quantity times unit price.
    pub total: Money,
}

/// Why items have no price.
#[derive(Debug)]
pub enum PricingError {
    /// The catalogue does not have these.
    UnknownProducts(Vec<FieldError>),
    /// They are priced in several currencies, or their sum is too large.
    NoTotal(Vec<FieldError>),
}

fn total(items: &[PricedItem]) -> Result<Money, Vec<FieldError>> {
    let Some(currency) = items.first().map(|item| item.unit_price.currency()) else {
        return Err(vec![FieldError::new("/items", "must not be empty")]);
    };
    let foreign: Vec<_> = (0..)
        .zip(items)
        .filter(|(_, item)| item.unit_price.currency() != currency)
        .map(|(place, item)| {
            let detail = format!(
                "is sold in {}, the order's first product in {}",
                item.unit_price.currency().code(),
                currency.code()
            );
            FieldError::new(product_pointer(place), detail)
        })
        .collect();
    if !foreign.is_empty() {
        return Err(foreign);
    }
    items
        .iter()
        .map(|item| item.unit_price.times(item.quantity.pieces()))
        .reduce(|sum, price| sum?.plus(price?))
        .flatten()
        .ok_or_else(|| vec![FieldError::new("/items", "have a total that is too large")])
}

fn product_pointer(place: usize) -> String {
    format!("/items/{place}/product_id")
}

#[cfg(test)]
mod tests;
