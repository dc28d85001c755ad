//! Says hello to whoever asks, with the number that the counter gives, and asks itself when it is started with `--check`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

fn main() {
    if std::env::args().nth(1).as_deref() == Some("--check") {
        let ready = ask("127.0.0.1:8080", "/ready").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"));
        std::process::exit(if ready { 0 } else { 1 });
    }
    let url = std::env::var("COUNTER_URL").unwrap_or_default();
    let is_address = |address: &&str| {
        let (host, port) = address.split_once(':').unwrap_or_default();
        !host.is_empty() && !host.contains(' ') && port.parse::<u16>().is_ok()
    };
    let Some(counter) = url.strip_prefix("http://").filter(is_address) else {
        eprintln!("hello: COUNTER_URL is missing or is not http://HOST:PORT");
        std::process::exit(78);
    };
    for stream in TcpListener::bind("0.0.0.0:8080").expect("listen on port 8080").incoming() {
        let Ok(mut stream) = stream else { continue };
        let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
        let path = if head(&mut stream).starts_with(b"GET /ready ") { "/ready" } else { "/" };
        let answer = ask(counter, path).unwrap_or_default();
        let (status, body) = match answer.strip_prefix("HTTP/1.1 200 OK").and_then(|rest| rest.split_once("\r\n\r\n")) {
            Some((_, number)) => ("200 OK", format!("hello, visitor {number}")),
            None => ("503 Service Unavailable", "the counter does not answer\n".to_owned()),
        };
        println!("hello: {path} {status}");
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        let _ = stream.write_all(answer.as_bytes());
    }
}

/// What the client sent up to the blank line; a connection that is closed with more unread would be reset.
fn head(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    while !head.ends_with(b"\r\n\r\n") && head.len() < 8192 {
        match stream.read(&mut piece) {
            Ok(read) if read > 0 => head.extend_from_slice(&piece[..read]),
            _ => break,
        }
    }
    head
}

fn ask(address: &str, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
