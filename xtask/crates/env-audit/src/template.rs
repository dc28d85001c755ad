//! Values with `${…}` in them, as Compose interpolates them in its file and in env files.

/// A value that may take parts of itself from variables.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Reference(Reference),
}

/// One `${NAME…}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The variable.
    pub name: String,
    pub(crate) rule: Rule,
}

/// What happens when the variable is unset. `blank_too` tells `:-` from `-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rule {
    /// `${X}`: nothing stands in for it, and Compose only warns.
    Plain,
    /// `${X:-text}`.
    Default { text: Template, blank_too: bool },
    /// `${X:?message}`.
    Required { blank_too: bool },
    /// `${X:+text}`: the text when it *is* set.
    Alternative { text: Template, blank_too: bool },
}

/// The text of a template for one environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filled {
    pub(crate) text: String,
    /// A variable that nobody set and that must be set took part.
    pub has_unknown: bool,
}

impl Template {
    /// # Errors
    /// What is wrong with the `$`, without the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut rest = text;
        let template = parse_until(&mut rest, false, text.len())?;
        Ok(template)
    }

    /// `${NAME}`, as a bare entry in a list of variables means it.
    pub fn of_variable(name: &str) -> Self {
        Self { parts: vec![Part::Reference(Reference { name: name.to_owned(), rule: Rule::Plain })] }
    }

    /// A text in which no `$` means anything.
    pub fn of_text(text: impl Into<String>) -> Self {
        Self { parts: vec![Part::Text(text.into())] }
    }

    /// What comes from elsewhere: without it the container does not start, or starts without the variable.
    pub fn of_source(name: String, required: bool) -> Self {
        let rule = if required { Rule::Required { blank_too: false } } else { Rule::Plain };
        Self { parts: vec![Part::Reference(Reference { name, rule })] }
    }

    /// Both, one after the other.
    pub fn append(&mut self, other: Self) {
        for part in other.parts {
            match (self.parts.last_mut(), part) {
                (Some(Part::Text(text)), Part::Text(more)) => text.push_str(&more),
                (_, part) => self.parts.push(part),
            }
        }
    }

    /// The value as another language writes it.
    pub fn write(&self, text: &dyn Fn(&str) -> String, reference: &dyn Fn(&Reference) -> String) -> String {
        let part = |part: &Part| match part {
            Part::Text(one) => text(one),
            Part::Reference(one) => reference(one),
        };
        self.parts.iter().map(part).collect()
    }

    /// The text, when nothing is taken from a variable.
    pub fn literal(&self) -> Option<String> {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => Some(text.as_str()),
                Part::Reference(_) => None,
            })
            .collect()
    }

    /// The reference, when the value is one variable and nothing else.
    pub fn only_reference(&self) -> Option<&Reference> {
        match self.parts.as_slice() {
            [Part::Reference(reference)] => Some(reference),
            _ => None,
        }
    }

    /// Every reference, those within defaults included.
    pub fn references(&self) -> Vec<&Reference> {
        let mut found = Vec::new();
        for part in &self.parts {
            let Part::Reference(reference) = part else { continue };
            found.push(reference);
            if let Rule::Default { text, .. } | Rule::Alternative { text, .. } = &reference.rule {
                found.extend(text.references());
            }
        }
        found
    }

    /// The value for an environment. A variable that is set nowhere gives `unknown` where Compose would stop.
    pub fn fill(&self, lookup: &dyn Fn(&str) -> Option<String>, unknown: &str) -> Filled {
        let mut filled = Filled { text: String::new(), has_unknown: false };
        for part in &self.parts {
            match part {
                Part::Text(text) => filled.text.push_str(text),
                Part::Reference(reference) => {
                    let value = reference.fill(lookup, unknown);
                    filled.text.push_str(&value.text);
                    filled.has_unknown |= value.has_unknown;
                }
            }
        }
        filled
    }
}

impl Reference {
    fn fill(&self, lookup: &dyn Fn(&str) -> Option<String>, unknown: &str) -> Filled {
        let value = lookup(&self.name);
        let known = |text: String| Filled { text, has_unknown: false };
        let counts = |blank_too: bool| value.clone().filter(|text| !(blank_too && text.is_empty()));
        match &self.rule {
            Rule::Plain => known(value.unwrap_or_default()),
            Rule::Default { text, blank_too } => match counts(*blank_too) {
                Some(value) => known(value),
                None => text.fill(lookup, unknown),
            },
            Rule::Required { blank_too } => match counts(*blank_too) {
                Some(value) => known(value),
                None => Filled { text: unknown.to_owned(), has_unknown: true },
            },
            Rule::Alternative { text, blank_too } => match counts(*blank_too) {
                Some(_) => text.fill(lookup, unknown),
                None => known(String::new()),
            },
        }
    }

    /// The literal default, if it has one.
    pub fn default_text(&self) -> Option<String> {
        match &self.rule {
            Rule::Default { text, .. } => text.literal(),
            _ => None,
        }
    }

    /// Whether nothing stands in for it.
    pub fn is_required(&self) -> bool {
        matches!(self.rule, Rule::Required { .. })
    }
}

/// Parses up to the end, or up to the `}` that closes the reference around it. `limit` ends a recursion that a hostile
/// file could deepen without end: nested references get ever shorter.
fn parse_until(rest: &mut &str, nested: bool, limit: usize) -> Result<Template, String> {
    let mut parts = Vec::new();
    let mut text = String::new();
    while let Some(letter) = rest.chars().next() {
        if nested && letter == '}' {
            break;
        }
        if letter != '$' {
            text.push(letter);
            *rest = &rest[letter.len_utf8()..];
            continue;
        }
        *rest = &rest[1..];
        if let Some(after) = rest.strip_prefix('$') {
            text.push('$');
            *rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            *rest = after;
            let reference = parse_braced(rest, limit)?;
            push_text(&mut parts, &mut text);
            parts.push(Part::Reference(reference));
        } else {
            let length = name_length(rest);
            if length == 0 {
                // Compose leaves a `$` alone that begins no name, such as the last one of a password or `$1`.
                text.push('$');
                continue;
            }
            push_text(&mut parts, &mut text);
            parts.push(Part::Reference(Reference { name: rest[..length].to_owned(), rule: Rule::Plain }));
            *rest = &rest[length..];
        }
    }
    push_text(&mut parts, &mut text);
    Ok(Template { parts })
}

fn push_text(parts: &mut Vec<Part>, text: &mut String) {
    if !text.is_empty() {
        parts.push(Part::Text(std::mem::take(text)));
    }
}

/// What follows `${`.
fn parse_braced(rest: &mut &str, limit: usize) -> Result<Reference, String> {
    let limit = limit.checked_sub(1).ok_or("has references nested too deep")?;
    let length = name_length(rest);
    if length == 0 {
        return Err("has a `${` without the name of a variable after it".to_owned());
    }
    let name = rest[..length].to_owned();
    *rest = &rest[length..];
    let blank_too = rest.starts_with(':');
    let operator = rest.trim_start_matches(':').chars().next();
    if operator == Some('}') && !blank_too {
        *rest = &rest[1..];
        return Ok(Reference { name, rule: Rule::Plain });
    }
    let Some(operator) = operator.filter(|operator| "-?+".contains(*operator)) else {
        return Err(format!("has a `${{{name}` that is not closed or followed by an unknown operator"));
    };
    *rest = &rest[usize::from(blank_too) + 1..];
    let text = parse_until(rest, true, limit)?;
    *rest = rest.strip_prefix('}').ok_or_else(|| format!("has a `${{{name}` that is not closed"))?;
    let rule = match operator {
        '-' => Rule::Default { text, blank_too },
        '+' => Rule::Alternative { text, blank_too },
        _ => Rule::Required { blank_too },
    };
    Ok(Reference { name, rule })
}

fn name_length(text: &str) -> usize {
    let is_first = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !is_first {
        return 0;
    }
    text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(text: &str) -> (String, bool) {
        let lookup = |name: &str| match name {
            "SET" => Some("s".to_owned()),
            "BLANK" => Some(String::new()),
            _ => None,
        };
        let filled = Template::parse(text).unwrap().fill(&lookup, "?");
        (filled.text, filled.has_unknown)
    }

    #[test]
    fn every_operator_gives_what_compose_gives() {
        for (text, expected) in [
            ("plain", "plain"),
            ("a$$b", "a$b"),
            ("$$$$", "$$"),
            ("tail$", "tail$"),
            ("a$1b", "a$1b"),
            ("$(id)", "$(id)"),
            ("$SET-x", "s-x"),
            ("$SET_x", ""),
            ("${SET}x", "sx"),
            ("${NONE}", ""),
            ("${NONE:-d}", "d"),
            ("${NONE-d}", "d"),
            ("${BLANK:-d}", "d"),
            ("${BLANK-d}", ""),
            ("${NONE:-a${SET}b}", "asb"),
            ("${NONE:-${NEITHER:-deep}}", "deep"),
            ("${SET:+yes}", "yes"),
            ("${BLANK:+yes}", ""),
            ("${BLANK+yes}", "yes"),
            ("${SET:?gone}", "s"),
            ("${NONE:-http://x:1/y}", "http://x:1/y"),
        ] {
            assert_eq!(fill(text), (expected.to_owned(), false), "{text}");
        }
        assert_eq!(fill("a${NONE:?gone}"), ("a?".to_owned(), true));
        assert_eq!(fill("${BLANK:?gone}"), ("?".to_owned(), true));
        assert_eq!(fill("${BLANK?gone}"), (String::new(), false));
    }

    #[test]
    fn a_broken_reference_is_refused_without_its_surroundings() {
        for text in ["S3CR3T${", "S3CR3T${}", "S3CR3T${A", "S3CR3T${A:-b", "S3CR3T${A!b}", "S3CR3T${1}"] {
            let why = Template::parse(text).unwrap_err();
            assert!(!why.contains("S3CR3T"), "{why}");
        }
    }

    #[test]
    fn references_are_found_in_defaults_too() {
        let template = Template::parse("${A:-${B:?x}}${C}").unwrap();
        let names: Vec<_> = template.references().iter().map(|reference| reference.name.as_str()).collect();
        assert_eq!(names, ["A", "B", "C"]);
        assert_eq!(template.literal(), None);
        assert_eq!(Template::parse("x$$y").unwrap().literal().as_deref(), Some("x$y"));
    }
}
