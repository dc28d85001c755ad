//! The way of log lines to the standard output, past the threads that write them.
//!
//! A thread that serves requests must not wait for a system call of another, let alone for a reader of the output that is
//! slow. So a line is only copied into a buffer, and one thread writes what has gathered there. Nothing is dropped: when
//! the buffer is full the writers wait, and [`flush`] waits until everything is out.

use std::io::{self, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How much may wait to be written before those who write have to wait.
const LIMIT_BYTES: usize = 1024 * 1024;

/// How long the first line waits for more: one system call for many lines, at a delay that no reader of a log notices.
const LINGER: Duration = Duration::from_millis(10);

/// How long the end of the process waits for a reader that has stopped reading.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The buffer of the process.
static GATHERED: Gathered = Gathered::new();

struct Gathered {
    lines: Mutex<Lines>,
    arrived: Condvar,
    written: Condvar,
}

struct Lines {
    waiting: Vec<u8>,
    is_writing: bool,
    has_writer: bool,
}

/// Starts the thread that writes. When the system refuses, lines are written where they arise.
pub(super) fn start() {
    let has_writer = thread::Builder::new().name("log".to_owned()).spawn(|| GATHERED.write_for_ever()).is_ok();
    GATHERED.lock().has_writer = has_writer;
}

/// Waits until every line is out, or until it is plain that nobody takes them.
pub(super) fn flush() {
    let unfinished = |lines: &mut Lines| lines.has_writer && (lines.is_writing || !lines.waiting.is_empty());
    drop(GATHERED.written.wait_timeout_while(GATHERED.lock(), FLUSH_TIMEOUT, unfinished));
}

/// Where the subscriber writes its lines.
pub(super) struct Writer;

impl Write for Writer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut lines = GATHERED.lock();
        if !lines.has_writer {
            return io::stdout().write(line);
        }
        while lines.waiting.len() > LIMIT_BYTES {
            lines = GATHERED.written.wait(lines).unwrap_or_else(PoisonError::into_inner);
        }
        let was_empty = lines.waiting.is_empty();
        lines.waiting.extend_from_slice(line);
        drop(lines);
        if was_empty {
            GATHERED.arrived.notify_one();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Gathered {
    const fn new() -> Self {
        let lines = Lines { waiting: Vec::new(), is_writing: false, has_writer: false };
        Self { lines: Mutex::new(lines), arrived: Condvar::new(), written: Condvar::new() }
    }

    /// A panic elsewhere cannot leave half a line here, so poison means nothing.
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_for_ever(&self) {
        let mut batch = Vec::new();
        loop {
            let mut lines = self.lock();
            lines.is_writing = false;
            self.written.notify_all();
            while lines.waiting.is_empty() {
                lines = self.arrived.wait(lines).unwrap_or_else(PoisonError::into_inner);
            }
            drop(lines);
            thread::sleep(LINGER);
            let mut lines = self.lock();
            std::mem::swap(&mut lines.waiting, &mut batch);
            lines.is_writing = true;
            drop(lines);
            // Nobody is left to be told when the output itself is gone.
            let _ = io::stdout().write_all(&batch);
            let _ = io::stdout().flush();
            batch.clear();
        }
    }
}
