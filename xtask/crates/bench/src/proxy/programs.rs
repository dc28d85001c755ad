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
use crate::policy::Proxy;

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
    pub(super) proxy: &'a Proxy,
    pub(super) folder: &'a Utf8Path,
    pub(super) threads: usize,
}

impl Starter<'_> {
    pub(super) fn upstream(&self) -> Result<Program> {
        let large = self.folder.join("files").join(self.proxy.large.trim_start_matches('/'));
        let files = large.parent().unwrap_or(&large);
        std::fs::create_dir_all(files).with_context(|| format!("create {files}"))?;
        std::fs::write(&large, vec![b'x'; LARGE_BYTES]).context("write the large answer")?;
        let address = free_address()?;
        self.nginx("upstream", UPSTREAM, address, address)
    }

    pub(super) fn proxy(&self, upstream: SocketAddr) -> Result<Program> {
        self.nginx("proxy", PROXY, free_address()?, upstream)
    }

    fn nginx(&self, name: &str, template: &str, address: SocketAddr, upstream: SocketAddr) -> Result<Program> {
        let places = places(self.folder.as_str(), self.threads, &self.proxy.large, address.port(), upstream.port());
        let text = configuration(template, &places);
        let file = self.folder.join(format!("{name}.conf"));
        std::fs::write(&file, text).with_context(|| format!("write {file}"))?;
        let (shell, program, folder) = (Shell::new()?, &self.nginx.program, self.folder);
        self.start("nginx", name, address, cmd!(shell, "{program} -p {folder} -e stderr -c {file}"))
    }

    /// The proxy, with limits that let the load through and everything else as it comes.
    pub(super) fn own(&self, name: &str, program: &Utf8Path, upstream: SocketAddr) -> Result<Program> {
        let (shell, address, proxy) = (Shell::new()?, free_address()?, self.proxy);
        let urls = proxy.upstream_variables.iter().map(|variable| (variable, format!("http://{upstream}")));
        let command = cmd!(shell, "{program}")
            .envs(&proxy.environment)
            .envs(urls)
            .env(&proxy.address_variable, address.ip().to_string())
            .env(&proxy.port_variable, address.port().to_string());
        self.start(name, name, address, command)
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

/// What stands for each `@PLACE@` of the templates.
fn places(folder: &str, threads: usize, large: &str, port: u16, upstream: u16) -> [(&'static str, String); 5] {
    [
        ("@FOLDER@", folder.to_owned()),
        ("@THREADS@", threads.to_string()),
        ("@LARGE@", large.to_owned()),
        ("@PORT@", port.to_string()),
        ("@UPSTREAM@", upstream.to_string()),
    ]
}

fn configuration(template: &str, places: &[(&str, String)]) -> String {
    places.iter().fold(template.to_owned(), |text, (place, value)| text.replace(place, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_has_every_place_filled() {
        let places = places("/run folder", 2, "/big", 1, 2);
        for template in [UPSTREAM, PROXY] {
            let text = configuration(template, &places);
            assert!(!text.contains('@') && text.contains("listen 127.0.0.1:1 "), "{text}");
        }
        assert!(configuration(PROXY, &places).contains("server 127.0.0.1:2;"));
    }
}
