//! What every command takes on how it shows itself: progress, colours, and how much of the result.

use std::ffi::OsString;
use std::io::IsTerminal as _;

use anstream::{AutoStream, ColorChoice};
use anyhow::Result;
use clap::{Args, ValueEnum};
use xtask_outcome::{Mode, Progress, Report, Screen, Stop};
use xtask_workspace::Environment;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Text,
    Json,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressKind {
    /// A line per step, redrawn, on a terminal; plain lines elsewhere.
    Auto,
    /// A line per step, redrawn.
    Live,
    /// A line with its time for whatever begins, ends or goes on for two seconds.
    Plain,
    /// A line when a step begins and when it ends: for screen readers.
    Steps,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct Face {
    /// How the result is printed on standard output; progress goes to standard error.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// How progress is shown; XTASK_PROGRESS sets it for good. `plain` and `steps` also print the result without marks and line breaks.
    #[arg(long, global = true, value_enum, default_value_t = ProgressKind::Auto, value_name = "KIND")]
    progress: ProgressKind,
    /// When colours are used; NO_COLOR and CLICOLOR_FORCE are known.
    #[arg(long, global = true, value_enum, default_value_t = clap::ColorChoice::Auto, value_name = "WHEN")]
    color: clap::ColorChoice,
    /// Show every program that runs, also the quiet ones, and all evidence, findings and tables.
    #[arg(short, long, global = true)]
    verbose: bool,
    /// Show no progress, only the result and what has to be read.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
}

impl Face {
    /// The progress of a command, as it was asked for and as standard error can show it.
    ///
    /// # Errors
    /// [`Stop::Usage`] for an unknown kind in the environment.
    pub(crate) fn progress(&self, environment: &Environment, command: &str) -> Result<Progress> {
        use_colours(self.color);
        let colour = AutoStream::choice(&std::io::stderr()) != ColorChoice::Never;
        let redraws = std::io::stderr().is_terminal() && !environment.dumb_terminal;
        let mode = match self.kind(environment)? {
            _ if self.quiet => Mode::Quiet,
            ProgressKind::Auto if redraws && !environment.ci => Mode::Live,
            ProgressKind::Live if redraws => Mode::Live,
            ProgressKind::Steps => Mode::Steps,
            ProgressKind::Auto | ProgressKind::Live | ProgressKind::Plain => Mode::Plain,
        };
        Ok(Progress::new(mode, self.verbose, colour, command))
    }

    fn kind(&self, environment: &Environment) -> Result<ProgressKind> {
        match &environment.progress {
            Some(name) if self.progress == ProgressKind::Auto => {
                Ok(ProgressKind::from_str(name, true).map_err(|_| {
                    Stop::Usage(format!("XTASK_PROGRESS is `{name}`; it is one of auto, live, plain, steps"))
                })?)
            }
            _ => Ok(self.progress),
        }
    }

    /// Whether the result goes to the terminal that shows progress: then it takes the place of the steps' lines.
    pub(crate) fn is_shared(&self) -> bool {
        self.format == Format::Text && std::io::stdout().is_terminal()
    }

    /// Prints the result on standard output. `files` are where more is.
    pub(crate) fn print(&self, report: &Report, environment: &Environment, files: &[(&str, String)]) {
        let shown = match self.format {
            Format::Text => report.text(&self.screen(environment, files)),
            Format::Json => report.json(),
        };
        // A closed pipe (`| head`) is the reader's choice and no error.
        let _ = std::io::Write::write_all(&mut anstream::stdout(), shown.as_bytes());
    }

    fn screen<'a>(&self, environment: &Environment, files: &'a [(&'a str, String)]) -> Screen<'a> {
        let screen = Screen { evidence: self.verbose, files, ..Screen::default() };
        let is_plain = matches!(self.kind(environment), Ok(ProgressKind::Plain | ProgressKind::Steps));
        if is_plain || environment.ci || environment.dumb_terminal {
            return screen;
        }
        match terminal_size::terminal_size_of(std::io::stdout()) {
            Some((width, height)) => {
                Screen { width: Some(width.0.into()), height: Some(height.0.into()), marks: true, ..screen }
            }
            None => screen,
        }
    }
}

/// What a command line that is not understood asks for: JSON, and colours.
pub(crate) fn asked(arguments: &[OsString]) -> (bool, clap::ColorChoice) {
    let value = |flag: &str| {
        let behind = arguments.windows(2).filter(|pair| pair[0] == *flag).filter_map(|pair| pair[1].to_str());
        let within = arguments.iter().filter_map(|word| word.to_str()?.strip_prefix(flag)?.strip_prefix('='));
        within.chain(behind).next_back().map(ToOwned::to_owned)
    };
    let color = value("--color").and_then(|when| clap::ColorChoice::from_str(&when, true).ok());
    (value("--format").as_deref() == Some("json"), color.unwrap_or(clap::ColorChoice::Auto))
}

/// From here on everything that is printed has colours, or none.
pub(crate) fn use_colours(choice: clap::ColorChoice) {
    match choice {
        clap::ColorChoice::Auto => ColorChoice::Auto,
        clap::ColorChoice::Always => ColorChoice::Always,
        clap::ColorChoice::Never => ColorChoice::Never,
    }
    .write_global();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_read_in_both_spellings() {
        let asks = |words: &[&str]| asked(&words.iter().map(OsString::from).collect::<Vec<_>>());
        assert!(asks(&["xtask", "--format", "json", "nope"]).0 && asks(&["xtask", "nope", "--format=json"]).0);
        assert!(!asks(&["xtask", "--format", "text", "json"]).0 && !asks(&["xtask"]).0);
        assert_eq!(asks(&["xtask", "--color=never", "nope"]).1, clap::ColorChoice::Never);
        assert_eq!(asks(&["xtask", "nope", "--color", "always"]).1, clap::ColorChoice::Always);
        assert_eq!(asks(&["xtask", "--colored"]).1, clap::ColorChoice::Auto);
    }
}
