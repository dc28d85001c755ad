//! The stack for a person to play with: one per checkout, apart from every test's, found by its Compose project's label.

mod down;
mod own;
mod ports;
mod up;

pub use self::down::{down, tell_of};
pub use self::up::up;
