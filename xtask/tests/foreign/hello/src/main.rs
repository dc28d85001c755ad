//! Says hello to whoever asks, and asks itself when it is started with `--check`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

fn main() -> std::io::Result<()> {
    if std::env::args().nth(1).as_deref() == Some("--check") {
        let mut stream = TcpStream::connect("127.0.0.1:8080")?;
        stream.write_all(b"GET /ready HTTP/1.1\r\nHost: hello\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        std::process::exit(if answer.starts_with("HTTP/1.1 200") { 0 } else { 1 });
    }
    for stream in TcpListener::bind("0.0.0.0:8080")?.incoming() {
        let mut stream = stream?;
        let mut request = [0; 1024];
        let _ = stream.read(&mut request)?;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n")?;
    }
    Ok(())
}
