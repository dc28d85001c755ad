//! The address of the product service.

use http::Uri;
use http::uri::PathAndQuery;
use mini_kit::Value;
use mini_kit::contract::Reason;
use mini_kit::types::HttpOrigin;
use uuid::Uuid;

/// Where the product service is.
#[derive(Clone, Debug)]
pub struct ProductUrl(HttpOrigin);

impl Value for ProductUrl {
    const TYPE: &'static str = HttpOrigin::TYPE;

    fn parse(text: &str) -> Result<Self, Reason> {
        HttpOrigin::parse(text).map(Self)
    }
}

impl ProductUrl {
    /// The question for some products at once.
    pub(super) fn of_products(&self, ids: &[Uuid]) -> Result<Uri, http::uri::InvalidUri> {
        let ids: Vec<String> = ids.iter().map(Uuid::to_string).collect();
        Ok(self.0.uri(PathAndQuery::try_from(format!("/products?ids={}", ids.join(",")))?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_names_every_product() {
        let ids = [Uuid::from_u128(1), Uuid::from_u128(2)];
        for (url, origin) in [
            ("http://product:8080", "http://product:8080"),
            ("http://product/", "http://product"),
            ("http://[::1]:8080", "http://[::1]:8080"),
        ] {
            let expected = format!(
                "{origin}/products?ids=00000000-0000-0000-0000-000000000001,00000000-0000-0000-0000-000000000002"
            );
            assert_eq!(ProductUrl::parse(url).unwrap().of_products(&ids).unwrap(), expected.as_str());
        }
    }

    #[test]
    fn only_the_origin_of_a_plain_http_service_is_taken() {
        for refused in [
            "product:8080",
            "/products",
            "https://product",
            "ftp://product",
            "http://",
            "http://user:word@product",
            "http://product/products",
            "http://product?x=1",
            "http://product#x",
        ] {
            assert!(ProductUrl::parse(refused).is_err(), "{refused}");
        }
    }
}
