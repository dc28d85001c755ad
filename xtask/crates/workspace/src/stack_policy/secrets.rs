//! What is made for a stack on this machine, and how.

use std::collections::BTreeMap;

use serde::Deserialize;

/// What is made for a stack on this machine.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    /// Variable → the length of a random text in bytes, which are written as hexadecimal digits.
    #[serde(default)]
    pub random: BTreeMap<String, usize>,
    /// What a command in an image prints.
    #[serde(default, rename = "command")]
    pub commands: Vec<Generated>,
    /// The one of them that a person logs in with.
    pub administrator: Option<String>,
    /// How a pair of keys is changed while the stack runs.
    pub rotation: Option<Rotation>,
}

/// What a command in an image prints as `NAME=value` lines.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generated {
    /// The short name of the image.
    pub image: String,
    /// The arguments of its entrypoint.
    pub arguments: Vec<String>,
    /// The variables that it prints.
    pub variables: Vec<String>,
}

/// How a pair of keys is changed: everybody verifies with the new public key beside the previous one before anybody signs with
/// the new private one.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// The variable of the private key.
    pub signing: String,
    /// The variable of the public key.
    pub public: String,
    /// The variable of the public key before the last change.
    pub previous: String,
}

impl Secrets {
    /// Every variable that is made.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        let printed = self.commands.iter().flat_map(|one| &one.variables);
        self.random.keys().chain(printed).map(String::as_str)
    }

    /// The command that prints a variable.
    pub fn command_of(&self, variable: &str) -> Option<&Generated> {
        self.commands.iter().find(|one| one.variables.iter().any(|name| name == variable))
    }
}
