//! A contract as this crate sees it: the variables that a program reads, whatever the program is written in.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::value_type::ValueType;
use xtask_outcome::Stop;

/// The version of the printed form that this crate understands.
const SCHEMA: u64 = 1;

/// The variables of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contract {
    /// The image's repository: `shop-cart`, or `postgres` for an image of somebody else's.
    pub image: String,
    pub(crate) variables: Vec<Variable>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Variable {
    pub name: String,
    pub kind: Kind,
    #[serde(default)]
    pub default: Option<String>,
    #[serde(rename = "type")]
    pub(crate) value_type: ValueType,
    #[serde(default)]
    pub secret: bool,
    #[serde(default)]
    pub file_variant: bool,
    #[serde(default)]
    pub description: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Required,
    Default,
    Optional,
}

/// A name in an environment, seen through a contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning<'a> {
    /// The variable itself.
    Direct(&'a Variable),
    /// `NAME_FILE`, the path of a file with the value.
    File(&'a Variable),
}

impl Contract {
    /// Reads what a program prints for `env --format json`.
    ///
    /// # Errors
    /// [`Stop::Repository`] when it is of another form.
    pub fn parse(package: &str, printed: &Value) -> Result<Self, Stop> {
        let problem = |why: String| Stop::Repository(format!("the contract that {package} prints {why}"));
        if printed["schema"].as_u64() != Some(SCHEMA) {
            return Err(problem(format!("has the schema {}, this xtask reads {SCHEMA}", printed["schema"])));
        }
        let variables: Vec<Variable> = serde_json::from_value(printed["variables"].clone())
            .map_err(|error| problem(format!("cannot be read: {error}")))?;
        if let Some(variable) = variables.iter().find(|v| (v.kind == Kind::Default) != v.default.is_some()) {
            return Err(problem(format!("gives {} a kind and a default that do not fit", variable.name)));
        }
        Ok(Self { image: package.to_owned(), variables })
    }

    pub(crate) fn variable(&self, name: &str) -> Option<&Variable> {
        self.variables.iter().find(|variable| variable.name == name)
    }

    pub(crate) fn meaning(&self, name: &str) -> Option<Meaning<'_>> {
        let file = |variable: &&Variable| variable.file_variant && name.strip_suffix("_FILE") == Some(&variable.name);
        self.variable(name).map(Meaning::Direct).or_else(|| self.variables.iter().find(file).map(Meaning::File))
    }

    /// Every name that the program reads, file variants included.
    pub fn names(&self) -> Vec<String> {
        let names = |variable: &Variable| {
            let file = variable.file_variant.then(|| variable.file_name());
            [Some(variable.name.clone()), file].into_iter().flatten().collect::<Vec<_>>()
        };
        self.variables.iter().flat_map(names).collect()
    }
}

impl Variable {
    pub(crate) fn file_name(&self) -> String {
        format!("{}_FILE", self.name)
    }

    /// What happens when it is unset, in words for tables.
    pub(crate) fn when_unset(&self) -> String {
        match (self.kind, &self.default) {
            (Kind::Required, _) => "**required**".to_owned(),
            (Kind::Default, Some(default)) => format!("`{default}`"),
            _ => "optional".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_contract_of_another_schema_is_refused_and_new_fields_are_not() {
        let variable = json!({ "name": "PORT", "kind": "default", "default": "8080", "type": "port", "secret": false,
            "file_variant": false, "description": "Where.", "since": "0.2" });
        let contract = json!({ "schema": 1, "service": "mini-user", "variables": [variable] });
        assert_eq!(Contract::parse("mini-user", &contract).unwrap().variables[0].default.as_deref(), Some("8080"));
        let newer = json!({ "schema": 2, "service": "mini-user", "variables": [] });
        assert!(Contract::parse("mini-user", &newer).unwrap_err().to_string().contains("schema 2"));
        let odd = json!({ "schema": 1, "variables": [{ "name": "A", "kind": "default", "type": "port" }] });
        assert!(Contract::parse("mini-user", &odd).unwrap_err().to_string().contains("do not fit"));
    }

    #[test]
    fn a_file_variant_exists_for_secrets_only() {
        let printed = json!({ "schema": 1, "variables": [
            { "name": "KEY", "kind": "required", "type": "string", "secret": true, "file_variant": true },
            { "name": "PORT", "kind": "required", "type": "port" }] });
        let contract = Contract::parse("x", &printed).unwrap();
        assert_eq!(contract.names(), ["KEY", "KEY_FILE", "PORT"]);
        assert!(matches!(contract.meaning("KEY_FILE"), Some(Meaning::File(_))));
        assert_eq!(contract.meaning("PORT_FILE"), None);
    }
}
