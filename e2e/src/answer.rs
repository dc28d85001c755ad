//! An answer as it comes from a socket, a piece at a time: of it only the status, the length and the end are looked at.

use std::io;

const HEAD_LIMIT_BYTES: usize = 16 * 1024;

/// How far an answer has come.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    head: Vec<u8>,
    status: u16,
    /// Of the body; none before the head is whole.
    missing_bytes: Option<usize>,
}

impl Answer {
    /// Its status; 0 before the head is whole.
    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// Takes what has come; gives whether the answer is whole.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> io::Result<bool> {
        let missing = match self.missing_bytes {
            Some(missing) => missing.checked_sub(bytes.len()),
            None => {
                self.head.extend_from_slice(bytes);
                let Some(end) = self.head.windows(4).position(|window| window == b"\r\n\r\n") else {
                    let is_too_long = self.head.len() > HEAD_LIMIT_BYTES;
                    return if is_too_long { Err(io::ErrorKind::InvalidData.into()) } else { Ok(false) };
                };
                let (status, length) = read_head(&self.head[..end]).ok_or(io::ErrorKind::InvalidData)?;
                self.status = status;
                length.checked_sub(self.head.len() - end - 4)
            }
        };
        // More than the answer: it would be taken for the next one.
        self.missing_bytes = Some(missing.ok_or(io::ErrorKind::InvalidData)?);
        Ok(missing == Some(0))
    }
}

/// Status and length; an answer without a length cannot be told from the next.
fn read_head(head: &[u8]) -> Option<(u16, usize)> {
    let text = std::str::from_utf8(head).ok()?;
    let mut lines = text.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let mut fields = lines.filter_map(|line| line.split_once(':'));
    let (_, length) = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
    Some((status, length.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nServer: x\r\ncontent-length: 5\r\n\r\nhello";

    #[test]
    fn an_answer_is_whole_when_its_last_byte_is_there_however_it_comes() {
        for size in 1..=ANSWER.len() {
            let mut answer = Answer::default();
            let whole: Vec<bool> = ANSWER.chunks(size).map(|part| answer.take(part).unwrap()).collect();
            assert_eq!(whole.iter().position(|whole| *whole), Some(whole.len() - 1), "{size}");
            assert_eq!(answer.status(), 200);
        }
    }

    #[test]
    fn what_cannot_be_told_from_the_next_answer_is_an_error() {
        assert!(Answer::default().take(&[ANSWER, b"H"].concat()).is_err());
        assert!(Answer::default().take(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
        assert!(Answer::default().take(&[b'x'; HEAD_LIMIT_BYTES + 1]).is_err());
    }
}
