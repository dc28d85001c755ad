//! `cargo xtask`: builds, scans, audits and tests the container images of this workspace.
//!
//! One module per subcommand; each wires the crates of the engine to the command line. docs/architecture.md is the map.

mod adopt;
mod audit_env;
mod bench;
mod build_images;
mod clean;
mod compare;
mod completions;
mod compose_e2e;
mod face;
mod kubernetes_e2e;
mod linters;
mod new_service;
mod panics;
mod publish;
mod push;
mod scan;
mod setup;
mod test;
mod up;
mod verify;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Error, Result};
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use xtask_outcome::{Outcome, Report, Stop};
use xtask_process::{Interrupt, Runner};
use xtask_workspace::{Context, Environment, Project};

use crate::face::Face;
use crate::publish::Journal;

const EXAMPLES: &str = "Examples:
  cargo xtask verify                           # the main job
  cargo xtask test                             # formatting, lints, all tests
  cargo xtask build-images order --strategy host   # seconds after an edit
  cargo xtask up                               # the stack to play with";

/// Builds, scans, audits and end-to-end tests the container images of this workspace.
///
/// Exit codes: 0 fine; 1 a finding or the repository's own fault; 2 usage; 3 a tool, base, database or machine is missing or
/// broken; 4 a time limit; 5 a fault of xtask itself; 130 or 143 interrupted.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, max_term_width = 100, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    face: Face,
}

#[derive(Debug, Subcommand)]
enum Command {
    Setup(setup::Setup),
    BuildImages(build_images::BuildImages),
    Scan(scan::ScanImages),
    AuditEnv(audit_env::AuditEnv),
    ComposeE2e(compose_e2e::ComposeE2e),
    KubernetesE2e(kubernetes_e2e::KubernetesE2e),
    Verify(verify::Verify),
    Push(push::Push),
    VerifyPushed(push::VerifyPushed),
    Test(test::Test),
    Up(up::Up),
    Down(up::Down),
    Ps(up::Ps),
    Logs(up::Logs),
    Restart(up::Restart),
    NewService(new_service::NewService),
    Adopt(adopt::Adopt),
    Bench(bench::Bench),
    Clean(clean::Clean),
    Completions(completions::Completions),
    Man(completions::Man),
}

impl Command {
    fn about_itself(&self) -> Result<()> {
        match self {
            Self::Completions(command) => command.print(&mut Cli::command()),
            Self::Man(command) => command.write(Cli::command()),
            _ => Ok(()),
        }
    }

    fn run(&self, context: &Context, outcome: &mut Outcome) -> Result<()> {
        match self {
            Self::Setup(command) => command.run(context, outcome),
            Self::BuildImages(command) => command.run(context, outcome),
            Self::Scan(command) => command.run(context, outcome),
            Self::AuditEnv(command) => command.run(context, outcome),
            Self::ComposeE2e(command) => command.run(context, outcome),
            Self::KubernetesE2e(command) => command.run(context, outcome),
            Self::Verify(command) => command.run(context, outcome),
            Self::Push(command) => command.run(context, outcome),
            Self::VerifyPushed(command) => command.run(context, outcome),
            Self::Test(command) => command.run(context, outcome),
            Self::Up(command) => command.run(context, outcome),
            Self::Down(command) => command.run(context, outcome),
            Self::Ps(command) => command.run(context, outcome),
            Self::Logs(command) => command.run(context, outcome),
            Self::Restart(command) => command.run(context, outcome),
            Self::Adopt(command) => command.run(context, outcome),
            Self::NewService(command) => command.run(context, outcome),
            Self::Bench(command) => command.run(context, outcome),
            Self::Clean(command) => command.run(context, outcome),
            Self::Completions(_) | Self::Man(_) => self.about_itself(),
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    let (as_json, color) = face::asked(&arguments);
    let parsed = Cli::command().color(color).try_get_matches_from(&arguments).and_then(|matches| {
        let name = matches.subcommand_name().unwrap_or_default().to_owned();
        Ok((name, Cli::from_arg_matches(&matches)?))
    });
    let (name, cli) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return ExitCode::from(refuse(&error, as_json)),
    };
    if let Command::Completions(_) | Command::Man(_) = cli.command {
        // About the command line alone: no workspace is read, and no report is left.
        return cli.command.about_itself().map_or_else(
            |error| {
                eprintln!("error: {error:#}");
                ExitCode::from(3)
            },
            |()| ExitCode::SUCCESS,
        );
    }
    let words: Vec<_> = arguments.iter().skip(1).map(|word| word.to_string_lossy()).collect();
    let rerun = shlex::try_join(words.iter().map(AsRef::as_ref)).unwrap_or_default();
    ExitCode::from(run(&cli, &name, &format!("cargo xtask {rerun}")))
}

/// A command line that is not understood; help and version are no errors.
fn refuse(error: &clap::Error, as_json: bool) -> u8 {
    let code = u8::try_from(error.exit_code()).unwrap_or(2);
    if code == 0 || !as_json {
        // A closed pipe (`| head`) is the reader's choice.
        let _ = error.print();
        return code;
    }
    let mut outcome = Outcome::default();
    outcome.fail(&Error::from(Stop::Usage(error.to_string().trim_end().to_owned())));
    print!("{}", Report::running("", "").ended(outcome, 0.0).json());
    code
}

fn run(cli: &Cli, name: &str, rerun: &str) -> u8 {
    let started = Instant::now();
    let face = &cli.face;
    let mut outcome = Outcome::default();
    let report = Report::running(name, rerun);
    let context = match begin(cli, name) {
        Ok(context) => context,
        Err(error) => {
            outcome.fail(&error);
            let report = report.ended(outcome, started.elapsed().as_secs_f64());
            face.print(&report, &Environment::read(), &[]);
            return report.exit_code();
        }
    };
    let (project, progress) = (&context.project, context.runner.progress());
    panics::install(project);
    outcome.progress = progress.clone();
    let log = publish::keep_log(project, name, progress);
    let journal = Journal::begin(project, report, &mut outcome);
    let mut files = journal.files(project).to_vec();
    files.extend(log.ok().map(|log| ("log", log)));
    outcome.command(|outcome| cli.command.run(&context, outcome));
    panics::locate(project, &mut outcome);
    let report = journal.end(outcome, started.elapsed().as_secs_f64());
    progress.finish(!face.is_shared());
    face.print(&report, &project.environment, &files);
    publish::to_github(project, &report, progress);
    report.exit_code()
}

fn begin(cli: &Cli, name: &str) -> Result<Context> {
    let progress = cli.face.progress(&Environment::read(), name)?;
    let interrupt = Interrupt::install(progress.clone())?;
    let project = Project::load(env!("CARGO_MANIFEST_DIR"))?;
    Ok(Context { project, runner: Runner::new(interrupt, progress) })
}

#[cfg(test)]
mod command_line;
#[cfg(test)]
mod documented;
