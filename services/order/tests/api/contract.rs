//! The variables of the service.

use std::ffi::OsString;

use mini_kit::config::FaultKind;
use mini_kit::contract::Presence;
use mini_order::SERVICE;

#[test]
fn the_declared_variables_are_sound() {
    assert_eq!(SERVICE.contract().mistakes(), Vec::<String>::new());
}

#[test]
fn the_service_can_check_tokens_and_not_make_them() {
    let contract = SERVICE.contract();
    assert!(contract.variables().any(|variable| variable.name == "JWT_PUBLIC_KEY"));
    assert!(contract.variables().all(|variable| variable.name != "JWT_SIGNING_KEY"));
}

#[test]
fn the_product_service_must_be_named_and_has_two_seconds() {
    let contract = SERVICE.contract();
    let presence = |name| contract.variables().find(|variable| variable.name == name).unwrap().presence;
    assert_eq!(presence("PRODUCT_URL"), Presence::Required);
    assert_eq!(presence("PRODUCT_TIMEOUT"), Presence::Default("2s"));
}

#[test]
fn a_product_service_that_may_take_a_whole_request_is_a_mistake_that_names_both_variables() {
    let faults = |product_timeout: &str, request_timeout: &str| {
        let source = |name: &str| match name {
            "PRODUCT_TIMEOUT" => Some(OsString::from(product_timeout)),
            "REQUEST_TIMEOUT" => Some(OsString::from(request_timeout)),
            "DATABASE_URL" => Some("postgres://u:p@db/orders".into()),
            "JWT_PUBLIC_KEY" => Some("11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=".into()),
            "PRODUCT_URL" => Some("http://product:8080".into()),
            _ => None,
        };
        SERVICE.contract().load(&source).map(drop)
    };
    assert!(faults("2s", "2001ms").is_ok());
    assert!(faults("", "10s").is_ok());
    for (product_timeout, request_timeout) in [("2s", "2s"), ("1m", ""), ("", "1s"), ("10s", "9999ms")] {
        let refused = faults(product_timeout, request_timeout).unwrap_err();
        assert_eq!(refused.names(FaultKind::Malformed), ["PRODUCT_TIMEOUT"], "{refused}");
        assert!(refused.to_string().contains("PRODUCT_TIMEOUT is malformed: it must be shorter than REQUEST_TIMEOUT"));
    }
}
