//! `/healthz`, `/readyz`, `/version`, and the `healthcheck` subcommand that asks one of the first two.

mod probe;

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http_body_util::Full;
use serde::Serialize;

pub(crate) use probe::{Question, probe};

use crate::identity::Identity;
use crate::problem::{Kind, Problem};
use crate::shutdown::{Phase, Shutdown};

/// The paths that [`Health::answer`] knows.
pub const PATHS: [&str; 3] = [HEALTHZ, READYZ, VERSION];

const HEALTHZ: &str = "/healthz";
const READYZ: &str = "/readyz";
const VERSION: &str = "/version";

type Check = dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync;

/// What a service says about itself.
#[derive(Clone)]
pub struct Health {
    identity: Identity,
    shutdown: Shutdown,
    check: Arc<Check>,
}

#[derive(Serialize)]
struct VersionBody {
    service: &'static str,
    version: &'static str,
    revision: Option<&'static str>,
    created: Option<&'static str>,
}

#[derive(Serialize)]
struct StatusBody {
    status: &'static str,
    /// The healthcheck knows its own service by it, and takes no other program on the port for healthy.
    service: &'static str,
}

impl Health {
    /// A service is ready while it is not ending and `check` succeeds; `check` answers with what is missing, for
    /// everybody to read.
    pub fn new<F>(identity: Identity, shutdown: Shutdown, check: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        Self { identity, shutdown, check: Arc::new(move || Box::pin(check())) }
    }

    /// Which program this is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// The response for one of [`PATHS`], and `None` for any other path.
    pub async fn answer(&self, path: &str) -> Option<Response<Full<Bytes>>> {
        match path {
            HEALTHZ => Some(ok(&StatusBody { status: "alive", service: self.identity.service })),
            READYZ => Some(match self.readiness().await {
                Ok(()) => ok(&StatusBody { status: "ready", service: self.identity.service }),
                Err(why) => Problem::new(Kind::NotReady).detail(why).response(None),
            }),
            VERSION => {
                let Identity { service, build } = self.identity;
                let (version, revision, created) = (build.version, build.revision, build.created);
                Some(ok(&VersionBody { service, version, revision, created }))
            }
            _ => None,
        }
    }

    async fn readiness(&self) -> Result<(), String> {
        if self.shutdown.phase() >= Phase::Draining {
            return Err("the service is ending".to_owned());
        }
        (self.check)().await
    }
}

fn ok(body: &impl Serialize) -> Response<Full<Bytes>> {
    let body = serde_json::to_vec(body).expect("the body consists of texts");
    let mut response = Response::new(Full::new(Bytes::from(body)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
