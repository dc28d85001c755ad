//! The variables of the service.

use mini_kit::Contract;
use mini_product::SERVICE;

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
