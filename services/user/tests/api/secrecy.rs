//! A planted secret shows nowhere, whatever goes wrong.

use sqlx::PgPool;

use crate::program::{Program, database_url};
use crate::service::SEED;

const CANARY: &str = "S3CR3T-c4n4ry";
/// The canary in base64, at each of the three places where it can stand in a longer text.
const CANARY_BASE64: [&str; 3] = ["UzNDUjNULWM0bjRye", "MzQ1IzVC1jNG40cn", "TM0NSM1QtYzRuNHJ5"];

fn assert_hidden(what: &str, output: &str) {
    let is_shown = output.contains(CANARY)
        || output.contains("S3CR3T%2Dc4n4ry")
        || CANARY_BASE64.iter().any(|form| output.contains(form));
    assert!(!is_shown, "{what}:\n{output}");
}

/// Runs the program to its end with one change to variables that would otherwise do.
fn run(change: (&str, &str)) -> (Option<i32>, String) {
    let mut variables = vec![
        ("DATABASE_URL", "postgres://u:S3CR3T-c4n4ry@127.0.0.1:1/x"),
        ("JWT_SIGNING_KEY", SEED),
        ("DATABASE_CONNECT_TIMEOUT", "200ms"),
        ("LOG_LEVEL", "trace"),
        ("RUST_LOG", "trace"),
        ("RUST_BACKTRACE", "full"),
    ];
    variables.retain(|(name, _)| *name != change.0);
    variables.push(change);
    let ended = Program::start(&[], &variables).end();
    (ended.status.code(), ended.output)
}

#[test]
fn bad_settings_are_reported_without_their_values() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("url");
    std::fs::write(&file, "postgres://u:S3CR3T-c4n4ry@h:99999/x").unwrap();
    for (change, code) in [
        (("DATABASE_URL", "postgres://u:S3CR3T-c4n4ry@no-such-host.invalid/x"), 1),
        (("DATABASE_URL", "postgres://u:S3CR3T-c4n4ry@127.0.0.1:1/x"), 1),
        (("DATABASE_URL", "postgres://u:S3CR3T-c4n4ry@h:99999/x"), 78),
        (("DATABASE_URL", "postgres://u:S3CR3T-c4n4ry@@/x"), 78),
        (("DATABASE_URL", "postgres://u:S3CR3T-c4n4ry@h/x?sslmode=require"), 78),
        (("DATABASE_URL", "S3CR3T-c4n4ry"), 78),
        (("JWT_SIGNING_KEY", "S3CR3T-c4n4ry"), 78),
        (("PORT", "S3CR3T-c4n4ry"), 78),
        (("DATABASE_URL_FILE", file.to_str().unwrap()), 78),
    ] {
        let (actual, output) = run(change);
        assert_eq!(actual, Some(code), "{change:?}:\n{output}");
        assert_hidden(change.0, &output);
    }
}

#[test]
fn a_wrong_command_line_is_not_repeated() {
    for arguments in [
        &["--database-url=postgres://u:S3CR3T-c4n4ry@h/x"] as &[_],
        &["serve", CANARY],
        &["keygen", CANARY],
        &["env", "--format", CANARY],
    ] {
        let ended = Program::start(arguments, &[]).end();
        assert_eq!(ended.status.code(), Some(2), "{}", ended.output);
        assert_hidden("the command line", &ended.output);
    }
}

#[sqlx::test(migrator = "mini_user::MIGRATOR")]
async fn a_database_that_refuses_is_reported_without_the_password(pool: PgPool) {
    let url = database_url(&pool);
    let (_, place) = url.split_once('@').unwrap();
    let (host_and_port, _) = place.split_once('/').unwrap();
    let wrong = format!("postgres://nobody_of_that_name:{CANARY}@{place}");
    let (code, output) = run(("DATABASE_URL", &wrong));
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains(host_and_port) && !output.contains("nobody_of_that_name"), "{output}");
    assert_hidden("a wrong password", &output);
}

#[sqlx::test(migrator = "mini_user::MIGRATOR")]
async fn a_good_start_and_requests_with_secrets_show_none(pool: PgPool) {
    use std::io::{Read as _, Write as _};

    let admin = [("ADMIN_USERNAME", "boss"), ("ADMIN_PASSWORD", CANARY), ("LOG_LEVEL", "trace")];
    let (program, port) = Program::serve(&pool, &admin);
    for body in [
        format!(r#"{{"username": "boss", "password": "{CANARY}"}}"#),
        format!(r#"{{"username": "boss", "password": "{CANARY}", "#),
        format!(r#"{{"username": "boss", "password": ["{CANARY}"]}}"#),
        format!(r#"{{"username": {{"{CANARY}": 1}}, "password": 1}}"#),
    ] {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        let length = body.len();
        let head = format!(
            "POST /users/login?{CANARY} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {CANARY}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_hidden("an answer", &answer);
    }
    program.signal("TERM");
    let ended = program.end();
    assert!(ended.status.success(), "{}", ended.output);
    assert_hidden("the log", &ended.output);
}
