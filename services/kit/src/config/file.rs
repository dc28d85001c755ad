//! Values from files, as container platforms mount secrets.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::contract::Reason;

/// The largest file that is read. A secret is a line; anything larger is a wrong path.
const FILE_LIMIT_BYTES: u64 = 64 * 1024;

/// Reads a file and removes exactly one trailing newline, which editors and `echo` add. What is left has to be one line.
pub(super) fn read(path: &Path) -> Result<String, Reason> {
    let unreadable = |error: std::io::Error| Reason::from(format!("cannot be read: {}", error.kind()));
    let file = File::open(path).map_err(unreadable)?;
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err("is not a regular file".into());
    }
    let mut bytes = Vec::new();
    file.take(FILE_LIMIT_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_LIMIT_BYTES {
        return Err(format!("is larger than {FILE_LIMIT_BYTES} bytes").into());
    }
    let mut text = String::from_utf8(bytes).map_err(|_| "is not valid UTF-8")?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}
