//! The hardening that compose.yaml promises, asserted of the containers that run: once from what the engine was told, once
//! from what the kernel does.

mod probe;
mod settings;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::outcome::{Finding, Outcome, Place};
use crate::setup::Ready;
use crate::stack::Stack;

/// A service's database is the Compose service of its name with this behind it.
const DATABASE_SUFFIX: &str = "-db";
/// The one service that the host reaches.
const PUBLISHED_SERVICE: &str = "gateway";

/// Something about one container that is weaker than promised.
#[derive(Debug, PartialEq, Eq)]
struct Weakness {
    rule: &'static str,
    service: String,
    message: String,
    /// The property of compose.yaml that mends it.
    property: &'static str,
}

/// Looks at every container of the stack.
pub(crate) fn check(stack: &Stack<'_>, ready: &Ready, outcome: &mut Outcome) -> Result<()> {
    let containers = stack.inspect()?;
    let file = stack.context.project.root.join("compose.yaml");
    let compose = std::fs::read_to_string(&file).with_context(|| format!("read {file}"))?;
    let promises = stack.promises()?;
    let mut weaknesses = settings::judge_networks(&containers);
    for container in &containers {
        weaknesses.extend(settings::judge(container, &promises));
    }
    let mut attempts = 0;
    for (container, observed) in containers.iter().zip(probe::all(stack.context, ready, &containers)) {
        match observed {
            Ok(observed) => {
                attempts += observed.attempts();
                weaknesses.extend(probe::judge(container, &observed));
            }
            Err(error) => outcome.unchecked(
                format!("the hardening of {}, as the kernel sees it", service(container)),
                error.to_string(),
            ),
        }
    }
    outcome.checked("containers held to their hardening", containers.len());
    outcome.checked("forbidden writes and connections tried", attempts);
    outcome.findings.extend(weaknesses.into_iter().map(|weakness| finding(&compose, weakness)));
    Ok(())
}

fn finding(compose: &str, weakness: Weakness) -> Finding {
    let Weakness { rule, service, message, property } = weakness;
    let line = compose.lines().position(|line| line.trim_end() == format!("  {service}:"));
    let line = line.and_then(|index| u32::try_from(index + 1).ok());
    Finding {
        rule,
        place: Place { name: "compose.yaml".to_owned(), line },
        message: format!("service {service}: {message}"),
        next_step: format!("mend `{property}` of services.{service}"),
    }
}

/// The Compose service of an inspected container.
fn service(container: &Value) -> &str {
    container.pointer("/Config/Labels/com.docker.compose.service").and_then(Value::as_str).unwrap_or_default()
}

fn is_database(container: &Value) -> bool {
    service(container).ends_with(DATABASE_SUFFIX)
}

/// Whether `container` may talk to `database`: its own service may, and the database itself.
fn may_reach(container: &Value, database: &Value) -> bool {
    service(database).strip_suffix(DATABASE_SUFFIX) == Some(service(container).trim_end_matches(DATABASE_SUFFIX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_stands_at_its_service_in_compose_yaml() {
        let weakness =
            Weakness { rule: "root-writable", service: "user".into(), message: "m".into(), property: "read_only" };
        let found = finding("services:\n  gateway:\n    a: b\n  user:\n    a: b\n", weakness);
        assert_eq!((found.place.to_string(), found.message.as_str()), ("compose.yaml:4".into(), "service user: m"));
        assert_eq!(found.next_step, "mend `read_only` of services.user");
    }

    #[test]
    fn a_database_belongs_to_the_service_of_its_name() {
        let named = |name: &str| serde_json::json!({"Config": {"Labels": {"com.docker.compose.service": name}}});
        assert!(may_reach(&named("user"), &named("user-db")) && may_reach(&named("user-db"), &named("user-db")));
        assert!(!may_reach(&named("gateway"), &named("user-db")) && !may_reach(&named("order"), &named("user-db")));
    }
}
