//! This repository, for the tests that hold it to its own audit.

use std::sync::LazyLock;

use camino::Utf8Path;
use xtask_workspace::Project;

use crate::Policy;

pub(crate) fn root() -> &'static Utf8Path {
    Utf8Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(3).unwrap()
}

pub(crate) fn project() -> Project {
    Project::load(env!("CARGO_MANIFEST_DIR")).unwrap()
}

pub(crate) fn policy() -> Policy {
    static READ: LazyLock<Policy> =
        LazyLock::new(|| Policy::parse("env.toml", &project().policy("env.toml").unwrap()).unwrap());
    READ.clone()
}
