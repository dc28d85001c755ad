//! The command line that every service has.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write;

use crate::failure::Failure;
use crate::health::Question;

/// A subcommand that a service adds.
pub struct Command {
    /// What is typed to run it.
    pub name: &'static str,
    /// One line for `--help`.
    pub about: &'static str,
    /// Does the work and writes the result, which goes to the standard output.
    pub run: fn(&mut dyn Write) -> Result<(), Failure>,
}

/// What the command line asks for.
pub(crate) enum Action {
    Serve,
    Env(Format),
    Healthcheck(Question),
    Version,
    Help,
    Own(&'static Command),
}

/// How the contract is printed.
pub(crate) enum Format {
    Json,
    Markdown,
}

/// Reads the command line. The message of a mistake does not repeat the argument: people pass secrets there.
pub(crate) fn parse(arguments: &[OsString], own: &'static [Command]) -> Result<Action, String> {
    let words: Vec<&str> = arguments
        .iter()
        .map(|argument| argument.to_str().ok_or("an argument is not valid UTF-8"))
        .collect::<Result<_, _>>()?;
    match words.as_slice() {
        [] | ["serve"] => Ok(Action::Serve),
        ["healthcheck"] => Ok(Action::Healthcheck(Question::Alive)),
        ["healthcheck", "--ready"] => Ok(Action::Healthcheck(Question::Ready)),
        ["healthcheck", ..] => Err("`healthcheck` takes nothing or `--ready`".to_owned()),
        ["env"] | ["env", "--format", "json"] | ["env", "--format=json"] => Ok(Action::Env(Format::Json)),
        ["env", "--format", "markdown"] | ["env", "--format=markdown"] => Ok(Action::Env(Format::Markdown)),
        ["env", ..] => Err("`env` takes `--format json` or `--format markdown`".to_owned()),
        ["version" | "--version" | "-V"] => Ok(Action::Version),
        ["help" | "--help" | "-h"] => Ok(Action::Help),
        [name, rest @ ..] => match own.iter().find(|command| command.name == *name) {
            Some(command) if rest.is_empty() => Ok(Action::Own(command)),
            Some(command) => Err(format!("`{}` takes no arguments", command.name)),
            None => Err("unknown or superfluous arguments; settings are given in the environment only".to_owned()),
        },
    }
}

/// The text of `--help`.
pub(crate) fn usage(service: &str, own: &[Command]) -> String {
    let mut text = format!("usage: {service} [SUBCOMMAND]\n");
    let common = [
        ("serve", "run the service; also without a subcommand"),
        ("env", "print the variables it reads: --format json (default) or markdown"),
        ("healthcheck", "ask the running service on this machine whether it is alive (--ready: ready to serve)"),
        ("version", "print name, version and revision"),
        ("help", "print this text"),
    ];
    for (name, about) in common.into_iter().chain(own.iter().map(|command| (command.name, command.about))) {
        write!(text, "\n  {name:<12} {about}").expect("a String takes all text");
    }
    text
}
