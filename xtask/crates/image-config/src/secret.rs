//! Does a name or a value look like a secret? Nothing here gives a value back: a finding that shows one would spread it.

/// What a name says when its value is a secret: words that follow each other in it.
const NAME_WORDS: [&[&str]; 15] = [
    &["PASSWORD"],
    &["PASSWD"],
    &["PASSPHRASE"],
    &["SECRET"],
    &["SECRETS"],
    &["TOKEN"],
    &["APIKEY"],
    &["API", "KEY"],
    &["ACCESS", "KEY"],
    &["PRIVATE", "KEY"],
    &["SIGNING", "KEY"],
    &["ENCRYPTION", "KEY"],
    &["CREDENTIAL"],
    &["CREDENTIALS"],
    &["AUTHORIZATION"],
];
/// A name that ends like this tells something about a secret, and not the secret: where it lies, how long it lives, what it has to be like.
const ABOUT_ENDINGS: [&str; 54] = [
    "AGE",
    "ALGORITHM",
    "AUDIENCE",
    "BACKEND",
    "CLASS",
    "COUNT",
    "DAYS",
    "DIR",
    "DIRECTORY",
    "DISABLED",
    "DURATION",
    "ENABLED",
    "ENDPOINT",
    "EXPIRATION",
    "EXPIRES",
    "EXPIRY",
    "FILE",
    "FORMAT",
    "HEADER",
    "HOST",
    "HOURS",
    "INTERVAL",
    "ISSUER",
    "LENGTH",
    "LIFETIME",
    "LIMIT",
    "MAX",
    "MECHANISM",
    "METHOD",
    "MIN",
    "MINUTES",
    "MODE",
    "NAME",
    "NAMES",
    "PATH",
    "POLICY",
    "PORT",
    "PREFIX",
    "PROTOCOL",
    "PROVIDER",
    "REQUIRED",
    "RETENTION",
    "SECONDS",
    "SERVER",
    "SERVERS",
    "SIZE",
    "SOURCE",
    "TEMPLATE",
    "TIMEOUT",
    "TITLE",
    "TTL",
    "TYPE",
    "URI",
    "URL",
];
/// A name that begins like this is a switch.
const SWITCH_BEGINNINGS: [&str; 4] = ["HAS", "NO", "USE", "WITH"];
/// The same, also behind the name of a product: `MYSQL_ALLOW_EMPTY_PASSWORD`.
const SWITCH_VERBS: [&str; 5] = ["ALLOW", "DISABLE", "ENABLE", "REQUIRE", "SKIP"];
/// How the keys and tokens of well-known issuers begin.
const VALUE_STARTS: [&str; 10] =
    ["ghp_", "gho_", "ghs_", "github_pat_", "glpat-", "AKIA", "xoxb-", "xoxp-", "sk_live_", "npm_"];
/// A shorter one is a word that happens to begin so.
const SHORTEST_TOKEN_BYTES: usize = 16;

/// The name promises a secret: `NPM_TOKEN`, `db-password`. A `…_FILE` variable holds a path, `TOKEN_LIFETIME` a time.
pub fn name_is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let words: Vec<_> = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let is_about = words.last().is_some_and(|last| ABOUT_ENDINGS.contains(last));
    let is_switch = words.first().is_some_and(|first| SWITCH_BEGINNINGS.contains(first))
        || words.iter().any(|word| SWITCH_VERBS.contains(word));
    !is_about && !is_switch && NAME_WORDS.iter().any(|wanted| words.windows(wanted.len()).any(|part| part == *wanted))
}

/// The value is one whatever it is called: a private key, a URL with a password, a well-known issuer's token.
pub fn value_is_secret(value: &str) -> bool {
    value.contains("PRIVATE KEY-----")
        || url_passwords(value).any(|password| !password.is_empty())
        || words(value)
            .any(|word| word.len() >= SHORTEST_TOKEN_BYTES && VALUE_STARTS.iter().any(|start| word.starts_with(start)))
}

/// The passwords in all URLs of a text: what stands between `:` and `@` of `scheme://user:password@host`.
pub fn url_passwords(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("://").filter_map(|(at, separator)| {
        let rest = &text[at + separator.len()..];
        let authority = &rest[..rest.find(['/', '?', '#', ' ', '\t', '\n', '"', '\'', '`', ')']).unwrap_or(rest.len())];
        authority.rsplit_once('@')?.0.split_once(':').map(|(_, password)| password)
    })
}

/// The names of the assignments in a line (`NAME=value`, also inside a command) whose value is or may be a secret. An empty
/// value and one that only refers to another variable give nothing away.
pub fn secret_assignments(line: &str) -> Vec<String> {
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
        for name in [
            "PASSWORD",
            "POSTGRES_PASSWORD",
            "npm-token",
            "JWT_SIGNING_KEY",
            "aws.secret.access",
            "API_KEY",
            "AWS_SECRET_ACCESS_KEY",
            "DB_PASSWORD_PROD",
            "api-key",
        ] {
            assert!(name_is_secret(name), "{name}");
        }
        for name in [
            "RUST_LOG",
            "PATH",
            "JWT_SIGNING_KEY_FILE",
            "POSTGRES_PASSWORD_FILE",
            "JWT_PUBLIC_KEY",
            "TOKEN_LIFETIME",
            "ALLOW_EMPTY_PASSWORD",
            "MYSQL_ALLOW_EMPTY_PASSWORD",
            "TOKEN_USAGE_TITLE",
            "SECRET_NAMES",
            "PASSWORD_MIN_LENGTH",
            "SECRETS_DIR",
            "TOKEN_ENDPOINT",
            "BEARER_AUTH_CREDENTIALS_SOURCE",
            "CONFIG_PROVIDERS_SECRET_CLASS",
            "MONKEY",
            "XPASSWORD",
            "org.opencontainers.image.title",
            "",
        ] {
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
            "RUN |2 NPM_TOKEN=S3CR3T-c4n4ry IMAGE_REVISION=abc /bin/sh -c export DB_PASSWORD='S3CR3T-c4n4ry'; run";
        assert_eq!(secret_assignments(line), ["NPM_TOKEN", "DB_PASSWORD"]);
        assert!(secret_assignments("ARG NPM_TOKEN").is_empty());
        assert!(secret_assignments("ENV A_TOKEN=$B").is_empty());
    }
}
