//! What a scan's findings mean: `xtask/policy/scan.toml`.

use std::fmt;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use xtask_outcome::Stop;
use xtask_outcome::{Date, Exception, Exceptions};

pub(super) const FILE: &str = "scan.toml";

/// From harmless to bad. A word that nobody knows is at the top: it may be anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    Low,
    Medium,
    High,
    Critical,
    Unknown,
}

impl Severity {
    /// As trivy writes it. What is missing or not known is `unknown`, which fails by default.
    pub(super) fn parse(word: &str) -> Self {
        match word.to_ascii_lowercase().as_str() {
            "low" | "negligible" => Self::Low,
            "medium" => Self::Medium,
            "high" => Self::High,
            "critical" => Self::Critical,
            _ => Self::Unknown,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which severities fail, per kind of thing that was found.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Gate {
    pub(super) vulnerabilities: Vec<Severity>,
    pub(super) secrets: Vec<Severity>,
    pub(super) misconfigurations: Vec<Severity>,
    /// A vulnerability without a released fix is reported and does not fail.
    #[serde(default)]
    pub(super) only_with_fix: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct DatabasePolicy {
    /// Older than this is a finding.
    pub(super) max_age_days: u32,
    /// A copy of one's own is renewed after this.
    pub(super) refresh_hours: u32,
    /// Where it is fetched from, best first; none named: the place that trivy itself knows.
    pub(super) repositories: Vec<String>,
}

/// The policy as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Policy {
    pub(super) database: DatabasePolicy,
    /// Images of this workspace, and their Dockerfiles.
    service: Gate,
    /// Packages that only take part in compiling or testing: what Cargo.lock has and no image.
    build: Gate,
    /// Images that others make.
    third_party: Gate,
    #[serde(default)]
    exception: Vec<Spanned<Exception>>,
    /// Where it was read from, for messages and places.
    #[serde(skip)]
    pub(super) file: String,
}

/// Whose rules hold for a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Owner {
    Service,
    Build,
    ThirdParty,
}

impl Policy {
    /// # Errors
    /// [`Stop::Repository`] for anything that is not understood.
    pub(super) fn parse(file: &str, text: &str) -> Result<Self> {
        let policy: Self = toml::from_str(text).map_err(|error| Stop::Repository(format!("{file}: {error}")))?;
        Ok(Self { file: file.to_owned(), ..policy })
    }

    pub(super) fn gate(&self, owner: Owner) -> &Gate {
        match owner {
            Owner::Service => &self.service,
            Owner::Build => &self.build,
            Owner::ThirdParty => &self.third_party,
        }
    }

    pub(super) fn exceptions(&self, text: &str, today: Date) -> Exceptions {
        Exceptions::new(&self.file, text, self.exception.clone(), today)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_workspaces_policy_parses_and_unknown_severities_fail_in_what_is_built_here() {
        let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../policy/scan.toml")).unwrap();
        let policy = Policy::parse(FILE, &text).unwrap();
        for owner in [Owner::Service, Owner::Build] {
            let fails = &policy.gate(owner).vulnerabilities;
            for severity in [Severity::Critical, Severity::High, Severity::Unknown] {
                assert!(fails.contains(&severity), "{owner:?} {severity}");
            }
        }
    }

    #[test]
    fn a_severity_that_nobody_knows_is_unknown_and_worst() {
        for word in ["", "UNKNOWN", "SEVERE", "Cr\u{fffd}tical"] {
            assert_eq!(Severity::parse(word), Severity::Unknown, "{word}");
        }
        assert_eq!(Severity::parse("CRITICAL"), Severity::Critical);
        assert_eq!(Severity::parse("Negligible"), Severity::Low);
        assert!(Severity::Unknown > Severity::Critical && Severity::Critical > Severity::High);
    }

    #[test]
    fn an_unknown_key_or_severity_is_an_error() {
        let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../policy/scan.toml")).unwrap();
        assert!(Policy::parse(FILE, &text.replace("max-age-days", "max-age-day")).is_err());
        assert!(Policy::parse(FILE, &text.replace("\"critical\"", "\"kritisch\"")).is_err());
    }
}
