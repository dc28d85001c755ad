//! Bodies on their way through: counted and timed, never collected.

mod request;
mod response;

pub use request::{RequestBody, Upload, UploadState};
pub use response::ResponseBody;

/// Why a body broke off. The reader on the other side sees a broken connection, never a complete message.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The request body is larger than it may be.
    #[error("the request body is larger than REQUEST_BODY_LIMIT")]
    TooLarge,
    /// The body took longer than it may, or stood still for too long.
    #[error("the body made no progress within STALL_TIMEOUT or did not end within REQUEST_TIMEOUT")]
    TooSlow,
    /// A chunked body did not end as it must: what follows it was taken for its trailers.
    #[error("the end of the chunked body is malformed")]
    BadEnd,
    /// The connection that the body came on broke.
    #[error("the body broke off")]
    Broken(#[source] hyper::Error),
}
