//! The variables of the service.

use mini_kit::Contract;
use mini_order::SERVICE;

#[test]
fn the_declared_variables_are_sound() {
    let mut contract = Contract::default();
    let _loader = (SERVICE.declare)(&mut contract);
    assert_eq!(contract.mistakes(), Vec::<String>::new());
}

#[test]
fn the_service_can_check_tokens_and_not_make_them() {
    let mut contract = Contract::default();
    let _loader = (SERVICE.declare)(&mut contract);
    assert!(contract.variables().any(|variable| variable.name == "JWT_PUBLIC_KEY"));
    assert!(contract.variables().all(|variable| variable.name != "JWT_SIGNING_KEY"));
}

#[test]
fn the_product_service_must_be_named_and_has_two_seconds() {
    use mini_kit::contract::Presence;

    let mut contract = Contract::default();
    let _loader = (SERVICE.declare)(&mut contract);
    let presence = |name| contract.variables().find(|variable| variable.name == name).unwrap().presence;
    assert_eq!(presence("PRODUCT_URL"), Presence::Required);
    assert_eq!(presence("PRODUCT_TIMEOUT"), Presence::Default("2s"));
}
