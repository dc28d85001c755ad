//! The logs of this checkout's stack: in the order of time, or as they come.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use xshell::{Shell, cmd};
use xtask_engine::Tool;
use xtask_outcome::{Outcome, Progress};
use xtask_process::Interrupt;
use xtask_workspace::Context;

use super::{own, select};
use crate::readiness::ContainerState;

const QUERY_LIMIT_SECONDS: u64 = 60;
/// How often it is looked for containers that were made since.
const LOOK_MILLISECONDS: u64 = 500;

/// Which logs.
#[derive(Debug, Clone)]
pub struct Logs {
    /// Of which services; all of them when none is named.
    pub names: Vec<String>,
    /// Go on as they come.
    pub follow: bool,
    /// How many lines of each container, from its last.
    pub tail: u32,
}

/// Prints log lines on standard output, each with its service in front.
///
/// # Errors
/// [`xtask_outcome::Stop::Usage`] for a service that is not there, [`xtask_outcome::Stop::Absent`] when there is no stack.
pub fn logs(context: &Context, docker: &Tool, wanted: &Logs, outcome: &mut Outcome) -> Result<()> {
    let project = own::project(context, docker)?;
    let containers = own::containers(context, docker, &project)?;
    let selected = select(&containers, &wanted.names)?;
    outcome.checked("containers", selected.len());
    let width = containers.iter().map(|container| container.service.len()).max().unwrap_or_default();
    if wanted.follow {
        return Follow { context, docker, project: &project, wanted, width, over: Arc::default() }.run();
    }
    let mut lines = Vec::new();
    for container in selected {
        lines.extend(past(context, docker, container, wanted.tail)?.into_iter().map(|line| (line, &container.service)));
    }
    lines.sort();
    for ((_, line), service) in lines {
        if !print(service, width, &line) {
            break;
        }
    }
    Ok(())
}

/// A container's last lines with their times, which sort as text.
fn past(context: &Context, docker: &Tool, container: &ContainerState, tail: u32) -> Result<Vec<(String, String)>> {
    let (shell, docker, tail, id) = (Shell::new()?, &docker.program, tail.to_string(), &container.id);
    let log = cmd!(shell, "{docker} logs --timestamps --tail {tail} {id}");
    let captured = context.runner.capture(log, QUERY_LIMIT_SECONDS)?;
    let both = captured.stdout.lines().chain(captured.stderr.lines());
    Ok(both
        .map(|line| {
            line.split_once(' ')
                .map_or((String::new(), line.to_owned()), |(time, line)| (time.to_owned(), line.to_owned()))
        })
        .collect())
}

/// Whether the reader is still there: a closed pipe (`| head`) is its choice.
fn print(service: &str, width: usize, line: &str) -> bool {
    writeln!(std::io::stdout(), "{service:width$} | {line}").is_ok()
}

struct Follow<'a> {
    context: &'a Context,
    docker: &'a Tool,
    project: &'a str,
    wanted: &'a Logs,
    width: usize,
    /// Nobody reads any more.
    over: Arc<AtomicBool>,
}

impl Follow<'_> {
    /// Follows every container of the services, also those that are made meanwhile: an `up` beside it changes nothing. It ends
    /// with an interrupt, with its reader, or with the stack.
    fn run(&self) -> Result<()> {
        self.context.runner.interrupt().expect();
        // The reader's end stops the programs as an interrupt does, and is none of this process.
        let reader_left = Interrupt::default();
        let runner = xtask_process::Runner::new(reader_left.clone(), Progress::default());
        thread::scope(|scope| {
            let mut followed = BTreeSet::new();
            let result = loop {
                if self.over.load(Ordering::SeqCst) || self.context.runner.interrupt().check().is_err() {
                    break Ok(());
                }
                let containers = match own::containers(self.context, self.docker, self.project) {
                    Ok(containers) => containers,
                    Err(_) if self.context.runner.interrupt().check().is_err() => break Ok(()),
                    Err(error) => break Err(error),
                };
                if containers.is_empty() {
                    self.context.runner.progress().say("the stack is down");
                    break Ok(());
                }
                // Whoever was there first has a past; whoever came meanwhile is followed from its beginning.
                let tail = if followed.is_empty() { self.wanted.tail.to_string() } else { "all".to_owned() };
                for container in containers {
                    let is_wanted = self.wanted.names.is_empty() || self.wanted.names.contains(&container.service);
                    if is_wanted && container.status != "created" && followed.insert(container.id.clone()) {
                        let (runner, tail) = (&runner, tail.clone());
                        scope.spawn(move || self.one(runner, &container, &tail));
                    }
                }
                thread::sleep(Duration::from_millis(LOOK_MILLISECONDS));
            };
            reader_left.raise(2);
            result
        })
    }

    fn one(&self, runner: &xtask_process::Runner, container: &ContainerState, tail: &str) {
        let Ok(shell) = Shell::new() else { return };
        let (docker, id) = (&self.docker.program, &container.id);
        let (service, width, over) = (container.service.clone(), self.width, Arc::clone(&self.over));
        let on_line = move |line: &str| {
            if !print(&service, width, line) {
                over.store(true, Ordering::SeqCst);
            }
        };
        if let Err(error) = runner.follow(cmd!(shell, "{docker} logs --follow --tail {tail} {id}"), on_line) {
            self.context.runner.progress().say(&format!("{}: {error:#}", container.service));
        }
    }
}
