//! The command line itself: well formed, documented as it is, and without flags that contradict each other.

use clap::error::ErrorKind;
use clap::{Command, CommandFactory as _, Parser as _};

use crate::Cli;

/// As on a terminal of so many columns.
const WIDTH: usize = 100;
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/cli.md");

/// `docs/cli.md`: the help of every subcommand.
fn document() -> String {
    let mut text = String::from(
        "# The command line\n\nWhat `--help` prints. Every subcommand also takes what stands under Output. Generated: \
         `UPDATE_CLI=1 cargo test --package xtask --bin xtask`.\n",
    );
    let mut command = Cli::command().term_width(WIDTH);
    command.build();
    describe(&mut text, &mut command);
    text
}

fn describe(text: &mut String, command: &mut Command) {
    // Every command takes these; they stand with the first.
    if !text.ends_with("`.\n") {
        let outputs = command.get_arguments().filter(|argument| argument.get_help_heading() == Some("Output"));
        let names: Vec<_> = outputs.map(|argument| argument.get_id().clone()).collect();
        for name in names {
            *command = command.clone().mut_arg(name, |argument| argument.hide(true));
        }
    }
    let name = command.get_bin_name().unwrap_or_default().to_owned();
    let help = command.render_long_help().to_string();
    let lines: Vec<_> = help.lines().map(str::trim_end).collect();
    *text += &format!("\n## {name}\n\n```text\n{}\n```\n", lines.join("\n").trim());
    for inner in command.get_subcommands_mut().filter(|inner| inner.get_name() != "help") {
        describe(text, inner);
    }
}

#[test]
fn the_command_line_is_well_formed() {
    Cli::command().debug_assert();
}

#[test]
fn the_document_shows_the_help_as_it_is() {
    let document = document();
    if option_env!("UPDATE_CLI").is_some() {
        std::fs::write(FILE, &document).unwrap();
    }
    let stored = std::fs::read_to_string(FILE).unwrap_or_default();
    assert!(stored == document, "docs/cli.md is stale; next: UPDATE_CLI=1 cargo test --package xtask --bin xtask");
}

#[test]
fn help_fits_its_width_and_every_command_has_an_example() {
    let mut command = Cli::command().term_width(80);
    command.build();
    for inner in command.get_subcommands_mut().filter(|inner| inner.get_name() != "help") {
        let help = inner.render_long_help().to_string();
        assert!(help.contains("Examples:\n  cargo xtask ") || help.contains("Examples:\n  eval"), "{help}");
        let (text, _) = help.split_once("Examples:").unwrap();
        for line in text.lines().filter(|line| !line.starts_with("Usage:")) {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}

#[test]
fn flags_that_contradict_each_other_are_refused() {
    for line in [
        "verify --quiet --verbose",
        "build-images --explain --dry-run",
        "build-images --cache ghcr.io/shop/cache --cache-read-only --no-cache",
        "build-images --verify-reproducible --dry-run",
        "build-images --verify-reproducible --explain",
        "build-images --verify-reproducible --pull",
        "build-images --verify-reproducible --no-cache",
        "build-images --verify-reproducible --cache ghcr.io/shop/cache",
        "scan user --image r",
        "scan --image r --write",
        "compose-e2e --base-url http://127.0.0.1:1 --keep",
        "compose-e2e --base-url http://127.0.0.1:1 --faults",
        "compose-e2e --base-url http://127.0.0.1:1 --record",
        "compose-e2e --base-url http://127.0.0.1:1 --write",
        "compose-e2e --compare HEAD --keep",
        "compose-e2e --compare HEAD --faults",
        "compose-e2e --compare HEAD --base-url http://127.0.0.1:1",
    ] {
        let error = Cli::try_parse_from(format!("xtask {line}").split(' ')).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ArgumentConflict, "{line}");
    }
    for line in [
        "build-images --cache-read-only",
        "audit-env --build",
        "compose-e2e --allow-writes",
        "compose-e2e --secrets f",
        "test --db d",
        "compose-e2e --with HEAD",
        "verify --rounds 5",
    ] {
        let error = Cli::try_parse_from(format!("xtask {line}").split(' ')).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::MissingRequiredArgument, "{line}");
    }
    // What only looks like a contradiction.
    for line in [
        "build-images --no-cache --cache ghcr.io/shop/cache",
        "audit-env --static --write",
        "compose-e2e --faults --keep",
    ] {
        assert!(Cli::try_parse_from(format!("xtask {line}").split(' ')).is_ok(), "{line}");
    }
}
