//! Progress where nothing is redrawn: lines that stay.

use std::io::Write as _;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use super::Shared;

/// Nobody is left without a line for two seconds; a little less, since a line takes its time to appear.
const SILENCE: Duration = Duration::from_millis(1700);
const LOOK: Duration = Duration::from_millis(200);

/// Says what goes on whenever nothing else was said for a while, as long as the command lives.
pub(super) fn keep_talking(shared: &Arc<Shared>) {
    let shared: Weak<Shared> = Arc::downgrade(shared);
    thread::spawn(move || {
        while let Some(shared) = shared.upgrade() {
            let mut board = shared.board();
            if board.active.is_empty() {
                return;
            }
            if let Some(line) = board.going_on(SILENCE) {
                shared.print(&mut board, &line);
            }
            drop(board);
            drop(shared);
            thread::sleep(LOOK);
        }
    });
}

pub(super) fn print(text: &str) {
    // A reader that has gone is no reason to end the work.
    let _ = writeln!(anstream::stderr(), "{text}");
}
