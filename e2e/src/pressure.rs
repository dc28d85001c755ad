//! What whoever puts a deployment under pressure has to keep to, and how its answers are summed up.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};

/// The address behind a base URL, if it is one of this machine.
///
/// # Errors
/// For any other: nobody else is put under pressure.
pub(crate) fn this_machine(base_url: &str) -> Result<SocketAddr> {
    let address = base_url.trim_end_matches('/').strip_prefix("http://").context("the base URL is not http")?;
    let address: SocketAddr = address.parse().context("the base URL names no address and port")?;
    ensure!(address.ip().is_loopback(), "{address} is not this machine: others are not put under pressure");
    Ok(address)
}

/// The smallest figure that this share of all do not exceed.
pub(crate) fn percentile(sorted: &[u32], share: f64) -> u32 {
    let last = sorted.len().saturating_sub(1);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a length is an index")]
    let index = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(index.saturating_sub(1).min(last)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_figures() {
        let hundred: Vec<u32> = (1..=100).collect();
        assert_eq!((percentile(&hundred, 0.5), percentile(&hundred, 0.99), percentile(&hundred, 1.0)), (50, 99, 100));
        assert_eq!((percentile(&[7], 0.99), percentile(&[], 0.5)), (7, 0));
    }

    #[test]
    fn another_machine_is_left_alone() {
        assert!(this_machine("http://127.0.0.1:80/").is_ok() && this_machine("http://[::1]:80").is_ok());
        for url in ["http://192.0.2.1:80", "http://localhost:80", "https://127.0.0.1:80", "http://127.0.0.1"] {
            assert!(this_machine(url).is_err(), "{url}");
        }
    }
}
