//! The contract matrix: each variable against each place that sets or documents it.

use std::collections::BTreeMap;

use maud::{Markup, html};
use serde::Deserialize;
use xtask_outcome::Report;

use crate::frame::{Section, scrolled};
use crate::{evidence, words};

/// One image's matrix, as `audit-env` leaves it in its evidence.
#[derive(Debug, Deserialize)]
struct Matrix {
    places: Vec<String>,
    /// A cell for each place; empty where it says nothing.
    variables: BTreeMap<String, Vec<String>>,
}

pub(crate) fn section(report: &Report) -> Option<Section> {
    let matrices: BTreeMap<String, Matrix> = evidence::find(report, &["matrix"])?;
    let variables: usize = matrices.values().map(|matrix| matrix.variables.len()).sum();
    let body = html! {
        p { "What each place says of each variable. A tick means that it says the same as the contract, an empty cell that it says nothing." }
        @for (service, matrix) in &matrices {
            details { summary { (service) " " span.aside { (words::counted(matrix.variables.len(), "variable", "variables")) } }
                (scrolled(&format!("The variables of {service}"), &table(service, matrix)))
            }
        }
    };
    Some(Section { id: "contract", title: "Contract", aside: words::counted(variables, "variable", "variables"), body })
}

fn table(service: &str, matrix: &Matrix) -> Markup {
    html! {
        table.matrix {
            caption { "The variables of " (service) " and every place that sets or documents them." }
            thead { tr { th scope="col" { "Variable" } @for place in &matrix.places { th scope="col" { (place) } } } }
            tbody { @for (name, cells) in &matrix.variables { tr {
                th scope="row" { code { (name) } }
                @for cell in cells { td { (shown(cell)) } }
            } } }
        }
    }
}

fn shown(cell: &str) -> Markup {
    html! { @match cell {
        "" => span.unseen { "says nothing" },
        "same" => span.quiet { span aria-hidden="true" { "✓" } span.unseen { "same" } },
        "differs" => strong.bad { "differs" },
        cell => (words::bounded(cell, 200)),
    } }
}
