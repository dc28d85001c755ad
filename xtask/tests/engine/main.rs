//! The slow suite: real builds, images and stacks on the real engine. `cargo xtask test --all` runs it.

#![cfg(feature = "engine-tests")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod api;
mod checkout;
mod compare;
mod daily;
mod images;
mod inputs;
mod kubernetes;
mod program;
mod registry;
mod shipping;
mod signing;
mod stacks;
mod transplant;

#[path = "../foreign/workspace.rs"]
mod foreign;
