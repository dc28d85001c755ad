//! Shows a bake's progress on standard error: on a terminal one live line per image, elsewhere a line per step worth one.

use std::io::Write as _;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::progress::Progress;

const REDRAW_MILLISECONDS: u64 = 200;

/// Lives as long as the bake; dropped, it takes its live lines away.
#[derive(Debug)]
pub(super) struct Screen {
    board: Arc<Mutex<Board>>,
    /// Redraws while buildx is silent; ends when the sender goes.
    redraw: Option<(Sender<()>, JoinHandle<()>)>,
}

#[derive(Debug)]
struct Board {
    progress: Progress,
    live: bool,
    /// How many live lines stand on the terminal.
    drawn: usize,
}

impl Screen {
    pub(super) fn new(images: Vec<String>, live: bool) -> Self {
        let board = Arc::new(Mutex::new(Board { progress: Progress::new(images, !live), live, drawn: 0 }));
        let redraw = live.then(|| {
            let (sender, receiver) = channel();
            let board = Arc::clone(&board);
            let thread = std::thread::spawn(move || {
                let pause = Duration::from_millis(REDRAW_MILLISECONDS);
                while receiver.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                    locked(&board).draw(&[]);
                }
            });
            (sender, thread)
        });
        Self { board, redraw }
    }

    /// What takes in buildx's lines.
    pub(super) fn reader(&self) -> impl FnMut(&str) + Send + 'static {
        let board = Arc::clone(&self.board);
        move |line| {
            let mut board = locked(&board);
            let told = board.progress.line(line, Instant::now());
            if !told.is_empty() {
                board.draw(&told);
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.redraw.take() {
            drop(sender);
            let _ = thread.join();
        }
        let mut board = locked(&self.board);
        board.live = false;
        board.draw(&[]);
    }
}

/// A panic of the other thread leaves a screen that is at worst out of date.
fn locked(board: &Mutex<Board>) -> std::sync::MutexGuard<'_, Board> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Board {
    /// Writes lines for good, and the live lines anew below them.
    fn draw(&mut self, told: &[String]) {
        let mut text = String::new();
        if self.drawn > 0 {
            // Up to the first live line, and nothing after it.
            text += &format!("\x1b[{}A\x1b[J", self.drawn);
        }
        for line in told {
            text += &format!("{line}\n");
        }
        let rows = if self.live { self.progress.rows(Instant::now()) } else { Vec::new() };
        for row in &rows {
            text += &format!("{row}\n");
        }
        self.drawn = rows.len();
        // A terminal that is gone is no reason to end a build.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}
