//! The gateway as a process of its own.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{Client, PATIENCE, Upstream};

/// The environment of a gateway that is still to be started.
pub(crate) struct Launch(BTreeMap<&'static str, String>);

impl Launch {
    /// With one upstream behind all three routes.
    pub(crate) fn before(upstream: &Upstream) -> Self {
        Self::before_url(&upstream.url())
    }

    pub(crate) fn before_url(url: &str) -> Self {
        let bare = Self(BTreeMap::new()).with("BIND_ADDRESS", "127.0.0.1").with("PORT", "0");
        bare.with("USER_URL", url).with("PRODUCT_URL", url).with("ORDER_URL", url)
    }

    /// With nothing listening behind it.
    pub(crate) fn before_nobody() -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        Self::before_url(&format!("http://{address}"))
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.0.insert(name, value.into());
        self
    }

    /// Starts it and waits until it listens.
    pub(crate) fn start(self) -> Gateway {
        let mut child = self.spawn();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = sender.send(serde_json::from_str(&line).unwrap_or(Value::String(line)));
            }
        });
        let mut gateway = Gateway { child, lines, address: SocketAddr::from(([0; 4], 0)), metrics_address: None };
        // The metrics come first, where they are asked for.
        loop {
            let line = gateway.wait_for_line(|line| line["message"] == "listening" || line["message"] == "metrics");
            let address = line["address"].as_str().unwrap().parse().unwrap();
            if line["message"] == "listening" {
                gateway.address = address;
                break;
            }
            gateway.metrics_address = Some(address);
        }
        gateway
    }

    /// Runs a subcommand in this environment to its end.
    pub(crate) fn run_command(self, arguments: &[&str]) -> Output {
        self.spawn_with(arguments).wait_with_output().unwrap()
    }

    /// Runs it to its end, which has to come by itself.
    pub(crate) fn run_to_end(self) -> Output {
        self.spawn().wait_with_output().unwrap()
    }

    fn spawn(self) -> Child {
        self.spawn_with(&[])
    }

    #[expect(clippy::disallowed_methods, reason = "the seam for programs is xtask's; here the program is the subject")]
    fn spawn_with(self, arguments: &[&str]) -> Child {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_mini-gateway"));
        command
            .args(arguments)
            .env_clear()
            .envs(self.0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.spawn().unwrap()
    }
}

/// A gateway that listens. It is killed when the test is over.
pub(crate) struct Gateway {
    child: Child,
    lines: Receiver<Value>,
    pub(crate) address: SocketAddr,
    pub(crate) metrics_address: Option<SocketAddr>,
}

impl Gateway {
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// Reads the log on until a line matches.
    pub(crate) fn wait_for_line(&mut self, matches: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if matches(&line) => return line,
                Ok(_) => {}
                Err(error) => {
                    let _ = self.child.kill();
                    let mut complaint = String::new();
                    let _ = self.child.stderr.take().unwrap().read_to_string(&mut complaint);
                    panic!("the log did not have the line that was waited for: {error}: {complaint}");
                }
            }
        }
    }

    /// What `mini-gateway healthcheck` says of it.
    pub(crate) fn healthcheck(&self) -> Output {
        let port = self.address.port().to_string();
        Launch(BTreeMap::new()).with("BIND_ADDRESS", "127.0.0.1").with("PORT", port).run_command(&["healthcheck"])
    }

    pub(crate) fn terminate(&self) {
        let id = i32::try_from(self.child.id()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), Signal::TERM).unwrap();
    }

    /// Waits for its end and returns how it ended, with the lines of the log that nobody has read.
    pub(crate) fn end(mut self) -> (ExitStatus, Vec<Value>) {
        let status = self.child.wait().unwrap();
        (status, self.lines.iter().collect())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
