//! The environment, read in one place.

use std::collections::BTreeMap;
use std::env;

use camino::{Utf8Path, Utf8PathBuf};

/// The environment, read in this one place.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `PATH`.
    pub path: String,
    /// In a CI system: no terminal, plain output.
    pub ci: bool,
    /// The terminal cannot redraw a line.
    pub dumb_terminal: bool,
    /// `XTASK_PROGRESS`: how progress is shown when the command line says nothing.
    pub progress: Option<String>,
    /// In GitHub Actions: findings become annotations.
    pub github_actions: bool,
    /// `OWNER/REPOSITORY/.github/workflows/FILE@REF` of the workflow that runs.
    pub github_workflow: Option<String>,
    /// Where GitHub Actions takes a job's summary.
    pub github_step_summary: Option<Utf8PathBuf>,
    /// The variables that open the cache of GitHub Actions are set; buildx reads their values by itself.
    pub actions_cache: bool,
    /// A certificate bundle that the host trusts and a container does not: a TLS-intercepting proxy's authority.
    pub ca_file: Option<Utf8PathBuf>,
    /// Where cargo keeps its registry: a path that must not end up in a program.
    pub cargo_home: Option<Utf8PathBuf>,
    /// The variables that reach Compose.
    pub engine: Vec<(&'static str, String)>,
    /// What decides which files a person's `docker compose` reads here; it never reaches the Compose that xtask starts.
    pub compose: BTreeMap<&'static str, String>,
    /// The names (never the values) of the proxy variables that are set.
    pub proxies: Vec<&'static str>,
}

/// What a tool that talks to the engine needs; everything else stays out of Compose, so that an exported DATABASE_URL or
/// COMPOSE_PROJECT_NAME of another project cannot reach a stack.
const ENGINE_VARIABLES: [&str; 14] = [
    "PATH",
    "HOME",
    "TMPDIR",
    "DOCKER_HOST",
    "DOCKER_CONTEXT",
    "DOCKER_CONFIG",
    "DOCKER_CERT_PATH",
    "DOCKER_TLS_VERIFY",
    "DOCKER_API_VERSION",
    "BUILDX_BUILDER",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "SSL_CERT_FILE",
    "SSH_AUTH_SOCK",
];
const COMPOSE_VARIABLES: [&str; 4] =
    ["COMPOSE_FILE", "COMPOSE_PATH_SEPARATOR", "COMPOSE_ENV_FILES", "COMPOSE_DISABLE_ENV_FILE"];
const PROXY_VARIABLES: [&str; 6] = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"];
/// Where the cache of GitHub Actions answers: its second version, and the first.
const ACTIONS_CACHE_URLS: [&str; 2] = ["ACTIONS_RESULTS_URL", "ACTIONS_CACHE_URL"];
/// Cargo's own variable wins over the one that most programs know.
const CA_VARIABLES: [&str; 3] = ["CARGO_HTTP_CAINFO", "SSL_CERT_FILE", "CURL_CA_BUNDLE"];

#[expect(clippy::disallowed_methods, reason = "this is xtask's one place that reads the environment")]
pub(crate) fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// For Compose a blank value is one.
#[expect(clippy::disallowed_methods, reason = "this is xtask's one place that reads the environment")]
fn as_it_is(name: &str) -> Option<String> {
    env::var(name).ok()
}

impl Environment {
    /// Reads it. Blank counts as unset.
    pub fn read() -> Self {
        Self {
            path: variable("PATH").unwrap_or_default(),
            ci: variable("CI").is_some(),
            dumb_terminal: variable("TERM").is_none_or(|term| term == "dumb"),
            progress: variable("XTASK_PROGRESS"),
            github_actions: variable("GITHUB_ACTIONS").is_some(),
            github_workflow: variable("GITHUB_WORKFLOW_REF"),
            github_step_summary: variable("GITHUB_STEP_SUMMARY").map(Utf8PathBuf::from),
            actions_cache: variable("ACTIONS_RUNTIME_TOKEN").is_some()
                && ACTIONS_CACHE_URLS.into_iter().any(|name| variable(name).is_some()),
            ca_file: CA_VARIABLES.into_iter().find_map(variable).map(Utf8PathBuf::from).filter(|file| file.is_file()),
            cargo_home: variable("CARGO_HOME")
                .map(Utf8PathBuf::from)
                .or_else(|| variable("HOME").map(|home| Utf8Path::new(&home).join(".cargo"))),
            engine: ENGINE_VARIABLES.into_iter().filter_map(|name| Some((name, variable(name)?))).collect(),
            compose: COMPOSE_VARIABLES.into_iter().filter_map(|name| Some((name, as_it_is(name)?))).collect(),
            proxies: PROXY_VARIABLES.into_iter().filter(|name| variable(name).is_some()).collect(),
        }
    }
}
