//! kubectl, as far as no cluster is needed.

use anyhow::Result;
use xshell::{Shell, cmd};
use xtask_outcome::Stop;
use xtask_workspace::Context;

use crate::Toolbox;

const RENDER_LIMIT_SECONDS: u64 = 60;

/// What kubectl's own kustomize makes of a folder below the root.
///
/// # Errors
/// [`Stop::Absent`] without kubectl; [`Stop::Repository`] when it refuses the folder.
pub fn kustomize(context: &Context, folder: &str) -> Result<String> {
    let kubectl = Toolbox::new(&context.project, &context.runner)?.find_or_fetch("kubectl")?;
    let shell = Shell::new()?;
    shell.change_dir(&context.project.root);
    let (program, arguments) = (&kubectl.program, &kubectl.arguments);
    let captured =
        context.runner.capture(cmd!(shell, "{program} {arguments...} kustomize {folder}"), RENDER_LIMIT_SECONDS)?;
    if !captured.status.success() {
        let why = captured.tail();
        return Err(
            Stop::Repository(format!("kustomize refuses {folder}: {}", why.trim_start_matches("error: "))).into()
        );
    }
    Ok(captured.stdout)
}
