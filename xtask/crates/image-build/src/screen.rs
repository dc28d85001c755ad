//! Shows a bake's progress: on a terminal one live line per image, elsewhere a line whenever an image gets on.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use xtask_outcome::{Line, Progress};

use super::progress::{BakeProgress, Told};

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
    bake: BakeProgress,
    shown: Progress,
    /// One for each image.
    lines: Vec<Line>,
}

impl Screen {
    pub(super) fn new(images: Vec<String>, shown: &Progress) -> Self {
        shown.now(&format!("builds {}", images.join(", ")));
        let lines = images.iter().map(|image| shown.line(image)).collect();
        let board = Arc::new(Mutex::new(Board { bake: BakeProgress::new(images), shown: shown.clone(), lines }));
        let (sender, receiver) = channel();
        let redrawn = Arc::clone(&board);
        let thread = std::thread::spawn(move || {
            let pause = Duration::from_millis(REDRAW_MILLISECONDS);
            while receiver.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                locked(&redrawn).draw();
            }
        });
        Self { board, redraw: Some((sender, thread)) }
    }

    /// What takes in buildx's lines.
    pub(super) fn reader(&self) -> impl FnMut(&str) + Send + 'static {
        let board = Arc::clone(&self.board);
        move |line| {
            let mut board = locked(&board);
            for told in board.bake.line(line, Instant::now()) {
                match told {
                    Told::Detail(text) => board.shown.detail(&text),
                    Told::Lasting(text) => board.shown.say(&text),
                }
            }
        }
    }

    /// What the failed steps printed.
    pub(super) fn failed_logs(&self) -> String {
        locked(&self.board).bake.failed_logs()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.redraw.take() {
            drop(sender);
            let _ = thread.join();
        }
        locked(&self.board).lines.clear();
    }
}

/// A panic of the other thread leaves a screen that is at worst out of date.
fn locked(board: &Mutex<Board>) -> std::sync::MutexGuard<'_, Board> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Board {
    fn draw(&self) {
        if self.shown.is_redrawn() {
            for (line, row) in self.lines.iter().zip(self.bake.rows(Instant::now())) {
                line.show(&row);
            }
        } else if let Some(text) = self.bake.under_way() {
            self.shown.now(&text);
        }
    }
}
