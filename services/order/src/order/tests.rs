//! Rules of orders that need no database.

use mini_kit_api::currency::Currency;
use proptest::prelude::*;

use super::*;
use crate::money::MAX_AMOUNT;

fn money(amount: i64, code: &str) -> Money {
    Money::new(amount, Currency::parse(code).unwrap()).unwrap()
}

fn parse(items: &[(Uuid, i64)]) -> Result<Wanted, Vec<String>> {
    let items =
        items.iter().map(|(id, quantity)| ItemForm { product_id: id.to_string(), quantity: *quantity }).collect();
    OrderForm { items }.parse().map_err(pointers)
}

fn pointers(errors: Vec<FieldError>) -> Vec<String> {
    errors.into_iter().map(|error| error.pointer.to_string()).collect()
}

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

#[test]
fn an_order_has_one_to_fifty_items() {
    let items: Vec<_> = (0..51).map(|number| (id(number), 1)).collect();
    assert!(parse(&items[..1]).is_ok());
    assert!(parse(&items[..50]).is_ok());
    assert_eq!(parse(&items).unwrap_err(), ["/items"]);
    assert_eq!(parse(&[]).unwrap_err(), ["/items"]);
}

#[test]
fn every_wrong_field_is_reported_at_once() {
    let items = ["nonsense", "01930000000070008000000000000000", "{01930000-0000-7000-8000-000000000000}"]
        .map(|product_id| ItemForm { product_id: product_id.to_owned(), quantity: 0 });
    let errors = OrderForm { items: items.into() }.parse().map_err(pointers).unwrap_err();
    let expected = (0..3).flat_map(|place| [format!("/items/{place}/product_id"), format!("/items/{place}/quantity")]);
    assert!(errors.into_iter().eq(expected));
}

#[test]
fn a_product_that_comes_twice_is_refused_at_its_second_place() {
    assert_eq!(parse(&[(id(1), 1), (id(2), 1), (id(1), 3)]).unwrap_err(), ["/items/2/product_id"]);
}

#[test]
fn a_request_of_another_form_is_refused() {
    for refused in [
        r#"{}"#,
        r#"{"items":null}"#,
        r#"{"items":[{"product_id":"01930000-0000-7000-8000-000000000000"}]}"#,
        r#"{"items":[{"product_id":"01930000-0000-7000-8000-000000000000","quantity":1.5}]}"#,
        r#"{"items":[{"product_id":"01930000-0000-7000-8000-000000000000","quantity":"1"}]}"#,
        r#"{"items":[{"product_id":"01930000-0000-7000-8000-000000000000","quantity":1,"unit_price":0}]}"#,
    ] {
        assert!(serde_json::from_str::<OrderForm>(refused).is_err(), "{refused}");
    }
}

#[test]
fn every_unknown_product_is_named() {
    let wanted = parse(&[(id(1), 1), (id(2), 1), (id(3), 1)]).unwrap();
    match wanted.priced(&HashMap::from([(id(2), money(1, "EUR"))])) {
        Err(PricingError::UnknownProducts(errors)) => {
            assert!(errors[0].detail.contains(&id(1).to_string()));
            assert_eq!(pointers(errors), ["/items/0/product_id", "/items/2/product_id"]);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_order_has_one_currency() {
    let wanted = parse(&[(id(1), 1), (id(2), 1)]).unwrap();
    let prices = HashMap::from([(id(1), money(1, "EUR")), (id(2), money(1, "USD"))]);
    match wanted.priced(&prices) {
        Err(PricingError::NoTotal(errors)) => assert_eq!(pointers(errors), ["/items/1/product_id"]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_total_that_is_too_large_is_refused() {
    let wanted = parse(&[(id(1), 1), (id(2), 1)]).unwrap();
    let prices = HashMap::from([(id(1), money(MAX_AMOUNT, "EUR")), (id(2), money(1, "EUR"))]);
    match wanted.priced(&prices) {
        Err(PricingError::NoTotal(errors)) => assert_eq!(pointers(errors), ["/items"]),
        other => panic!("{other:?}"),
    }
}

fn any_items() -> impl Strategy<Value = Vec<(u128, i64, i64)>> {
    prop::collection::btree_map(any::<u128>(), (1..=i64::from(MAX_QUANTITY), 0..=MAX_AMOUNT), 1..=MAX_ITEMS)
        .prop_map(|items| items.into_iter().map(|(id, (quantity, amount))| (id, quantity, amount)).collect())
}

proptest! {
    #[test]
    fn a_total_is_the_exact_sum_or_refused(items in any_items()) {
        let wanted = parse(&items.iter().map(|(number, quantity, _)| (id(*number), *quantity)).collect::<Vec<_>>()).unwrap();
        let prices = items.iter().map(|(number, _, amount)| (id(*number), money(*amount, "EUR"))).collect();
        let exact: i128 = items.iter().map(|(_, quantity, amount)| i128::from(*quantity) * i128::from(*amount)).sum();
        match wanted.priced(&prices) {
            Ok(priced) => prop_assert_eq!(i128::from(priced.total.amount()), exact),
            Err(_) => prop_assert!(exact > i128::from(MAX_AMOUNT)),
        }
    }

    #[test]
    fn a_request_is_of_its_own_order_and_of_no_other(items in any_items(), changed: prop::sample::Index) {
        let mut pairs: Vec<_> = items.iter().map(|(number, quantity, _)| (id(*number), *quantity)).collect();
        let wanted = parse(&pairs).unwrap();
        let prices = items.iter().map(|(number, ..)| (id(*number), money(1, "EUR"))).collect();
        let priced = wanted.priced(&prices).unwrap();
        let order = Order {
            id: id(0),
            status: PLACED.to_owned(),
            items: priced.items,
            total: priced.total,
            created_at: OffsetDateTime::UNIX_EPOCH,
        };
        prop_assert!(wanted.is_of(&order));
        let quantity = &mut pairs[changed.index(items.len())].1;
        *quantity = if *quantity == 1 { 2 } else { *quantity - 1 };
        prop_assert!(!parse(&pairs).unwrap().is_of(&order));
        pairs.pop();
        prop_assert!(pairs.is_empty() || !parse(&pairs).unwrap().is_of(&order));
    }

    #[test]
    fn a_quantity_is_kept_exactly_or_refused(pieces: i64) {
        match Quantity::parse(pieces) {
            Ok(quantity) => prop_assert_eq!(i64::from(quantity.pieces()), pieces),
            Err(_) => prop_assert!(!(1..=i64::from(MAX_QUANTITY)).contains(&pieces)),
        }
    }
}
