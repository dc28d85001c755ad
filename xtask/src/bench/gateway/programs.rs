//! What is measured, and what stands behind it: started for one run on free ports, ended with it.

use std::fs::{File, OpenOptions};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use camino::Utf8Path;
use xshell::{Cmd, Shell, cmd};
use xtask_engine::Tool;
use xtask_outcome::Stop;
use xtask_process::Background;
use xtask_workspace::Context;

use super::cost::Cost;

const UPSTREAM: &str = include_str!("upstream.conf");
const PROXY: &str = include_str!("proxy.conf");
const LARGE_BYTES: usize = 100_000;
const START_LIMIT: Duration = Duration::from_secs(10);
const START_POLL: Duration = Duration::from_millis(20);

/// A program that takes part.
pub(super) struct Program {
    /// What the table calls it.
    pub(super) name: String,
    pub(super) address: SocketAddr,
    running: Background,
    log: File,
}

impl Program {
    /// What it has used so far.
    pub(super) fn cost(&self) -> Cost {
        Cost::of(self.running.id())
    }

    /// Takes away what it has logged: a run's lines would fill the disk.
    pub(super) fn empty_log(&self) -> Result<()> {
        self.log.set_len(0).with_context(|| format!("empty the log of {}", self.name))
    }

    /// Waits until somebody listens there.
    fn started(self) -> Result<Self> {
        let begun = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            if self.running.has_ended() || begun.elapsed() > START_LIMIT {
                let left = self.running.finish(0).map(|captured| captured.tail()).unwrap_or_default();
                return Err(Stop::Broken(format!("{} does not listen on {}: {left}", self.name, self.address)).into());
            }
            thread::sleep(START_POLL);
        }
        Ok(self)
    }
}

/// Starts programs in the folder of a run.
pub(super) struct Starter<'a> {
    pub(super) context: &'a Context,
    pub(super) nginx: &'a Tool,
    pub(super) folder: &'a Utf8Path,
    pub(super) threads: usize,
}

impl Starter<'_> {
    pub(super) fn upstream(&self) -> Result<Program> {
        let files = self.folder.join("files/products");
        std::fs::create_dir_all(&files).with_context(|| format!("create {files}"))?;
        std::fs::write(files.join("large"), vec![b'x'; LARGE_BYTES]).context("write the large answer")?;
        let address = free_address()?;
        self.nginx("upstream", UPSTREAM, address, address)
    }

    pub(super) fn proxy(&self, upstream: SocketAddr) -> Result<Program> {
        self.nginx("proxy", PROXY, free_address()?, upstream)
    }

    fn nginx(&self, name: &str, template: &str, address: SocketAddr, upstream: SocketAddr) -> Result<Program> {
        let text = configuration(template, self.folder, self.threads, address, upstream);
        let file = self.folder.join(format!("{name}.conf"));
        std::fs::write(&file, text).with_context(|| format!("write {file}"))?;
        let (shell, program, folder) = (Shell::new()?, &self.nginx.program, self.folder);
        self.start("nginx", name, address, cmd!(shell, "{program} -p {folder} -e stderr -c {file}"))
    }

    /// The gateway, with limits that let the load through and everything else as it comes.
    pub(super) fn gateway(&self, name: &str, program: &Utf8Path, upstream: SocketAddr) -> Result<Program> {
        let (shell, address) = (Shell::new()?, free_address()?);
        let mut command = cmd!(shell, "{program}").env("BIND_ADDRESS", "127.0.0.1");
        command = command.env("PORT", address.port().to_string());
        for upstream_variable in ["USER_URL", "PRODUCT_URL", "ORDER_URL"] {
            command = command.env(upstream_variable, format!("http://{upstream}"));
        }
        for limit in ["RATE_LIMIT_PER_SECOND", "RATE_LIMIT_BURST"] {
            command = command.env(limit, "1000000");
        }
        self.start(name, name, address, command.env("MAX_CONNECTIONS_PER_CLIENT", "1024"))
    }

    fn start(&self, name: &str, file: &str, address: SocketAddr, command: Cmd<'_>) -> Result<Program> {
        let file = self.folder.join(format!("{file}.log"));
        // Written at its end, wherever that is by now: the log is emptied while the program runs.
        let log = OpenOptions::new().create(true).append(true).open(&file).with_context(|| format!("create {file}"))?;
        let output = log.try_clone().context("share a log")?;
        let running = self.context.runner.start_into(command, output)?;
        Program { name: name.to_owned(), address, running, log }.started()
    }
}

fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("look for a free port")?;
    listener.local_addr().context("read the free port")
}

fn configuration(
    template: &str,
    folder: &Utf8Path,
    threads: usize,
    address: SocketAddr,
    upstream: SocketAddr,
) -> String {
    template
        .replace("@FOLDER@", folder.as_str())
        .replace("@THREADS@", &threads.to_string())
        .replace("@PORT@", &address.port().to_string())
        .replace("@UPSTREAM@", &upstream.port().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_has_every_place_filled() {
        let (one, other) = ("127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap());
        for template in [UPSTREAM, PROXY] {
            let text = configuration(template, "/run folder".into(), 2, one, other);
            assert!(!text.contains('@') && text.contains("listen 127.0.0.1:1 "), "{text}");
        }
        assert!(configuration(PROXY, "/f".into(), 2, one, other).contains("server 127.0.0.1:2;"));
    }
}
