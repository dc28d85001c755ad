//! The catalogue's HTTP interface against a real Postgres; each test has a database of its own.

#![allow(
    clippy::unwrap_used,
    reason = "a test may end at its first surprise; the exception in clippy.toml misses fixtures"
)]

mod catalogue;
mod changing;
mod connections;
mod contract;
mod creating;
mod listing;
mod migrations;
mod tokens;
