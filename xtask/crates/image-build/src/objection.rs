//! Something about an image that a rule, a golden or a budget does not allow, before exceptions are asked.

/// What about an image is not allowed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Objection {
    /// The rule in kebab case.
    pub(crate) rule: &'static str,
    /// What it is about; with the image's name in front the scope of an exception.
    pub(crate) about: String,
    /// Both sides in words.
    pub(crate) message: String,
}

impl Objection {
    pub(crate) fn new(rule: &'static str, about: impl Into<String>, message: impl Into<String>) -> Self {
        Self { rule, about: about.into(), message: message.into() }
    }
}
