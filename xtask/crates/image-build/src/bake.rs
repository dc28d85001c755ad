//! Calls the builder: one `buildx bake` for all planned images.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde_json::Value;
use xshell::{Shell, cmd};

use super::failure;
use super::native;
use super::plan::{BuildPlan, Strategy};
use super::screen::Screen;
use xtask_engine::Ready;
use xtask_outcome::Stop;
use xtask_workspace::Context;

const BUILD_LIMIT_SECONDS: u64 = 3600;

/// Runs the bake and gives, per target, the image id that the builder says it made.
pub(super) fn bake(context: &Context, ready: &Ready, plan: &BuildPlan) -> Result<BTreeMap<String, String>> {
    let shell = Shell::new()?;
    shell.change_dir(&context.project.root);
    let folder = context.project.out().join("build");
    shell.create_dir(&folder)?;
    // Two builds at once do not meet: each has its own files.
    let own = std::process::id().to_string();
    let (file, metadata) = (folder.join(format!("bake-{own}.json")), folder.join(format!("metadata-{own}.json")));
    shell.write_file(&file, serde_json::to_string_pretty(&plan.bake_file())?)?;
    let (buildx, plugin) = (&ready.buildx.program, &ready.buildx.arguments);
    let command = cmd!(shell, "{buildx} {plugin...} bake --file {file} --metadata-file {metadata} --progress rawjson");
    let screen = Screen::new(plan.images.iter().map(|image| image.name.clone()).collect(), context.runner.progress());
    let built = context.runner.capture_lines(command, BUILD_LIMIT_SECONDS, screen.reader());
    let failed = screen.failed_logs();
    drop(screen);
    let text = shell.read_file(&metadata).unwrap_or_default();
    shell.remove_path(&file)?;
    shell.remove_path(&metadata)?;
    let built = built.context("build the images")?;
    if !built.status.success() {
        if let Some(text) = native::next_step(&format!("{failed}{}", built.stderr), Strategy::Container) {
            return Err(Stop::Repository(text).into());
        }
        return Err(failure::stop(built.status, &built.stderr).into());
    }
    let metadata: BTreeMap<String, Value> =
        serde_json::from_str(&text).map_err(|error| Stop::Broken(format!("buildx left no metadata: {error}")))?;
    Ok(metadata.into_iter().filter_map(|(target, value)| Some((target, built_id(&value)?))).collect())
}

/// The image id in a target's metadata: the configuration's digest where the builder tells it, else the image digest, which
/// on the docker driver is the same.
fn built_id(metadata: &Value) -> Option<String> {
    let field = |name: &str| metadata.get(name).and_then(Value::as_str).map(ToOwned::to_owned);
    field("containerimage.config.digest").or_else(|| field("containerimage.digest"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_configuration_digest_is_the_image_id() {
        let both = json!({ "containerimage.config.digest": "sha256:c", "containerimage.digest": "sha256:m" });
        assert_eq!(built_id(&both).as_deref(), Some("sha256:c"));
        assert_eq!(built_id(&json!({ "containerimage.digest": "sha256:m" })).as_deref(), Some("sha256:m"));
        assert_eq!(built_id(&json!({})), None);
    }
}
