//! The address of the product service.

use http::Uri;
use mini_kit::Value;
use mini_kit::contract::Reason;
use url::Url;
use uuid::Uuid;

/// An `http` URL with a host, perhaps a port, and no path.
#[derive(Clone, Debug)]
pub struct ProductUrl {
    /// `http://HOST[:PORT]`, without a slash at the end.
    origin: String,
}

impl Value for ProductUrl {
    const TYPE: &'static str = "url";

    fn parse(text: &str) -> Result<Self, Reason> {
        let url = <Url as Value>::parse(text)?;
        if url.scheme() != "http" {
            return Err("is not an http URL; the services speak plain HTTP on their private network".into());
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err("has a path, a query or a fragment; scheme, host and port are all that is wanted".into());
        }
        let origin = url.origin().ascii_serialization();
        match Uri::try_from(&origin) {
            Ok(_) => Ok(Self { origin }),
            Err(_) => Err("has a host that HTTP cannot carry".into()),
        }
    }
}

impl ProductUrl {
    /// The question for some products at once.
    pub(super) fn of_products(&self, ids: &[Uuid]) -> Result<Uri, http::uri::InvalidUri> {
        let ids: Vec<String> = ids.iter().map(Uuid::to_string).collect();
        Uri::try_from(format!("{}/products?ids={}", self.origin, ids.join(",")))
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
