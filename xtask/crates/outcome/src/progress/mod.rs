//! What a command shows on standard error while it runs: one line for each step, with what it does now and for how long.
//!
//! Everything that is said, and every program that runs, also goes into a log, whatever the screen shows.

mod live;
mod plain;

use std::fmt;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use self::live::Line;
use anstream::adapter::strip_str;

use self::live::Live;
use crate::style::{FAINT, paint};

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A line per step, redrawn: for a terminal.
    Live,
    /// A line, with its time, for whatever begins, ends or goes on for two seconds: for logs.
    Plain,
    /// A line when a step begins and when it ends, and none between: for screen readers.
    Steps,
    /// Nothing but what somebody has to read.
    Quiet,
}

/// The progress of one command. Cheap to clone; all clones are the same. The default one shows and keeps nothing.
#[derive(Clone, Default)]
pub struct Progress(Option<Arc<Shared>>);

struct Shared {
    mode: Mode,
    verbose: bool,
    started: Instant,
    live: Live,
    board: Mutex<Board>,
}

/// What is going on.
struct Board {
    /// The command itself, then the steps that have begun and not ended, outermost first.
    active: Vec<Active>,
    log: Option<Box<dyn Write + Send>>,
    /// When the screen changed last, where nothing is redrawn.
    shown: Instant,
}

/// A step that has begun and not ended.
struct Active {
    name: String,
    now: String,
    since: Instant,
}

impl Active {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), now: String::new(), since: Instant::now() }
    }
}

impl Progress {
    /// The progress of a command. With `verbose` every program that runs is shown. `colour` is about the lines that are redrawn.
    pub fn new(mode: Mode, verbose: bool, colour: bool, command: &str) -> Self {
        let now = Instant::now();
        let board = Board { active: vec![Active::new(command)], log: None, shown: now };
        let shared = Shared { mode, verbose, started: now, live: Live::new(colour), board: Mutex::new(board) };
        let shared = Arc::new(shared);
        if mode == Mode::Plain {
            plain::keep_talking(&shared);
        }
        Self(Some(shared))
    }

    /// Keeps all of it in a log, too.
    pub fn keep(&self, log: impl Write + Send + 'static) {
        if let Some(shared) = &self.0 {
            shared.board().log = Some(Box::new(log));
        }
    }

    /// What the innermost step does now.
    pub fn now(&self, text: &str) {
        let Some(shared) = &self.0 else { return };
        let mut board = shared.board();
        let Some(active) = board.active.last_mut() else { return };
        if active.now == text {
            return;
        }
        (active.now, active.since) = (text.to_owned(), Instant::now());
        let line = board.told(text);
        shared.record(&mut board, &line);
        match shared.mode {
            Mode::Live => shared.live.show(&board.path(), text),
            Mode::Plain => shared.print(&mut board, &line),
            Mode::Steps | Mode::Quiet => {}
        }
    }

    /// Something that a person has to read, such as why a program failed; it stays on the screen.
    pub fn say(&self, text: &str) {
        let Some(shared) = &self.0 else { return };
        let mut board = shared.board();
        shared.record(&mut board, text);
        shared.lasting(&mut board, text);
    }

    /// Something that is worth a line where nothing is redrawn.
    pub fn detail(&self, text: &str) {
        let Some(shared) = &self.0 else { return };
        let mut board = shared.board();
        let line = board.told(text);
        shared.record(&mut board, &line);
        if shared.mode == Mode::Plain || shared.verbose {
            shared.lasting(&mut board, &line);
        }
    }

    /// A program that runs, as a line for a shell. A quiet one is shown only to whoever asks for everything.
    pub fn command(&self, line: &str, is_quiet: bool) {
        let Some(shared) = &self.0 else { return };
        let mut board = shared.board();
        let line = format!("$ {line}");
        shared.record(&mut board, &line);
        if shared.verbose || shared.mode == Mode::Plain && !is_quiet {
            shared.lasting(&mut board, &line);
        }
    }

    /// A line of a program that people like to watch. Where lines are redrawn, it is what the step does now.
    pub fn output(&self, line: &str) {
        let Some(shared) = &self.0 else { return };
        let mut board = shared.board();
        shared.record(&mut board, line);
        if shared.verbose || shared.mode == Mode::Plain {
            shared.lasting(&mut board, line);
        } else if shared.mode == Mode::Live {
            shared.live.show(&board.path(), line.trim());
        }
    }

    /// Whether what a program printed has been seen on the screen.
    pub fn shows_output(&self) -> bool {
        self.0.as_ref().is_some_and(|shared| shared.verbose || shared.mode == Mode::Plain)
    }

    /// Whether lines are redrawn: then what a step does has a place of its own.
    pub fn is_redrawn(&self) -> bool {
        self.0.as_ref().is_some_and(|shared| shared.mode == Mode::Live)
    }

    /// One more line that is redrawn below the step's own, until it is dropped. Elsewhere it does not appear.
    pub fn line(&self, name: &str) -> Line {
        let live = self.0.as_ref().filter(|shared| shared.mode == Mode::Live);
        live.map_or_else(Line::default, |shared| shared.live.line(name))
    }

    /// Takes what is redrawn off the screen, or leaves it there as it is. Nothing is redrawn afterwards.
    pub fn finish(&self, leave: bool) {
        let Some(shared) = &self.0 else { return };
        shared.board().active.clear();
        if shared.mode == Mode::Live {
            shared.live.finish(leave);
        }
    }

    /// A step begins.
    pub(crate) fn begin(&self, name: &str) {
        let Some(shared) = &self.0 else { return };
        let mut board = shared.board();
        board.active.push(Active::new(name));
        let (depth, line) = (board.active.len(), board.told("begins"));
        shared.record(&mut board, &line);
        match shared.mode {
            Mode::Live if depth == 2 => shared.live.begin(name),
            Mode::Live => shared.live.show(&board.path(), ""),
            Mode::Steps if depth > 2 => {}
            Mode::Plain | Mode::Steps => shared.print(&mut board, &line),
            Mode::Quiet => {}
        }
    }

    /// The innermost step ends with this word and this to say.
    pub(crate) fn end(&self, word: &str, text: &str) {
        let Some(shared) = &self.0 else { return };
        let mut board = shared.board();
        let depth = board.active.len();
        let line = board.told(&format!("{word}, {text}"));
        shared.record(&mut board, &line);
        match shared.mode {
            Mode::Live if depth == 2 => shared.live.end(word, text),
            Mode::Steps if depth > 2 => {}
            Mode::Plain | Mode::Steps => shared.print(&mut board, &line),
            Mode::Live | Mode::Quiet => {}
        }
        if depth > 1 {
            board.active.pop();
        }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = self.0.as_ref().map(|shared| shared.mode);
        f.debug_tuple("Progress").field(&mode).finish()
    }
}

impl Shared {
    /// A panic elsewhere leaves progress that is at worst out of date.
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time since the command began: `[ 12.3 s]`.
    fn time(&self) -> String {
        format!("[{:6.1} s]", self.started.elapsed().as_secs_f64())
    }

    fn record(&self, board: &mut Board, text: &str) {
        if let Some(log) = &mut board.log {
            // A log that cannot be written (a full disk) ends nothing; the report says what was found.
            let _ = writeln!(log, "{} {}", self.time(), strip_str(text));
        }
    }

    /// A line with its time.
    fn print(&self, board: &mut Board, line: &str) {
        let line = format!("{} {line}", paint(FAINT, &self.time()));
        self.lasting(board, &line);
    }

    fn lasting(&self, board: &mut Board, text: &str) {
        board.shown = Instant::now();
        if self.mode == Mode::Live && !board.active.is_empty() {
            self.live.print(text);
        } else {
            plain::print(text);
        }
    }
}

impl Board {
    /// Where it is, and what is said there: `compose-e2e/up: waits for order-db`.
    fn told(&self, text: &str) -> String {
        let names: Vec<_> = self.active.iter().skip(1).map(|active| active.name.as_str()).collect();
        match (names.as_slice(), self.active.first()) {
            ([], Some(command)) => format!("{}: {text}", command.name),
            _ => format!("{}: {text}", names.join("/")),
        }
    }

    /// The names of the steps within the command, or of the command itself where there is none.
    fn path(&self) -> Vec<&str> {
        let first = usize::from(self.active.len() > 1);
        self.active.iter().skip(first).map(|active| active.name.as_str()).collect()
    }

    /// What goes on, where nothing else was said for so long.
    fn going_on(&self, silence: Duration) -> Option<String> {
        let active = self.active.last().filter(|_| self.shown.elapsed() >= silence)?;
        let seconds = active.since.elapsed().as_secs();
        let what = if active.now.is_empty() { "still running" } else { &active.now };
        Some(self.told(&format!("{what} ({seconds} s)")))
    }
}
