//! The machine's own Debian mirror, used for another suite without touching the machine's apt.

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use xshell::{Shell, cmd};
use xtask_outcome::Stop;
use xtask_process::Runner;
use xtask_workspace::Project;

use crate::clients::need_on_path;

const DEB822_SOURCES: &str = "/etc/apt/sources.list.d/debian.sources";
const APT_LIMIT_SECONDS: u64 = 600;

/// A suite on the mirror that this machine is set up with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Archive {
    uri: String,
    suite: String,
    signed_by: String,
}

impl Archive {
    /// Reads the mirror from the machine's settings.
    ///
    /// # Errors
    /// [`Stop::Absent`] on a machine that is not Debian or keeps its sources elsewhere.
    pub(crate) fn of_this_machine(shell: &Shell, suite: &str) -> Result<Self> {
        let text = shell.read_file(DEB822_SOURCES).map_err(|_| {
            Stop::Absent(format!("this machine has no {DEB822_SOURCES}, so its Debian mirror is not known"))
        })?;
        Self::from_deb822(&text, suite).ok_or_else(|| Stop::Absent(format!("{DEB822_SOURCES} names no mirror")).into())
    }

    /// The first stanza's mirror and keyring, with another suite.
    fn from_deb822(text: &str, suite: &str) -> Option<Self> {
        let stanza = text.split("\n\n").find(|stanza| stanza.lines().any(|line| line.starts_with("URIs:")))?;
        let field = |name: &str| stanza.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        Some(Self {
            uri: field("URIs:")?.split_whitespace().next()?.to_owned(),
            suite: suite.to_owned(),
            signed_by: field("Signed-By:").unwrap_or("/usr/share/keyrings/debian-archive-keyring.gpg").to_owned(),
        })
    }

    /// The one-line form that mmdebstrap takes.
    pub(crate) fn one_line(&self) -> String {
        format!("deb [signed-by={}] {} {} main", self.signed_by, self.uri, self.suite)
    }

    /// Downloads one package, checked by apt against the archive's signature, and unpacks it below `work`.
    pub(crate) fn download(
        &self,
        project: &Project,
        runner: &Runner,
        package: &str,
        work: &Utf8Path,
    ) -> Result<Utf8PathBuf> {
        need_on_path(project, &["apt-get", "dpkg"])?;
        let shell = Shell::new()?;
        for folder in ["parts", "lists/partial", "cache/archives/partial"] {
            shell.create_dir(work.join(folder))?;
        }
        shell.write_file(work.join("parts/suite.list"), self.one_line() + "\n")?;
        shell.change_dir(work);
        let options = &private_options(work);
        runner.read(cmd!(shell, "apt-get {options...} update"), APT_LIMIT_SECONDS)?;
        runner.read(cmd!(shell, "apt-get {options...} download {package}"), APT_LIMIT_SECONDS)?;
        let files = shell.read_dir(work)?;
        let deb = files.iter().find(|path| path.extension().is_some_and(|extension| extension == "deb"));
        let deb = deb.with_context(|| format!("apt-get left no file for {package}"))?;
        let unpacked = work.join("unpacked");
        runner.read(cmd!(shell, "dpkg -x {deb} {unpacked}"), APT_LIMIT_SECONDS)?;
        Ok(unpacked)
    }
}

/// Options that keep apt away from the system's own lists, caches and sources.
fn private_options(work: &Utf8Path) -> Vec<String> {
    let mut options = vec!["-qq".to_owned()];
    for setting in [
        "Dir::Etc::SourceList=/dev/null".to_owned(),
        format!("Dir::Etc::SourceParts={work}/parts"),
        format!("Dir::State::Lists={work}/lists"),
        format!("Dir::Cache={work}/cache"),
        // The unprivileged download user cannot write below a person's checkout.
        "APT::Sandbox::User=root".to_owned(),
    ] {
        options.extend(["-o".to_owned(), setting]);
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCES: &str = "# comment\nTypes: deb\n# http://old.example/debian\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\nComponents: main\nSigned-By: /keys/debian.gpg\n\nTypes: deb\nURIs: http://mirror.example/security\nSuites: bookworm-security\n";

    #[test]
    fn the_mirror_is_the_first_stanzas_with_the_asked_suite() {
        let archive = Archive::from_deb822(SOURCES, "trixie").unwrap();
        assert_eq!(archive.one_line(), "deb [signed-by=/keys/debian.gpg] http://mirror.example/debian trixie main");
    }

    #[test]
    fn no_mirror_is_no_archive() {
        assert_eq!(Archive::from_deb822("Types: deb\n", "trixie"), None);
    }
}
