//! Programs, signals and files: everything that the engine does to the machine goes through here.

mod background;
mod capture;
mod files;
mod group;
mod interrupt;
mod lock;
mod random;
mod run_folder;
mod runner;

pub use self::background::Background;
pub use self::capture::Captured;
pub use self::files::{put, put_new_secret};
pub use self::interrupt::Interrupt;
pub use self::lock::Lock;
pub use self::random::random_hex;
pub use self::run_folder::RunFolder;
pub use self::runner::Runner;
