//! `compose-e2e --base-url`: the journey through a deployment that somebody else started.

use std::net::IpAddr;

use anyhow::Result;
use camino::Utf8PathBuf;

use super::client::Client;
use xtask_outcome::{Outcome, Stop};
use xtask_workspace::Context;

/// Walks the journey there: whole on loopback or with `allow_writes`, else only the part that changes nothing.
///
/// # Errors
/// [`Stop::Usage`] for an address that the client cannot speak to, [`Stop::Absent`] without the secrets that writing needs.
pub fn test_deployment(
    context: &Context,
    url: &str,
    allow_writes: bool,
    secrets: Option<&Utf8PathBuf>,
    outcome: &mut Outcome,
) -> Result<()> {
    let whole = is_loopback(url)? || allow_writes;
    let file = secrets.cloned().unwrap_or_else(|| context.project.root.join(".env"));
    if whole && !file.is_file() {
        let text = format!("the whole journey needs the secrets of {url}: there is no {file}; next: --secrets FILE");
        return Err(Stop::Absent(text).into());
    }
    if !whole {
        outcome.note("writes are off because the address is not on loopback; --allow-writes walks the whole journey");
    }
    let client = Client::compile(context)?;
    let steps = client.journey(context, url, whole.then_some(file.as_path()))?;
    outcome.checked("requests sent", steps.len());
    outcome.evidence("base_url", url);
    outcome.evidence("journey", steps);
    Ok(())
}

/// Whether a base URL leads to this machine.
///
/// # Errors
/// [`Stop::Usage`] for anything but `http://HOST[:PORT]`: the client speaks no TLS, and no path is kept.
fn is_loopback(url: &str) -> Result<bool> {
    let Some(authority) = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/')) else {
        let text = format!(
            "--base-url {url} is not http://HOST[:PORT]; the journey speaks no TLS, so give it the address behind it"
        );
        return Err(Stop::Usage(text).into());
    };
    if authority.is_empty() || authority.contains(['/', '?', '#', '@']) {
        return Err(Stop::Usage(format!("--base-url {url} is not http://HOST[:PORT]")).into());
    }
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok(host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loopback() {
        for url in
            ["http://127.0.0.1:8080", "http://127.9.9.9/", "http://localhost:1", "http://[::1]:8080", "http://[::1]"]
        {
            assert!(is_loopback(url).unwrap(), "{url}");
        }
        for url in
            ["http://shop.example", "http://10.0.0.1:80", "http://127.0.0.1.example:80", "http://localhost.example"]
        {
            assert!(!is_loopback(url).unwrap(), "{url}");
        }
    }

    #[test]
    fn what_the_client_cannot_speak_is_a_usage_error() {
        for url in ["https://shop.example", "shop:8080", "http://", "http://a/b", "http://user@127.0.0.1"] {
            let error = is_loopback(url).unwrap_err();
            assert!(matches!(error.downcast_ref(), Some(Stop::Usage(_))), "{url}");
        }
    }
}
