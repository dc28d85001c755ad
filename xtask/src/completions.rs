//! `cargo xtask completions` and `man`: what a shell and `man` know of the command line, made from the command line itself.

use std::io::Write as _;

use anyhow::{Context as _, Result};
use camino::Utf8PathBuf;
use clap::{Args, Command};
use clap_complete::Shell;

/// Print a completion script, and for bash, zsh and fish the function `xtask` that it completes: it runs `cargo xtask`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  eval \"$(cargo xtask completions bash)\"      # then: xtask ver<Tab>\n  cargo xtask completions fish | source"
)]
pub(crate) struct Completions {
    shell: Shell,
}

/// Write a man page for each subcommand into a folder.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cargo xtask man ~/.local/share/man/man1      # then: man cargo-xtask-verify")]
pub(crate) struct Man {
    /// The folder to write the man pages to.
    #[arg(value_name = "DIR")]
    folder: Utf8PathBuf,
}

impl Completions {
    /// # Errors
    /// When standard output is closed.
    pub(crate) fn print(&self, command: &mut Command) -> Result<()> {
        let mut script = Vec::new();
        // A completion belongs to a program, and `cargo xtask` is two words: the function has one.
        match self.shell {
            Shell::Bash | Shell::Zsh => script.extend(b"xtask() { cargo xtask \"$@\"; }\n"),
            Shell::Fish => script.extend(b"function xtask; cargo xtask $argv; end\n"),
            _ => {}
        }
        command.set_bin_name("xtask");
        clap_complete::generate(self.shell, command, "xtask", &mut script);
        std::io::stdout().write_all(&script).context("write the script")
    }
}

impl Man {
    /// # Errors
    /// When the folder cannot be written to.
    pub(crate) fn write(&self, command: Command) -> Result<()> {
        let folder = &self.folder;
        std::fs::create_dir_all(folder).with_context(|| format!("make the folder {folder}"))?;
        let command = command.name("cargo-xtask").disable_help_subcommand(true);
        clap_mangen::generate_to(command, folder).with_context(|| format!("write into {folder}"))?;
        println!("the man pages are in {folder}; read one with: man {folder}/cargo-xtask.1");
        Ok(())
    }
}
