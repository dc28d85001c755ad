//! Which program this is.

use std::fmt;

/// What the build knew about the program. Only the service's own crate reads it from the compiler's environment, so that
/// the kit stays the same program whatever the revision.
#[derive(Clone, Copy, Debug)]
pub struct Build {
    /// The version of the package.
    pub version: &'static str,
    /// The revision of the sources, when the build was told.
    pub revision: Option<&'static str>,
    /// The time of that revision, RFC 3339, when the build was told.
    pub created: Option<&'static str>,
}

/// Which program this is, as `/version` and `--version` say it.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// The name of the service.
    pub service: &'static str,
    /// What the build knew.
    pub build: Build,
}

impl fmt::Display for Identity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {} ({})", self.service, self.build.version, self.build.revision.unwrap_or("unknown"))
    }
}
