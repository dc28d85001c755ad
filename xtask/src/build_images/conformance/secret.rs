//! Does a name or a value look like a secret? Nothing here gives a value back: a finding that shows one would spread it.

/// Words in a name that say what its value is.
const NAME_WORDS: [&str; 12] = [
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "SECRET",
    "TOKEN",
    "APIKEY",
    "API_KEY",
    "ACCESS_KEY",
    "PRIVATE_KEY",
    "SIGNING_KEY",
    "CREDENTIAL",
    "AUTHORIZATION",
];
/// How the keys and tokens of well-known issuers begin.
const VALUE_STARTS: [&str; 10] =
    ["ghp_", "gho_", "ghs_", "github_pat_", "glpat-", "AKIA", "xoxb-", "xoxp-", "sk_live_", "npm_"];
/// A shorter one is a word that happens to begin so.
const SHORTEST_TOKEN_BYTES: usize = 16;

/// The name promises a secret: `NPM_TOKEN`, `db-password`. A `…_FILE` variable holds a path.
pub(super) fn name_is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase().replace(['-', '.'], "_");
    !name.ends_with("_FILE") && NAME_WORDS.iter().any(|word| name.contains(word))
}

/// The value is one whatever it is called: a private key, a URL with a password, a well-known issuer's token.
pub(super) fn value_is_secret(value: &str) -> bool {
    let user_info = |url: &str| {
        let authority = url.split(['/', '?', '#', ' ', '"', '\'']).next().unwrap_or_default();
        authority.rsplit_once('@').and_then(|(user, _)| user.split_once(':')).is_some_and(|(_, word)| !word.is_empty())
    };
    value.contains("PRIVATE KEY-----")
        || value.split("://").skip(1).any(user_info)
        || words(value)
            .any(|word| word.len() >= SHORTEST_TOKEN_BYTES && VALUE_STARTS.iter().any(|start| word.starts_with(start)))
}

/// The names of the assignments in a line (`NAME=value`, also inside a command) whose value is or may be a secret. An empty
/// value and one that only refers to another variable give nothing away.
pub(super) fn secret_assignments(line: &str) -> Vec<String> {
    let mut names = Vec::new();
    for word in line.split([' ', '\t', ';', '&', '|']) {
        let Some((name, value)) = word.split_once('=') else { continue };
        let name = name.trim_matches(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let value = value.trim_matches(['"', '\'']);
        if value.is_empty() || value.starts_with('$') || value == "unknown" {
            continue;
        }
        if name_is_secret(name) || value_is_secret(value) {
            names.push(name.to_owned());
        }
    }
    names
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c.is_whitespace() || "\"'=:,;@/".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_promise_a_secret_are_known_and_others_are_not() {
        for name in ["POSTGRES_PASSWORD", "npm-token", "JWT_SIGNING_KEY", "aws.secret.access", "API_KEY"] {
            assert!(name_is_secret(name), "{name}");
        }
        for name in ["RUST_LOG", "PATH", "JWT_SIGNING_KEY_FILE", "JWT_PUBLIC_KEY", "org.opencontainers.image.title"] {
            assert!(!name_is_secret(name), "{name}");
        }
    }

    #[test]
    fn values_that_are_secrets_by_themselves_are_known_and_others_are_not() {
        for value in [
            "postgres://shop:S3CR3T-c4n4ry@db/shop",
            "-----BEGIN PRIVATE KEY-----",
            "see ghp_0123456789abcdef0123",
            "x=AKIAIOSFODNN7EXAMPLE",
        ] {
            assert!(value_is_secret(value), "{value}");
        }
        for value in [
            "postgres://shop@db/shop",
            "http://user:8080",
            "https://a.example/x@y:z",
            "npm_config",
            "MIT OR Apache-2.0",
        ] {
            assert!(!value_is_secret(value), "{value}");
        }
    }

    #[test]
    fn assignments_are_found_inside_a_command() {
        let line =
            "RUN |2 NPM_TOKEN=S3CR3T-c4n4ry MINI_REVISION=abc /bin/sh -c export DB_PASSWORD='S3CR3T-c4n4ry'; run";
        assert_eq!(secret_assignments(line), ["NPM_TOKEN", "DB_PASSWORD"]);
        assert!(secret_assignments("ARG NPM_TOKEN").is_empty());
        assert!(secret_assignments("ENV A_TOKEN=$B").is_empty());
    }
}
