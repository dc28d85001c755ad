//! The few colours and marks of everything that xtask prints. What a mark says, a word says beside it.

use anstyle::{AnsiColor, Style};

pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
pub(crate) const DOUBTFUL: Style = AnsiColor::Yellow.on_default().bold();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(crate) const FAINT: Style = Style::new().dimmed();
pub(crate) const STRONG: Style = Style::new().bold();

/// The text in a style. Whoever prints it strips the colours where they are not wanted.
pub(crate) fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// How a verdict's word, of a step or of a command, looks: its colour, and its mark.
pub(crate) fn of_verdict(word: &str) -> (Style, &'static str) {
    match word {
        "pass" => (GOOD, "✔"),
        "incomplete" | "not-checked" => (DOUBTFUL, "!"),
        _ => (BAD, "✘"),
    }
}
