//! The contract as other programs and people read it.

use std::fmt::Write as _;

use serde::Serialize;

use super::{Contract, Presence, Variable};

/// The version of the JSON form. It changes when a reader of the old form would be misled by the new one.
const SCHEMA: u32 = 1;

#[derive(Serialize)]
struct ContractJson<'a> {
    schema: u32,
    service: &'a str,
    variables: Vec<VariableJson>,
}

#[derive(Serialize)]
struct VariableJson {
    name: &'static str,
    kind: &'static str,
    default: Option<&'static str>,
    r#type: &'static str,
    secret: bool,
    file_variant: bool,
    description: &'static str,
}

impl From<&Variable> for VariableJson {
    fn from(variable: &Variable) -> Self {
        let (kind, default) = match variable.presence {
            Presence::Required => ("required", None),
            Presence::Default(default) => ("default", Some(default)),
            Presence::Optional => ("optional", None),
        };
        Self {
            name: variable.name,
            kind,
            default,
            r#type: variable.kind,
            secret: variable.secret,
            file_variant: variable.secret,
            description: variable.description,
        }
    }
}

impl Contract {
    /// The contract as one JSON document; `default` is `null` where there is none.
    #[must_use]
    pub fn to_json(&self, service: &str) -> String {
        let variables = self.variables().map(VariableJson::from).collect();
        let document = ContractJson { schema: SCHEMA, service, variables };
        serde_json::to_string_pretty(&document).expect("a contract consists of texts and booleans")
    }

    /// The contract as a Markdown table, for the documents.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let mut table = String::from("| variable | type | when unset | description |\n|---|---|---|---|\n");
        for variable in self.variables() {
            let when_unset = match variable.presence {
                Presence::Required => "**required**".to_owned(),
                Presence::Default(default) => format!("`{default}`"),
                Presence::Optional => "optional".to_owned(),
            };
            let name = match variable.file_variant() {
                Some(file) => format!("`{}` or `{file}`", variable.name),
                None => format!("`{}`", variable.name),
            };
            let secret = if variable.secret { ", secret" } else { "" };
            let kind = variable.kind.replace('|', "\\|");
            let description = variable.description;
            writeln!(table, "| {name} | {kind}{secret} | {when_unset} | {description} |")
                .expect("a String takes all text");
        }
        table
    }
}
