//! What a command found, what it checked and what it could not: one growing value, and what is made of it at the end.
//!
//! This crate reads no file and starts no program, so everything above it can depend on it. What it shows goes to standard error.

mod date;
mod exceptions;
mod finding;
pub mod github;
mod outcome;
mod progress;
mod report;
mod stop;
mod style;
mod table;
mod text;

pub use self::date::Date;
pub use self::exceptions::{Exception, Exceptions, LONGEST_DAYS};
pub use self::finding::{Finding, Place};
pub use self::outcome::{Checked, Ending, Failure, Outcome, Step, StepVerdict, Unchecked};
pub use self::progress::{Line, Mode, Progress};
pub use self::report::{Report, SCHEMA, Verdict};
pub use self::stop::Stop;
pub use self::table::{Column, Table};
pub use self::text::Screen;
