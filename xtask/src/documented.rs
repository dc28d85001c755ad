//! Every `cargo xtask …` in documents, workflows and .ci/run is one that the real command line takes.
//!
//! How they are read: in Markdown, what follows `cargo xtask` in a code span, and on a line that begins with it; elsewhere, on
//! every line that is no comment. It ends with the code span, the line, or the first of the shell's `#`, `|`, `;`, `<`, `>`, `&`, `)`.
//! `[what may be left out]` is left out, of `a|b` the first counts, and `N` stands for a number; other capitals (`NAME`, `DIR`) and
//! `"$VARIABLE"` are values like any other. A lone `…` is all of them, and says nothing that could be checked;
//! a subcommand alone names it, without the arguments that it needs.

use clap::Parser as _;
use clap::error::ErrorKind;

use crate::Cli;
use xtask_workspace::Project;

const CALL: &str = "cargo xtask";

/// The command lines in a text, as words.
fn commands(file: &str, text: &str) -> Vec<Vec<String>> {
    let markdown = file.ends_with(".md");
    let mut found = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| markdown || !line.starts_with('#')) {
        for (at, _) in line.match_indices(CALL) {
            if markdown && at != 0 && !line[..at].ends_with('`') {
                continue;
            }
            // `cargo xtask` alone names the program, and `cargo xtask-like` another one.
            if let Some(rest) = line[at + CALL.len()..].strip_prefix(' ') {
                found.extend(words(rest));
            }
        }
    }
    found
}

/// `None` when nothing is left that could be checked.
fn words(rest: &str) -> Option<Vec<String>> {
    let mut text = String::new();
    let mut optional = 0_u32;
    for character in rest.chars() {
        match character {
            '`' => break,
            '#' | ';' | '<' | '>' | '&' | ')' if optional == 0 => break,
            '[' => optional += 1,
            ']' => optional = optional.saturating_sub(1),
            _ if optional == 0 => text.push(character),
            _ => {}
        }
    }
    // A pipe has blanks around it, a choice has none.
    let text = text.split(" | ").next().unwrap_or_default();
    let words: Vec<_> = text
        .split_whitespace()
        .map(|word| word.trim_matches('"').split('|').next().unwrap_or_default())
        .map(|word| if word == "N" { "7" } else { word })
        .map(ToOwned::to_owned)
        .collect();
    words.first().filter(|first| *first != "…").is_some().then_some(words)
}

/// What the real command line says against it.
fn refusal(words: &[String]) -> Option<String> {
    let whole = ["cargo xtask".to_owned()].into_iter().chain(words.iter().cloned());
    let error = Cli::try_parse_from(whole).err()?;
    let fine = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => true,
        ErrorKind::MissingRequiredArgument | ErrorKind::MissingSubcommand => words.len() == 1,
        _ => false,
    };
    (!fine).then(|| error.to_string())
}

fn files(project: &Project) -> Vec<String> {
    let mut files = vec!["README.md".to_owned(), ".ci/run".to_owned()];
    let mut folders = vec![project.root.join("docs"), project.root.join(".github/workflows")];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir_utf8().unwrap() {
            let path = entry.unwrap().into_path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension() != Some("png") {
                files.push(path.strip_prefix(&project.root).unwrap().to_string());
            }
        }
    }
    files
}

#[test]
fn every_documented_command_line_is_one_that_xtask_takes() {
    let project = Project::load(env!("CARGO_MANIFEST_DIR")).unwrap();
    let mut wrong = Vec::new();
    let mut places = Vec::new();
    for file in files(&project) {
        let text = String::from_utf8_lossy(&std::fs::read(project.root.join(&file)).unwrap()).into_owned();
        for words in commands(&file, &text) {
            wrong.extend(refusal(&words).map(|why| format!("{file}: cargo xtask {}: {why}", words.join(" "))));
            places.push(file.clone());
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for kind in ["README.md", ".ci/run", "docs/deployment.md", ".github/workflows/main.yml"] {
        assert!(places.iter().any(|place| place == kind), "none was read in {kind}");
    }
}

#[test]
fn an_unknown_subcommand_an_unknown_flag_and_a_missing_value_are_seen() {
    for line in [
        "cargo xtask ship it",
        "cargo xtask scan --data-base DIR",
        "cargo xtask push --dry-run",
        "cargo xtask scan --db",
    ] {
        for (file, text) in [("a.md", format!("- `{line}` does it")), ("a.yml", format!("      - run: {line}"))] {
            let found = commands(file, &text);
            assert_eq!(found.len(), 1, "{text}");
            assert!(refusal(&found[0]).is_some(), "{text}");
        }
    }
}

#[test]
fn placeholders_and_the_shells_signs_are_read_by_the_rule() {
    let read = |text| commands("a.md", text).into_iter().map(|words| words.join(" ")).collect::<Vec<_>>();
    assert_eq!(read("cargo xtask scan [NAME…] --max-db-age-days N   # all"), ["scan --max-db-age-days 7"]);
    assert_eq!(read("`cargo xtask bench a|b` and `cargo xtask …`, cargo xtask is the name"), ["bench a"]);
    assert_eq!(read("cargo xtask audit-env | head"), ["audit-env"]);
    assert_eq!(commands("a.yml", "# cargo xtask no\nrun: cargo xtask push \"$REGISTRY\""), [["push", "$REGISTRY"]]);
}
