//! Problems as the description of the API names them.

use utoipa::ToSchema;

use super::{FieldError, Kind};

/// A problem document (RFC 9457): every answer with a status of 400 and above.
#[derive(ToSchema)]
#[schema(as = Problem)]
#[allow(dead_code, reason = "it stands for what `Problem::response` writes")]
pub struct ProblemDocument {
    /// What kind of problem it is: a reference that leads to a text about it.
    #[schema(format = "uri-reference", pattern = "^/problems/[a-z-]+$")]
    r#type: String,
    /// The same in words. It does not change from one occurrence to the next.
    title: String,
    /// The status of the response.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What is special about this occurrence.
    #[schema(nullable = false)]
    detail: Option<String>,
    /// The id of the request, for whoever reads the log.
    #[schema(nullable = false)]
    request_id: Option<String>,
    /// The places in the request body that the problem is about.
    #[schema(nullable = false, min_items = 1)]
    errors: Option<Vec<FieldError>>,
}

/// The description of a response that has these kinds of problem, a line each.
#[must_use]
pub fn listed(kinds: &[Kind]) -> String {
    kinds
        .iter()
        .map(|kind| format!("- [`{}`]({}): {}", kind.name(), kind.uri(), kind.title()))
        .collect::<Vec<_>>()
        .join("\n")
}
