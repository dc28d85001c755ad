//! What a program printed, collected within limits that hold whatever it leaves behind.

use std::io::Read;
use std::process::ExitStatus;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// No tool this crate calls has more to say than this; what is older is dropped.
const CAPTURE_LIMIT_BYTES: usize = 64 * 1024 * 1024;
/// A line that is handed on while the program runs is cut into pieces of this size.
const LINE_LIMIT_BYTES: usize = 64 * 1024;
/// How long after a program's end its output is waited for while none comes: a process that left its group may hold the pipe for
/// ever. On a busy machine what is in the pipe may take longer to read, so output that still comes buys as much time again.
const PIPE_GRACE_SECONDS: u64 = 2;
const PIPE_GRACES: u32 = 5;
/// How much of a failed program's output goes into an error.
const ERROR_TAIL_LINES: usize = 20;
const ERROR_TAIL_BYTES: usize = 8 * 1024;

/// What a program left behind.
#[derive(Debug)]
pub struct Captured {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Captured {
    /// The last lines of stderr, or of stdout when stderr is empty.
    pub fn tail(&self) -> String {
        let text = if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr };
        tail(text)
    }
}

/// The last lines of a text.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<_> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

pub(crate) fn tail(text: &str) -> String {
    let text = last_lines(text, ERROR_TAIL_LINES);
    let start = text.len().saturating_sub(ERROR_TAIL_BYTES);
    let start = (start..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    if start == 0 { text } else { format!("[…]{}", &text[start..]) }
}

/// What a stream has given so far.
#[derive(Debug, Default)]
struct Kept {
    bytes: Vec<u8>,
    dropped_bytes: usize,
}

/// One output stream, read by a thread of its own.
#[derive(Debug)]
pub(crate) struct Stream {
    kept: Arc<Mutex<Kept>>,
    /// Closed when the thread has read everything.
    at_end: Receiver<()>,
}

/// What became of a stream.
#[derive(Debug)]
pub(crate) struct Text {
    pub(crate) text: String,
    /// Something is missing from its beginning.
    pub(crate) is_cut: bool,
}

impl Stream {
    /// Reads a stream to its end, however much comes, so that a talkative program never blocks on a full pipe.
    pub(crate) fn read(stream: impl Read + Send + 'static, on_line: impl FnMut(&str) + Send + 'static) -> Self {
        Self::read_keeping(CAPTURE_LIMIT_BYTES, stream, on_line)
    }

    /// As [`Stream::read`], for one that has no end: its lines are handed on, and only the last are kept.
    pub(crate) fn follow(stream: impl Read + Send + 'static, on_line: impl FnMut(&str) + Send + 'static) -> Self {
        Self::read_keeping(ERROR_TAIL_BYTES, stream, on_line)
    }

    fn read_keeping(
        limit_bytes: usize,
        mut stream: impl Read + Send + 'static,
        mut on_line: impl FnMut(&str) + Send + 'static,
    ) -> Self {
        let kept = Arc::new(Mutex::new(Kept::default()));
        let (sender, at_end) = channel();
        let shared = Arc::clone(&kept);
        thread::spawn(move || {
            let _closed_at_end = sender;
            let mut chunk = vec![0; LINE_LIMIT_BYTES];
            let mut line = Vec::new();
            loop {
                let read = match stream.read(&mut chunk) {
                    Ok(0) => break,
                    Ok(read) => read,
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                    Err(_) => break,
                };
                keep(&shared, &chunk[..read], limit_bytes);
                for piece in chunk[..read].split_inclusive(|byte| *byte == b'\n') {
                    line.extend_from_slice(piece);
                    if piece.ends_with(b"\n") || line.len() >= LINE_LIMIT_BYTES {
                        on_line(String::from_utf8_lossy(&line).trim_end());
                        line.clear();
                    }
                }
            }
            if !line.is_empty() {
                on_line(String::from_utf8_lossy(&line).trim_end());
            }
        });
        Self { kept, at_end }
    }

    /// What the stream gave, once the program has ended. A pipe that somebody holds open is not waited for.
    pub(crate) fn finish(self) -> Text {
        let held = self.is_held();
        let kept = std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner));
        let mut text = String::from_utf8_lossy(&kept.bytes).into_owned();
        if kept.dropped_bytes > 0 {
            text = format!("[xtask: the first {} bytes are left out]\n{text}", kept.dropped_bytes);
        }
        if held {
            text +=
                "\n[xtask: a process that the program left behind holds its output open; what it prints is left out]\n";
        }
        Text { text, is_cut: kept.dropped_bytes > 0 }
    }

    /// Whether the stream is still open after all that it is waited for.
    fn is_held(&self) -> bool {
        let mut before = self.bytes_so_far();
        for _ in 0..PIPE_GRACES {
            let waited = self.at_end.recv_timeout(Duration::from_secs(PIPE_GRACE_SECONDS));
            let now = self.bytes_so_far();
            if waited != Err(RecvTimeoutError::Timeout) {
                return false;
            }
            if now == before {
                break;
            }
            before = now;
        }
        true
    }

    fn bytes_so_far(&self) -> usize {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes.len() + kept.dropped_bytes
    }

    /// The last lines so far, for a program that is being stopped.
    pub(crate) fn last_lines(&self) -> String {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        tail(&String::from_utf8_lossy(&kept.bytes[kept.bytes.len().saturating_sub(ERROR_TAIL_BYTES)..]))
    }
}

fn keep(shared: &Mutex<Kept>, bytes: &[u8], limit_bytes: usize) {
    let mut kept = shared.lock().unwrap_or_else(PoisonError::into_inner);
    kept.bytes.extend_from_slice(bytes);
    if kept.bytes.len() > limit_bytes {
        // Half at a time, so that each byte is moved once. The end is kept: errors stand there.
        let dropped = kept.bytes.len() - limit_bytes / 2;
        kept.bytes.drain(..dropped);
        kept.dropped_bytes += dropped;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endless_line_comes_in_pieces_and_the_oldest_is_dropped() {
        let longest = Arc::new(Mutex::new(0));
        let seen = Arc::clone(&longest);
        let endless = std::io::repeat(b'x').take(CAPTURE_LIMIT_BYTES as u64 + 1);
        let stream = Stream::read(endless, move |line| {
            let mut longest = seen.lock().unwrap();
            *longest = line.len().max(*longest);
        });
        let text = stream.finish();
        assert!(text.is_cut && text.text.starts_with("[xtask: the first "), "{}", &text.text[..80]);
        assert!(*longest.lock().unwrap() <= 2 * LINE_LIMIT_BYTES);
    }

    #[test]
    fn a_tail_is_short_in_lines_and_in_bytes() {
        let lines: String = (0..100).map(|number| format!("line {number}\n")).collect();
        assert_eq!(tail(&lines).lines().count(), ERROR_TAIL_LINES);
        assert!(tail(&lines).ends_with("line 99"));
        assert!(tail(&"ß".repeat(100_000)).len() < 2 * ERROR_TAIL_BYTES);
        assert_eq!(tail(""), "");
    }
}
