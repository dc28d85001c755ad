//! The real `xtask` binary in a small workspace of its own, with stub tools first on PATH: what the real tools cannot be
//! made to show.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod adopt;
mod audit;
mod build;
mod cluster;
mod compare;
mod daily;
mod e2e;
mod general;
mod new_service;
mod outcome;
mod push;
mod scan;
mod terminal;
mod workspace;
