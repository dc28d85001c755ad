//! `.env.example`: every variable that compose.yaml takes from outside, written from compose.yaml and the contracts.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::compose::{Interpolation, Stack};
use super::view::{View, interpolated};

const HEAD: &str = "\
# What the Compose file takes from its environment. Written by `cargo xtask audit-env --write`; change the Compose file
# instead, then run it again.
# `cargo xtask up` makes a .env with secrets of its own on first use. In a copy of this file, give every empty name a value.
";

/// One variable that a stack takes from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outside {
    pub(crate) name: String,
    /// Compose does not start without it.
    pub(crate) required: bool,
    /// Nor with an empty one.
    pub(crate) refuses_blank: bool,
    /// What stands in for it.
    pub(crate) default: Option<String>,
    pub(crate) secret: bool,
    /// What it is for, in words.
    pub(crate) purpose: String,
}

/// The variables that the first stack takes, by name.
pub(crate) fn outside(view: &View<'_>) -> Vec<Outside> {
    let Some(stack) = view.stacks.first() else { return Vec::new() };
    let secrets = view.secret_interpolations();
    let one = |(name, uses): (String, Vec<&Interpolation>)| Outside {
        required: uses.iter().any(|one| one.reference.is_required() && !one.is_given),
        refuses_blank: uses.iter().any(|one| one.reference.refuses_blank() && !one.is_given),
        default: uses.iter().find_map(|one| one.reference.default_text()),
        secret: secrets.contains(&name),
        purpose: purpose(view, stack, &uses),
        name,
    };
    // Compose itself sets the project's name.
    interpolated(stack).into_iter().filter(|(name, _)| name != "COMPOSE_PROJECT_NAME").map(one).collect()
}

/// The whole file.
pub(crate) fn render(view: &View<'_>) -> String {
    let (required, other): (Vec<_>, Vec<_>) = outside(view).into_iter().partition(|one| one.required);
    let mut text = HEAD.to_owned();
    for (title, group) in [("Compose does not start without these.", required), ("These may be set.", other)] {
        if group.is_empty() {
            continue;
        }
        let _ = write!(text, "\n# --- {title}\n");
        for one in group {
            let mark = if one.required { "" } else { "#" };
            // Never a value of a secret, whatever the file says: that it has a default is a finding of its own.
            let default = one.default.filter(|_| !one.secret).unwrap_or_default();
            let _ = write!(text, "\n# {}\n{mark}{}={default}\n", one.purpose, one.name);
        }
    }
    text
}

fn purpose(view: &View<'_>, stack: &Stack, uses: &[&Interpolation]) -> String {
    let mut parts: BTreeSet<String> = BTreeSet::new();
    let mut description = "";
    for one in uses {
        let path: Vec<_> = one.path.iter().map(String::as_str).collect();
        parts.insert(match path.as_slice() {
            ["services", service, "environment", variable, ..] => format!("{service} {variable}"),
            ["services", service, rest @ ..] => format!("{service} {}", rest.join(".")),
            other => other.join("."),
        });
        let ["services", service, "environment", variable] = path.as_slice() else { continue };
        let deployment = stack.deployments.iter().find(|deployment| deployment.name == *service);
        let contract = deployment.and_then(|deployment| view.contract(deployment));
        let is_whole = deployment
            .and_then(|deployment| deployment.setting(variable))
            .is_some_and(|setting| setting.value.only_reference().is_some());
        if is_whole && let Some(variable) = contract.and_then(|contract| contract.variable(variable)) {
            description = &variable.description;
        }
    }
    let parts = parts.into_iter().collect::<Vec<_>>().join(", ");
    if description.is_empty() { parts } else { format!("{parts}: {description}") }
}
