//! `cargo xtask up`, `down`, `ps`, `logs` and `restart`: the stack for a person to play with, apart from every test's.

use anyhow::Result;
use clap::{Args, ValueEnum};
use xtask_engine::{docker, ready};
use xtask_image_build::{Choice, Strategy as By};
use xtask_outcome::{Outcome, Stop};
use xtask_stack as stack;
use xtask_workspace::Context;

use crate::build_images::Strategy;

/// Build what changed and start the stack on http://127.0.0.1:8080; secrets are written to .env on first use.
///
/// Without --strategy and --profile each image is built as it was built last, the first time by the container.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cargo xtask up\n  cargo xtask up user --profile dev --watch")]
pub(crate) struct Up {
    /// Which services to build; the others go on as they are. All of them when none is named.
    names: Vec<String>,
    /// Where the programs are compiled, now and from now on.
    #[arg(long, value_enum)]
    strategy: Option<Strategy>,
    /// Compile with this profile of your own cargo; implies --strategy host.
    #[arg(long, value_enum)]
    profile: Option<Profile>,
    /// Then wait for edits, and show each in the running stack, until Ctrl-C.
    #[arg(long)]
    watch: bool,
}

/// Cargo's profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Profile {
    /// Incremental: seconds after an edit. Such an image is for `up` alone; every other command builds what could ship.
    Dev,
    /// As it ships.
    Release,
}

/// Stop this checkout's stack; works without .env, whatever it was started with.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cargo xtask down\n  cargo xtask down --volumes      # with its data")]
pub(crate) struct Down {
    /// Delete the databases, too.
    #[arg(long)]
    volumes: bool,
}

/// Show the state of each container of this checkout's stack, and the strategy that built its image.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cargo xtask ps")]
pub(crate) struct Ps {}

/// Print the logs of this checkout's stack in the order of time, each line with its service in front.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cargo xtask logs user --follow\n  cargo xtask logs --tail 20")]
pub(crate) struct Logs {
    /// Which services; all of them when none is named.
    names: Vec<String>,
    /// Go on as they come, through restarts and edits, until Ctrl-C.
    #[arg(short, long)]
    follow: bool,
    /// How many lines of each container, counted from its last.
    #[arg(long, default_value_t = 100)]
    tail: u32,
}

/// Stop services as a deployment does, start them again, and wait until the stack is ready.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cargo xtask restart user")]
pub(crate) struct Restart {
    /// Which services.
    #[arg(required = true)]
    names: Vec<String>,
}

impl Up {
    pub(crate) fn run(&self, context: &Context, outcome: &mut Outcome) -> Result<()> {
        context.project.select(&self.names)?;
        let up = stack::Up { names: self.names.clone(), strategy: self.choice()? };
        let ready = ready(context)?;
        let images = up.run(context, &ready, outcome)?;
        if self.watch { stack::watch(context, &ready, &up, &images, outcome) } else { Ok(()) }
    }

    fn choice(&self) -> Result<Choice> {
        match (self.strategy, self.profile) {
            (None, None) => Ok(Choice::AsBuilt { dev: true }),
            (Some(Strategy::Container), Some(_)) => {
                let text = "--profile is cargo's on this machine, and the container has its own; next: --strategy host";
                Err(Stop::Usage(text.to_owned()).into())
            }
            (Some(Strategy::Container), None) => Ok(Choice::By(By::Container)),
            (_, Some(Profile::Dev)) => Ok(Choice::By(By::Dev)),
            (_, Some(Profile::Release) | None) => Ok(Choice::By(By::Host)),
        }
    }
}

impl Down {
    pub(crate) fn run(&self, context: &Context, outcome: &mut Outcome) -> Result<()> {
        stack::down(context, &docker(context)?, self.volumes, outcome)
    }
}

impl Ps {
    pub(crate) fn run(&self, context: &Context, outcome: &mut Outcome) -> Result<()> {
        stack::ps(context, &docker(context)?, outcome)
    }
}

impl Logs {
    pub(crate) fn run(&self, context: &Context, outcome: &mut Outcome) -> Result<()> {
        let wanted = stack::Logs { names: self.names.clone(), follow: self.follow, tail: self.tail };
        stack::logs(context, &docker(context)?, &wanted, outcome)
    }
}

impl Restart {
    pub(crate) fn run(&self, context: &Context, outcome: &mut Outcome) -> Result<()> {
        stack::restart(context, &ready(context)?, &self.names, outcome)
    }
}
