//! From the command line to a running service.

use std::io::Write as _;
use std::process::ExitCode;

use crate::command::{self, Action, Command, Format};
use crate::config::FaultKind;
use crate::contract::{Contract, Loader};
use crate::failure::Failure;
use crate::identity::{Build, Identity};
use crate::types::LogLevel;
use crate::{health, logs, server};

mod environment;

/// The exit code for an environment that does not meet the contract: `EX_CONFIG` of sysexits.h.
const EXIT_CONFIGURATION: u8 = 78;
const EXIT_USAGE: u8 = 2;

/// What a service is: its contract, its work and its further subcommands.
pub struct Service<C: 'static> {
    /// The name of the package and the image, such as `mini-user`.
    pub name: &'static str,
    /// Declares the service's own variables; those that every service has are declared before them.
    pub declare: fn(&mut Contract) -> Loader<C>,
    /// Serves until told to stop.
    pub serve: fn(Start<C>) -> Result<(), Failure>,
    /// Subcommands beside those that every service has. They see no configuration.
    pub commands: &'static [Command],
}

impl<C> Service<C> {
    /// The whole contract: the variables that every service has, then its own. A test of each service holds that it has no
    /// [mistakes](Contract::mistakes).
    #[must_use]
    pub fn contract(&self) -> Contract {
        self.declared().0
    }

    fn declared(&self) -> (Contract, Loader<server::Settings>, Loader<C>) {
        let mut contract = Contract::default();
        let server_loader = server::Settings::declare(&mut contract);
        let own_loader = (self.declare)(&mut contract);
        (contract, server_loader, own_loader)
    }
}

/// What a service starts with.
pub struct Start<C> {
    /// Which program this is.
    pub identity: Identity,
    /// The settings that every service has.
    pub server: server::Settings,
    /// The service's own configuration.
    pub config: C,
}

/// Runs a service as its command line says and returns the code to exit with: 0 when it ended in order, 1 when something
/// that it needs did not work, 2 for a wrong command line, 78 for a wrong environment, 128 and the signal's number when
/// a second signal cut it short.
pub fn run<C>(service: &'static Service<C>, build: Build) -> ExitCode {
    let identity = Identity { service: service.name, build };
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let code = match command::parse(&arguments, service.commands) {
        Ok(action) => match perform(&action, service, identity) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => report(&failure, service.name),
        },
        Err(mistake) => {
            eprintln!("{}: {mistake}\n\n{}", service.name, command::usage(service.name, service.commands));
            ExitCode::from(EXIT_USAGE)
        }
    };
    logs::flush();
    code
}

fn perform<C>(action: &Action, service: &'static Service<C>, identity: Identity) -> Result<(), Failure> {
    let (contract, server_loader, own_loader) = service.declared();
    match action {
        Action::Help => print(&command::usage(service.name, service.commands)),
        Action::Version => print(&identity.to_string()),
        Action::Env(Format::Json) => print(&contract.to_json(service.name)),
        Action::Env(Format::Markdown) => print(contract.to_markdown().trim_end()),
        Action::Own(command) => {
            environment::keep_only(&contract.names())?;
            (command.run)(&mut std::io::stdout().lock())
        }
        Action::Healthcheck(question) => {
            environment::keep_only(&contract.names())?;
            health::probe(*question, service.name, &environment::variable)
        }
        Action::Serve => {
            environment::keep_only(&contract.names())?;
            let mut values = contract.load(&environment::variable).map_err(Failure::Configuration)?;
            let server = server_loader(&mut values);
            logs::start(server.log_level);
            (service.serve)(Start { identity, server, config: own_loader(&mut values) })
        }
    }
}

fn print(text: &str) -> Result<(), Failure> {
    writeln!(std::io::stdout(), "{text}").map_err(|error| Failure::caused("cannot write to the standard output", error))
}

/// Says why the service ended: to the person at the terminal on stderr, to the log's readers as one line of JSON.
fn report(failure: &Failure, service: &str) -> ExitCode {
    let message = failure.chain();
    eprintln!("{service}: {message}");
    match failure {
        Failure::Configuration(faults) => {
            logs::start(LogLevel::Error);
            let names = |kind| faults.names(kind).join(" ");
            let (missing, malformed) = (names(FaultKind::Missing), names(FaultKind::Malformed));
            tracing::error!(missing, malformed, "the environment does not meet the contract");
            ExitCode::from(EXIT_CONFIGURATION)
        }
        Failure::Unhealthy { .. } => ExitCode::FAILURE,
        Failure::Broken { .. } => {
            tracing::error!("{message}");
            ExitCode::FAILURE
        }
        Failure::Aborted { exit_code } => ExitCode::from(*exit_code),
    }
}
