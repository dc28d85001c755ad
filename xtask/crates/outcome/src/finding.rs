//! One finding, whoever found it.

use std::fmt;

use serde::Serialize;

/// Where something stands: a file (with the line where the parser knows it), an image, a container, a variable.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Place {
    /// A path relative to the root of the workspace, or the name of something that is no file.
    pub name: String,
    /// The line in that file, counted from 1.
    pub line: Option<u32>,
}

impl Place {
    /// A place without a line.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), line: None }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// Something that a policy does not allow. One type for every command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Finding {
    /// The rule's name in kebab case, such as `image-too-large`.
    pub rule: &'static str,
    /// Where it was found.
    pub place: Place,
    /// What is wrong there.
    pub message: String,
    /// What to do about it.
    pub next_step: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]: {}; next: {}", self.place, self.rule, self.message, self.next_step)
    }
}
