//! The rules of the kit for services with an API, seen from outside; those of the kit itself where axum serves.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends; the functions that tests share are tests too")]

mod contract;
mod json;
mod keys;
mod router;
mod server;
mod token;
