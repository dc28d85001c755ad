//! Linters of files that no compiler reads: hadolint for the Dockerfiles, zizmor and actionlint for the workflows.

use anyhow::{Context as _, Result};
use camino::Utf8PathBuf;
use xshell::{Shell, cmd};

use xtask_engine::Toolbox;
use xtask_outcome::{Outcome, Stop};
use xtask_workspace::Context;

const LINT_LIMIT_SECONDS: u64 = 300;

/// Which program reads what, and how it is called: without the network, for its exit status.
const LINTERS: [(&str, &[&str], Files); 3] = [
    ("hadolint", &["--no-color"], Files::Dockerfiles),
    ("zizmor", &["--offline", "--no-progress", "--color=never"], Files::Workflows),
    ("actionlint", &["-no-color"], Files::Workflows),
];

#[derive(Debug, Clone, Copy)]
enum Files {
    Dockerfiles,
    Workflows,
}

impl Files {
    fn name(self) -> &'static str {
        match self {
            Self::Dockerfiles => "Dockerfiles",
            Self::Workflows => "workflows",
        }
    }

    /// As git knows them, so that what lies about in a checkout plays no part.
    fn list(self, context: &Context, shell: &Shell) -> Result<Vec<Utf8PathBuf>> {
        let pattern = match self {
            Self::Dockerfiles => "*Dockerfile",
            Self::Workflows => ".github/workflows/*.yml",
        };
        let listed = context.runner.read(cmd!(shell, "git ls-files -- {pattern}"), LINT_LIMIT_SECONDS)?;
        Ok(listed.lines().map(Utf8PathBuf::from).collect())
    }
}

/// Runs each linter that is here or can be fetched; one that is not is reported as not checked.
///
/// # Errors
/// [`Stop::Repository`] when a linter complains; its words are on the screen.
pub(crate) fn check(context: &Context, outcome: &mut Outcome) -> Result<()> {
    let toolbox = Toolbox::new(&context.project, &context.runner)?;
    let shell = Shell::new()?;
    shell.change_dir(&context.project.root);
    let mut complaints = Vec::new();
    for (name, arguments, files) in LINTERS {
        let paths = &files.list(context, &shell)?;
        let tool = match toolbox.find_or_fetch(name) {
            Ok(tool) => tool,
            Err(error) if Stop::is_absent(&error) => {
                outcome.unchecked(format!("{} by {name}", files.name()), format!("{error:#}"));
                continue;
            }
            Err(error) => return Err(error),
        };
        let program = &tool.program;
        match context.runner.run(cmd!(shell, "{program} {arguments...} {paths...}"), LINT_LIMIT_SECONDS) {
            Ok(()) => outcome.checked(format!("{} read by {name}", files.name()), paths.len()),
            Err(error) if matches!(error.downcast_ref(), Some(Stop::Repository(_))) => complaints.push(name),
            Err(error) => return Err(error),
        }
    }
    if complaints.is_empty() {
        return Ok(());
    }
    Err(Stop::Repository(format!("{} complained, see above", complaints.join(" and ")))).context("linters")
}
