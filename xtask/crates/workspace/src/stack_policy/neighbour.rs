//! What stands beside the services and is not built here: a database, a cache, a broker.

use std::collections::BTreeMap;

use serde::Deserialize;

/// One kind of neighbour.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Neighbour {
    /// Its entry in `policy/bases.toml`, and how messages call it.
    pub base: String,
    /// The variable of the Compose file that names its image.
    pub image_variable: String,
    /// The port that it listens on.
    pub port: u16,
    /// How others reach it. `{login}`, `{password}`, `{host}`, `{port}` and `{database}` are filled in.
    pub url: String,
    /// Whom a home-made image of it runs as, where a number in the manifests is that of the usual image.
    pub local_user: Option<String>,
    /// What its log says when it has ended cleanly, and the longest that this may take.
    pub clean_end: Option<String>,
    /// The longest that it may take to end.
    #[serde(default = "ten")]
    pub end_limit_seconds: u64,
    /// The Compose services that are one → the services that may reach each. Nobody else may.
    pub serves: BTreeMap<String, Vec<String>>,
    /// The argv that asks one something in its container: `{login}`, `{database}` and `{query}` are filled in. It takes the password
    /// from the container's own environment.
    #[serde(default)]
    pub query: Vec<String>,
    /// How one is started for a test and thrown away.
    pub throw_away: ThrowAwayPolicy,
}

/// How a neighbour is started for a test and thrown away.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ThrowAwayPolicy {
    /// The variable that tells the services' tests where one is; `cargo xtask test` starts none where there is none.
    pub test_variable: Option<String>,
    /// Whom it runs as.
    pub user: Option<String>,
    /// Its variables, filled in as [`Neighbour::url`].
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Where it may write, in the form of `docker run --tmpfs`.
    #[serde(default)]
    pub tmpfs: Vec<String>,
    /// Its arguments; the image's own when there are none.
    #[serde(default)]
    pub command: Vec<String>,
    /// The argv that ends with 0 in its container when it serves.
    pub ready: Vec<String>,
    /// The argv that makes a `{database}` of its own for a test; none where one is enough for all.
    #[serde(default)]
    pub create: Vec<String>,
}

fn ten() -> u64 {
    10
}

impl Neighbour {
    /// What its URLs begin with: `postgres`.
    pub fn scheme(&self) -> &str {
        self.url.split("://").next().unwrap_or_default()
    }
}

/// Words with their `{name}`s filled in.
pub fn filled(words: &[String], values: &[(&str, &str)]) -> Vec<String> {
    let fill = |word: &String| {
        values.iter().fold(word.clone(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
    };
    words.iter().map(fill).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_placeholder_is_filled_and_nothing_else() {
        let words = ["a-{login}".to_owned(), "${HOME} {other}".to_owned(), "{login}@{host}".to_owned()];
        assert_eq!(filled(&words, &[("login", "u"), ("host", "h")]), ["a-u", "${HOME} {other}", "u@h"]);
    }
}
