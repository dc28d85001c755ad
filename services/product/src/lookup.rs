//! What `GET /products` is asked for: a page, or certain products.

use mini_kit_api::id;
use mini_kit_api::page::{Cursor, Limit};
use mini_kit_api::query::Parameters;
use uuid::Uuid;

/// The most products that one request may name.
pub const MAX_IDS: usize = 50;

/// The query of `GET /products`.
#[derive(Debug, PartialEq, Eq)]
pub enum Lookup {
    /// `limit` and `cursor`, or nothing: the products from a place on.
    Page {
        /// The place.
        cursor: Cursor,
        /// How many.
        limit: Limit,
    },
    /// `ids`: these products, as far as they exist. One request instead of one for each product: what the order service
    /// asks before it prices an order.
    Ids(Vec<Uuid>),
}

impl Lookup {
    /// Reads the query string; refuses with the reason.
    pub fn parse(query: Option<&str>) -> Result<Self, String> {
        let parameters = Parameters::parse(query, &["limit", "cursor", "ids"])?;
        let limit = parameters.get("limit", Limit::parse)?;
        let cursor = parameters.get("cursor", Cursor::parse)?;
        match (parameters.get("ids", parse_ids)?, limit, cursor) {
            (Some(ids), None, None) => Ok(Self::Ids(ids)),
            (Some(_), ..) => Err("ids must come without limit and cursor".to_owned()),
            (None, limit, cursor) => {
                Ok(Self::Page { cursor: cursor.unwrap_or(Cursor::START), limit: limit.unwrap_or_default() })
            }
        }
    }
}

fn parse_ids(list: &str) -> Result<Vec<Uuid>, String> {
    // The limit comes first: what lies beyond it is not even looked at.
    let ids: Option<Vec<Uuid>> = list.split(',').take(MAX_IDS + 1).map(id::parse).collect();
    ids.filter(|ids| ids.len() <= MAX_IDS)
        .ok_or_else(|| format!("must be 1 to {MAX_IDS} UUIDs with commas between them"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "01930000-0000-7000-8000-000000000001";

    #[test]
    fn no_query_is_the_first_page() {
        let first = Lookup::Page { cursor: Cursor::START, limit: Limit::default() };
        assert_eq!(Lookup::parse(None).unwrap(), first);
        assert_eq!(Lookup::parse(Some("")).unwrap(), first);
    }

    #[test]
    fn products_are_named_by_canonical_ids_up_to_the_limit() {
        let most = [ID; MAX_IDS].join(",");
        assert!(matches!(Lookup::parse(Some(&format!("ids={most}"))), Ok(Lookup::Ids(ids)) if ids.len() == MAX_IDS));
        let too_many = format!("{most},{ID}");
        let simple = ID.replace('-', "");
        for refused in ["", ",", "x", &format!("{ID},"), &format!("{ID}%20"), &simple, &format!("{{{ID}}}"), &too_many]
        {
            assert!(Lookup::parse(Some(&format!("ids={refused}"))).is_err(), "{refused}");
        }
        assert!(Lookup::parse(Some(&format!("ids={ID}&limit=5"))).is_err());
    }

    proptest! {
        #[test]
        fn no_query_makes_the_reader_panic(query in "\\PC{0,60}|(limit|cursor|ids)=[%0-9a-f,-]{0,40}") {
            let _ = Lookup::parse(Some(&query));
        }
    }
}
