//! The rules of the kit, seen from outside.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends; the functions that tests share are tests too")]

mod files;
mod types;
