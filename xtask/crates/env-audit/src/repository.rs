//! This repository, for the tests that hold it to its own audit.

use std::sync::LazyLock;

use camino::Utf8Path;
use xtask_workspace::Project;

use crate::{Interface, Policy};

pub(crate) fn root() -> &'static Utf8Path {
    Utf8Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(3).unwrap()
}

pub(crate) fn project() -> Project {
    Project::load(env!("CARGO_MANIFEST_DIR")).unwrap()
}

pub(crate) fn policy() -> Policy {
    static READ: LazyLock<Policy> = LazyLock::new(|| {
        let project = project();
        let probe = &project.stack.probe;
        let interface = Interface {
            alive: probe.alive.clone(),
            ready: probe.ready.clone(),
            bad_environment_exit_code: probe.bad_environment_exit_code,
            schemes: project.stack.neighbours.iter().map(|neighbour| neighbour.scheme().to_owned()).collect(),
        };
        Policy::parse("env.toml", &project.policy("env.toml").unwrap()).unwrap().with(interface)
    });
    READ.clone()
}
