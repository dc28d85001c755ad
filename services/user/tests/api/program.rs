//! The real program, as a container would run it.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use sqlx::PgPool;

use crate::service::SEED;

/// How long a test waits for what must happen. It only ends a test that fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A program that was started and is killed at the end of the test at the latest.
pub(crate) struct Program {
    child: Child,
    lines: Receiver<String>,
    seen: String,
}

/// What is left of a program that ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// Both outputs, mixed.
    pub(crate) output: String,
}

impl Program {
    /// Starts the program with these arguments and exactly these variables.
    pub(crate) fn start(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = command(env!("CARGO_BIN_EXE_mini-user"));
        command.args(arguments).env_clear().envs(variables.iter().copied());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        forward(child.stdout.take().unwrap(), sender.clone());
        forward(child.stderr.take().unwrap(), sender);
        Self { child, lines, seen: String::new() }
    }

    /// Starts the service on a free port of 127.0.0.1 and on the database of a test, and waits until it listens.
    pub(crate) fn serve(pool: &PgPool, variables: &[(&str, &str)]) -> (Self, u16) {
        let url = database_url(pool);
        let mut all = vec![
            ("DATABASE_URL", url.as_str()),
            ("JWT_SIGNING_KEY", SEED),
            ("BIND_ADDRESS", "127.0.0.1"),
            ("PORT", "0"),
            ("DRAIN_DELAY", "0ms"),
        ];
        for (name, value) in variables {
            all.retain(|(known, _)| known != name);
            all.push((name, value));
        }
        let mut program = Self::start(&[], &all);
        let port = program.port();
        (program, port)
    }

    /// Waits for a line with `text` and returns it.
    pub(crate) fn line_with(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            let line = line.unwrap_or_else(|_| panic!("no line with {text:?} in:\n{}", self.seen));
            self.seen.push_str(&line);
            self.seen.push('\n');
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Waits until the service listens and returns its port, from the log.
    pub(crate) fn port(&mut self) -> u16 {
        let line: serde_json::Value = serde_json::from_str(&self.line_with("\"listening\"")).unwrap();
        line["address"].as_str().unwrap().rsplit(':').next().unwrap().parse().unwrap()
    }

    /// Sends a signal by its name without SIG.
    pub(crate) fn signal(&self, name: &str) {
        let script = format!("kill -{name} {}", self.child.id());
        assert!(command("sh").args(["-c", &script]).status().unwrap().success());
    }

    /// The names in the environment of the running program.
    pub(crate) fn variables(&self) -> Vec<String> {
        let environment = std::fs::read_to_string(format!("/proc/{}/environ", self.child.id())).unwrap();
        environment.split_terminator('\0').map(|entry| entry.split('=').next().unwrap().to_owned()).collect()
    }

    /// Waits for the end.
    pub(crate) fn end(mut self) -> Ended {
        let deadline = Instant::now() + PATIENCE;
        // The outputs close when the program ends, so there is nothing to poll for.
        while let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            self.seen.push_str(&line);
            self.seen.push('\n');
        }
        assert!(Instant::now() < deadline, "the program does not end:\n{}", self.seen);
        Ended { status: self.child.wait().unwrap(), output: std::mem::take(&mut self.seen) }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address of a test's database, with the user and password that all test databases share.
#[expect(clippy::disallowed_methods, reason = "sqlx::test takes its database from this variable, and this is the same")]
pub(crate) fn database_url(pool: &PgPool) -> String {
    let shared = std::env::var("DATABASE_URL").unwrap();
    let (server, _) = shared.split_once('?').unwrap_or((&shared, "")).0.rsplit_once('/').unwrap();
    format!("{server}/{}", pool.connect_options().get_database().unwrap())
}

#[expect(clippy::disallowed_methods, reason = "these tests are about the program, so they start it")]
fn command(program: &str) -> Command {
    Command::new(program)
}

fn forward(output: impl Read + Send + 'static, sender: Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
}
