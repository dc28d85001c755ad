//! The hardening that compose.yaml promises, asserted of the containers that run: once from what the engine was told, once
//! from what the kernel does.

mod probe;
mod settings;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::Stack;
use xtask_engine::Ready;
use xtask_outcome::{Finding, Outcome, Place, Stop};
use xtask_workspace::{Neighbour, StackPolicy};

/// Every rule that a container is held to.
const RULES: [&str; 17] = [
    "user-root",
    "root-writable",
    "mount-writable",
    "capabilities-kept",
    "privileges-gained",
    "privileged",
    "security-profile-off",
    "host-namespace",
    "host-folder-mounted",
    "device-given",
    "port-published",
    "own-neighbour",
    "foreign-neighbour",
    "unknown-neighbour",
    "no-memory-limit",
    "no-process-limit",
    "limit-not-as-promised",
];

/// Which service is what, by the policy.
#[derive(Debug, Clone, Copy)]
struct Roles<'a> {
    /// The one service that the host reaches.
    published: &'a str,
    /// Neighbour → the services that may reach it.
    serves: &'a BTreeMap<String, Vec<String>>,
    /// The ports of neighbours by their names.
    ports: &'a BTreeMap<String, u16>,
}

impl Roles<'_> {
    fn is_neighbour(self, container: &Value) -> bool {
        self.serves.contains_key(service(container))
    }

    /// Whether `container` may talk to `neighbour`: those that it serves may, and it may itself.
    fn may_reach(self, container: &Value, neighbour: &str) -> bool {
        let name = service(container);
        name == neighbour || self.serves.get(neighbour).is_some_and(|served| served.iter().any(|one| one == name))
    }
}

/// Something about one container that is weaker than promised.
#[derive(Debug, PartialEq, Eq)]
struct Weakness {
    rule: &'static str,
    service: String,
    message: String,
    /// The property of the Compose file that fixes it.
    property: &'static str,
}

/// Looks at every container of the stack.
pub(crate) fn check(stack: &Stack<'_>, ready: &Ready, outcome: &mut Outcome) -> Result<()> {
    let containers = stack.inspect()?;
    let policy = &stack.context.project.stack;
    let (serves, ports) = (policy.serves(), ports(policy));
    let roles = Roles { published: &policy.entrance.service, serves: &serves, ports: &ports };
    let file = stack.context.project.stack.file.as_str();
    let path = stack.context.project.root.join(file);
    let compose = std::fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let promises = stack.promises()?;
    let mut weaknesses = settings::judge_networks(roles, &containers);
    let own: BTreeSet<_> = stack.context.project.images.iter().map(xtask_workspace::ImagePackage::name).collect();
    weaknesses.extend(settings::judge_names(roles, &own, &containers));
    for container in &containers {
        weaknesses.extend(settings::judge(roles, container, &promises));
    }
    let mut attempts = 0;
    let mut seen = BTreeMap::new();
    for (container, observed) in containers.iter().zip(probe::all(stack.context, ready, roles, &containers)) {
        match observed {
            Ok(observed) => {
                attempts += observed.attempts();
                weaknesses.extend(probe::judge(roles, container, &observed));
                seen.insert(service(container), observed);
            }
            Err(error) if Stop::is_interrupt(&error) => return Err(error),
            Err(error) => outcome.broken(
                format!("the hardening of {}, as the kernel sees it", service(container)),
                format!("{error:#}"),
            ),
        }
    }
    outcome.evidence("rules", RULES.to_vec());
    outcome.evidence("containers", shown(&containers, &seen, &weaknesses));
    outcome.checked("containers held to their hardening", containers.len());
    outcome.checked("forbidden writes and connections tried", attempts);
    outcome.findings.extend(weaknesses.into_iter().map(|weakness| finding(file, &compose, weakness)));
    Ok(())
}

fn ports(policy: &StackPolicy) -> BTreeMap<String, u16> {
    let of =
        |neighbour: &Neighbour| neighbour.serves.keys().map(|name| (name.clone(), neighbour.port)).collect::<Vec<_>>();
    policy.neighbours.iter().flat_map(of).collect()
}

/// Each container for a report, with the rules that it breaks.
fn shown(containers: &[Value], seen: &BTreeMap<&str, probe::Observed>, weaknesses: &[Weakness]) -> Value {
    let one = |container: &Value| {
        let name = service(container);
        let own = weaknesses.iter().filter(|weakness| weakness.service == name);
        let broken: BTreeSet<_> = own.map(|weakness| weakness.rule).collect();
        let observed = seen.get(name);
        json!({
            "service": name,
            "runs_as": observed.map(probe::Observed::user),
            "attempts": observed.map_or(0, probe::Observed::attempts),
            "broken": broken,
        })
    };
    containers.iter().map(one).collect()
}

fn finding(file: &str, compose: &str, weakness: Weakness) -> Finding {
    let Weakness { rule, service, message, property } = weakness;
    let line = compose.lines().position(|line| line.trim_end() == format!("  {service}:"));
    let line = line.and_then(|index| u32::try_from(index + 1).ok());
    Finding {
        rule,
        place: Place { name: file.to_owned(), line },
        message: format!("service {service}: {message}"),
        next_step: format!("correct `{property}` of services.{service}"),
    }
}

/// The Compose service of an inspected container.
fn service(container: &Value) -> &str {
    container.pointer("/Config/Labels/com.docker.compose.service").and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_stands_at_its_service_in_compose_yaml() {
        let weakness =
            Weakness { rule: "root-writable", service: "user".into(), message: "m".into(), property: "read_only" };
        let found = finding("compose.yaml", "services:\n  gateway:\n    a: b\n  user:\n    a: b\n", weakness);
        assert_eq!((found.place.to_string(), found.message.as_str()), ("compose.yaml:4".into(), "service user: m"));
        assert_eq!(found.next_step, "correct `read_only` of services.user");
    }

    #[test]
    fn every_rule_that_is_judged_is_listed() {
        let judged = [include_str!("settings.rs"), include_str!("probe.rs")].map(|text| {
            let product = text.split("#[cfg(test)]").next().unwrap();
            let after =
                |mark: &str| product.split(mark).skip(1).filter_map(|rest| rest.split('"').nth(1)).collect::<Vec<_>>();
            [after("rule: "), after("weakness("), after("weak(")].concat()
        });
        let judged: BTreeSet<_> =
            judged.concat().into_iter().filter(|word| word.contains('-') || *word == "privileged").collect();
        assert_eq!(judged, RULES.into_iter().collect::<BTreeSet<_>>());
    }

    #[test]
    fn a_container_is_shown_with_what_it_breaks_and_as_unseen_when_nobody_could_look() {
        let named = |name: &str| json!({"Config": {"Labels": {"com.docker.compose.service": name}}});
        let weak = |rule| Weakness { rule, service: "user".into(), message: "m".into(), property: "p" };
        let shown =
            shown(&[named("user"), named("other")], &BTreeMap::new(), &[weak("privileged"), weak("privileged")]);
        assert_eq!(shown[0], json!({ "service": "user", "runs_as": null, "attempts": 0, "broken": ["privileged"] }));
        assert_eq!(shown[1]["broken"], json!([]));
    }

    #[test]
    fn a_neighbour_is_reached_by_those_that_it_serves() {
        let named = |name: &str| serde_json::json!({"Config": {"Labels": {"com.docker.compose.service": name}}});
        let serves = BTreeMap::from([("user-db".to_owned(), vec!["user".to_owned()])]);
        let roles = Roles { published: "gateway", serves: &serves, ports: &BTreeMap::new() };
        let may_reach = |name: &str| roles.may_reach(&named(name), "user-db");
        assert!(may_reach("user") && may_reach("user-db"));
        assert!(!may_reach("gateway") && !may_reach("order"));
    }
}
