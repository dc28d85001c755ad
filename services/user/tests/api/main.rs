//! The rules of the user service, against a real Postgres.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends; the functions that tests share are tests too")]

mod accounts;
mod administrator;
mod attempts;
mod contract;
mod lifecycle;
mod program;
mod schema;
mod secrecy;
mod service;
mod statements;
mod tokens;
