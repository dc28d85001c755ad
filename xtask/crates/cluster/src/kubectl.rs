//! kubectl against one context: every call names it, so the current one is never used by accident.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::Value;
use xshell::{Cmd, Shell, cmd};
use xtask_engine::Toolbox;
use xtask_outcome::Stop;
use xtask_process::{Background, Captured, Runner};
use xtask_workspace::Context;

const QUERY_LIMIT_SECONDS: u64 = 60;
const LOCAL_LIMIT_SECONDS: u64 = 20;
/// What a single answer of the API server is waited for; a server that is gone must not take the whole limit.
const REQUEST_TIMEOUT: &str = "--request-timeout=20s";

/// kubectl, one context and, where calls need one, a namespace.
#[derive(Debug, Clone)]
pub(crate) struct Kubectl {
    runner: Runner,
    program: PathBuf,
    leading: Vec<String>,
    pub(crate) context: String,
    pub(crate) namespace: Option<String>,
    shell: Shell,
}

impl Kubectl {
    /// # Errors
    /// [`Stop::Absent`] without kubectl; [`Stop::Usage`] when the kubeconfig has no such context.
    pub(crate) fn find(context: &Context, name: &str) -> Result<Self> {
        let tool = Toolbox::new(&context.project, &context.runner)?.find_or_fetch("kubectl")?;
        let shell = Shell::new()?;
        shell.change_dir(&context.project.root);
        let kubectl = Self {
            runner: context.runner.clone(),
            program: tool.program,
            leading: tool.arguments,
            context: name.to_owned(),
            namespace: None,
            shell,
        };
        let (program, leading) = (&kubectl.program, &kubectl.leading);
        let list = cmd!(kubectl.shell, "{program} {leading...} config get-contexts --output name");
        let known = kubectl.runner.read(list, LOCAL_LIMIT_SECONDS)?;
        if known.lines().any(|line| line.trim() == name) {
            return Ok(kubectl);
        }
        let known = known.lines().map(str::trim).collect::<Vec<_>>().join(", ");
        let known = if known.is_empty() { "it has none".to_owned() } else { format!("it has {known}") };
        Err(Stop::Usage(format!("the kubeconfig has no context `{name}`; {known}")).into())
    }

    /// The same for the objects of a namespace.
    pub(crate) fn within(&self, namespace: &str) -> Self {
        Self { namespace: Some(namespace.to_owned()), ..self.clone() }
    }

    /// The same for the tear-down: an interrupt that has come does not stop it.
    pub(crate) fn for_clean_up(&self) -> Self {
        Self { runner: self.runner.for_clean_up(), ..self.clone() }
    }

    /// A line that a person can paste.
    pub(crate) fn pasteable(&self, arguments: &str) -> String {
        format!("kubectl --context {} {arguments}", self.context)
    }

    /// Runs it and gives all it left, whatever its exit status.
    pub(crate) fn capture(&self, arguments: &[&str], limit_seconds: u64) -> Result<Captured> {
        self.runner.capture(self.command(arguments), limit_seconds)
    }

    /// Runs it and gives its stdout.
    pub(crate) fn read(&self, arguments: &[&str]) -> Result<String> {
        self.read_within(arguments, QUERY_LIMIT_SECONDS)
    }

    pub(crate) fn read_within(&self, arguments: &[&str], limit_seconds: u64) -> Result<String> {
        self.answer(self.capture(arguments, limit_seconds)?, arguments)
    }

    /// Asks for objects.
    pub(crate) fn json(&self, arguments: &[&str]) -> Result<Value> {
        let arguments = [arguments, &["--output", "json", REQUEST_TIMEOUT]].concat();
        let text = self.read(&arguments)?;
        serde_json::from_str(&text).with_context(|| format!("read what kubectl {} printed", arguments.join(" ")))
    }

    /// The items of a list.
    pub(crate) fn items(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        let mut list = self.json(arguments)?;
        match list["items"].take() {
            Value::Array(items) => Ok(items),
            _ => Ok(vec![list]),
        }
    }

    /// Hands it something on standard input, which is where manifests and secrets travel, and gives its stdout.
    pub(crate) fn feed(&self, arguments: &[&str], input: &[u8], limit_seconds: u64) -> Result<String> {
        self.answer(self.feed_captured(arguments, input, limit_seconds)?, arguments)
    }

    pub(crate) fn feed_captured(&self, arguments: &[&str], input: &[u8], limit_seconds: u64) -> Result<Captured> {
        self.runner.feed(self.command(arguments), input, limit_seconds)
    }

    /// Starts one that goes on until the result is dropped.
    pub(crate) fn start(&self, arguments: &[&str]) -> Result<Background> {
        self.runner.start(self.command(arguments))
    }

    fn command(&self, arguments: &[&str]) -> Cmd<'_> {
        let (program, leading, context) = (&self.program, &self.leading, &self.context);
        let namespace: Vec<_> = self.namespace.iter().flat_map(|name| ["--namespace", name.as_str()]).collect();
        cmd!(self.shell, "{program} {leading...} --context {context} {namespace...} {arguments...}")
    }

    fn answer(&self, captured: Captured, arguments: &[&str]) -> Result<String> {
        if captured.status.success() {
            return Ok(captured.stdout);
        }
        Err(self.refusal(&captured.tail(), arguments).into())
    }

    /// Why the cluster did not do it, and what to do about that.
    pub(crate) fn refusal(&self, why: &str, arguments: &[&str]) -> Stop {
        let (context, why) = (&self.context, why.trim());
        let says = |words: &[&str]| words.iter().any(|word| why.contains(word));
        if says(&[
            "Unauthorized",
            "must be logged in",
            "certificate has expired",
            "getting credentials",
            "ExpiredToken",
        ]) {
            let next = self.pasteable("auth whoami");
            return Stop::Broken(format!(
                "the cluster of context {context} does not accept your credentials: {why}; next: log in again, then {next}"
            ));
        }
        if says(&["refused - did you specify", "Unable to connect", "no such host", "i/o timeout", "no route to host"])
        {
            let next = self.pasteable("cluster-info");
            return Stop::Absent(format!(
                "the cluster of context {context} does not answer: {why}; next: start it, or see {next}"
            ));
        }
        let words = arguments.iter().take(3).copied().collect::<Vec<_>>().join(" ");
        Stop::Broken(format!("kubectl {words} in context {context}: {why}"))
    }
}
