//! Whether the cluster enforces NetworkPolicies, and if so, whether exactly the flows of the manifests are open.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde_json::json;
use xtask_env_audit::kubernetes::Cluster;
use xtask_outcome::{Finding, Outcome, Place};

use crate::bench::{Bench, rerun};
use crate::client_pod::ClientPod;
use crate::probe::Probe;

/// Each target is one argument, `address/port`; all are tried at once, and each gets 3 s.
const SCRIPT: &str = "for target; do (if timeout 3 bash -c 'exec 3<>\"/dev/tcp/$1\"' bash \"$target\" 2>/dev/null; then echo \"$target open\"; else echo \"$target closed\"; fi) & done; wait";
/// What the pod beside the stack is called in the matrix.
const OUTSIDE: &str = "outside";

type Flow = (String, String);

/// Tries every flow between the pods, and from outside.
///
/// # Errors
/// When a probe cannot be asked.
pub(crate) fn check(
    bench: &Bench<'_>,
    probes: &[Probe],
    outside: &ClientPod,
    allowed: &BTreeSet<Flow>,
    outcome: &mut Outcome,
) -> Result<()> {
    let targets: BTreeMap<String, String> = probes
        .iter()
        .filter_map(|probe| Some((format!("{}/{}", bracketless(&probe.address), probe.port?), probe.workload.clone())))
        .collect();
    let addresses: Vec<_> = targets.keys().map(String::as_str).collect();
    let mut seen = BTreeMap::new();
    let mut note = |from: &str, printed: &str| {
        for line in printed.lines() {
            let Some((target, state)) = line.split_once(' ') else { continue };
            if let Some(to) = targets.get(target).filter(|to| *to != from) {
                seen.insert((from.to_owned(), to.clone()), state == "open");
            }
        }
    };
    for probe in probes {
        note(&probe.workload, &probe.read(bench, SCRIPT, &addresses)?);
    }
    note(OUTSIDE, &outside.read(SCRIPT, &addresses)?);
    let open: Vec<_> =
        seen.iter().filter(|(_, is_open)| **is_open).map(|((from, to), _)| format!("{from} → {to}")).collect();
    outcome.evidence("open_flows", json!(open));
    outcome.checked("flows tried", seen.len());
    let judged = judge(&seen, allowed);
    let unproven = match judged.is_enforced {
        Some(true) => None,
        Some(false) => {
            Some("the network of this cluster does not enforce NetworkPolicies: each forbidden flow is open")
        }
        None => Some("the manifests forbid none of those that were tried"),
    };
    if let Some(reason) = unproven {
        outcome.unchecked("forbidden flows between pods", reason);
    }
    for (rule, message) in judged.broken {
        outcome.findings.push(Finding {
            rule,
            place: Place::new("NetworkPolicies on the cluster"),
            message,
            next_step: format!("correct the policies, then: {}", rerun(bench)),
        });
    }
    Ok(())
}

/// The flows that the manifests allow at both ends, by workload, and the one from outside to the entrance.
pub(crate) fn allowed(cluster: &Cluster, names: &[String], entrance: &str) -> BTreeSet<Flow> {
    let networks: BTreeSet<_> = cluster.pairs().flat_map(|(_, deployment)| &deployment.networks).collect();
    let mut flows = BTreeSet::from([(OUTSIDE.to_owned(), entrance.to_owned())]);
    for from in names {
        let to = names.iter().filter(|to| networks.contains(&format!("{from}-to-{to}")));
        flows.extend(to.map(|to| (from.clone(), to.clone())));
    }
    flows
}

struct Judged {
    /// `None` when there is no forbidden flow that could tell.
    is_enforced: Option<bool>,
    broken: Vec<(&'static str, String)>,
}

/// A cluster where every forbidden flow is open enforces nothing, which is no fault of the manifests.
fn judge(seen: &BTreeMap<Flow, bool>, allowed: &BTreeSet<Flow>) -> Judged {
    let (permitted, forbidden): (Vec<_>, Vec<_>) = seen.iter().partition(|(flow, _)| allowed.contains(*flow));
    let is_enforced = (!forbidden.is_empty()).then(|| forbidden.iter().any(|(_, is_open)| !**is_open));
    let told = |(from, to): &Flow| format!("{from} to {to}");
    let closed = permitted.iter().filter(|(_, is_open)| !**is_open);
    let mut broken: Vec<_> = closed
        .map(|(flow, _)| ("flow-closed", format!("the flow from {} is allowed and does not work", told(flow))))
        .collect();
    if is_enforced == Some(true) {
        let open = forbidden.iter().filter(|(_, is_open)| **is_open);
        broken.extend(
            open.map(|(flow, _)| ("flow-open", format!("the flow from {} is not allowed and works", told(flow)))),
        );
    }
    let missing = allowed.iter().filter(|flow| !seen.contains_key(*flow));
    broken.extend(missing.map(|flow| ("nothing-proven", format!("the flow from {} was not tried", told(flow)))));
    Judged { is_enforced, broken }
}

/// An IPv6 address goes into `/dev/tcp` as it is.
fn bracketless(address: &str) -> &str {
    address.trim_start_matches('[').trim_end_matches(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(from: &str, to: &str) -> Flow {
        (from.to_owned(), to.to_owned())
    }

    fn rules(seen: &[(Flow, bool)], allowed: &BTreeSet<Flow>) -> (Option<bool>, Vec<&'static str>) {
        let judged = judge(&seen.iter().cloned().collect(), allowed);
        (judged.is_enforced, judged.broken.into_iter().map(|(rule, _)| rule).collect())
    }

    #[test]
    fn enforcement_is_seen_and_every_flow_that_is_not_as_the_manifests_say_is_found() {
        let allowed = BTreeSet::from([flow("shop", "db")]);
        let (good, back, other) = (flow("shop", "db"), flow("db", "shop"), flow("outside", "db"));
        let all_open = [(good.clone(), true), (back.clone(), true), (other.clone(), true)];
        assert_eq!(rules(&all_open, &allowed), (Some(false), vec![]));
        let right = [(good.clone(), true), (back.clone(), false), (other.clone(), false)];
        assert_eq!(rules(&right, &allowed), (Some(true), vec![]));
        let leak = [(good.clone(), true), (back.clone(), true), (other.clone(), false)];
        assert_eq!(rules(&leak, &allowed), (Some(true), vec!["flow-open"]));
        let shut = [(good, false), (back.clone(), false), (other, false)];
        assert_eq!(rules(&shut, &allowed), (Some(true), vec!["flow-closed"]));
        assert_eq!(rules(&all_open[..1], &allowed), (None, vec![]));
        assert_eq!(rules(&[(back, false)], &allowed), (Some(true), vec!["nothing-proven"]));
    }
}
