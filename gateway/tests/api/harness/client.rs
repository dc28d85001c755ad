//! A client that sends what it is told, to the byte.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};

use super::PATIENCE;

/// A connection to the gateway.
pub(crate) struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// A response, taken apart.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Names in lower case, in their order.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// All values of a header.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The value of a header that has to be there exactly once.
    pub(crate) fn one(&self, name: &str) -> &str {
        let all = self.all(name);
        assert_eq!(all.len(), 1, "{name} in {self:?}");
        all[0]
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The `type` of a problem document, which has to be complete and to agree with the response.
    pub(crate) fn problem(&self) -> String {
        assert_eq!(self.one("content-type"), "application/problem+json", "{self:?}");
        let document: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(document["status"], self.status);
        assert_eq!(document["request_id"], self.one("x-request-id"));
        document["type"].as_str().unwrap().to_owned()
    }
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).unwrap())
    }

    /// Connects as another client: the whole of 127.0.0.0/8 belongs to this machine.
    pub(crate) fn connect_from(source: IpAddr, address: SocketAddr) -> Self {
        Self::over(stream_from(source, address).unwrap())
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, unread: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.stream.write_all(bytes.as_ref()).unwrap();
        self
    }

    /// Sends as much as the other side takes before it closes.
    pub(crate) fn send_if_open(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Says that nothing more will be sent.
    pub(crate) fn half_close(&mut self) -> &mut Self {
        self.stream.shutdown(Shutdown::Write).unwrap();
        self
    }

    /// Reads one response; `None` when the connection ended before one began.
    pub(crate) fn try_receive(&mut self, head_only: bool) -> Option<Response> {
        let head = loop {
            let end = self.unread.windows(4).position(|window| window == b"\r\n\r\n");
            if let Some(end) = end {
                break self.take(end + 4);
            }
            if self.fill() == 0 {
                return None;
            }
        };
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut lines = head.split("\r\n").filter(|line| !line.is_empty());
        let status_line = lines.next().unwrap();
        let status: u16 = status_line.split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines
            .map(|line| line.split_once(':').unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut response = Response { status, headers, body: Vec::new() };
        if !head_only && status >= 200 && status != 204 && status != 304 {
            response.body = self.body(&response);
        }
        Some(response)
    }

    pub(crate) fn receive(&mut self) -> Response {
        self.try_receive(false).expect("the connection ended without a response")
    }

    /// Sends a request and reads its response.
    pub(crate) fn ask(&mut self, request: impl AsRef<[u8]>) -> Response {
        self.send(request).receive()
    }

    /// Whether the gateway has closed the connection, with nothing left unread. Waits for it.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.unread.is_empty() && self.fill() == 0
    }

    /// Reads exactly this many bytes, whatever they are.
    pub(crate) fn take_bytes(&mut self, count: usize) -> Vec<u8> {
        while self.unread.len() < count {
            assert_ne!(self.fill(), 0, "the connection ended early");
        }
        self.take(count)
    }

    fn body(&mut self, response: &Response) -> Vec<u8> {
        if !response.all("transfer-encoding").is_empty() {
            return self.chunked_body();
        }
        match response.all("content-length").first() {
            Some(length) => self.take_bytes(length.parse().unwrap()),
            None => {
                while self.fill() > 0 {}
                self.take(self.unread.len())
            }
        }
    }

    fn chunked_body(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let length = usize::from_str_radix(self.line().trim(), 16).unwrap();
            body.extend(self.take_bytes(length));
            assert_eq!(self.line(), "\r\n");
            if length == 0 {
                return body;
            }
        }
    }

    fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                return String::from_utf8(self.take(end + 1)).unwrap();
            }
            assert_ne!(self.fill(), 0, "the connection ended early");
        }
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        self.unread.drain(..count).collect()
    }

    /// Reads what there is; 0 when the connection has ended, in order or not.
    fn fill(&mut self) -> usize {
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(count) => {
                self.unread.extend_from_slice(&buffer[..count]);
                count
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                panic!("the gateway was silent for {PATIENCE:?}")
            }
            Err(_) => 0,
        }
    }
}

/// A connection from a certain address of this machine.
pub(crate) fn stream_from(source: IpAddr, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(source, 0).into())?;
    socket.connect(&address.into())?;
    Ok(socket.into())
}
