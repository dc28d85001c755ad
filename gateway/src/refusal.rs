//! Every answer that the gateway gives itself instead of an upstream.
//!
//! What a client may know is in the problem document. Which upstream failed and how is in the log only.

use http::StatusCode;
use http::header::{self, HeaderValue};
use mini_kit::Problem;
use mini_kit::problem::Kind;

/// How long a client should wait before it tries an overloaded upstream again, in seconds.
const RETRY_AFTER_OVERLOAD_SECONDS: u64 = 1;

/// Why a request got no answer from an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The request target has more than one reading, or a form other than a path: 400.
    Target(&'static str),
    /// The host is missing, repeated or malformed: 400.
    Host(&'static str),
    /// The request body broke off or was not framed as announced: 400.
    BrokenBody,
    /// The path names no upstream: 404.
    NotFound,
    /// The client did not send the whole request in time: 408.
    SlowRequest,
    /// The body is larger than `REQUEST_BODY_LIMIT`: 413.
    BodyTooLarge,
    /// The request target is longer than [`crate::target::REQUEST_TARGET_LIMIT_BYTES`]: 414.
    TargetTooLong,
    /// An expectation other than `100-continue`: 417.
    Expectation,
    /// The host is not in `ALLOWED_HOSTS`: 421.
    UnknownHost,
    /// The client has used up its tokens; the next comes after this many seconds: 429.
    TooManyRequests(u64),
    /// CONNECT or TRACE: 501.
    Method,
    /// The client wants another protocol on this connection: 501.
    Upgrade,
    /// A transfer coding other than `chunked` alone: 501.
    TransferCoding,
    /// The upstream could not be reached, or its answer could not be understood: 502.
    BadGateway,
    /// `UPSTREAM_MAX_REQUESTS` are under way to this upstream: 503.
    Overloaded,
    /// The upstream did not answer in time: 504.
    GatewayTimeout,
    /// The gateway itself failed: 500.
    Internal,
}

impl Refusal {
    /// The problem document.
    pub fn problem(self) -> Problem {
        match self {
            Self::Target(detail) => Problem::new(Kind::BadRequestTarget).detail(detail),
            Self::Host(detail) => Problem::new(Kind::BadHost).detail(detail),
            // Where the next request would begin is not known.
            Self::BrokenBody => closing(Problem::new(Kind::BrokenBody)),
            Self::NotFound => Problem::from_status(StatusCode::NOT_FOUND),
            Self::SlowRequest => closing(Problem::from_status(StatusCode::REQUEST_TIMEOUT)),
            Self::BodyTooLarge => Problem::from_status(StatusCode::PAYLOAD_TOO_LARGE),
            Self::TargetTooLong => Problem::new(Kind::RequestTargetTooLong),
            Self::Expectation => Problem::new(Kind::ExpectationFailed),
            Self::UnknownHost => Problem::new(Kind::UnknownHost),
            Self::TooManyRequests(seconds) => retry_after(Problem::from_status(StatusCode::TOO_MANY_REQUESTS), seconds),
            Self::Method => {
                Problem::from_status(StatusCode::NOT_IMPLEMENTED).detail("CONNECT and TRACE are not supported")
            }
            // Closing makes sure that nobody reads what follows as the other protocol.
            Self::Upgrade => {
                closing(Problem::new(Kind::UpgradeNotSupported).detail("send the request without Upgrade"))
            }
            Self::TransferCoding => closing(
                Problem::from_status(StatusCode::NOT_IMPLEMENTED)
                    .detail("the only transfer coding supported is chunked"),
            ),
            Self::BadGateway => Problem::from_status(StatusCode::BAD_GATEWAY),
            Self::Overloaded => {
                retry_after(Problem::from_status(StatusCode::SERVICE_UNAVAILABLE), RETRY_AFTER_OVERLOAD_SECONDS)
            }
            Self::GatewayTimeout => Problem::from_status(StatusCode::GATEWAY_TIMEOUT),
            Self::Internal => Problem::from_status(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }
}

fn retry_after(problem: Problem, seconds: u64) -> Problem {
    problem.header(header::RETRY_AFTER, HeaderValue::from(seconds))
}

fn closing(problem: Problem) -> Problem {
    problem.header(header::CONNECTION, HeaderValue::from_static("close"))
}
