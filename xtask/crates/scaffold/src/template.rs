//! `templates/new-service/template.toml`: which files are made and which are edited.

use serde::Deserialize;
use xtask_outcome::Stop;

/// The template.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Template {
    /// The folder of the new service, relative to the root.
    pub(crate) folder: String,
    /// Files that are made, in this order.
    #[serde(rename = "file")]
    pub(crate) files: Vec<NewFile>,
    /// Files that get more text.
    #[serde(rename = "edit")]
    pub(crate) edits: Vec<Edit>,
}

/// A file that is made.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewFile {
    /// The template's own file.
    pub(crate) from: Option<String>,
    /// A file of the repository that it is made like.
    pub(crate) model: Option<String>,
    /// Words of the model, and what stands for them.
    #[serde(default)]
    pub(crate) replace: Vec<(String, String)>,
    /// Where it goes, relative to the root.
    pub(crate) to: String,
    #[serde(default)]
    pub(crate) only: Only,
}

/// A file that gets more text: after or before an anchor that it has exactly once, or at its end.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Edit {
    pub(crate) file: String,
    pub(crate) after: Option<String>,
    pub(crate) before: Option<String>,
    #[serde(default)]
    pub(crate) at_end: bool,
    pub(crate) insert: String,
    #[serde(default)]
    pub(crate) only: Only,
}

/// For which services.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Only {
    #[default]
    Every,
    Database,
    NoDatabase,
}

impl Only {
    pub(crate) fn is_for(self, has_database: bool) -> bool {
        match self {
            Self::Every => true,
            Self::Database => has_database,
            Self::NoDatabase => !has_database,
        }
    }
}

impl Template {
    pub(crate) fn parse(file: &str, text: &str) -> Result<Self, Stop> {
        toml::from_str(text).map_err(|error| Stop::Repository(format!("{file}: {error}")))
    }
}

/// The text without its marks, and without what is for other services.
pub(crate) fn chosen(text: &str, has_database: bool) -> String {
    let (mut taken, mut found) = (true, String::new());
    for line in text.split_inclusive('\n') {
        match line.trim_end() {
            "@database" => taken = has_database,
            "@no-database" => taken = !has_database,
            "@end" => taken = true,
            _ if taken => found += line,
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marked_lines_are_for_one_kind_of_service() {
        let text = "a\n@database\nb\n@no-database\nc\n@end\nd";
        assert_eq!((chosen(text, true), chosen(text, false)), ("a\nb\nd".to_owned(), "a\nc\nd".to_owned()));
    }

    #[test]
    fn an_unknown_key_of_the_template_is_an_error() {
        let text = "folder = 'x'\nfile = []\nedit = [{ file = 'a', insert = 'b', behind = 'c' }]\n";
        assert!(Template::parse("template.toml", text).unwrap_err().to_string().contains("unknown field"));
    }
}
