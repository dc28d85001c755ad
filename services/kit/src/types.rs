//! The types of variables, each parsed in one place and printed in the contract by its name.

mod choice;
mod duration;
mod key;
mod number;
mod text;

pub use choice::LogLevel;
pub use duration::Pause;
pub use key::decode_key;
pub use number::{Integer, Port};
pub use text::BindAddress;
