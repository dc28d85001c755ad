//! Extractors that reject with problems.

mod json;
mod objects;

use axum::extract::{FromRequestParts, rejection};
use http::StatusCode;
use http::request::Parts;
use serde::de::DeserializeOwned;

pub use json::Json;

use crate::problem::Problem;

/// The parameters in the path, as `T`. A path whose parameters cannot be read as `T` names nothing, so the answer is 404.
#[derive(Clone, Copy, Debug)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(parameters)) => Ok(Self(parameters)),
            Err(rejection::PathRejection::FailedToDeserializePathParams(_)) => {
                Err(Problem::from_status(StatusCode::NOT_FOUND))
            }
            Err(rejection) => Err(Problem::internal(rejection)),
        }
    }
}
