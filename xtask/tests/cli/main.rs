//! The real `xtask` binary in a small workspace of its own, with stub tools first on PATH: what the real tools cannot be
//! made to show.

mod build;
mod e2e;
mod general;
mod workspace;
