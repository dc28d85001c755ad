//! `cargo xtask build-images`: plan, build with one bake, and prove what came out.

use std::thread;

use anyhow::{Result, anyhow};
use clap::{Args, ValueEnum};
use xtask_engine::ready;
use xtask_image_build::{Build, Cache, Choice, check_layout};
use xtask_outcome::{Outcome, Stop};
use xtask_workspace::Context;

/// Build the images of the services, tagged mini-<service>:local.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cargo xtask build-images\n  cargo xtask build-images order --strategy host      # seconds after an edit\n  cargo xtask build-images --explain      # why each image is built, or not"
)]
pub(crate) struct BuildImages {
    /// Which images (`user` or `mini-user`); all of them when none is named.
    names: Vec<String>,
    /// Where the programs are compiled.
    #[arg(long, value_enum, default_value_t = Strategy::Container)]
    strategy: Strategy,
    /// Ask the registry for newer base images. A base that was made on this machine is left alone, and the output says so.
    #[arg(long)]
    pull: bool,
    /// Build every step again.
    #[arg(long)]
    no_cache: bool,
    /// Keep layers between machines, one scope per image: a repository in a registry, `type=local,dir=DIR` or `type=gha`.
    #[arg(long, value_name = "REF")]
    cache: Option<Cache>,
    /// Read layers from --cache and write none: for jobs that are not trusted with it.
    #[arg(long, requires = "cache", conflicts_with = "no_cache")]
    cache_read_only: bool,
    /// Build for another platform than the builder's own, such as linux/arm64, where the builder can.
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
    /// Build everything twice, from nothing and in different folders, and compare; takes two full builds, changes no image.
    #[arg(long, conflicts_with_all = ["pull", "no_cache", "cache", "explain", "dry_run"])]
    verify_reproducible: bool,
    /// Say for each image why it is built, naming the inputs that changed, or that nothing did.
    #[arg(long)]
    explain: bool,
    /// Show what would be built and the bake file; build nothing.
    #[arg(long, conflicts_with = "explain")]
    dry_run: bool,
}

/// Where the programs are compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Strategy {
    /// Inside the builder image: what ships.
    Container,
    /// With the developer's own cargo: seconds after an edit.
    Host,
}

impl From<Strategy> for xtask_image_build::Strategy {
    fn from(strategy: Strategy) -> Self {
        match strategy {
            Strategy::Container => Self::Container,
            Strategy::Host => Self::Host,
        }
    }
}

impl BuildImages {
    pub(crate) fn run(&self, context: &Context, outcome: &mut Outcome) -> Result<()> {
        if let (Strategy::Host, Some(platform)) = (self.strategy, &self.platform) {
            let text =
                format!("--platform {platform} is for --strategy container: on the host cargo compiles for the host");
            return Err(Stop::Usage(text).into());
        }
        check_layout(&context.project)?;
        context.project.select(&self.names)?;
        let build = Build {
            names: self.names.clone(),
            strategy: Choice::By(self.strategy.into()),
            pull: self.pull,
            no_cache: self.no_cache,
            cache: self.cache.clone(),
            cache_read_only: self.cache_read_only,
            platform: self.platform.clone(),
            tag: None,
            verify_reproducible: self.verify_reproducible,
            explain: self.explain,
            dry_run: self.dry_run,
        };
        // Git answers while the engine does.
        let (sources, ready) = thread::scope(|scope| {
            let sources = scope.spawn(|| build.sources(context));
            let ready = ready(context);
            (sources.join(), ready)
        });
        let (ready, sources) = (ready?, sources.map_err(|_| anyhow!("the thread that asked git panicked"))??);
        build.run_from(&sources, context, &ready, outcome).map(drop)
    }
}
