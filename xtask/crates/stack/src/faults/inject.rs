//! The hands that do a fault to a stack, with the engine's own means.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use xshell::{Cmd, Shell, cmd};

use crate::Stack;
use xtask_engine::{OneShot, Ready};
use xtask_image_build::BuiltImage;
use xtask_workspace::{Action, Target};

const ENGINE_LIMIT_SECONDS: u64 = 60;
const SLOW_PULSES: u32 = 8;
const SLOW_MILLISECONDS: u64 = 400;
const POLL_MILLISECONDS: u64 = 50;

/// Does it, and comes back when it is over: from there on the stack has to recover without hands.
pub(super) fn inject(stack: &Stack<'_>, ready: &Ready, images: &[BuiltImage], action: &Action) -> Result<()> {
    let hands = Hands { stack, ready, shell: Shell::new()? };
    match action {
        Action::Kill(service) => hands.kill(service),
        Action::Freeze(Target { service, seconds }) => hands.freeze(service, seconds * 1000),
        Action::Slow(service) => {
            for _ in 0..SLOW_PULSES {
                hands.freeze(service, SLOW_MILLISECONDS)?;
                hands.hold(SLOW_MILLISECONDS / 4)?;
            }
            Ok(())
        }
        Action::CutOff(Target { service, seconds }) => hands.cut_off(service, *seconds),
        Action::RollingRestart => {
            stack.context.project.stack.load()?.rolling_restart.iter().try_for_each(|service| stack.restart(service))
        }
        Action::RotateKeys => stack.rotate_keys(images),
        // These are done by clients.
        Action::Burst | Action::SlowClients | Action::Leave | Action::Abuse(_) => Ok(()),
    }
}

/// Does something while all processes of a service stand still. Nothing may be started in its container meanwhile: one that is on
/// its way when it is frozen would keep the engine from thawing it.
pub(super) fn while_paused<T>(
    stack: &Stack<'_>,
    ready: &Ready,
    service: &str,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    Hands { stack, ready, shell: Shell::new()? }.while_paused(service, work)
}

struct Hands<'a> {
    stack: &'a Stack<'a>,
    ready: &'a Ready,
    shell: Shell,
}

impl Hands<'_> {
    /// Run to its end even after an interrupt: a frozen container would be in the way of the tear-down.
    fn engine(&self, command: Cmd<'_>) -> Result<()> {
        self.stack.context.runner.for_clean_up().read(command, ENGINE_LIMIT_SECONDS).map(drop)
    }

    /// From beside it, as the kernel does when memory runs out: `docker kill` would count as a stop by hand, after which
    /// nothing restarts it.
    fn kill(&self, service: &str) -> Result<()> {
        let (docker, image) = (&self.ready.docker.program, &self.ready.shell().id);
        let pid = self.stack.container(service)?.pid.to_string();
        let container = OneShot::new(self.stack.context, &self.ready.docker, "kill")?;
        let own = container.arguments();
        let script = "kill -s KILL \"$1\"";
        let kill = cmd!(
            self.shell,
            "{docker} run --rm {own...} --pid host --network none --user 0 --entrypoint sh {image} -c {script} kill {pid}"
        );
        container.read(kill, ENGINE_LIMIT_SECONDS).map(drop)
    }

    fn freeze(&self, service: &str, milliseconds: u64) -> Result<()> {
        self.while_paused(service, || {
            self.stack.context.runner.progress().now(&format!("{service} is paused for {milliseconds} ms"));
            self.hold(milliseconds)
        })
    }

    fn while_paused<T>(&self, service: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let (docker, id) = (&self.ready.docker.program, self.stack.container(service)?.id);
        self.engine(cmd!(self.shell, "{docker} pause {id}"))?;
        let done = work();
        self.engine(cmd!(self.shell, "{docker} unpause {id}"))?;
        done
    }

    fn cut_off(&self, service: &str, seconds: u64) -> Result<()> {
        let (docker, id) = (&self.ready.docker.program, self.stack.container(service)?.id);
        let network = format!("{}_{service}", self.stack.project);
        self.engine(cmd!(self.shell, "{docker} network disconnect {network} {id}"))?;
        let held = self.hold(seconds * 1000);
        self.engine(cmd!(self.shell, "{docker} network connect --alias {service} {network} {id}"))?;
        held
    }

    /// Lets the fault last.
    fn hold(&self, milliseconds: u64) -> Result<()> {
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(milliseconds) {
            self.stack.context.runner.interrupt().check()?;
            thread::sleep(Duration::from_millis(POLL_MILLISECONDS.min(milliseconds)));
        }
        Ok(())
    }
}
