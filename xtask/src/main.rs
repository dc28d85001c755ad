//! `cargo xtask`: builds, scans, audits and tests the container images of this workspace.
//!
//! One module per subcommand; docs/architecture.md is the map.

mod audit_env;
mod bench;
mod build_images;
mod clean;
mod compose_e2e;
mod context;
mod engine;
mod exception;
mod interrupt;
mod kubernetes_e2e;
mod linters;
mod outcome;
mod project;
mod push;
mod report;
mod scan;
mod setup;
mod stack;
mod test;
mod tools;
mod up;
mod verify;
mod version;

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::context::Context;
use crate::interrupt::Interrupt;
use crate::outcome::{Ending, Outcome};
use crate::project::Project;
use crate::report::Format;
use crate::tools::Runner;

/// Builds, scans, audits and end-to-end tests the container images of this workspace.
///
/// Exit codes: 0 fine; 1 a finding or the repository's own fault; 2 usage; 3 a tool, base, database or machine is missing or
/// broken; 4 a time limit; 130 or 143 interrupted.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, max_term_width = 120)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// How the result is printed on standard output; progress goes to standard error.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Show every program that runs, also the quiet ones.
    #[arg(short, long, global = true)]
    verbose: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Setup(setup::Setup),
    BuildImages(build_images::BuildImages),
    Scan(scan::Scan),
    AuditEnv(audit_env::AuditEnv),
    ComposeE2e(compose_e2e::ComposeE2e),
    KubernetesE2e(kubernetes_e2e::KubernetesE2e),
    Verify(verify::Verify),
    Push(push::Push),
    Test(test::Test),
    Up(up::Up),
    Down(up::Down),
    Bench(bench::Bench),
    Clean(clean::Clean),
}

impl Command {
    fn name(&self) -> &'static str {
        match self {
            Self::Setup(_) => "setup",
            Self::BuildImages(_) => "build-images",
            Self::Scan(_) => "scan",
            Self::AuditEnv(_) => "audit-env",
            Self::ComposeE2e(_) => "compose-e2e",
            Self::KubernetesE2e(_) => "kubernetes-e2e",
            Self::Verify(_) => "verify",
            Self::Push(_) => "push",
            Self::Test(_) => "test",
            Self::Up(_) => "up",
            Self::Down(_) => "down",
            Self::Bench(_) => "bench",
            Self::Clean(_) => "clean",
        }
    }

    fn run(&self, context: &Context) -> Result<Outcome> {
        match self {
            Self::Setup(command) => command.run(context),
            Self::BuildImages(command) => command.run(context),
            Self::Scan(command) => command.run(context),
            Self::AuditEnv(command) => command.run(context),
            Self::ComposeE2e(command) => command.run(context),
            Self::KubernetesE2e(command) => command.run(context),
            Self::Verify(command) => command.run(context),
            Self::Push(command) => command.run(context),
            Self::Test(command) => command.run(context),
            Self::Up(command) => command.run(context),
            Self::Down(command) => command.run(context),
            Self::Bench(command) => command.run(context),
            Self::Clean(command) => command.run(context),
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let started = Instant::now();
    let result = Interrupt::install().and_then(|interrupt| {
        let project = Project::load()?;
        std::fs::create_dir_all(project.out())?;
        let terminal = std::io::stderr().is_terminal() && !project.environment.ci;
        Ok(Context { project, runner: Runner::new(interrupt, cli.verbose), terminal })
    });
    let (context, result) = match result {
        Ok(context) => {
            let result = cli.command.run(&context);
            (Some(context), result)
        }
        Err(error) => (None, Err(error)),
    };
    let words = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    let ending = Ending {
        command: cli.command.name(),
        rerun: format!("cargo xtask {words}"),
        seconds: started.elapsed().as_secs_f64(),
        result: &result,
    };
    report::publish(context.as_ref(), &ending, cli.format);
    ExitCode::from(ending.exit_code())
}

#[cfg(test)]
mod documented;

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
