//! Where images are pushed to, and what they are called there.

use std::fmt;

use xtask_outcome::Stop;

/// The longest tag that the distribution protocol knows.
const TAG_LIMIT_BYTES: usize = 128;
/// How much of a commit's id names it.
pub(super) const SHORT_REVISION_CHARACTERS: usize = 12;

/// A registry and the folder in it that takes the images: `registry.example:5000/shop`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Registry {
    pub(super) host: String,
    /// Behind the host, without slashes at its ends; may be empty.
    folder: String,
}

impl Registry {
    /// Reads `HOST[:PORT][/FOLDER…]`.
    ///
    /// # Errors
    /// [`Stop::Usage`] says what is wrong. A value that seems to hold a password is not repeated in it.
    pub(super) fn parse(text: &str) -> Result<Self, Stop> {
        let usage = |why: &str| Err(Stop::Usage(format!("REGISTRY {why}; it is HOST[:PORT][/FOLDER]")));
        if text.contains('@') {
            return usage("holds an `@`: a digest cannot be pushed to, and a password belongs into `docker login`");
        }
        if text.contains("://") {
            return usage(&format!("`{text}` has a scheme: docker itself picks https"));
        }
        let (host, folder) = text.split_once('/').unwrap_or((text, ""));
        let (name, port) = host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port)));
        // Docker takes a first part without a dot, a port or this name for a folder of Docker Hub.
        if !(name.contains('.') || port.is_some() || name == "localhost") {
            return usage(&format!("`{text}` names no host (Docker Hub is `docker.io/…`)"));
        }
        let label = |label: &str| !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        if !name.split('.').all(label) || port.is_some_and(|port| port.parse::<u16>().is_err()) {
            return usage(&format!("`{text}` has no valid host and port"));
        }
        if !folder.is_empty() && !folder.split('/').all(is_path_component) {
            return usage(&format!(
                "`{text}` has a folder that no image can stand in (small letters, digits, and `.`, `_`, `-` between them)"
            ));
        }
        Ok(Self { host: host.to_owned(), folder: folder.to_owned() })
    }

    /// On this machine, where docker and cosign speak plain HTTP.
    pub(super) fn is_loopback(&self) -> bool {
        let name = self.host.split(':').next().unwrap_or_default();
        name == "localhost" || name.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
    }

    /// The repository of a package's image: `registry.example:5000/team/shop-cart`.
    pub(super) fn repository(&self, package: &str) -> String {
        format!("{self}/{package}")
    }
}

impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        if self.folder.is_empty() { Ok(()) } else { write!(f, "/{}", self.folder) }
    }
}

fn is_path_component(text: &str) -> bool {
    let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(inside)
        && text.ends_with(inside)
        && text.chars().all(|c| inside(c) || matches!(c, '.' | '_' | '-'))
}

/// The tags of one push. All images of a push carry the same ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tags {
    /// The commit's id, shortened: pushed first, and never meant for anything else afterwards.
    pub(super) revision: String,
    /// The version, where the commit carries the git tag `v<version>`, and the branch: they move on with later pushes.
    pub(super) moving: Vec<String>,
}

impl Tags {
    /// The one rule of tags. `local` is what a build on a developer's machine is called, so nothing is ever pushed as that.
    pub(super) fn of(head: &str, version: &str, git_tags: &[String], branch: Option<&str>) -> Self {
        let mut moving = Vec::new();
        if git_tags.iter().any(|tag| *tag == format!("v{version}")) {
            moving.push(version.to_owned());
        }
        moving.extend(branch.and_then(branch_tag));
        Self { revision: head.chars().take(SHORT_REVISION_CHARACTERS).collect(), moving }
    }
}

/// A branch's name with the characters that a tag may have; `None` where it would pass for `local`, a version or a revision.
fn branch_tag(branch: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let text: String = branch.chars().map(|c| if allowed(c) { c } else { '-' }).collect();
    let tag: String = text.trim_start_matches(['.', '-']).chars().take(TAG_LIMIT_BYTES).collect();
    let revision = tag.len() == SHORT_REVISION_CHARACTERS && tag.chars().all(|c| c.is_ascii_hexdigit());
    let version = tag.trim_start_matches('v').starts_with(|c: char| c.is_ascii_digit()) && tag.contains('.');
    (!tag.is_empty() && tag != "local" && !revision && !version).then_some(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_a_host_with_or_without_a_port_and_a_folder() {
        for text in
            ["registry.example", "registry.example:5000/shop", "localhost/a", "127.0.0.1:5000", "docker.io/me/a_b.c-d"]
        {
            assert_eq!(Registry::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Registry::parse("ghcr.io/shop").unwrap().repository("mini-user"), "ghcr.io/shop/mini-user");
    }

    #[test]
    fn what_is_no_registry_is_a_usage_error_that_says_why() {
        for (text, why) in [
            ("", "names no host"),
            ("shop", "names no host"),
            ("shop/team", "names no host"),
            ("https://registry.example", "has a scheme"),
            ("registry.example:port", "no valid host and port"),
            ("registry.example:99999", "no valid host and port"),
            ("registry..example", "no valid host and port"),
            ("registry.example/Shop", "a folder that no image can stand in"),
            ("registry.example/a//b", "a folder that no image can stand in"),
            ("registry.example/", ""),
            ("registry.example/mini-user:1.0", "a folder that no image can stand in"),
            ("-o registry.example", "no valid host and port"),
        ] {
            match Registry::parse(text) {
                Err(Stop::Usage(said)) => assert!(said.contains(why), "{text}: {said}"),
                other => assert!(why.is_empty(), "{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_password_in_the_registry_is_refused_and_not_repeated() {
        let error = Registry::parse("ci:S3CR3T@registry.example").unwrap_err().to_string();
        assert!(error.contains("docker login") && !error.contains("S3CR3T"), "{error}");
    }

    #[test]
    fn tags_are_the_revision_the_branch_and_a_released_version() {
        let head = "0123456789abcdef0123456789abcdef01234567";
        let tags = |git: &[&str], branch| {
            let git: Vec<_> = git.iter().map(ToString::to_string).collect();
            Tags::of(head, "1.2.0", &git, branch)
        };
        assert_eq!(tags(&[], Some("main")), Tags { revision: "0123456789ab".into(), moving: vec!["main".into()] });
        assert_eq!(tags(&["v1.2.0", "x"], Some("main")).moving, ["1.2.0", "main"]);
        assert_eq!(tags(&["v1.1.0"], None).moving, Vec::<String>::new());
    }

    #[test]
    fn a_branch_becomes_a_tag_that_passes_for_nothing_else() {
        assert_eq!(branch_tag("feature/Über x").as_deref(), Some("feature--ber-x"));
        assert_eq!(branch_tag(".-x").as_deref(), Some("x"));
        assert_eq!(branch_tag(&"x".repeat(200)).unwrap().len(), TAG_LIMIT_BYTES);
        for branch in ["local", "-local", "", "/", "1.2.0", "v1.2", "0123456789ab"] {
            assert_eq!(branch_tag(branch), None, "{branch}");
        }
    }
}
