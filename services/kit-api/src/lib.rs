//! What the services with an API and a database share, beside what every program does (`mini-kit`): the router around their
//! routes, problems as answers, JSON and other extractors, tokens, conditional requests, pages, and the database.
//!
//! The gateway has none of this, so it is a crate of its own: a program links what it uses.

pub mod problem;
pub mod router;
mod upload;

pub mod conditional;
pub mod currency;
pub mod extract;
pub mod id;
pub mod page;
pub mod query;

pub mod caller;
pub mod database;
pub mod token;

pub use problem::Problem;
