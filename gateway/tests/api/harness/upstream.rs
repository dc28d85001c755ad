//! An upstream whose every connection is in the hands of a test.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use super::PATIENCE;

/// A listener that records every request it reads. Its threads end with their connections.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    seen: Receiver<Vec<u8>>,
}

/// A connection from the gateway.
pub(crate) struct Connection {
    reader: BufReader<TcpStream>,
    record: Sender<Vec<u8>>,
    /// How many requests it has had.
    pub(crate) requests: usize,
}

impl Upstream {
    /// Listens on a free port and gives each connection to `serve`, in a thread of its own.
    pub(crate) fn start(serve: impl Fn(&mut Connection) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (record, seen) = mpsc::channel();
        let serve = Arc::new(serve);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream.set_nodelay(true).unwrap();
                let (serve, record) = (Arc::clone(&serve), record.clone());
                thread::spawn(move || serve(&mut Connection { reader: BufReader::new(stream), record, requests: 0 }));
            }
        });
        Self { address, seen }
    }

    /// Answers every request with its own bytes.
    pub(crate) fn echo() -> Self {
        Self::start(|connection| {
            while let Some(request) = connection.request() {
                connection.answer("", &request);
            }
        })
    }

    /// Answers every request with these bytes and keeps the connection.
    pub(crate) fn constant(response: &'static str) -> Self {
        Self::start(move |connection| {
            while connection.request().is_some() {
                connection.write(response);
            }
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next request that it read, waiting for it.
    pub(crate) fn next(&self) -> String {
        String::from_utf8_lossy(&self.seen.recv_timeout(PATIENCE).expect("the upstream saw no request")).into_owned()
    }

    /// The requests that it has read so far.
    pub(crate) fn so_far(&self) -> Vec<String> {
        self.seen.try_iter().map(|request| String::from_utf8_lossy(&request).into_owned()).collect()
    }
}

impl Connection {
    /// Reads a request, head and body, and records it; `None` when the gateway closes the connection.
    pub(crate) fn request(&mut self) -> Option<Vec<u8>> {
        let mut request = self.head()?;
        let head = String::from_utf8_lossy(&request).to_ascii_lowercase();
        if head.contains("\r\ntransfer-encoding: chunked\r\n") {
            request.extend(self.chunks()?);
        } else if let Some((_, rest)) = head.split_once("\r\ncontent-length: ") {
            let length = rest.split("\r\n").next().unwrap().parse().unwrap();
            let mut body = vec![0; length];
            self.reader.read_exact(&mut body).ok()?;
            request.extend(body);
        }
        self.requests += 1;
        let _ = self.record.send(request.clone());
        Some(request)
    }

    /// Reads the head of a request, without recording it.
    pub(crate) fn head(&mut self) -> Option<Vec<u8>> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match self.reader.read_until(b'\n', &mut head) {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
        Some(head)
    }

    /// Reads one chunk of a body: its size line, its data and the line end; the last one is empty.
    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        let mut line = String::new();
        self.reader.read_line(&mut line).ok()?;
        let length = usize::from_str_radix(line.trim(), 16).ok()?;
        let mut data = vec![0; length + 2];
        self.reader.read_exact(&mut data).ok()?;
        data.truncate(length);
        Some(data)
    }

    fn chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let data = self.chunk()?;
            if data.is_empty() {
                return Some(body);
            }
            body.extend(data);
        }
    }

    /// Sends bytes as they are. A gateway that has gone is no failure of the upstream.
    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.reader.get_mut().write_all(bytes.as_ref());
    }

    /// Sends a 200 with further header lines, each ended by CRLF, and a body.
    pub(crate) fn answer(&mut self, headers: &str, body: &[u8]) {
        let mut bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{headers}\r\n", body.len()).into_bytes();
        bytes.extend_from_slice(body);
        self.write(bytes);
    }

    /// Closes the connection; the system of the other side knows when this returns.
    pub(crate) fn close(&mut self) {
        self.reader.get_ref().shutdown(Shutdown::Both).unwrap();
    }

    /// Waits until the gateway closes the connection.
    pub(crate) fn wait_for_close(&mut self) -> bool {
        matches!(self.reader.read(&mut [0]), Ok(0))
            || self.reader.get_ref().take_error().is_ok_and(|error| error.is_some())
    }

    /// Whether the gateway still holds the connection open at this moment.
    pub(crate) fn is_open(&mut self) -> bool {
        let stream = self.reader.get_ref();
        stream.set_nonblocking(true).unwrap();
        let peeked = stream.peek(&mut [0]);
        stream.set_nonblocking(false).unwrap();
        matches!(peeked, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }
}
