//! The types of variables, each parsed in one place and printed in the contract by its name.

mod choice;
mod duration;
mod number;
mod origin;
mod text;

pub use choice::LogLevel;
pub use duration::Pause;
pub use number::{Integer, Port};
pub use origin::{HttpOrigin, parse_host};
pub use text::BindAddress;
