//! The rules of the kit, seen from outside.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends; the functions that tests share are tests too")]

mod contract;
mod files;
mod json;
mod router;
mod server;
mod token;
mod types;
