//! The service's declarations.

use mini_kit::contract::Contract;
use mini_kit::server;
use mini_user::Settings;

#[test]
fn the_declarations_hold_no_mistakes() {
    let mut contract = Contract::default();
    let _server = server::Settings::declare(&mut contract);
    let _own = Settings::declare(&mut contract);
    assert_eq!(contract.mistakes(), Vec::<String>::new());
}
