//! Why a request is refused, as problems (RFC 9457).

use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use mini_kit_api::Problem;
use mini_kit_api::problem::Kind;

use crate::catalogue::CatalogueError;
use crate::order::PricingError;

/// A header that is no key: the client would believe itself protected.
pub(super) fn of_key(reason: &str) -> Problem {
    Problem::new(Kind::InvalidIdempotencyKey).detail(format!("Idempotency-Key {reason}"))
}

/// A key that stands for other items already (draft-ietf-httpapi-idempotency-key-header-07, section 2.7).
pub(super) fn of_reused_key() -> Problem {
    Problem::new(Kind::IdempotencyKeyReused)
        .detail("an order with other items was placed under this key; a new order needs a new key")
}

/// An order that is not there or not the caller's.
pub(super) fn of_unknown_order() -> Problem {
    Problem::from_status(StatusCode::NOT_FOUND).detail("there is no such order")
}

/// Items that cannot be priced.
pub(super) fn of_pricing(error: PricingError) -> Problem {
    match error {
        PricingError::UnknownProducts(errors) => Problem::new(Kind::UnknownProduct).errors(errors),
        PricingError::NoTotal(errors) => Problem::invalid(errors),
    }
}

/// A catalogue that gave no prices. The cause is for the log: it may name inner addresses.
pub(super) fn of_catalogue(error: &CatalogueError) -> Problem {
    tracing::error!("{error}");
    match error {
        CatalogueError::Unavailable(_) => Problem::new(Kind::CatalogueUnavailable)
            .detail("nothing was ordered; the same request may be sent again")
            .header(RETRY_AFTER, HeaderValue::from_static("1")),
        CatalogueError::Invalid(_) => Problem::new(Kind::CatalogueInvalid).detail("nothing was ordered"),
    }
}
