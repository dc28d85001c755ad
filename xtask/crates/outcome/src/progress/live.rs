//! Progress on a terminal: lines that are redrawn.

use std::fmt::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::style::{STRONG, of_verdict, paint};

const TICK: Duration = Duration::from_millis(100);
/// As wide as the longest name of a step, with a blank.
const NAME_WIDTH: usize = 15;
const MARKS: &str = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ";

pub(super) struct Live {
    colour: bool,
    lines: MultiProgress,
    /// The line of the step that runs, or of the command itself.
    current: Mutex<Option<ProgressBar>>,
}

/// A line below that of a step. It goes when it is dropped.
#[derive(Debug, Default)]
pub struct Line(Option<(MultiProgress, ProgressBar)>);

impl Line {
    /// What stands on it.
    pub fn show(&self, text: &str) {
        if let Some((_, bar)) = &self.0
            && bar.message() != text
        {
            bar.set_message(text.to_owned());
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some((lines, bar)) = self.0.take() {
            bar.finish_and_clear();
            lines.remove(&bar);
        }
    }
}

impl Live {
    pub(super) fn new(colour: bool) -> Self {
        // Lines appear where a command has a terminal, and `Progress` asks for none elsewhere.
        let lines = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        Self { colour, lines, current: Mutex::new(None) }
    }

    pub(super) fn begin(&self, name: &str) {
        *self.current() = Some(self.running(name));
    }

    /// Shows what a step does: the outermost has the line, the others stand in it.
    pub(super) fn show(&self, path: &[&str], text: &str) {
        let mut current = self.current();
        let bar = current.get_or_insert_with(|| self.running(path.first().unwrap_or(&"")));
        let inner = path.get(1..).unwrap_or_default().join("/");
        let text = match (inner.as_str(), text) {
            ("", text) | (text, "") => text.to_owned(),
            (inner, text) => format!("{inner}: {text}"),
        };
        bar.set_message(text);
    }

    pub(super) fn end(&self, word: &str, text: &str) {
        let Some(bar) = self.current().take() else { return };
        let (style, mark) = of_verdict(word);
        let mark = self.paint(style, mark);
        let seconds = bar.elapsed().as_secs_f64();
        let template = format!("{mark} {{prefix}} {{wide_msg}} {:>7}", format!("{seconds:.1} s"));
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style);
        }
        let text = if word == "pass" { text.to_owned() } else { format!("{word}: {text}") };
        bar.disable_steady_tick();
        bar.abandon_with_message(text);
    }

    pub(super) fn line(&self, name: &str) -> Line {
        let bar = ProgressBar::new_spinner().with_prefix(format!("{name:NAME_WIDTH$}"));
        if let Ok(style) = ProgressStyle::with_template("    {prefix} {wide_msg}") {
            bar.set_style(style);
        }
        let current = self.current();
        let bar = match current.as_ref() {
            // The lines of one step stand in the order in which they came.
            Some(_) => self.lines.insert_from_back(0, bar),
            None => self.lines.add(bar),
        };
        bar.tick();
        Line(Some((self.lines.clone(), bar)))
    }

    pub(super) fn print(&self, text: &str) {
        let text = if self.colour { text.to_owned() } else { anstream::adapter::strip_str(text).to_string() };
        let _ = self.lines.println(text);
    }

    pub(super) fn finish(&self, leave: bool) {
        if let Some(bar) = self.current().take() {
            if leave {
                bar.abandon();
            } else {
                bar.finish_and_clear();
            }
        }
        if !leave {
            let _ = self.lines.clear();
        }
        self.lines.set_draw_target(ProgressDrawTarget::hidden());
    }

    fn running(&self, name: &str) -> ProgressBar {
        let bar = self.lines.add(ProgressBar::new_spinner());
        let seconds = |state: &ProgressState, text: &mut dyn Write| {
            let _ = write!(text, "{:>7}", format!("{} s", state.elapsed().as_secs()));
        };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} {wide_msg} {seconds}") {
            bar.set_style(style.with_key("seconds", seconds).tick_chars(MARKS));
        }
        bar.set_prefix(self.paint(STRONG, &format!("{name:NAME_WIDTH$}")));
        bar.enable_steady_tick(TICK);
        bar
    }

    fn paint(&self, style: anstyle::Style, text: &str) -> String {
        if self.colour { paint(style, text) } else { text.to_owned() }
    }

    fn current(&self) -> MutexGuard<'_, Option<ProgressBar>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").finish_non_exhaustive()
    }
}
