//! Why a request is refused, as problems (RFC 9457).

use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use mini_kit_api::Problem;

use crate::catalogue::CatalogueError;
use crate::order::PricingError;

/// A header that is no key: the client would believe itself protected.
pub(super) fn of_key(reason: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid-idempotency-key", "The Idempotency-Key header is not valid")
        .detail(format!("Idempotency-Key {reason}"))
}

/// A key that stands for other items already (draft-ietf-httpapi-idempotency-key-header-07, section 2.7).
pub(super) fn of_reused_key() -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "idempotency-key-reused",
        "The idempotency key stands for another order",
    )
    .detail("an order with other items was placed under this key; a new order needs a new key")
}

/// An order that is not there or not the caller's.
pub(super) fn of_unknown_order() -> Problem {
    Problem::from_status(StatusCode::NOT_FOUND).detail("there is no such order")
}

/// Items that cannot be priced.
pub(super) fn of_pricing(error: PricingError) -> Problem {
    match error {
        PricingError::UnknownProducts(errors) => {
            Problem::new(StatusCode::NOT_FOUND, "unknown-product", "A product of the order does not exist")
                .errors(errors)
        }
        PricingError::NoTotal(errors) => Problem::invalid(errors),
    }
}

/// A catalogue that gave no prices. The cause is for the log: it may name inner addresses.
pub(super) fn of_catalogue(error: &CatalogueError) -> Problem {
    tracing::error!("{error}");
    match error {
        CatalogueError::Unavailable(_) => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "catalogue-unavailable", "The prices cannot be looked up now")
                .detail("nothing was ordered; the same request may be sent again")
                .header(RETRY_AFTER, HeaderValue::from_static("1"))
        }
        CatalogueError::Invalid(_) => {
            Problem::new(StatusCode::BAD_GATEWAY, "catalogue-invalid", "The prices that were looked up cannot be read")
                .detail("nothing was ordered")
        }
    }
}
