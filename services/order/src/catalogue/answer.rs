//! What the product service answers, read with suspicion: a wrong price would become a wrong order.

use std::collections::HashMap;

use mini_kit_api::currency::Currency;
use serde::Deserialize;
use uuid::Uuid;

use crate::money::Money;

/// The fields that an order needs. Others are ignored, so that the product service may add some.
#[derive(Deserialize)]
struct Answer {
    items: Vec<Product>,
}

#[derive(Deserialize)]
struct Product {
    id: Uuid,
    price: Price,
}

#[derive(Deserialize)]
struct Price {
    amount: i64,
    currency: String,
}

/// Reads the answer to a question for `asked`.
///
/// A product that nobody asked for is an error: the other side took the question for another one, and what is missing
/// from its answer may well exist.
pub(super) fn read(body: &[u8], asked: &[Uuid]) -> Result<HashMap<Uuid, Money>, String> {
    let answer: Answer = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let mut prices = HashMap::with_capacity(answer.items.len());
    for Product { id, price } in answer.items {
        if !asked.contains(&id) {
            return Err(format!("it names the product {id}, which was not asked for"));
        }
        let money = Currency::parse(&price.currency)
            .map_err(|reason| format!("its currency {reason}"))
            .and_then(|currency| Money::new(price.amount, currency))
            .map_err(|reason| format!("the price of the product {id}: {reason}"))?;
        if prices.insert(id, money).is_some() {
            return Err(format!("it names the product {id} twice"));
        }
    }
    Ok(prices)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ASKED: Uuid = Uuid::from_u128(1);

    fn product(id: Uuid, price: &str) -> String {
        format!(r#"{{"id":"{id}","name":"Pen","price":{price}}}"#)
    }

    fn answer(products: &[String]) -> Result<HashMap<Uuid, Money>, String> {
        read(format!(r#"{{"items":[{}],"next_cursor":null}}"#, products.join(",")).as_bytes(), &[ASKED])
    }

    #[test]
    fn a_price_is_read_and_a_missing_product_is_no_error() {
        let prices = answer(&[product(ASKED, r#"{"amount":5,"currency":"EUR"}"#)]).unwrap();
        assert_eq!(prices[&ASKED], Money::new(5, Currency::parse("EUR").unwrap()).unwrap());
        assert!(answer(&[]).unwrap().is_empty());
    }

    #[test]
    fn an_answer_that_cannot_be_right_is_refused() {
        let good = product(ASKED, r#"{"amount":5,"currency":"EUR"}"#);
        for refused in [
            vec![product(ASKED, r#"{"amount":-5,"currency":"EUR"}"#)],
            vec![product(ASKED, r#"{"amount":5.5,"currency":"EUR"}"#)],
            vec![product(ASKED, r#"{"amount":9007199254740992,"currency":"EUR"}"#)],
            vec![product(ASKED, r#"{"amount":5,"currency":"euro"}"#)],
            vec![product(ASKED, "null")],
            vec![good.clone(), good.clone()],
            vec![product(Uuid::from_u128(2), r#"{"amount":5,"currency":"EUR"}"#)],
        ] {
            assert!(answer(&refused).is_err(), "{refused:?}");
        }
        for refused in ["", "null", "[]", "{}", r#"{"items":[{}]}"#, "<html>"] {
            assert!(read(refused.as_bytes(), &[ASKED]).is_err(), "{refused}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
            let _ = read(&bytes, &[ASKED]);
        }
    }
}
