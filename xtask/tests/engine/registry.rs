//! Debian's registry on loopback, for the tests that push.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use crate::program::{program, root, text};

pub(crate) const USER: &str = "ci";
pub(crate) const PASSWORD: &str = "S3CR3T-c4n4ry";
/// The password as htpasswd keeps it (bcrypt); it is this test's own and opens nothing else.
const HTPASSWD: &str = "ci:$2b$04$byeCixBysfOSapgvVfL52eDd1C/0XAgGTK82yne2IRwQeV22H1/Am\n";

/// Debian's registry on a free loopback port, with or without a password.
pub(crate) struct Registry {
    child: Option<Child>,
    pub(crate) host: String,
}

/// Names one that runs already, as `HOST:PORT`, for the tests of signatures: one that knows the referrers API, say.
const ANOTHER: &str = "SIGNING_TEST_REGISTRY";

impl Registry {
    /// The one that `SIGNING_TEST_REGISTRY` names, or Debian's.
    #[expect(clippy::disallowed_methods, reason = "the variable is for this suite alone")]
    pub(crate) fn for_signatures(folder: &Path) -> Self {
        match std::env::var(ANOTHER) {
            Ok(host) => Self { child: None, host },
            Err(_) => Self::start(folder, false),
        }
    }

    pub(crate) fn start(folder: &Path, with_password: bool) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let shown = folder.display();
        let mut config = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {shown}/data\nhttp:\n  addr: 127.0.0.1:0\n  secret: test\n"
        );
        if with_password {
            std::fs::write(folder.join("htpasswd"), HTPASSWD).unwrap();
            config += &format!("auth:\n  htpasswd:\n    realm: test\n    path: {shown}/htpasswd\n");
        }
        std::fs::write(folder.join("config.yml"), config).unwrap();
        let mut serve = program(registry_program());
        serve.arg("serve").arg(folder.join("config.yml")).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = serve.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let line = lines.find(|line| line.contains("listening on ")).expect("the registry says where it listens");
        // It would stop at a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let host = line.split("listening on ").nth(1).unwrap().split(['"', ' ', ',']).next().unwrap().to_owned();
        Self { child: Some(child), host }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// On PATH, or taken out of Debian's package; nothing is installed.
fn registry_program() -> PathBuf {
    if program("docker-registry").arg("--version").output().is_ok() {
        return "docker-registry".into();
    }
    let folder = root().join("target/xtask/engine-tests");
    let found = folder.join("unpacked/usr/bin/docker-registry");
    if found.is_file() {
        return found;
    }
    let own = tempfile::tempdir().unwrap();
    // The machine's sources, and lists and files of this test's own.
    for part in ["lists/partial", "cache/archives/partial"] {
        std::fs::create_dir_all(own.path().join(part)).unwrap();
    }
    let settings = [
        format!("Dir::State::Lists={}/lists", own.path().display()),
        format!("Dir::Cache={}/cache", own.path().display()),
        "APT::Sandbox::User=root".to_owned(),
    ];
    for words in [&["update"][..], &["download", "docker-registry"]] {
        let mut apt = program("apt-get");
        apt.arg("-qq").args(settings.iter().flat_map(|setting| ["-o", setting])).args(words);
        let output = apt.current_dir(own.path()).output().unwrap();
        assert!(output.status.success(), "apt-get {}: {}", words.join(" "), text(&output.stderr));
    }
    let entries = std::fs::read_dir(own.path()).unwrap().map(|entry| entry.unwrap().path());
    let package = entries.into_iter().find(|path| path.extension().is_some_and(|e| e == "deb")).expect("a package");
    std::fs::create_dir_all(&folder).unwrap();
    // Two tests may come here at once: each unpacks on its own, and one of them puts it in its place.
    let unpacked = tempfile::tempdir_in(&folder).unwrap();
    let status = program("dpkg").arg("-x").arg(package).arg(unpacked.path()).status().unwrap();
    assert!(status.success());
    let _ = std::fs::rename(unpacked.path(), folder.join("unpacked"));
    assert!(found.is_file());
    found
}
