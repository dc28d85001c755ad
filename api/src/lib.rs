//! The description of the API, OpenAPI 3.1, made from the services' handlers and types.
//!
//! A handler says what is its own: path, parameters, bodies, what it answers. What every handler with a body, a token or a condition
//! answers as well, and what the gateway answers in front of all of them, is added here ([`problems`]), so that no handler repeats it.

#![cfg(feature = "document")]

mod problems;

use mini_kit::problem::{FieldError, ProblemDocument};
use serde::Serialize as _;
use serde_json::ser::{PrettyFormatter, Serializer};
use utoipa::OpenApi as _;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Components, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Server, Tag};

const LICENSE: &str = env!("CARGO_PKG_LICENSE");

#[derive(utoipa::OpenApi)]
#[openapi(components(schemas(ProblemDocument, FieldError)))]
struct Shared;

/// The whole document.
#[must_use]
pub fn document() -> OpenApi {
    let info = InfoBuilder::new()
        .title("Mini shop")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("Accounts, a catalogue and orders. Every error is a problem document (RFC 9457), whose `type` leads to a text about it."))
        .license(Some(LicenseBuilder::new().name(LICENSE).identifier(Some(LICENSE)).build()))
        .build();
    let mut document = OpenApiBuilder::new()
        .info(info)
        .servers(Some([Server::new("/")]))
        .tags(Some([Tag::new("users"), Tag::new("products"), Tag::new("orders")]))
        .components(Some(Components::new()))
        .build();
    for part in [
        Shared::openapi(),
        mini_user::Description::openapi(),
        mini_product::routes::Description::openapi(),
        mini_order::routes::Description::openapi(),
    ] {
        document.merge(part);
    }
    let mut bearer = Http::new(HttpAuthScheme::Bearer);
    bearer.bearer_format = Some("JWT".to_owned());
    bearer.description = Some("The access token that `POST /users/login` gives.".to_owned());
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    problems::complete(&mut document);
    tidy(&mut document);
    document
}

/// Handlers of two services have the same names, and an operation whose summary says it all has no description.
fn tidy(document: &mut OpenApi) {
    for item in document.paths.paths.values_mut() {
        for operation in [&mut item.get, &mut item.post, &mut item.patch].into_iter().flatten() {
            let tag = operation.tags.iter().flatten().next().cloned().unwrap_or_default();
            let name = operation.operation_id.take().unwrap_or_default();
            operation.operation_id = Some(format!("{tag}_{name}"));
            operation.description.take_if(|text| text.is_empty());
        }
    }
}

/// The document as the gateway serves it.
///
/// # Panics
/// When it cannot be written as JSON, which its types rule out.
#[must_use]
pub fn text() -> String {
    let mut bytes = Vec::new();
    // The gateway's program carries every byte of it; one blank a level is enough to read it.
    let mut serializer = Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(b" "));
    document().serialize(&mut serializer).expect("texts, numbers and maps of them");
    bytes.push(b'\n');
    String::from_utf8(bytes).expect("JSON is UTF-8")
}
