//! The Compose stack: its life cycle, readiness, hardening, faults and measurements.

mod client;
mod compare;
mod daily;
mod deployment;
mod evidence;
mod faults;
mod hardening;
mod leftovers;
mod measure;
mod prober;
mod readiness;
mod run;
mod secrets;
mod stack;
mod test;

pub use self::client::Client;
pub use self::compare::{Comparison, FEWEST_ROUNDS, MOST_ROUNDS, turns};
pub use self::daily::{Logs, Up, down, logs, ps, restart, tell_of, watch};
pub use self::deployment::test_deployment;
pub use self::faults::ledger;
pub use self::faults::{ALL as ALL_FAULTS, select as select_faults};
pub use self::measure::{VisibleEdit, edit_to_answer};
use self::readiness::wait_until_ready;
pub use self::run::remove_runs;
pub use self::secrets::{rotation, write_env_file};
use self::stack::Stack;
pub use self::stack::image_variable;
pub use self::test::StackTest;
