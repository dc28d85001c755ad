//! Memory that is resident, as the kernel counts it for each service's process.

use std::thread;

use anyhow::{Context as _, Result, bail};
use xshell::{Shell, cmd};

use super::Figures;
use crate::readiness::ContainerState;
use xtask_engine::{OneShot, Ready};
use xtask_workspace::Context;

/// Resident now.
pub(crate) const IDLE: &str = "idle-kib";
/// The most that was ever resident.
pub(crate) const PEAK: &str = "peak-kib";
const PROBE_LIMIT_SECONDS: u64 = 60;

/// Reads one of the two of every service. `docker stats` counts the kernel's file cache as well, so the kernel is asked of the
/// process itself.
pub(crate) fn resident(
    context: &Context,
    ready: &Ready,
    services: &[ContainerState],
    kind: &'static str,
) -> Result<Figures> {
    thread::scope(|scope| {
        let read = |service| move || one(context, ready, service, kind);
        let threads: Vec<_> = services.iter().map(|service| scope.spawn(read(service))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| bail!("the probe panicked"))).collect()
    })
}

fn one(context: &Context, ready: &Ready, service: &ContainerState, kind: &'static str) -> Result<(String, u64)> {
    let status = match of_this_machine(service) {
        Some(status) => status,
        None => from_beside(context, ready, service)?,
    };
    let kib = kib(&status, if kind == IDLE { "VmRSS:" } else { "VmHWM:" });
    Ok((
        format!("{kind}/{}", service.service),
        kib.with_context(|| format!("the kernel says no memory of {}", service.service))?,
    ))
}

/// When the engine runs on this machine, its number of the process is this kernel's, too: the process is then in a control group
/// that carries the container's id.
fn of_this_machine(service: &ContainerState) -> Option<String> {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", service.pid)).ok();
    let is_the_containers = !service.id.is_empty() && read("cgroup")?.contains(&service.id);
    is_the_containers.then(|| read("status")).flatten()
}

/// From a container that joins the process's namespace: the images hold no program to read it with.
fn from_beside(context: &Context, ready: &Ready, service: &ContainerState) -> Result<String> {
    let shell = Shell::new()?;
    let (docker, image, pid) = (&ready.docker.program, &ready.shell().id, format!("--pid=container:{}", service.id));
    let probe = OneShot::new(context, &ready.docker, "probe")?;
    let own = probe.arguments();
    let run = cmd!(
        shell,
        "{docker} run --rm {own...} --network none --read-only --cap-drop ALL --entrypoint cat {pid} {image} /proc/1/status"
    );
    probe.read(run, PROBE_LIMIT_SECONDS)
}

fn kib(status: &str, name: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_process_is_never_taken_for_the_containers() {
        let pid = i64::from(std::process::id());
        let of = |id: &str| ContainerState { id: id.to_owned(), pid, ..Default::default() };
        assert_eq!(of_this_machine(&of(&"0".repeat(64))), None);
        assert_eq!(of_this_machine(&of("")), None);
    }

    #[test]
    fn a_line_of_the_process_status_is_read() {
        assert_eq!(kib("Name:\tx\nVmHWM:\t    5120 kB\nVmRSS:\t    4096 kB\n", "VmRSS:"), Some(4096));
        assert_eq!(kib("", "VmRSS:"), None);
    }
}
