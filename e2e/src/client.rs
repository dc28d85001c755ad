//! Sends one request, measures it, reports it, and holds the answer to what was expected.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use ureq::http::Request;

/// No step of the journey may take longer, whatever it waits for.
const STEP_LIMIT: Duration = Duration::from_secs(15);
const SHOWN_BODY_CHARACTERS: usize = 400;

pub(crate) struct Client {
    agent: ureq::Agent,
    base_url: String,
}

/// A request of the journey, under the name that a failure shows.
pub(crate) struct Step<'a> {
    pub(crate) name: &'a str,
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) token: Option<&'a str>,
    pub(crate) idempotency_key: Option<&'a str>,
    pub(crate) body: Option<Value>,
}

/// How one request went.
#[derive(Debug, Default)]
pub(crate) struct Attempt {
    pub(crate) milliseconds: u64,
    /// 0 when there was no answer.
    pub(crate) status: u16,
    /// The answer is a problem document.
    pub(crate) problem: bool,
    pub(crate) retry_after_seconds: Option<u64>,
    pub(crate) body: Value,
}

impl<'a> Step<'a> {
    pub(crate) fn get(name: &'a str, path: &'a str) -> Self {
        Self { name, method: "GET", path, token: None, idempotency_key: None, body: None }
    }

    pub(crate) fn post(name: &'a str, path: &'a str, body: Value) -> Self {
        Self { name, method: "POST", path, token: None, idempotency_key: None, body: Some(body) }
    }

    pub(crate) fn token(self, token: &'a str) -> Self {
        Self { token: Some(token), ..self }
    }

    pub(crate) fn idempotency_key(self, key: &'a str) -> Self {
        Self { idempotency_key: Some(key), ..self }
    }
}

impl Client {
    pub(crate) fn new(base_url: &str) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(STEP_LIMIT))
            // The base URL is the deployment under test; nothing of the machine's settings may come between.
            .proxy(None)
            .build();
        Self { agent: config.into(), base_url: base_url.trim_end_matches('/').to_owned() }
    }

    pub(crate) fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Sends the step and gives the body of the answer (`null` when there is none).
    ///
    /// # Errors
    /// Another status than `expected` is an error with the request id and the answer's body.
    pub(crate) fn expect(&self, expected: u16, step: &Step<'_>) -> Result<Value> {
        let started = Instant::now();
        let mut response =
            self.send(step).with_context(|| format!("step `{}`: {} {}", step.name, step.method, step.path))?;
        let text = response.body_mut().read_to_string().unwrap_or_default();
        let milliseconds = (started.elapsed().as_secs_f64() * 10_000.0).round() / 10.0;
        let status = response.status().as_u16();
        let request_id = response.headers().get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or("none");
        let (name, method, path) = (step.name, step.method, step.path);
        println!(
            "{}",
            json!({ "step": name, "method": method, "path": path, "status": status, "ms": milliseconds, "request_id": request_id })
        );
        eprintln!("{name}: {status} in {milliseconds} ms");
        let body: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        if status != expected {
            bail!(
                "step `{name}`: {method} {path} answered {status}, expected {expected}; request id {request_id}; body {}",
                shown(&text, &body)
            );
        }
        if status >= 400 && response.headers().get("content-type").is_none_or(|kind| kind != "application/problem+json")
        {
            bail!(
                "step `{name}`: {method} {path} answered {status} without problem details (RFC 9457); request id {request_id}"
            );
        }
        Ok(body)
    }

    /// Sends the step and takes whatever comes, also nothing.
    pub(crate) fn attempt(&self, step: &Step<'_>) -> Attempt {
        let started = Instant::now();
        let answer = self.send(step).and_then(|mut response| {
            let text = response.body_mut().read_to_string()?;
            Ok((response, text))
        });
        let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let Ok((response, text)) = answer else { return Attempt { milliseconds, ..Attempt::default() } };
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        Attempt {
            milliseconds,
            status: response.status().as_u16(),
            problem: header("content-type") == Some("application/problem+json"),
            retry_after_seconds: header("retry-after").and_then(|seconds| seconds.parse().ok()),
            body: serde_json::from_str(&text).unwrap_or(Value::Null),
        }
    }

    fn send(&self, step: &Step<'_>) -> Result<ureq::http::Response<ureq::Body>> {
        let mut request = Request::builder().method(step.method).uri(format!("{}{}", self.base_url, step.path));
        if let Some(token) = step.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(key) = step.idempotency_key {
            request = request.header("idempotency-key", key);
        }
        Ok(match &step.body {
            Some(body) => self.agent.run(request.header("content-type", "application/json").body(body.to_string())?)?,
            None => self.agent.run(request.body(())?)?,
        })
    }
}

/// A failed step's body may be a log-in that should not have worked: its token stays out of the message.
fn shown(text: &str, body: &Value) -> String {
    if body.get("access_token").is_some() {
        return "(a token)".to_owned();
    }
    text.chars().take(SHOWN_BODY_CHARACTERS).collect()
}
