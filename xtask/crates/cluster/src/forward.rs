//! A port of this machine that leads to a Service. It is tied to one pod and dies with it: one per phase.

use anyhow::Result;
use xtask_process::Background;

use crate::kubectl::Kubectl;

const OPEN_LIMIT_SECONDS: u64 = 30;

/// Open as long as it lives.
#[derive(Debug)]
pub(crate) struct Forward {
    _kubectl: Background,
    /// `http://127.0.0.1:PORT`.
    pub(crate) url: String,
}

impl Forward {
    /// The system picks the port on loopback; kubectl says which.
    ///
    /// # Errors
    /// When there is no pod to lead to, or it does not open in time.
    pub(crate) fn open(kubectl: &Kubectl, service: &str, port: u16) -> Result<Self> {
        let (target, port) = (format!("service/{service}"), format!(":{port}"));
        let mut started = kubectl.start(&["port-forward", "--address", "127.0.0.1", &target, &port])?;
        let url = started.wait_for_line(local_url, OPEN_LIMIT_SECONDS)?;
        Ok(Self { _kubectl: started, url })
    }
}

/// `Forwarding from 127.0.0.1:40321 -> 80`.
fn local_url(line: &str) -> Option<String> {
    let address = line.strip_prefix("Forwarding from ")?.split(" -> ").next()?;
    address.rsplit_once(':')?.1.parse::<u16>().ok()?;
    Some(format!("http://{address}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_read_from_what_kubectl_says() {
        assert_eq!(local_url("Forwarding from 127.0.0.1:40321 -> 80"), Some("http://127.0.0.1:40321".to_owned()));
        assert_eq!(local_url("Handling connection for 40321"), None);
    }
}
