//! The hardening of each container that ran: every promise, held or not.

use maud::{Markup, html};
use serde::Deserialize;
use xtask_outcome::Report;

use crate::frame::{Section, scrolled};
use crate::{evidence, words};

/// A container as `compose-e2e` leaves it in its evidence.
#[derive(Debug, Deserialize)]
struct Container {
    service: String,
    /// Whom its first process runs as, as the kernel says; `None`: nobody could look.
    runs_as: Option<String>,
    /// Forbidden writes and connections that were tried from inside.
    attempts: usize,
    /// The promises that it does not keep, by rule.
    broken: Vec<String>,
}

pub(crate) fn section(report: &Report) -> Option<Section> {
    let rules: Vec<String> = evidence::find(report, &["hardening", "rules"])?;
    let containers: Vec<Container> = evidence::find(report, &["hardening", "containers"])?;
    let broken: usize = containers.iter().map(|container| container.broken.len()).sum();
    let attempts: usize = containers.iter().map(|container| container.attempts).sum();
    let body = html! {
        p {
            "Read from the engine, then tried from inside each container: "
            (words::counted(attempts, "forbidden write or connection", "forbidden writes and connections")) "."
        }
        (scrolled("Hardening of the containers", &table(&rules, &containers)))
    };
    let aside = if broken == 0 { "all held".to_owned() } else { words::counted(broken, "weakness", "weaknesses") };
    Some(Section { id: "hardening", title: "Hardening", aside, body })
}

fn table(rules: &[String], containers: &[Container]) -> Markup {
    html! {
        table.matrix {
            caption { "Each rule, and whether each container holds it." }
            thead { tr { th scope="col" { "Rule" } @for container in containers { th scope="col" { (container.service) } } } }
            tbody {
                tr { th scope="row" { "runs as" } @for container in containers {
                    td { @match &container.runs_as { Some(user) => (user), None => "not seen" } }
                } }
                @for rule in rules { tr {
                    th scope="row" { code { (rule) } }
                    @for container in containers {
                        td { @if container.broken.contains(rule) { strong.bad { "broken" } }
                             @else { span.quiet { span aria-hidden="true" { "✓" } span.unseen { "held" } } } }
                    }
                } }
            }
        }
    }
}
