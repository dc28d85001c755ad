//! Conditional requests (RFC 9110 section 13): entity tags, `If-Match` and `If-None-Match`.

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use http::request::Parts;

use crate::problem::{Kind, Problem};

/// The most tags that a request may name.
const MAX_TAGS: usize = 50;

/// A strong entity tag: what stands between its quotes. It names one state of one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityTag(String);

impl EntityTag {
    /// A tag from letters, digits and hyphens, which make a valid tag whatever they are.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        let mut text = text.into();
        text.retain(|letter| letter.is_ascii_alphanumeric() || letter == '-');
        Self(text)
    }

    /// What stands between the quotes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn header_value(&self) -> HeaderValue {
        HeaderValue::try_from(format!("\"{}\"", self.0)).expect("letters, digits and hyphens")
    }
}

/// The tags that `If-Match` or `If-None-Match` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// `*`: any state, as long as there is one.
    Any,
    /// One of these. Weak tags are kept apart: they never satisfy `If-Match`.
    Tags {
        /// What stands between the quotes of strong tags.
        strong: Vec<String>,
        /// What stands between the quotes of weak tags.
        weak: Vec<String>,
    },
}

impl Condition {
    /// Reads a header; none when it did not come.
    ///
    /// # Errors
    /// 400 when it cannot be read. A condition that is not understood must not be taken for one that is met.
    pub fn from_headers(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Self>, Problem> {
        let mut lines = headers.get_all(name).iter().peekable();
        if lines.peek().is_none() {
            return Ok(None);
        }
        let invalid = || {
            Problem::new(Kind::InvalidCondition)
                .detail(format!("{name} must be * or entity tags in double quotes, at most {MAX_TAGS}"))
        };
        let lines: Vec<&str> = lines.map(HeaderValue::to_str).collect::<Result<_, _>>().map_err(|_| invalid())?;
        Self::parse(&lines.join(",")).map(Some).ok_or_else(invalid)
    }

    fn parse(list: &str) -> Option<Self> {
        if list.trim() == "*" {
            return Some(Self::Any);
        }
        let (mut strong, mut weak) = (Vec::new(), Vec::new());
        let mut rest = list.trim_matches([' ', '\t', ',']);
        while !rest.is_empty() {
            let (is_weak, quoted) = rest.strip_prefix("W/").map_or((false, rest), |quoted| (true, quoted));
            let (tag, after) = quoted.strip_prefix('"')?.split_once('"')?;
            let is_tag = tag.bytes().all(|byte| byte == 0x21 || (0x23..=0x7e).contains(&byte));
            let next = after.trim_start_matches([' ', '\t']);
            if !is_tag || strong.len() + weak.len() >= MAX_TAGS || !(next.is_empty() || next.starts_with(',')) {
                return None;
            }
            if is_weak { &mut weak } else { &mut strong }.push(tag.to_owned());
            rest = next.trim_start_matches([' ', '\t', ',']);
        }
        (!strong.is_empty() || !weak.is_empty()).then_some(Self::Tags { strong, weak })
    }

    /// Whether it is met by this state, compared strongly: what a change asks.
    #[must_use]
    pub fn is_met_by(&self, tag: &EntityTag) -> bool {
        match self {
            Self::Any => true,
            Self::Tags { strong, .. } => strong.contains(&tag.0),
        }
    }

    /// Whether it names this state, compared weakly: what a reader with a copy asks.
    #[must_use]
    pub fn names(&self, tag: &EntityTag) -> bool {
        match self {
            Self::Any => true,
            Self::Tags { strong, weak } => strong.contains(&tag.0) || weak.contains(&tag.0),
        }
    }
}

/// What a request asks of the state of its resource. As an argument of a handler it refuses conditions that cannot be read with 400.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conditions {
    /// `If-Match`: only in a state that it names.
    pub if_match: Option<Condition>,
    /// `If-None-Match`: only in a state that it does not name.
    pub if_none_match: Option<Condition>,
}

impl<S: Send + Sync> FromRequestParts<S> for Conditions {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let read = |name| Condition::from_headers(&parts.headers, name);
        Ok(Self { if_match: read(&IF_MATCH)?, if_none_match: read(&IF_NONE_MATCH)? })
    }
}

impl Conditions {
    /// The answer to a read, in the order of RFC 9110 section 13.2.2: 412 when the state is none that the reader wants, 304 when
    /// it is one that the reader has, else `body` with its tag.
    pub fn answer(&self, tag: &EntityTag, body: impl IntoResponse) -> Response {
        if self.if_match.as_ref().is_some_and(|wanted| !wanted.is_met_by(tag)) {
            return precondition_failed().into_response();
        }
        let is_known = self.if_none_match.as_ref().is_some_and(|known| known.names(tag));
        tagged(tag, if is_known { StatusCode::NOT_MODIFIED.into_response() } else { body.into_response() })
    }
}

/// The two headers as the description of the API has them.
#[cfg(feature = "openapi")]
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "it stands for `Conditions`")]
pub struct ConditionHeaders {
    /// Only a state that one of these tags names, or else 412: `*`, or tags in double quotes, as an `ETag` gave them.
    #[param(rename = "If-Match", nullable = false, pattern = r#"^(\*|"[!#-~]*"(, *"[!#-~]*"){0,49})$"#)]
    if_match: Option<String>,
    /// Only a state that none of these tags names, or else 304 for a read and 412 for a change: `*`, or tags in double quotes.
    #[param(rename = "If-None-Match", nullable = false, pattern = r#"^(\*|(W/)?"[!#-~]*"(, *(W/)?"[!#-~]*"){0,49})$"#)]
    if_none_match: Option<String>,
}

/// The answer to a request whose condition is not met.
#[must_use]
pub fn precondition_failed() -> Problem {
    Problem::new(Kind::PreconditionFailed)
        .detail("read it again, and repeat the request with the ETag of what was read")
}

/// A response with its tag.
pub fn tagged(tag: &EntityTag, body: impl IntoResponse) -> Response {
    let mut response = body.into_response();
    response.headers_mut().insert(ETAG, tag.header_value());
    response
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tags(strong: &[&str], weak: &[&str]) -> Condition {
        let owned = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect();
        Condition::Tags { strong: owned(strong), weak: owned(weak) }
    }

    #[test]
    fn conditions_are_read_as_rfc_9110_writes_them() {
        assert_eq!(Condition::parse(" * "), Some(Condition::Any));
        assert_eq!(Condition::parse("\"a\""), Some(tags(&["a"], &[])));
        assert_eq!(Condition::parse("\"a,b\" , W/\"c\",,\"\""), Some(tags(&["a,b", ""], &["c"])));
        for refused in ["", ",", "a", "\"a", "a\"", "\"a\" \"b\"", "w/\"a\"", "*, \"a\"", "\"a\x7f\"", "\"a\"x"] {
            assert_eq!(Condition::parse(refused), None, "{refused}");
        }
        assert_eq!(Condition::parse(&["\"a\""; MAX_TAGS + 1].join(",")), None);
    }

    #[test]
    fn weak_tags_serve_readers_and_never_writers() {
        let weak = tags(&[], &["a"]);
        let tag = EntityTag::new("a");
        assert!(weak.names(&tag) && !weak.is_met_by(&tag));
        assert!(tags(&["b", "a"], &[]).is_met_by(&tag) && !tags(&["b"], &[]).names(&tag));
    }

    proptest! {
        #[test]
        fn any_text_gets_an_answer(text in "[\"W/*, ab\\\\t]{0,30}") {
            let _ = Condition::parse(&text);
        }

        #[test]
        fn a_tag_is_met_by_itself(text in "[a-z0-9-]{0,20}") {
            let tag = EntityTag::new(text);
            let header = tag.header_value();
            let condition = Condition::parse(header.to_str().unwrap()).unwrap();
            prop_assert!(condition.is_met_by(&tag));
        }
    }
}
