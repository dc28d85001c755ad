//! Every kind of problem that a program of the shop answers with: one list, from which the documents, the gateway's pages and the
//! description of the API are made.

use http::StatusCode;

/// Makes the type and the list of its values from one table, so that neither can lack what the other has.
macro_rules! kinds {
    ($($kind:ident = $status:ident $name:literal $title:literal $meaning:literal)*) => {
        /// What went wrong, as far as a client can act on it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Kind {
            $(#[doc = $meaning] $kind,)*
        }

        impl Kind {
            /// All of them, in the order of their statuses.
            pub const ALL: &[Self] = &[$(Self::$kind),*];

            /// The end of the document's `type`, in kebab-case.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }

            /// The same in words. It does not change from one occurrence to the next.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$kind => $title,)* }
            }

            /// The status of the response.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$kind => StatusCode::$status,)* }
            }

            /// What it means and what a client can do about it, in whole sentences.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$kind => $meaning,)* }
            }
        }
    };
}

kinds! {
    BadRequest = BAD_REQUEST "bad-request" "The request is malformed"
        "The head or the body of the request could not be read: it is not valid HTTP, or its body is not valid JSON or not valid UTF-8. Sending the same request again gives the same answer."
    BadHost = BAD_REQUEST "bad-host" "The request must name one host"
        "An HTTP/1.1 request has exactly one Host header field, with a host name or an address and perhaps a port."
    BadRequestTarget = BAD_REQUEST "bad-request-target" "The request target is ambiguous or malformed"
        "Only plain paths are served: no absolute URI, no empty or dot segment, no semicolon, no fragment, and no percent-encoding of a character that gives a path its structure."
    BrokenBody = BAD_REQUEST "broken-body" "The request body did not arrive as announced"
        "The connection ended before the body did, or the chunks of the body are malformed. The connection is closed; send the request again on a new one."
    InvalidCondition = BAD_REQUEST "invalid-condition" "The condition of the request is not valid"
        "If-Match and If-None-Match hold an asterisk or up to 50 entity tags in double quotes, as an ETag header field gave them."
    InvalidIdempotencyKey = BAD_REQUEST "invalid-idempotency-key" "The Idempotency-Key header is not valid"
        "The header may come once, with 1 to 255 visible ASCII characters. An invalid key is refused rather than ignored, since its sender counts on being protected from ordering twice."
    InvalidQuery = BAD_REQUEST "invalid-query" "The query is not valid"
        "A parameter of the query is unknown, comes twice, or has a value that it cannot have; the detail names it."
    ClientError = BAD_REQUEST "client-error" "The request cannot be answered"
        "The status of the response says what is wrong with the request; there is no more to say about it."
    Unauthorized = UNAUTHORIZED "unauthorized" "A valid token is needed"
        "The request needs an access token in its Authorization header, as `Bearer TOKEN`. The token is missing, malformed, expired or signed with an unknown key: log in again with POST /users/login."
    WrongCredentials = UNAUTHORIZED "wrong-credentials" "Username or password is wrong"
        "Whether the account does not exist or the password is wrong is not said."
    Forbidden = FORBIDDEN "forbidden" "This is not allowed for your role"
        "The token is valid, and the account that it belongs to may not do this. Only administrators change the catalogue."
    NotFound = NOT_FOUND "not-found" "There is nothing here"
        "The path names nothing, or something that this account may not know of, such as the order of somebody else."
    UnknownProduct = NOT_FOUND "unknown-product" "A product of the order does not exist"
        "Each entry of `errors` points at an item whose product is not in the catalogue. Nothing was ordered."
    MethodNotAllowed = METHOD_NOT_ALLOWED "method-not-allowed" "This method is not allowed here"
        "The Allow header field of the response lists the methods that this path has."
    RequestTimeout = REQUEST_TIMEOUT "request-timeout" "The request took too long to arrive"
        "The head or the body of the request did not arrive in time. The connection is closed; send the request again on a new one."
    Conflict = CONFLICT "conflict" "The request conflicts with the present state"
        "Something else was changed at the same time. Read the present state, and send the request again if it still makes sense."
    UsernameTaken = CONFLICT "username-taken" "The username is taken"
        "An account with this username exists already. Choose another one."
    PreconditionFailed = PRECONDITION_FAILED "precondition-failed" "The state is not the one the request is for"
        "The present state is not one that If-Match names, or one that If-None-Match names. Nothing was written. Read it again, and repeat the request with the ETag of what was read."
    PayloadTooLarge = PAYLOAD_TOO_LARGE "payload-too-large" "The request body is too large"
        "The body exceeds what this server accepts."
    RequestTargetTooLong = URI_TOO_LONG "request-target-too-long" "The request target is too long"
        "Path and query together exceed what this server accepts."
    UnsupportedMediaType = UNSUPPORTED_MEDIA_TYPE "unsupported-media-type" "The request body must be application/json"
        "Send the body as JSON in UTF-8, and say so with `Content-Type: application/json`."
    UnsupportedContentCoding = UNSUPPORTED_MEDIA_TYPE "unsupported-content-coding" "The request body must not be encoded"
        "The body is compressed, as its Content-Encoding header field says. Send it as it is."
    ExpectationFailed = EXPECTATION_FAILED "expectation-failed" "Only 100-continue can be expected"
        "The Expect header field asks for something other than `100-continue`."
    UnknownHost = MISDIRECTED_REQUEST "unknown-host" "This host is not served here"
        "The Host header field names a host that this server was not set up for."
    InvalidBody = UNPROCESSABLE_ENTITY "invalid-body" "The request body is not valid"
        "The body is JSON, and not what this request takes. Each entry of `errors` says what is wrong at which place, as a JSON pointer."
    IdempotencyKeyReused = UNPROCESSABLE_ENTITY "idempotency-key-reused" "The idempotency key stands for another order"
        "An order with other items was placed under this key. A new order needs a new key; the old order can only be repeated as it was."
    TooManyRequests = TOO_MANY_REQUESTS "too-many-requests" "There were too many requests"
        "This client sends more than its share. Wait for as many seconds as the Retry-After header field says."
    TooManyFailedLogins = TOO_MANY_REQUESTS "too-many-failed-logins" "There were too many failed log-ins"
        "Log-ins to this account, or of this client, failed too often lately, so that the password was not even looked at. Wait for as many seconds as the Retry-After header field says."
    RequestHeadTooLarge = REQUEST_HEADER_FIELDS_TOO_LARGE "request-head-too-large" "The head of the request is too large"
        "The header fields of the request together exceed what this server accepts."
    InternalError = INTERNAL_SERVER_ERROR "internal-error" "The service failed"
        "The cause is in the server's log, under the request id of this document."
    NotImplemented = NOT_IMPLEMENTED "not-implemented" "This is not supported"
        "The request uses a method or a transfer coding that this server does not have."
    UpgradeNotSupported = NOT_IMPLEMENTED "upgrade-not-supported" "The protocol cannot be changed"
        "Send the request without Upgrade; this server speaks HTTP/1.1 alone."
    BadGateway = BAD_GATEWAY "bad-gateway" "The service behind the gateway could not be reached"
        "It could not be reached, or gave no valid answer. A request that changes something may have been carried out all the same."
    CatalogueInvalid = BAD_GATEWAY "catalogue-invalid" "The prices that were looked up cannot be read"
        "The catalogue gave an answer that cannot be right. Nothing was ordered."
    ServiceUnavailable = SERVICE_UNAVAILABLE "service-unavailable" "The service cannot answer now"
        "It is overloaded, or the request took longer than it may. Try again after as many seconds as the Retry-After header field says, or a moment later."
    NotReady = SERVICE_UNAVAILABLE "not-ready" "The service is not ready"
        "The probe of readiness says so, with the reason: the program starts, ends, or does not reach its database."
    CatalogueUnavailable = SERVICE_UNAVAILABLE "catalogue-unavailable" "The prices cannot be looked up now"
        "The catalogue does not answer. Nothing was ordered, and the same request may be sent again."
    GatewayTimeout = GATEWAY_TIMEOUT "gateway-timeout" "The service behind the gateway took too long"
        "It did not answer in time. A request that changes something may have been carried out all the same."
}

impl Kind {
    /// The `type` of the document: a reference that leads to the kind's page at the gateway.
    #[must_use]
    pub fn uri(self) -> String {
        format!("/problems/{}", self.name())
    }

    /// The one that says no more than a status does.
    #[must_use]
    pub const fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::BAD_REQUEST => Self::BadRequest,
            StatusCode::UNAUTHORIZED => Self::Unauthorized,
            StatusCode::FORBIDDEN => Self::Forbidden,
            StatusCode::NOT_FOUND => Self::NotFound,
            StatusCode::METHOD_NOT_ALLOWED => Self::MethodNotAllowed,
            StatusCode::REQUEST_TIMEOUT => Self::RequestTimeout,
            StatusCode::CONFLICT => Self::Conflict,
            StatusCode::PRECONDITION_FAILED => Self::PreconditionFailed,
            StatusCode::PAYLOAD_TOO_LARGE => Self::PayloadTooLarge,
            StatusCode::URI_TOO_LONG => Self::RequestTargetTooLong,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::UnsupportedMediaType,
            StatusCode::EXPECTATION_FAILED => Self::ExpectationFailed,
            StatusCode::UNPROCESSABLE_ENTITY => Self::InvalidBody,
            StatusCode::TOO_MANY_REQUESTS => Self::TooManyRequests,
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Self::RequestHeadTooLarge,
            StatusCode::NOT_IMPLEMENTED => Self::NotImplemented,
            StatusCode::BAD_GATEWAY => Self::BadGateway,
            StatusCode::SERVICE_UNAVAILABLE => Self::ServiceUnavailable,
            StatusCode::GATEWAY_TIMEOUT => Self::GatewayTimeout,
            _ if status.as_u16() < 500 => Self::ClientError,
            _ => Self::InternalError,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_has_a_name_and_a_page_of_its_own() {
        let names: BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), Kind::ALL.len(), "two kinds have one name");
        for kind in Kind::ALL {
            let (name, title, meaning) = (kind.name(), kind.title(), kind.meaning());
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{name}");
            assert!(!title.ends_with('.') && meaning.ends_with('.') && meaning.len() > 40, "{name}");
            assert!(kind.status().is_client_error() || kind.status().is_server_error(), "{name}");
        }
        assert!(Kind::ALL.is_sorted_by_key(|kind| kind.status()), "readers look for a status");
    }

    #[test]
    fn a_status_has_the_kind_that_says_no_more() {
        for kind in Kind::ALL {
            assert_eq!(Kind::of_status(kind.status()).status().as_u16() / 100, kind.status().as_u16() / 100);
        }
        assert_eq!(Kind::of_status(StatusCode::IM_A_TEAPOT), Kind::ClientError);
        assert_eq!(Kind::of_status(StatusCode::INSUFFICIENT_STORAGE), Kind::InternalError);
    }
}
