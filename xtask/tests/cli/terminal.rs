//! Section U of the cases from the field: what a person sees. The real binary on a terminal of 80 columns and 24 lines, which
//! `script` of util-linux makes.

use std::process::Stdio;

use crate::outcome;
use crate::workspace::{Ended, Workspace};

/// Runs xtask on a terminal of its own and gives all that it drew.
fn on_a_terminal(workspace: &Workspace, arguments: &str) -> (i32, String) {
    let command = format!("stty cols 80 rows 24; exec '{}' {arguments}", env!("CARGO_BIN_EXE_xtask"));
    let mut script = workspace.command("script");
    let script = script.args(["--quiet", "--return", "--command", &command, "/dev/null"]);
    let output = script.env("TERM", "xterm").env_remove("CI").env_remove("NO_COLOR").stdin(Stdio::null()).output();
    let output = output.expect("`script` of util-linux is there");
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n"))
}

/// What stands on the screen at the end: every line that was not taken away or overwritten. Knows what indicatif uses: the
/// cursor up, the line erased, the carriage return.
fn screen(drawn: &str) -> Vec<String> {
    let (mut lines, mut row, mut column) = (vec![Vec::<char>::new()], 0, 0);
    let mut characters = drawn.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\r' => column = 0,
            '\n' => {
                (row, column) = (row + 1, 0);
                if row == lines.len() {
                    lines.push(Vec::new());
                }
            }
            '\u{1b}' if characters.next_if_eq(&'[').is_some() => {
                let mut number = String::new();
                let kind = loop {
                    match characters.next() {
                        Some(digit) if digit.is_ascii_digit() || ";?".contains(digit) => number.push(digit),
                        Some(kind) => break kind,
                        None => break 'm',
                    }
                };
                let count = number.parse().unwrap_or(1);
                match kind {
                    'A' => row = row.saturating_sub(count),
                    'B' => row = (row + count).min(lines.len() - 1),
                    'K' if number == "2" => lines[row].clear(),
                    'K' => lines[row].truncate(column),
                    'J' => {
                        lines[row].truncate(column);
                        lines.truncate(row + 1);
                    }
                    _ => {}
                }
            }
            '\u{1b}' => drop(characters.next()),
            other => {
                let line: &mut Vec<char> = &mut lines[row];
                line.resize(line.len().max(column + 1), ' ');
                line[column] = other;
                column += 1;
            }
        }
    }
    let text = lines.into_iter().map(|line| line.into_iter().collect::<String>().trim_end().to_owned());
    text.collect()
}

fn passing() -> Workspace {
    outcome::workspace("")
}

#[test]
fn u01_verify_ends_on_one_screen_with_steps_verdict_files_and_the_next_command() {
    let workspace = passing();
    let (code, drawn) = on_a_terminal(&workspace, "verify");
    let lines = screen(&drawn);
    let text = lines.join("\n");
    assert!(lines.len() <= 24, "{} lines:\n{text}", lines.len());
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "{text}");
    for words in ["build-images", "scan", "audit-env", "compose-e2e", "seconds", "target/xtask/reports/verify.json"] {
        assert!(text.contains(words), "{words}:\n{text}");
    }
    assert!(
        text.contains("target/xtask/reports/verify.html") && text.contains("target/xtask/logs/verify.log"),
        "{text}"
    );
    assert!(drawn.contains("\u{1b}[3") && code != 5, "colours: {drawn:?}");
    // What was redrawn is gone: each step stands once.
    assert_eq!(lines.iter().filter(|line| line.contains(" build-images ")).count(), 1, "{text}");
}

#[test]
fn u01_each_step_is_redrawn_while_it_runs_and_its_programs_are_in_the_log() {
    let workspace = passing();
    let (_, drawn) = on_a_terminal(&workspace, "compose-e2e");
    assert!(drawn.contains("compose-e2e") || drawn.contains("up"), "{drawn:?}");
    assert!(drawn.matches('\r').count() + drawn.matches("\u{1b}[2K").count() > 3, "redrawn: {drawn:?}");
    assert!(!screen(&drawn).iter().any(|line| line.starts_with("$ ")), "{drawn}");
    let log = workspace.read("target/xtask/logs/compose-e2e.log");
    assert!(log.contains("/docker ") && log.contains("up: begins") && log.contains(" s] "), "{log}");
}

#[test]
fn u02_without_a_terminal_every_step_has_timed_lines_and_a_wait_says_for_whom() {
    let workspace = outcome::workspace(
        "\n  \"docker exec c1 \"*) [ -e \"$STATE/asked\" ] && exit 0; touch \"$STATE/asked\"; exit 1 ;;",
    );
    let ended = workspace.xtask(&["compose-e2e"]);
    let at = |words: &str| ended.stderr.lines().position(|line| line.starts_with('[') && line.contains(words));
    for words in [
        " s] up: begins",
        "up: creates and starts the containers",
        "up: waiting for the healthcheck of user",
        "up: pass, 1 containers started",
        "down: ends the containers and removes them with their volumes",
    ] {
        assert!(at(words).is_some(), "{words}: {}", ended.all());
    }
    assert!(!ended.all().contains('\u{1b}'), "no colours in a pipe: {}", ended.all());
}

#[test]
fn u02_a_long_wait_is_told_about_again_and_again() {
    let workspace = outcome::workspace("\n  *\" up --detach \"*) sleep 5; exit 0 ;;");
    let ended = workspace.xtask(&["compose-e2e"]);
    let told = ended.stderr.matches("up: creates and starts the containers").count();
    assert!(told >= 2, "{}", ended.all());
}

#[test]
fn u04_quiet_steps_colour_and_dumb_terminals_are_honoured() {
    let mut workspace = passing();
    let quiet = workspace.xtask(&["--quiet", "compose-e2e"]);
    let told: Vec<_> = quiet.stderr.lines().filter(|line| !line.contains("not a git repository")).collect();
    assert_eq!((quiet.code, told), (0, vec![]), "{}", quiet.all());
    let steps = workspace.xtask(&["--progress", "steps", "compose-e2e"]);
    let told = steps.stderr.lines().filter(|line| !line.contains("not a git repository"));
    assert!(told.clone().all(|line| line.contains(": begins") || line.contains(": pass")), "{}", steps.all());
    assert!(told.count() == 2 * 7, "{}", steps.all());
    assert!(workspace.xtask(&["--color", "always", "compose-e2e"]).stdout.contains('\u{1b}'));
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let command = format!("env {name}={value} '{}' compose-e2e", env!("CARGO_BIN_EXE_xtask"));
        let mut script = workspace.command("script");
        let output = script
            .args(["--quiet", "--return", "--command", &command, "/dev/null"])
            .env("TERM", "xterm")
            .env_remove("CI")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let drawn = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!drawn.contains("\u{1b}[3") && !drawn.contains("\u{1b}[1m"), "{name}: {drawn:?}");
    }
    workspace.set("XTASK_PROGRESS", "loud");
    let unknown = workspace.xtask(&["compose-e2e"]);
    assert!(unknown.code == 2 && unknown.stdout.contains("one of auto, live, plain, steps"), "{}", unknown.all());
}

#[test]
fn u04_the_completion_script_completes_subcommands_and_flags_in_bash() {
    let workspace = Workspace::new();
    let Ended { code, stdout, .. } = workspace.xtask(&["completions", "bash"]);
    assert_eq!(code, 0);
    let ask = r#"COMP_WORDS=(xtask build-images --strat); COMP_CWORD=2; _xtask xtask --strat build-images; echo "${COMPREPLY[@]}"
COMP_WORDS=(xtask ver); COMP_CWORD=1; _xtask xtask ver xtask; echo "${COMPREPLY[@]}"; type -t xtask"#;
    let output = workspace.command("bash").args(["-c", &format!("{stdout}\n{ask}")]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(told, "--strategy\nverify verify-pushed\nfunction\n", "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn u04_man_pages_are_written_for_every_subcommand() {
    let workspace = Workspace::new();
    let ended = workspace.xtask(&["man", "pages"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    for (page, words) in [("cargo-xtask.1", "verify"), ("cargo-xtask-verify.1", "strict")] {
        assert!(workspace.read(&format!("pages/{page}")).contains(words), "{page}");
    }
    assert!(workspace.read("target/xtask/reports/man.json").is_empty(), "it leaves no report");
}
