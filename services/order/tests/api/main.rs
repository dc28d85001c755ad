//! The HTTP interface of orders against a real Postgres, each test with a database of its own, and against product
//! services that behave as the test says.

#![allow(
    clippy::unwrap_used,
    reason = "a test may end at its first surprise; the exception in clippy.toml misses fixtures"
)]

mod catalogue;
mod contract;
mod keys;
mod leaving;
mod migrations;
mod placing;
mod reading;
mod shop;
mod stalled;
mod tokens;
mod twins;
mod upstream;
