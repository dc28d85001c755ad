//! The variables of the service.

use mini_product::SERVICE;

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
