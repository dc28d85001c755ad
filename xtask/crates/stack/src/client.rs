//! The client program: compiled once, then called for the journey and for every kind of load. Where the policy names none, the
//! journey is a request for readiness at the entrance.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Value, json};
use xshell::{Shell, cmd};

use xtask_outcome::Stop;
use xtask_workspace::{Context, filled};

const COMPILE_LIMIT_SECONDS: u64 = 900;
const RUSTC_LIMIT_SECONDS: u64 = 60;
const JOURNEY_LIMIT_SECONDS: u64 = 120;
const ANSWER_LIMIT_SECONDS: u64 = 10;
const LONGEST_LINE_BYTES: u64 = 1024;

/// The compiled client.
#[derive(Debug, Clone)]
pub struct Client {
    /// `None` where the policy names no client.
    program: Option<Utf8PathBuf>,
}

impl Client {
    /// Compiled before anything is started, so that a compile error leaves nothing to clean up.
    ///
    /// # Errors
    /// [`Stop::Repository`] when it does not compile.
    pub fn compile(context: &Context) -> Result<Self> {
        Self::build(context, &[], "")
    }

    /// As [`Client::compile`], optimised: one that shares the processor with what it measures.
    ///
    /// # Errors
    /// As [`Client::compile`].
    pub fn compile_optimised(context: &Context) -> Result<Self> {
        Self::build(context, &["--release"], "")
    }

    /// As [`Client::compile`], as a program that runs in any image: static, and without what a debugger needs.
    ///
    /// # Errors
    /// As [`Client::compile`].
    pub fn compile_static(context: &Context) -> Result<Self> {
        let shell = Shell::new()?;
        let asked = context.runner.read(cmd!(shell, "rustc --version --verbose"), RUSTC_LIMIT_SECONDS)?;
        let target = asked.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
        // With a target of its own the flag reaches the client and no build script.
        let arguments = ["--target", target, "--config", "profile.dev.strip = true"];
        Self::build(context, &arguments, "-C target-feature=+crt-static")
    }

    /// The program's file.
    ///
    /// # Errors
    /// [`Stop::Absent`] where the policy names no client.
    pub fn program(&self) -> Result<&Utf8Path, Stop> {
        let text = "refused: policy/stack.toml names no [client], and this needs one; next: docs/adopting.md";
        self.program.as_deref().ok_or_else(|| Stop::Absent(text.to_owned()))
    }

    fn build(context: &Context, arguments: &[&str], flags: &str) -> Result<Self> {
        let Some(policy) = &context.project.stack.client else { return Ok(Self { program: None }) };
        let shell = Shell::new()?;
        shell.change_dir(&context.project.root);
        let package = &policy.package;
        let mut build = cmd!(
            shell,
            "cargo build --quiet --locked --package {package} --message-format json-render-diagnostics {arguments...}"
        );
        if !flags.is_empty() {
            build = build.env("RUSTFLAGS", flags);
        }
        let progress = context.runner.progress();
        progress.now(&format!("compiles {package}, the client"));
        let captured = context.runner.capture(build, COMPILE_LIMIT_SECONDS)?;
        if !captured.status.success() {
            progress.say(captured.stderr.trim_end());
            return Err(Stop::Repository(format!("{package}, the client, does not compile")).into());
        }
        let program =
            executable(&captured.stdout, package).with_context(|| format!("cargo named no program for {package}"))?;
        Ok(Self { program: Some(program) })
    }

    /// Walks the journey and gives its steps, one JSON object per request. Without secrets only the part that changes
    /// nothing.
    ///
    /// # Errors
    /// [`Stop::Repository`] names the step that was answered otherwise than it should be.
    pub fn journey(&self, context: &Context, url: &str, secrets: Option<&Utf8Path>) -> Result<Vec<Value>> {
        let stack = &context.project.stack;
        let Some(policy) = &stack.client else { return readiness(url, &stack.probe.ready) };
        // What is secret reaches the journey by file, as it should.
        let arguments = match secrets {
            Some(file) => filled(&policy.journey, &[("url", url), ("secrets", file.as_str())]),
            None => filled(&policy.read_only, &[("url", url)]),
        };
        let shell = Shell::new()?;
        let program = self.program()?;
        let command = cmd!(shell, "{program} {arguments...}");
        let progress = context.runner.progress().clone();
        let captured = context
            .runner
            .capture_lines(command, JOURNEY_LIMIT_SECONDS, move |line| progress.now(&format!("journey: {line}")))?;
        if captured.status.code().is_none() {
            return Err(Stop::Broken(format!("the client ended with {}: {}", captured.status, captured.tail())).into());
        }
        let steps = captured.stdout.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>();
        let steps = steps.map_err(|error| Stop::Repository(format!("the journey printed no JSON: {error}")))?;
        if !captured.status.success() {
            // Its last line is the cause; those before it are the steps that passed, and stand on the screen.
            let cause = captured.stderr.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("without a word");
            return Err(Stop::Repository(cause.to_owned()).into());
        }
        if steps.is_empty() {
            return Err(Stop::Repository("the journey sent no request".to_owned()).into());
        }
        Ok(steps)
    }

    /// Runs it with arguments of the policy, and gives what it prints.
    pub(crate) fn read(&self, context: &Context, arguments: &[String], limit_seconds: u64) -> Result<String> {
        let (shell, program) = (Shell::new()?, self.program()?);
        let captured = context.runner.capture(cmd!(shell, "{program} {arguments...}"), limit_seconds)?;
        if captured.status.success() {
            return Ok(captured.stdout);
        }
        let line = arguments.join(" ");
        Err(Stop::Repository(format!("the client failed (`{line}`): {}", captured.tail())).into())
    }

    /// Runs another of the client's subcommands to its end.
    pub(crate) fn run(&self, context: &Context, url: &str, arguments: &[&str], limit_seconds: u64) -> Result<()> {
        let shell = Shell::new()?;
        let program = self.program()?;
        let captured =
            context.runner.capture(cmd!(shell, "{program} --base-url {url} {arguments...}"), limit_seconds)?;
        if captured.status.success() {
            return Ok(());
        }
        Err(Stop::Repository(format!("the client's `{}` failed: {}", arguments[0], captured.tail())).into())
    }
}

/// The journey of a stack without a client: the entrance says that it would serve.
fn readiness(url: &str, path: &str) -> Result<Vec<Value>> {
    let authority = url.trim_start_matches("http://").trim_end_matches('/');
    let started = Instant::now();
    let asked = ask(authority, path).with_context(|| format!("GET {path} of {url}"))?;
    let status = asked
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split(' ').nth(1))
        .and_then(|status| status.parse::<u16>().ok());
    if status != Some(200) {
        return Err(Stop::Repository(format!("GET {path} of the entrance gave `{asked}`, not 200")).into());
    }
    let ms = started.elapsed().as_secs_f64() * 1000.0;
    Ok(vec![json!({ "step": "the entrance is ready", "method": "GET", "path": path, "status": 200, "ms": ms })])
}

/// The first line of the answer.
fn ask(authority: &str, path: &str) -> Result<String> {
    let with_port =
        if authority.rsplit(':').next().is_some_and(|port| port.parse::<u16>().is_ok()) { "" } else { ":80" };
    let mut stream = TcpStream::connect(format!("{authority}{with_port}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(ANSWER_LIMIT_SECONDS)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n")?;
    let mut line = String::new();
    BufReader::new(stream.take(LONGEST_LINE_BYTES)).read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

/// The program that cargo's messages name, one JSON object a line.
fn executable(messages: &str, package: &str) -> Option<Utf8PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let programs = messages.filter(|message| message["target"]["name"] == package);
    programs.filter_map(|message| message["executable"].as_str().map(Utf8PathBuf::from)).next_back()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn without_a_client_the_journey_is_a_request_for_readiness() {
        for (answer, works) in
            [("HTTP/1.1 200 OK\r\n\r\n", true), ("HTTP/1.1 503 no\r\n\r\n", false), ("SSH-2.0 200\r\n", false)]
        {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let server = thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
                // To the end of the head: what is left unread would make the system throw the answer away.
                let head: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
                stream.write_all(answer.as_bytes()).unwrap();
                head[0].clone()
            });
            let steps = readiness(&url, "/ready");
            assert_eq!(server.join().unwrap().trim_end(), "GET /ready HTTP/1.1");
            assert_eq!(steps.is_ok_and(|steps| steps[0]["status"] == 200), works, "{answer}");
        }
    }

    #[test]
    fn the_program_is_the_one_that_cargo_names() {
        let messages = "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"ureq\"},\"executable\":null}\nnoise\n\
            {\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"mini-e2e\"},\"executable\":\"/t/mini-e2e\"}\n";
        assert_eq!(executable(messages, "mini-e2e"), Some("/t/mini-e2e".into()));
        assert_eq!(executable("", "mini-e2e"), None);
    }
}
