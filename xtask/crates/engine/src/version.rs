//! Versions of tools, as tools print them.

use std::fmt;

/// `major.minor.patch`; what follows (`-desktop.1`, `+ds1`) does not take part in a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u32, u32, u32);

impl Version {
    /// Finds the first `N.N` or `N.N.N` in what a tool printed. `None` for builds that call themselves `dev`.
    pub fn find(text: &str) -> Option<Self> {
        text.split(|c: char| c.is_whitespace() || c == ',').find_map(Self::parse)
    }

    fn parse(word: &str) -> Option<Self> {
        let word = word.strip_prefix('v').unwrap_or(word);
        let digits = word.split(|c: char| !c.is_ascii_digit() && c != '.').next()?;
        let mut parts = digits.split('.').map(|part| part.parse().ok());
        let (major, minor) = (parts.next()??, parts.next()??);
        Some(Self(major, minor, parts.next().flatten().unwrap_or(0)))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_tools_print() {
        let cases = [
            ("v2.20.3", Some(Version(2, 20, 3))),
            ("2.39.1-desktop.1", Some(Version(2, 39, 1))),
            ("v5.0.0\r\n", Some(Version(5, 0, 0))),
            ("docker-compose version 1.29.2, build unknown", Some(Version(1, 29, 2))),
            ("github.com/docker/buildx 0.29.1+ds1-4 0.29.1+ds1-4", Some(Version(0, 29, 1))),
            ("20.10.24+dfsg1", Some(Version(20, 10, 24))),
            ("mmdebstrap 1.6.0", Some(Version(1, 6, 0))),
            ("1.6", Some(Version(1, 6, 0))),
            ("dev", None),
            ("", None),
        ];
        for (text, version) in cases {
            assert_eq!(Version::find(text), version, "{text}");
        }
    }

    #[test]
    fn versions_compare_as_numbers() {
        assert!(Version::find("2.9.0") < Version::find("2.20.0"));
    }
}
