//! A workspace in a temporary folder, and stub tools that log how they were called.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

/// What the stubs answer when a test says nothing else. `$LOG` and `$STATE` are paths of the test; `$gone` is a pattern of the
/// images that the engine does not have, `$recipe` the label of those that were made here.
const DEFAULTS: &str = r#"
case "$call" in
  "docker version --format {{.Client.Version}}") echo 28.2.2 ;;
  "docker version --format {{.Server.Version}}") echo 20.10.24 ;;
  "docker buildx version") echo "github.com/docker/buildx v0.29.1 abc" ;;
  "docker compose version --short") echo 2.40.3 ;;
  "docker buildx inspect") printf 'Driver:        docker\nBuildKit version: v0.8\nPlatforms:        linux/amd64\n' ;;
  "docker buildx bake "*)
    echo '{"user":{"containerimage.config.digest":"sha256:user","containerimage.digest":"sha256:user"}}' >"$(value_of --metadata-file "$@")" ;;
  "docker image inspect --format {{json .}} "*)
    shift 4
    for reference in "$@"; do case "$reference" in
      $gone) echo "Error: No such image: $reference" >&2; failed=1 ;;
      mini-base/*) echo "{\"Id\":\"sha256:local\",\"Config\":{\"Labels\":{\"xtask.base.recipe\":\"$recipe\"}}}" ;;
      rust:*) echo '{"Id":"sha256:rust","Config":{}}' ;;
      postgres:*) echo '{"Id":"sha256:postgres","Config":{}}' ;;
      *) echo '{"Id":"sha256:user","RepoTags":["mini-user:local"],"Architecture":"amd64","Config":{"User":"65532:65532"}}' ;;
    esac; done
    exit ${failed:-0} ;;
  "docker image save "*) tar -cf "$(value_of --output "$@")" -C "$STATE" manifest.json config.json -C "$LAYER" layer.tar ;;
  "docker run "*" --version") echo "mini-user 0.1.0 (unversioned)" ;;
  "docker run "*" env --format json") echo '{"schema":1,"service":"mini-user","variables":[]}' ;;
  "docker run "*" keygen") printf 'JWT_SIGNING_KEY=S3CR3T-c4n4ry\nJWT_PUBLIC_KEY=cHVibGlj\n' ;;
  "docker compose "*" port "*) echo 127.0.0.1:1 ;;
  "trivy --version") echo "Version: 0.76.0" ;;
esac
exit 0
"#;

const LABELS: [&str; 6] = ["created", "description", "licenses", "revision", "title", "version"];

/// The value that every test with a secret plants and looks for.
pub(crate) const CANARY: &str = "S3CR3T-c4n4ry";

pub(crate) struct Workspace {
    _folder: TempDir,
    pub(crate) root: PathBuf,
    stubs: PathBuf,
    state: PathBuf,
    environment: Vec<(String, String)>,
}

/// How a run of xtask ended.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A run that goes on.
pub(crate) struct Started {
    child: Child,
    lines: BufReader<ChildStderr>,
}

impl Started {
    /// What it says on standard error up to the line with these words.
    pub(crate) fn until(&mut self, words: &str) -> String {
        let mut said = String::new();
        loop {
            let mut line = String::new();
            assert_ne!(self.lines.read_line(&mut line).unwrap(), 0, "it never said `{words}`: {said}");
            said += &line;
            if line.contains(words) {
                return said;
            }
        }
    }

    /// Ctrl-C; its exit code, and what it said at the end.
    pub(crate) fn interrupt(mut self) -> (i32, String) {
        let id = self.child.id().to_string();
        assert!(stub_command("kill").args(["-INT", &id]).status().unwrap().success());
        let mut said = String::new();
        self.lines.read_to_string(&mut said).unwrap();
        let output = self.child.wait_with_output().unwrap();
        (output.status.code().unwrap_or(-1), said + &String::from_utf8_lossy(&output.stdout))
    }
}

impl Ended {
    pub(crate) fn all(&self) -> String {
        format!("{}\n{}", self.stdout, self.stderr)
    }
}

impl Workspace {
    /// A checkout in a folder whose name has blanks, brackets and letters beyond ASCII.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("a b").join("Üñï_Shop (1)");
        let (stubs, state) = (folder.path().join("stubs"), folder.path().join("state"));
        for path in [&root, &stubs, &state] {
            std::fs::create_dir_all(path).unwrap();
        }
        let workspace = Self { _folder: folder, root, stubs, state, environment: Vec::new() };
        workspace.write_project();
        workspace.write_image();
        workspace.stub("");
        workspace
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.root.join(path)).unwrap_or_default()
    }

    fn write_project(&self) {
        self.write("Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"services/user\", \"xtask\"]\n");
        self.write("Cargo.lock", "");
        let package = |name: &str, more: &str| {
            format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n{more}")
        };
        self.write("xtask/Cargo.toml", &package("xtask", ""));
        self.write("xtask/src/main.rs", "fn main() {}\n");
        self.write("services/user/Cargo.toml", &package("mini-user", "[package.metadata.image]\n"));
        self.write("services/user/src/main.rs", "fn main() {}\n");
        self.write("compose.yaml", "services: {}\n");
        self.write("services/user/Dockerfile", "FROM scratch\nUSER 65532:65532\n");
        self.write("xtask/docker/split-workspace.sh", "");
        // The policies of this repository, but for what is about its images.
        for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/policy")).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let text = std::fs::read_to_string(&path).unwrap();
                self.write(&format!("xtask/policy/{}", path.file_name().unwrap().to_string_lossy()), &text);
            }
        }
        self.write_image_policy();
    }

    /// An image as `docker image save` gives it, but for its layer.
    fn write_image(&self) {
        std::fs::write(self.state.join("manifest.json"), r#"[{"Config":"config.json","Layers":["layer.tar"]}]"#)
            .unwrap();
        self.write_image_config(r#"{"config":{"User":"65532:65532"},"history":[]}"#);
    }

    /// Another configuration of that image.
    pub(crate) fn write_image_config(&self, config: &str) {
        std::fs::write(self.state.join("config.json"), config).unwrap();
    }

    /// Facts of the image that an earlier build read, and a policy for it, so that a stub's image need not be one.
    /// It is one that conforms.
    pub(crate) fn know_image(&self, contract: &str) {
        let labels = LABELS.map(|name| format!("\"org.opencontainers.image.{name}\""));
        let config = format!(
            r#"{{"User":"65532:65532","Entrypoint":["/mini-user"],"Healthcheck":{{"Test":["CMD","/mini-user","healthcheck"]}},"Labels":{{{}}}}}"#,
            labels
                .map(|label| match label.trim_matches('"').rsplit('.').next() {
                    Some("version") => format!("{label}:\"0.1.0\""),
                    Some("revision") => format!("{label}:\"unversioned\""),
                    _ => format!("{label}:\"x\""),
                })
                .join(",")
        );
        let file = r#"{"path":"/mini-user","kind":"file","mode":493,"owner":"0:0","size_bytes":5}"#;
        let facts = format!(
            r#"{{"id":"sha256:user","size_bytes":5,"files":[{file}],"config":{config},"history":[],"program_faults":[],"program":{{"version_line":"mini-user 0.1.0 (unversioned)","contract":{contract}}}}}"#
        );
        self.write("target/xtask/images/user.json", &facts);
    }

    /// What its one image may be, instead of what this repository's may be.
    fn write_image_policy(&self) {
        let labels = LABELS.map(|name| format!("\"org.opencontainers.image.{name}\"")).join(", ");
        self.write(
            "xtask/policy/images/user.toml",
            &format!(
                "user = \"65532:65532\"\nentrypoint = [\"/mini-user\"]\ncommand = []\nhealthcheck = [\"CMD\", \"/mini-user\", \"healthcheck\"]\nports = []\nvolumes = []\nenvironment = []\nlabels = [{labels}]\n\n[[file]]\npath = \"/mini-user\"\nkind = \"file\"\nmode = \"0755\"\nowner = \"0:0\"\n"
            ),
        );
        self.write(
            "xtask/policy/images.toml",
            "program-share-percent = 105\ngrowth-from-percent = 2\n[limit-bytes]\nuser = 10\n",
        );
    }

    /// Whatever a run ended with, what it left is a report.
    fn assert_reports_keep_their_schema(&self) {
        let Ok(entries) = std::fs::read_dir(self.root.join("target/xtask/reports")) else { return };
        for path in entries.map(|entry| entry.unwrap().path()) {
            // SBOMs and VEX documents lie there as well; another run may just be writing.
            let is_beside = [".cdx.json", ".openvex.json"].iter().any(|end| path.to_string_lossy().ends_with(end));
            if is_beside || path.extension().is_none_or(|kind| kind != "json") {
                continue;
            }
            if let Ok(text) = std::fs::read_to_string(&path) {
                assert_eq!(report_errors(&text), [""; 0], "{}", path.display());
            }
        }
    }

    /// Puts stubs on PATH; `cases` is shell that runs before the defaults and sees `$call`, the program and its arguments.
    pub(crate) fn stub(&self, cases: &str) {
        let (log, state) = (self.log_path(), &self.state);
        let script = format!(
            r#"#!/bin/sh
LOG='{log}'; STATE='{state}'; LAYER='{layer}'
call="$(basename "$0") $*"
printf '%s\n' "$call" >>"$LOG"
gone=mini-base/*
value_of() {{ wanted=$1; shift; while [ $# -gt 0 ]; do [ "$1" = "$wanted" ] && {{ echo "$2"; return; }}; shift; done; }}
{cases}
{DEFAULTS}"#,
            log = log.display(),
            state = state.display(),
            layer = layer_folder().display(),
        );
        for program in ["docker", "trivy"] {
            self.stub_program(program, &script);
        }
    }

    /// Puts one program on PATH, before the machine's own.
    pub(crate) fn stub_program(&self, program: &str, script: &str) {
        let path = self.stubs.join(program);
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Logs the calls of a program of this machine, beside those of the stubs.
    pub(crate) fn log_calls_of(&self, program: &str) {
        let log = self.log_path().display().to_string();
        let script =
            format!("#!/bin/sh\nprintf '%s\\n' \"{program} $*\" >>'{log}'\nPATH=${{PATH#*:}} exec {program} \"$@\"\n");
        self.stub_program(program, &script);
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    fn log_path(&self) -> PathBuf {
        self.state.join("calls.log")
    }

    /// The calls of the stubs so far, one a line.
    pub(crate) fn calls(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    pub(crate) fn xtask(&self, arguments: &[&str]) -> Ended {
        self.xtask_in(".", arguments)
    }

    /// As on a machine that has no such program: the stubs' stand-in for it ends as a shell does that finds none.
    pub(crate) fn xtask_without(&self, program: &str, arguments: &[&str]) -> Ended {
        let path = self.stubs.join(program);
        std::fs::write(&path, "#!/bin/sh\nexit 127\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        self.xtask(arguments)
    }

    /// From here on the machine's own tools are called.
    #[cfg(feature = "engine-tests")]
    pub(crate) fn use_real_tools(&self) {
        std::fs::remove_dir_all(&self.stubs).unwrap();
    }

    /// Starts a command that ends when it is told to.
    pub(crate) fn start(&self, arguments: &[&str]) -> Started {
        let mut command = self.command(env!("CARGO_BIN_EXE_xtask"));
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap());
        Started { child, lines }
    }

    /// A program in this workspace, with the stubs before the machine's own.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = stub_command(program);
        command
            .current_dir(&self.root)
            .env("PATH", format!("{}:{}", self.stubs.display(), inherited_path()))
            .env("CARGO_MANIFEST_DIR", self.root.join("xtask"))
            .env_remove("CARGO_TARGET_DIR")
            .env_remove("GITHUB_ACTIONS")
            .env_remove("XTASK_PROGRESS")
            .envs(self.environment.iter().cloned());
        command
    }

    pub(crate) fn xtask_in(&self, folder: &str, arguments: &[&str]) -> Ended {
        let mut command = self.command(env!("CARGO_BIN_EXE_xtask"));
        let output = command.args(arguments).current_dir(self.root.join(folder)).stdin(Stdio::null()).output().unwrap();
        self.assert_reports_keep_their_schema();
        Ended {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// The folder with the layer of the stub image, packed once for all tests. The program in it is this test's own, which no image could
/// hold: it is not static, and takes tens of megabytes. Tests that go so far bring a better one.
fn layer_folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("stub-image");
        std::fs::create_dir_all(&folder).unwrap();
        let packing = tempfile::tempdir_in(&folder).unwrap();
        std::os::unix::fs::symlink(std::env::current_exe().unwrap(), packing.path().join("mini-user")).unwrap();
        let mut tar = stub_command("tar");
        tar.args(["-chf", "layer.tar", "mini-user"]).current_dir(packing.path());
        assert!(tar.status().unwrap().success());
        // Another run of the tests may be reading the one that is there.
        std::fs::rename(packing.path().join("layer.tar"), folder.join("layer.tar")).unwrap();
        folder
    })
}

/// `docs/report.schema.json`, compiled once for all tests.
fn schema() -> &'static jsonschema::Validator {
    static SCHEMA: OnceLock<jsonschema::Validator> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/report.schema.json")).unwrap();
        jsonschema::validator_for(&serde_json::from_str(&text).unwrap()).unwrap()
    })
}

/// Whether a text is a report, with every error where it is not.
pub(crate) fn report_errors(text: &str) -> Vec<String> {
    let report = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    schema().iter_errors(&report).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[expect(clippy::disallowed_methods, reason = "a test starts the program under test itself")]
pub(crate) fn stub_command(program: &str) -> Command {
    Command::new(program)
}

#[expect(clippy::disallowed_methods, reason = "the stubs stand before the machine's own tools")]
fn inherited_path() -> String {
    std::env::var("PATH").unwrap()
}
