//! The variables of the service.

use mini_user::SERVICE;

#[test]
fn the_declared_variables_are_sound() {
    assert_eq!(SERVICE.contract().mistakes(), Vec::<String>::new());
}
