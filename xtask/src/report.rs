//! One renderer for every command's end: standard output, the report file, and GitHub's summary and annotations.

use std::io::Write as _;

use anyhow::Result;
use clap::ValueEnum;

use crate::context::Context;
use crate::outcome::Ending;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Text,
    Json,
}

/// Prints the result and leaves `target/xtask/reports/<command>.json`.
pub(crate) fn publish(context: Option<&Context>, ending: &Ending<'_>, format: Format) {
    let json = serde_json::to_string_pretty(&ending.json()).unwrap_or_default();
    let shown = match format {
        Format::Text => ending.text(),
        Format::Json => format!("{json}\n"),
    };
    // A closed pipe (`| head`) is the reader's choice and no error.
    let _ = std::io::stdout().write_all(shown.as_bytes());
    if let Some(Err(error)) = context.map(|context| store(context, ending, &json)) {
        eprintln!("the report could not be stored: {error:#}");
    }
}

fn store(context: &Context, ending: &Ending<'_>, json: &str) -> Result<()> {
    let folder = context.project.out().join("reports");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join(format!("{}.json", ending.command));
    // Renamed into place, so that a reader never sees half a report.
    let staged = folder.join(format!(".{}.{}", ending.command, std::process::id()));
    std::fs::write(&staged, json)?;
    std::fs::rename(&staged, file)?;
    if context.project.environment.github_actions {
        for annotation in ending.annotations() {
            eprintln!("{annotation}");
        }
        if let Some(summary) = &context.project.environment.github_step_summary {
            std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(summary)?
                .write_all(ending.markdown().as_bytes())?;
        }
    }
    Ok(())
}
