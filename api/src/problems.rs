//! The problems that follow from what an operation takes, and those that the gateway answers in front of every service.

use std::collections::{BTreeMap, BTreeSet};

use mini_kit::problem::{Kind, ProblemDocument, listed};
use utoipa::ToSchema as _;
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::{
    ContentBuilder, Header, HeaderBuilder, ObjectBuilder, OpenApi, Ref, RefOr, Response, ResponseBuilder, Type,
};

/// What the gateway says in front of every service, and what every service may fail with.
const ALWAYS: &[Kind] = &[
    Kind::BadRequest,
    Kind::BadHost,
    Kind::BadRequestTarget,
    Kind::BrokenBody,
    Kind::RequestTimeout,
    Kind::PayloadTooLarge,
    Kind::RequestTargetTooLong,
    Kind::ExpectationFailed,
    Kind::UnknownHost,
    Kind::TooManyRequests,
    Kind::RequestHeadTooLarge,
    Kind::InternalError,
    Kind::NotImplemented,
    Kind::UpgradeNotSupported,
    Kind::BadGateway,
    Kind::ServiceUnavailable,
    Kind::GatewayTimeout,
];
const OF_BODIES: &[Kind] = &[Kind::UnsupportedMediaType, Kind::UnsupportedContentCoding, Kind::InvalidBody];
const OF_TOKENS: &[Kind] = &[Kind::Unauthorized];
const OF_CONDITIONS: &[Kind] = &[Kind::InvalidCondition, Kind::PreconditionFailed];
const OF_QUERIES: &[Kind] = &[Kind::InvalidQuery];

/// Gives every operation its errors, each as a reference to one of the responses that the operations share.
pub(crate) fn complete(document: &mut OpenApi) {
    let mut shared = BTreeMap::new();
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.post, &mut item.patch, &mut item.put, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            let mut errors = implied(operation);
            for (status, response) in &mut operation.responses.responses {
                let RefOr::T(response) = response else { continue };
                if status.starts_with(['4', '5']) {
                    let own = Kind::ALL.iter().filter(|kind| response.description.contains(&listed(&[**kind])));
                    errors.entry(status.clone()).or_default().extend(own);
                } else {
                    *response = with_request_id(ResponseBuilder::from(std::mem::take(response))).build();
                }
            }
            for (status, kinds) in errors {
                let kinds: Vec<_> = kinds.into_iter().collect();
                let name = name(&status, &kinds);
                operation.responses.responses.insert(status.clone(), Ref::from_response_name(&name).into());
                shared.entry(name).or_insert_with(|| RefOr::T(error(&status, &kinds)));
            }
        }
    }
    document.components.get_or_insert_default().responses = shared;
}

/// The kinds that follow from what an operation takes, by status.
fn implied(operation: &Operation) -> BTreeMap<String, BTreeSet<Kind>> {
    let parameters = operation.parameters.iter().flatten().filter_map(|parameter| match parameter {
        RefOr::T(parameter) => Some(parameter),
        RefOr::Ref(_) => None,
    });
    let has_query = parameters.clone().any(|parameter| parameter.parameter_in == ParameterIn::Query);
    let is_conditional = parameters.clone().any(|parameter| ["If-Match", "If-None-Match"].contains(&&*parameter.name));
    let mut kinds = BTreeMap::<String, BTreeSet<Kind>>::new();
    for (applies, of_these) in [
        (true, ALWAYS),
        (operation.request_body.is_some(), OF_BODIES),
        (operation.security.is_some(), OF_TOKENS),
        (is_conditional, OF_CONDITIONS),
        (has_query, OF_QUERIES),
    ] {
        for kind in of_these.iter().filter(|_| applies) {
            kinds.entry(kind.status().as_str().to_owned()).or_default().insert(*kind);
        }
    }
    kinds
}

/// The status, and what sets these problems apart from those that every operation has.
fn name(status: &str, kinds: &[Kind]) -> String {
    let special = kinds.iter().filter(|kind| !ALWAYS.contains(kind)).map(|kind| kind.name());
    std::iter::once(status).chain(special).collect::<Vec<_>>().join("-")
}

fn error(status: &str, kinds: &[Kind]) -> Response {
    let schema = Ref::from_schema_name(ProblemDocument::name());
    let content = ContentBuilder::new().schema(Some(schema)).build();
    let mut response = ResponseBuilder::new().description(listed(kinds)).content("application/problem+json", content);
    response = match status {
        "401" => {
            response.header("WWW-Authenticate", header("`Bearer`, and what is wrong with the token", Type::String))
        }
        "429" => response.header("Retry-After", header("The seconds to wait", Type::Integer)),
        _ => response,
    };
    with_request_id(response).build()
}

fn with_request_id(response: ResponseBuilder) -> ResponseBuilder {
    response.header("X-Request-Id", header("The id of the request, for whoever reads the log", Type::String))
}

fn header(description: &str, kind: Type) -> Header {
    HeaderBuilder::new().schema(Some(ObjectBuilder::new().schema_type(kind))).description(Some(description)).build()
}
