//! Counts in its database: each GET of `/` adds one and answers with the count.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

const CONTRACT: &str = r#"{"schema": 1, "service": "counter", "variables": [
  {"name": "DATABASE_URL", "kind": "required", "type": "url", "secret": true, "file_variant": false,
   "description": "The database that it counts in."}]}"#;

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("--version") => println!(
            "counter {} ({})",
            env!("CARGO_PKG_VERSION"),
            option_env!("COUNTER_REVISION").unwrap_or("unversioned")
        ),
        Some("env") => println!("{CONTRACT}"),
        Some("healthcheck") => std::process::exit(if is_ready() { 0 } else { 1 }),
        _ => serve(),
    }
}

fn is_ready() -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect("127.0.0.1:8080")?;
        stream.write_all(b"GET /ready HTTP/1.1\r\nHost: counter\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

fn serve() {
    // Nothing else decides anything: RUST_MIN_STACK and its like go before there is a thread.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name != "DATABASE_URL") {
        std::env::remove_var(name);
    }
    let url = std::env::var("DATABASE_URL").unwrap_or_default();
    let config: postgres::Config = match url.parse() {
        Ok(config) if url.starts_with("postgres://") => config,
        _ => {
            eprintln!("counter: DATABASE_URL is missing or is not a postgres:// URL");
            std::process::exit(78);
        }
    };
    let listener = TcpListener::bind("0.0.0.0:8080").expect("listen on port 8080");
    let mut client: Option<postgres::Client> = None;
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { continue };
        let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
        let head = head(&mut stream);
        if client.as_ref().is_none_or(postgres::Client::is_closed) {
            client = connect(&config);
        }
        let counts = head.starts_with(b"GET / ");
        let count = client.as_mut().and_then(|client| count(client, counts).ok());
        println!("counter: answers {count:?}");
        let (status, body) = match count {
            Some(count) => ("200 OK", format!("{count}\n")),
            None => ("503 Service Unavailable", "no database\n".to_owned()),
        };
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

fn connect(config: &postgres::Config) -> Option<postgres::Client> {
    let mut client = config.connect(postgres::NoTls).ok()?;
    client.batch_execute("CREATE TABLE IF NOT EXISTS visits (at timestamptz NOT NULL DEFAULT now())").ok()?;
    Some(client)
}

fn count(client: &mut postgres::Client, one_more: bool) -> Result<i64, postgres::Error> {
    if one_more {
        client.execute("INSERT INTO visits DEFAULT VALUES", &[])?;
    }
    Ok(client.query_one("SELECT count(*) FROM visits", &[])?.get(0))
}
