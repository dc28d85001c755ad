//! The real programs, and folders for what they read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use tempfile::TempDir;

/// Images of a run; what a killed run leaves can be found by it.
const LABEL: &str = "xtask.differential";

/// How many images were made, for names of their own.
static MADE: AtomicUsize = AtomicUsize::new(0);
/// Programs that run at the same time.
const AT_ONCE: usize = 4;

pub(crate) struct Program {
    program: PathBuf,
    arguments: Vec<String>,
}

/// A variable of the test's own environment.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// What a program needs to find the engine.
fn own_environment() -> BTreeMap<String, String> {
    let names = ["PATH", "DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT"];
    names.into_iter().filter_map(|name| Some((name.to_owned(), variable(name)?))).collect()
}

fn tools(name: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(3).expect("the root of the workspace");
    let path = variable("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([root.join("target/xtask/tools")]);
    folders.map(|folder| folder.join(name)).filter(|file| file.is_file()).collect()
}

fn succeeds(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

impl Program {
    /// The program under its own name, else as another one's subcommand; `None` is printed.
    pub(crate) fn find(name: &str, otherwise: &[&str]) -> Option<Self> {
        // A subcommand only counts when it is there: docker itself may come without it.
        let subcommand = tools(otherwise[0])
            .into_iter()
            .map(|program| Self { program, arguments: otherwise[1..].iter().map(|one| (*one).to_owned()).collect() });
        let version = if name == "kubectl" { &["version", "--client"][..] } else { &["version"] };
        let works = |program: &Self| succeeds(Command::new(&program.program).args(&program.arguments).args(version));
        let own = tools(name).into_iter().map(|program| Self { program, arguments: Vec::new() });
        // Debian's old docker-compose 1.x has no --format.
        let is_new = |program: &Self| {
            name != "docker-compose"
                || program.help().contains("--no-interpolate") && program.help().contains("--variables")
        };
        let found = subcommand.chain(own).find(|program| works(program) && is_new(program));
        if found.is_none() {
            println!("skipped: {name} is neither on the PATH nor in target/xtask/tools; next: cargo xtask setup");
        }
        found
    }

    fn help(&self) -> String {
        let printed = Command::new(&self.program).args(&self.arguments).args(["config", "--help"]).output();
        printed.map(|printed| String::from_utf8_lossy(&printed.stdout).into_owned()).unwrap_or_default()
    }

    /// What it prints on stdout and on stderr, whether or not it succeeds.
    pub(crate) fn print(&self, arguments: &[&str]) -> (String, String) {
        let (_, printed, told) = self.ask(arguments, &BTreeMap::new());
        (printed, told)
    }

    /// Whether it succeeds, and what it prints on stdout.
    pub(crate) fn succeeds(&self, arguments: &[&str]) -> (bool, String) {
        let (is_good, printed, _) = self.ask(arguments, &BTreeMap::new());
        (is_good, printed)
    }

    /// The JSON that it prints; `None` when it fails.
    pub(crate) fn json(&self, arguments: &[&str], environment: &BTreeMap<String, String>) -> Option<Value> {
        let arguments = [&["--env-file", "/dev/null", "--project-name", "differential"], arguments].concat();
        let (is_good, printed, _) = self.ask(&arguments, environment);
        is_good.then(|| serde_json::from_str(&printed).expect("JSON"))
    }

    pub(crate) fn ask(&self, arguments: &[&str], environment: &BTreeMap<String, String>) -> (bool, String, String) {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).args(arguments).env_clear().envs(environment).env("HOME", "/nonexistent");
        let printed = command.stdin(Stdio::null()).output().expect("start the program");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (printed.status.success(), text(&printed.stdout), text(&printed.stderr))
    }
}

/// A folder that ends with its value.
pub(crate) struct Folder {
    folder: TempDir,
    pub(crate) path: String,
}

impl Folder {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().to_str().expect("a path in UTF-8").to_owned();
        Self { folder, path }
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let file = self.folder.path().join(name);
        std::fs::write(&file, text).expect("write a file");
        file.to_str().expect("a path in UTF-8").to_owned()
    }
}

/// The answers to many inputs by as few questions as possible: a batch that is refused is asked in halves. `None` for an input that
/// is refused alone.
pub(crate) fn bisect<I: Copy, T>(inputs: &[I], ask: &(dyn Fn(&[I]) -> Option<Vec<T>> + Sync)) -> Vec<Option<T>> {
    if let Some(answers) = ask(inputs) {
        return answers.into_iter().map(Some).collect();
    }
    if inputs.len() == 1 {
        return vec![None];
    }
    let (left, right) = inputs.split_at(inputs.len() / 2);
    let mut answers = bisect(left, ask);
    answers.extend(bisect(right, ask));
    answers
}

/// The answers to many inputs, several asked at once: starting a program is mostly waiting. What is not asked when the time is over is
/// left out.
pub(crate) fn several_at_once<I: Sync, T: Send>(
    inputs: &[I],
    is_over: &(dyn Fn() -> bool + Sync),
    ask: &(dyn Fn(&I) -> T + Sync),
) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut answers = Vec::new();
        while !is_over() {
            let Some(input) = inputs.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
            answers.push(ask(input));
        }
        answers
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker")).collect()
    })
}

/// The variables and labels of an image.
pub(crate) type Image = (BTreeMap<String, String>, BTreeMap<String, String>);

/// The programs' own code without the programs: something that reads texts from stdin, each as JSON, and answers each with a line
/// `{"values": {"A": "1"}, "labels": {}}` or `{"error": "…"}`. Its argument is `dockerfile`, `env-file` or `reference`. It judges thousands in
/// the time in which an engine builds one image. `XTASK_DIFFERENTIAL_JUDGE` names it.
pub(crate) struct Judge {
    program: PathBuf,
}

impl Judge {
    pub(crate) fn find() -> Option<Self> {
        variable("XTASK_DIFFERENTIAL_JUDGE").map(|program| Self { program: program.into() })
    }

    /// What each text comes to; `None` for one that is refused.
    pub(crate) fn ask(&self, what: &str, texts: &[String]) -> Vec<Option<Image>> {
        let folder = Folder::new();
        let asked: String = texts.iter().map(|text| Value::from(text.as_str()).to_string() + "\n").collect();
        let asked = std::fs::File::open(folder.write("asked", &asked)).expect("a file");
        let printed = Command::new(&self.program).arg(what).stdin(asked).output().expect("start the judge");
        let answers: Vec<Value> =
            serde_json::Deserializer::from_slice(&printed.stdout).into_iter().collect::<Result<_, _>>().expect("JSON");
        assert_eq!(answers.len(), texts.len(), "{}", String::from_utf8_lossy(&printed.stderr));
        let image = |answer: &Value| (named(&answer["values"]), named(&answer["labels"]));
        answers.iter().map(|answer| answer["error"].is_null().then(|| image(answer))).collect()
    }
}

fn named(map: &Value) -> BTreeMap<String, String> {
    let entries = map.as_object().into_iter().flatten();
    entries.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}

/// BuildKit, by the engine that is there. Every image is removed again.
pub(crate) struct Buildx {
    docker: PathBuf,
    buildx: Program,
}

impl Buildx {
    pub(crate) fn find() -> Option<Self> {
        let buildx = Program::find("docker-buildx", &["docker", "buildx"])?;
        let docker = tools("docker").into_iter().find(|docker| succeeds(Command::new(docker).arg("info")));
        if docker.is_none() {
            println!("skipped: no engine answers; next: start Docker");
        }
        Some(Self { docker: docker?, buildx })
    }

    /// Why the file cannot be read; nothing of it is built. What only shows when a stage is built is not seen.
    pub(crate) fn refusal(&self, text: &str) -> Option<String> {
        let folder = Folder::new();
        let file = folder.write("Dockerfile", text);
        // The file is read before the stage is looked for.
        let build = ["build", "--target", "xtask-no-such-stage", "--file", &file, &folder.path];
        let (_, _, told) = self.buildx.ask(&build, &own_environment());
        let is_read = told.contains("could not be found");
        (!is_read).then(|| told.lines().last().unwrap_or_default().to_owned())
    }

    /// The variables and labels of the image; `None` when it cannot be built.
    pub(crate) fn image(&self, text: &str) -> Option<Image> {
        let folder = Folder::new();
        let file = folder.write("Dockerfile", text);
        // A containerd image store knows no image without a name.
        let made = MADE.fetch_add(1, Ordering::Relaxed);
        let (name, label) = (format!("{LABEL}:{}-{made}", std::process::id()), format!("{LABEL}=1"));
        let build = ["build", "--quiet", "--load", "--label", &label, "--tag", &name, "--file", &file, &folder.path];
        if !self.buildx.ask(&build, &own_environment()).0 {
            return None;
        }
        let printed =
            Command::new(&self.docker).args(["image", "inspect", &name]).output().expect("docker image inspect");
        succeeds(Command::new(&self.docker).args(["image", "rm", &name]));
        let inspected: Value = serde_json::from_slice(&printed.stdout).expect("JSON");
        let config = &inspected[0]["Config"];
        let pair = |entry: &Value| {
            let (name, value) = entry.as_str()?.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        };
        let variables = config["Env"].as_array().into_iter().flatten().filter_map(pair).collect();
        Some((variables, named(&config["Labels"])))
    }
}
