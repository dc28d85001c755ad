//! The committed description of the API, against the code that it is made from.

#![cfg(feature = "document")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
#![expect(clippy::disallowed_methods, reason = "UPDATE_API is for the tests alone")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use mini_kit::problem::{Kind, listed};
use serde_json::{Map, Value};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn document() -> Value {
    serde_json::from_str(&mini_api::text()).unwrap()
}

/// Method, path and description of every operation.
fn operations(document: &Value) -> Vec<(String, String, &Map<String, Value>)> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            found.push((method.clone(), path.clone(), operation.as_object().unwrap()));
        }
    }
    found
}

#[test]
fn the_committed_document_is_the_one_that_the_code_makes() {
    if std::env::var_os("UPDATE_API").is_some() {
        std::fs::write(root().join("gateway/openapi.json"), mini_api::text()).unwrap();
        return;
    }
    let next = "next: UPDATE_API=1 cargo test --package mini-api --features document";
    assert!(mini_gateway::documents::DESCRIPTION == mini_api::text(), "gateway/openapi.json is not up to date; {next}");
}

/// The routes as the services' sources write them: `.route("/PATH", get(list).post(create))`.
fn routes() -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for source in ["user/src/accounts.rs", "product/src/routes.rs", "order/src/routes.rs"] {
        let text = std::fs::read_to_string(root().join("services").join(source)).unwrap();
        for route in text.split(".route(\"").skip(1) {
            let (path, handlers) = route.split_once('"').unwrap();
            let handlers = handlers.split(".route(").next().unwrap().lines().next().unwrap();
            for method in ["get", "post", "put", "patch", "delete"] {
                if handlers.contains(&format!("{method}(")) {
                    found.insert((method.to_owned(), path.to_owned()));
                }
            }
        }
    }
    found
}

#[test]
fn every_route_is_described_and_nothing_else() {
    let document = document();
    let described: BTreeSet<_> = operations(&document).into_iter().map(|(method, path, _)| (method, path)).collect();
    assert_eq!(described, routes());
    assert!(described.len() > 8, "{described:?}");
}

#[test]
fn operations_have_names_of_their_own_and_references_lead_somewhere() {
    let document = document();
    let names: BTreeSet<_> =
        operations(&document).iter().map(|(.., operation)| operation["operationId"].clone().to_string()).collect();
    assert_eq!(names.len(), operations(&document).len(), "{names:?}");
    let mut open = vec![&document];
    let mut references = 0;
    while let Some(value) = open.pop() {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            assert!(document.pointer(&reference[1..]).is_some(), "{reference} leads nowhere");
            references += 1;
        }
        open.extend(value.as_object().into_iter().flat_map(Map::values));
        open.extend(value.as_array().into_iter().flatten());
    }
    assert!(references > 100, "{references}");
}

#[test]
fn a_problem_is_described_under_its_own_status_alone() {
    let document = document();
    let mut described = BTreeSet::new();
    for (name, response) in document["components"]["responses"].as_object().unwrap() {
        let text = response["description"].as_str().unwrap();
        for kind in Kind::ALL.iter().filter(|kind| text.contains(&listed(&[**kind]))) {
            assert!(name.starts_with(kind.status().as_str()), "{} stands under {name}", kind.name());
            described.insert(*kind);
        }
    }
    // What no operation of the document answers: other paths and methods, probes, and statuses that only a defect gives.
    let elsewhere = [Kind::ClientError, Kind::MethodNotAllowed, Kind::Conflict, Kind::NotReady];
    let missing: Vec<_> =
        Kind::ALL.iter().filter(|kind| !described.contains(kind) && !elsewhere.contains(kind)).collect();
    assert!(missing.is_empty(), "no operation has {missing:?}");
    assert!(elsewhere.iter().all(|kind| !described.contains(kind)), "the list of those elsewhere is out of date");
}

#[test]
fn whoever_needs_a_token_is_told_and_every_answer_has_a_request_id() {
    let document = document();
    for (method, path, operation) in operations(&document) {
        let responses = operation["responses"].as_object().unwrap();
        let needs_token = operation.contains_key("security");
        let refuses =
            responses.get("401").is_some_and(|response| response["$ref"].as_str().unwrap().contains("unauthorized"));
        assert_eq!(needs_token, refuses, "{method} {path}");
        for (status, response) in responses {
            let whole = match response.get("$ref") {
                Some(reference) => document.pointer(&reference.as_str().unwrap()[1..]).unwrap(),
                None => response,
            };
            assert!(whole["headers"]["X-Request-Id"].is_object(), "{method} {path} {status}");
            let is_problem = whole["content"]["application/problem+json"].is_object();
            assert_eq!(is_problem, status.starts_with(['4', '5']), "{method} {path} {status}");
        }
    }
}
