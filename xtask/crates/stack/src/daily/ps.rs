//! What runs, on what it was built, and how it is.

use anyhow::Result;
use serde_json::{Value, json};
use xtask_engine::Tool;
use xtask_image_build::strategy_of;
use xtask_outcome::Outcome;
use xtask_workspace::Context;

use super::own;
use crate::readiness::{ContainerState, Verdict, judge};

/// Lists the containers of this checkout's stack, one a line, and judges none of them.
///
/// # Errors
/// [`xtask_outcome::Stop::Absent`] when the project is another checkout's.
pub fn ps(context: &Context, docker: &Tool, outcome: &mut Outcome) -> Result<()> {
    let project = own::project(context, docker)?;
    let mut containers = own::containers(context, docker, &project)?;
    containers.sort_by(|a, b| a.service.cmp(&b.service));
    if containers.is_empty() {
        outcome.note(format!("no stack of this checkout is up ({project}); next: `cargo xtask up`"));
    }
    let width = containers.iter().map(|container| container.service.len()).max().unwrap_or_default();
    let built_by = |container: &ContainerState| {
        let strategy = strategy_of(&context.project, &container.service, &container.image);
        strategy.map_or_else(|| container.image.clone(), |strategy| format!("built by {}", strategy.name()))
    };
    for container in &containers {
        let (service, state) = (&container.service, state(container));
        outcome.note(format!("{service:width$}  {state}, {}", short(&built_by(container))));
    }
    let shown = |container: &ContainerState| {
        json!({
            "service": container.service, "status": container.status, "health": container.health,
            "restarts": container.restarts, "image": container.image, "id": container.id,
        })
    };
    outcome.evidence("project", project);
    outcome.evidence("containers", containers.iter().map(shown).collect::<Value>());
    outcome.checked("containers", containers.len());
    Ok(())
}

fn state(container: &ContainerState) -> String {
    // Restarts before now are no fault of now, but worth a word.
    let restarts = match container.restarts {
        0 => String::new(),
        count => format!(", {count} restarts so far"),
    };
    let now = ContainerState { restarts: 0, ..container.clone() };
    let words = match judge(&now) {
        Verdict::Failed(why) | Verdict::Unhealthy(why) | Verdict::Waiting(why) => why,
        Verdict::Done => "has done its work".to_owned(),
        Verdict::Running if container.health.is_empty() => "running".to_owned(),
        Verdict::Running => format!("running, {}", container.health),
    };
    words + &restarts
}

/// An image id as `docker images` shows it.
fn short(words: &str) -> String {
    match words.strip_prefix("sha256:") {
        Some(id) => format!("image {}", id.get(..12).unwrap_or(id)),
        None => words.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_that_crashed_and_healed_runs_and_its_restarts_are_said() {
        let container = ContainerState {
            service: "user".into(),
            status: "running".into(),
            health: "healthy".into(),
            restarts: 2,
            ..ContainerState::default()
        };
        assert_eq!(state(&container), "running, healthy, 2 restarts so far");
        let ended =
            ContainerState { status: "exited".into(), exit_code: 78, bad_environment: 78, restarts: 0, ..container };
        assert!(state(&ended).starts_with("user ended with exit code 78: its configuration is refused"));
    }

    #[test]
    fn ids_are_short() {
        assert_eq!(short("sha256:0123456789abcdef"), "image 0123456789ab");
        assert_eq!(short("built by host"), "built by host");
    }
}
