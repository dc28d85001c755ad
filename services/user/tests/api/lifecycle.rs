//! Starting, being asked, and ending, as the real program.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv6Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use sqlx::PgPool;
use tokio::net::TcpSocket;

use crate::program::{Program, database_url};
use crate::service::SEED;

#[test]
fn an_empty_environment_is_answered_with_78_and_every_missing_name() {
    for variables in [&[] as &[(&str, &str)], &[("PATH", "/bin"), ("DATABASE_URL", " "), ("JWT_SIGNING_KEY", "")]] {
        let ended = Program::start(&[], variables).end();
        assert_eq!(ended.status.code(), Some(78), "{}", ended.output);
        for line in
            ["DATABASE_URL is missing", "JWT_SIGNING_KEY is missing", "\"missing\":\"DATABASE_URL JWT_SIGNING_KEY\""]
        {
            assert!(ended.output.contains(line), "{}", ended.output);
        }
        assert!(!ended.output.contains("panic"), "{}", ended.output);
    }
}

#[test]
fn missing_and_malformed_settings_are_reported_together() {
    let ended =
        Program::start(&[], &[("PORT", "tcp://10.0.0.1:80"), ("ADMIN_USERNAME", "boss"), ("JWT_SIGNING_KEY", SEED)])
            .end();
    assert_eq!(ended.status.code(), Some(78), "{}", ended.output);
    for text in ["DATABASE_URL is missing", "PORT is malformed", "enableServiceLinks", "ADMIN_PASSWORD is missing"] {
        assert!(ended.output.contains(text), "{}", ended.output);
    }
    assert!(!ended.output.contains("10.0.0.1"), "{}", ended.output);
}

/// Case R04: before it asks for anything else, and by name.
#[test]
fn a_password_with_a_blank_at_its_end_is_answered_with_78() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    std::fs::write(&path, "S3CR3T-c4n4ry \n").unwrap();
    for password in [("ADMIN_PASSWORD", "S3CR3T-c4n4ry "), ("ADMIN_PASSWORD_FILE", path.to_str().unwrap())] {
        let ended = Program::start(&[], &[("ADMIN_USERNAME", "boss"), password]).end();
        assert_eq!(ended.status.code(), Some(78), "{}", ended.output);
        assert!(ended.output.contains("ADMIN_PASSWORD is malformed"), "{}", ended.output);
        assert!(ended.output.contains("white space") && !ended.output.contains("S3CR3T"), "{}", ended.output);
    }
}

#[test]
fn the_program_describes_itself_without_any_setting() {
    let version = Program::start(&["--version"], &[]).end();
    assert!(version.status.success() && version.output.starts_with("mini-user 0."), "{}", version.output);
    let contract = Program::start(&["env", "--format", "json"], &[]).end();
    let contract: serde_json::Value = serde_json::from_str(&contract.output).unwrap();
    assert_eq!((&contract["schema"], &contract["service"]), (&1.into(), &"mini-user".into()));
    let table = Program::start(&["env", "--format", "markdown"], &[]).end();
    assert!(
        table.output.contains("| `DATABASE_URL` or `DATABASE_URL_FILE` | url, secret | **required** |"),
        "{}",
        table.output
    );
    assert!(Program::start(&["--help"], &[]).end().output.contains("keygen"));
}

#[test]
fn keygen_makes_a_new_pair_of_keys_each_time() {
    use mini_kit::contract::Value as _;
    use mini_kit_api::token::{PublicKey, SigningKey};

    let first = Program::start(&["keygen"], &[]).end().output;
    let (seed, public) = first.trim().split_once('\n').unwrap();
    let seed = SigningKey::parse(seed.strip_prefix("JWT_SIGNING_KEY=").unwrap()).unwrap();
    let public = PublicKey::parse(public.strip_prefix("JWT_PUBLIC_KEY=").unwrap()).unwrap();
    assert_eq!(seed.public_key(), public);
    assert_ne!(first, Program::start(&["keygen"], &[]).end().output);
}

#[sqlx::test(migrations = false)]
async fn secrets_come_from_files_with_a_trailing_newline(pool: PgPool) {
    let folder = tempfile::tempdir().unwrap();
    let path_of = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let url = path_of("url", &format!("{}\n", database_url(&pool)));
    let key = path_of("key", &format!("{SEED}\r\n"));
    let (program, _) = Program::serve(
        &pool,
        &[("DATABASE_URL", ""), ("JWT_SIGNING_KEY", ""), ("DATABASE_URL_FILE", &url), ("JWT_SIGNING_KEY_FILE", &key)],
    );
    program.signal("TERM");
    assert!(program.end().status.success());
}

#[sqlx::test(migrations = false)]
async fn no_variable_outside_the_contract_changes_anything(pool: PgPool) {
    let foreign = [
        ("PGHOST", "nowhere.invalid"),
        ("PGPORT", "1"),
        ("PGPASSWORD", "x"),
        ("PGSSLMODE", "verify-full"),
        ("PGOPTIONS", "-c nonsense=1"),
        ("RUST_LOG", "trace"),
        ("HTTP_PROXY", "http://nowhere.invalid"),
        ("TOKIO_WORKER_THREADS", "0"),
        ("TZ", "Europe/Paris"),
        ("USER", "root"),
        ("USER_PORT", "tcp://10.43.1.7:8080"),
        ("GATEWAY_PORT", "tcp://10.43.1.7:8080"),
        ("LOG_LEVEL_FILE", "/etc/passwd"),
    ];
    let (program, _) = Program::serve(&pool, &foreign);
    let variables = program.variables();
    assert!(foreign.iter().all(|(name, _)| !variables.iter().any(|kept| kept == name)), "{variables:?}");
    program.signal("TERM");
    let ended = program.end();
    assert!(ended.status.success() && !ended.output.contains("\"DEBUG\""), "{}", ended.output);
    for line in ended.output.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("every line of the log is JSON");
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'), "{line}");
    }
}

/// Sends the head of a request whose body is still to come, and returns when the handler waits for the body.
fn begin_request(port: u16, length: usize) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let head = format!(
        "POST /users/register HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::with_capacity(1, &stream).read_line(&mut line).unwrap();
    assert!(line.starts_with("HTTP/1.1 100"), "{line}");
    stream
}

#[sqlx::test(migrations = false)]
async fn a_stop_signal_lets_the_request_in_flight_finish(pool: PgPool) {
    let (mut program, port) = Program::serve(&pool, &[]);
    let body = r#"{"username": "nobody", "password": "short"}"#;
    let mut stream = begin_request(port, body.len());
    let begin = Instant::now();
    program.signal("TERM");
    program.line_with("draining");
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("HTTP/1.1 422") && answer.contains("/password"), "{answer}");
    let ended = program.end();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.output);
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
}

#[sqlx::test(migrations = false)]
async fn a_second_signal_ends_the_service_at_once(pool: PgPool) {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let (mut program, port) = Program::serve(&pool, &[("SHUTDOWN_TIMEOUT", "1h"), ("REQUEST_TIMEOUT", "1h")]);
        let _stream = begin_request(port, 10);
        program.signal("TERM");
        program.line_with("draining");
        program.signal(signal);
        assert_eq!(program.end().status.code(), Some(code));
    }
}

#[sqlx::test(migrations = false)]
async fn the_healthcheck_finds_the_service_on_every_kind_of_address(pool: PgPool) {
    for address in ["0.0.0.0", "[::]", "127.0.0.1"] {
        if address == "[::]" && TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
            eprintln!("skipped for [::]: this machine has no IPv6");
            continue;
        }
        let (program, port) = Program::serve(&pool, &[("BIND_ADDRESS", address)]);
        let port = port.to_string();
        let variables = [("BIND_ADDRESS", address), ("PORT", port.as_str())];
        let healthy = Program::start(&["healthcheck"], &variables).end();
        assert!(healthy.status.success() && healthy.output.is_empty(), "{address}: {}", healthy.output);
        let ready = Program::start(&["healthcheck", "--ready"], &variables).end();
        assert!(ready.status.success() && ready.output.is_empty(), "{address}: {}", ready.output);
        program.signal("TERM");
        let ended = program.end();
        assert!(ended.status.success(), "{}", ended.output);
        // A probe every few seconds would drown the log.
        assert!(!ended.output.contains("healthz") && !ended.output.contains("readyz"), "{}", ended.output);
        let begin = Instant::now();
        let unhealthy = Program::start(&["healthcheck"], &variables).end();
        assert_eq!((unhealthy.status.code(), unhealthy.output.lines().count()), (Some(1), 1), "{}", unhealthy.output);
        assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    }
}

/// Case R11, in the services.
#[sqlx::test(migrations = false)]
async fn every_request_names_one_valid_host(pool: PgPool) {
    let (_program, port) = Program::serve(&pool, &[]);
    let ask = |request: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    for host in ["", "Host: a\r\nHost: b\r\n", "Host: a/b\r\n", "Host:\r\n"] {
        for path in ["/healthz", "/users/me"] {
            let answer = ask(&format!("GET {path} HTTP/1.1\r\n{host}Connection: close\r\n\r\n"));
            assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("/problems/bad-host"), "{host}: {answer}");
            assert!(answer.contains("x-request-id: "), "{answer}");
        }
    }
    assert!(ask("GET /healthz HTTP/1.0\r\n\r\n").starts_with("HTTP/1.0 200"));
}

#[sqlx::test(migrations = false)]
async fn metrics_are_served_on_an_address_of_their_own_until_the_end(pool: PgPool) {
    let (database, mut variables) = (database_url(&pool), vec![("BIND_ADDRESS", "127.0.0.1"), ("PORT", "0")]);
    variables.extend([
        ("DATABASE_URL", database.as_str()),
        ("JWT_SIGNING_KEY", SEED),
        ("METRICS_ADDRESS", "127.0.0.1:0"),
    ]);
    let mut program = Program::start(&[], &variables);
    let line = program.line_with("\"message\":\"metrics\"");
    let address = serde_json::from_str::<serde_json::Value>(&line).unwrap()["address"].as_str().unwrap().to_owned();
    let port = program.port();
    let ask = |address: &str, path: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(ask(&format!("127.0.0.1:{port}"), "/users/me").starts_with("HTTP/1.1 401"));
    let metrics = ask(&address, "/metrics");
    assert!(metrics.contains("http_requests_total{method=\"GET\",route=\"/users/me\",status=\"401\"} 1"), "{metrics}");
    assert!(metrics.contains("build_info{service=\"mini-user\""), "{metrics}");
    assert!(ask(&format!("127.0.0.1:{port}"), "/metrics").starts_with("HTTP/1.1 404"));
    program.signal("TERM");
    assert!(program.end().status.success());
    assert!(TcpStream::connect(&address).is_err());
}

#[sqlx::test(migrations = false)]
async fn a_service_with_an_older_schema_is_alive_and_not_ready(pool: PgPool) {
    let (_program, port) = Program::serve(&pool, &[]);
    sqlx::query("update _sqlx_migrations set version = version - 1").execute(&pool).await.unwrap();
    let port = port.to_string();
    let variables = [("BIND_ADDRESS", "127.0.0.1"), ("PORT", port.as_str())];
    assert!(Program::start(&["healthcheck"], &variables).end().status.success());
    let ended = Program::start(&["healthcheck", "--ready"], &variables).end();
    assert_eq!((ended.status.code(), ended.output.lines().count()), (Some(1), 1), "{}", ended.output);
}

#[test]
fn a_service_that_accepts_and_never_answers_is_unhealthy_within_two_seconds() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let begin = Instant::now();
    let unhealthy = Program::start(&["healthcheck"], &[("BIND_ADDRESS", "127.0.0.1"), ("PORT", &port)]).end();
    assert_eq!((unhealthy.status.code(), unhealthy.output.lines().count()), (Some(1), 1), "{}", unhealthy.output);
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
}

#[sqlx::test(migrations = false)]
async fn a_database_that_starts_later_than_the_service_is_waited_for(pool: PgPool) {
    // A socket that is bound and does not listen refuses connections and keeps the port for later.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let later = socket.local_addr().unwrap().to_string();
    let url = database_url(&pool);
    let (user, place) = url.rsplit_once('@').unwrap();
    let (database_server, database) = place.split_once('/').unwrap();
    let url = format!("{user}@{later}/{database}");
    let variables =
        [("DATABASE_URL", url.as_str()), ("JWT_SIGNING_KEY", SEED), ("BIND_ADDRESS", "127.0.0.1"), ("PORT", "0")];
    let database_server = database_server.to_owned();
    let mut program = Program::start(&[], &variables);
    let line = program.line_with("waiting for the database");
    assert!(line.contains(&later), "{line}");

    let listener = socket.listen(16).unwrap();
    let forwarding = tokio::spawn(async move {
        loop {
            let (mut service, _) = listener.accept().await.unwrap();
            let mut database = tokio::net::TcpStream::connect(&database_server).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut service, &mut database).await });
        }
    });
    let mut program = tokio::task::spawn_blocking(move || {
        program.port();
        program
    })
    .await
    .unwrap();
    program.signal("TERM");
    program.line_with("stopped");
    forwarding.abort();
}

#[test]
fn a_stop_signal_while_the_database_is_awaited_ends_the_service() {
    let variables = [
        ("DATABASE_URL", "postgres://u:p@127.0.0.1:1/x"),
        ("JWT_SIGNING_KEY", SEED),
        ("DATABASE_CONNECT_TIMEOUT", "1h"),
    ];
    let mut program = Program::start(&[], &variables);
    program.line_with("waiting for the database");
    program.signal("TERM");
    assert_eq!(program.end().status.code(), Some(0));
}
