//! Values with `${…}` in them, as Compose interpolates them in its file and in env files.
//!
//! Compose finds the end of a reference line by line: it takes everything up to the last `}` of the line, and within that the
//! `}` that closes the first `{`. So a default may hold balanced braces, also those of JSON, and no end of a line.

/// References within references. Compose has no limit of its own; nobody writes more than three.
const DEPTH_LIMIT: usize = 20;
/// What one variable can hold at most: the kernel starts no program with a longer one.
pub(crate) const VALUE_LIMIT_BYTES: usize = 128 * 1024;

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
        parse_text(text, 0)
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

    /// Whether it is longer than any variable can be, what its references give left aside.
    pub(crate) fn is_too_long(&self) -> bool {
        let length = |part: &Part| match part {
            Part::Text(text) => text.len(),
            Part::Reference(reference) => reference.name.len(),
        };
        self.parts.iter().map(length).sum::<usize>() > VALUE_LIMIT_BYTES
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

    /// The value for an environment. A variable that is set nowhere gives `unknown` where Compose would stop. What is longer than
    /// any variable can be is cut off.
    pub fn fill(&self, lookup: &dyn Fn(&str) -> Option<String>, unknown: &str) -> Filled {
        let mut filled = Filled { text: String::new(), has_unknown: false };
        for part in &self.parts {
            if filled.text.len() > VALUE_LIMIT_BYTES {
                break;
            }
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

    /// Whether something stands in for it, be it nothing: `-`, `+`.
    pub(crate) fn has_default(&self) -> bool {
        matches!(self.rule, Rule::Default { .. } | Rule::Alternative { .. })
    }

    /// Whether nothing stands in for it.
    pub fn is_required(&self) -> bool {
        matches!(self.rule, Rule::Required { .. })
    }

    /// Whether Compose also stops when it is set and empty: `:?`, not `?`.
    pub fn refuses_blank(&self) -> bool {
        matches!(self.rule, Rule::Required { blank_too: true })
    }
}

fn parse_text(text: &str, depth: usize) -> Result<Template, String> {
    if depth > DEPTH_LIMIT {
        return Err(format!("has more than {DEPTH_LIMIT} references within each other"));
    }
    let mut parts = Vec::new();
    let mut held = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        held.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let length = name_length(rest);
        if let Some(after) = rest.strip_prefix('$') {
            held.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let (reference, after) = parse_braced(after, depth)?;
            push_text(&mut parts, &mut held);
            parts.push(Part::Reference(reference));
            rest = after;
        } else if length > 0 {
            push_text(&mut parts, &mut held);
            parts.push(Part::Reference(Reference { name: rest[..length].to_owned(), rule: Rule::Plain }));
            rest = &rest[length..];
        } else {
            // Compose leaves a `$` alone that begins no name, such as the last one of a password or `$1`.
            held.push('$');
        }
    }
    held.push_str(rest);
    push_text(&mut parts, &mut held);
    Ok(Template { parts })
}

fn push_text(parts: &mut Vec<Part>, text: &mut String) {
    if !text.is_empty() {
        parts.push(Part::Text(std::mem::take(text)));
    }
}

/// What follows `${`, and what comes after its end. The name is in no message: in an env file it may be part of a password.
fn parse_braced(text: &str, depth: usize) -> Result<(Reference, &str), String> {
    let length = name_length(text);
    if length == 0 {
        return Err("has a `${` without the name of a variable after it".to_owned());
    }
    let (name, after) = (text[..length].to_owned(), &text[length..]);
    if let Some(after) = after.strip_prefix('}') {
        return Ok((Reference { name, rule: Rule::Plain }, after));
    }
    let (blank_too, body) = match after.strip_prefix(':') {
        Some(body) => (true, body),
        None => (false, after),
    };
    let operator = body.chars().next().filter(|operator| "-?+".contains(*operator));
    let operator = operator.ok_or("has a `${` that is not closed or has an unknown operator")?;
    let body = &body[1..];
    let end = closing_brace(text, text.len() - body.len()).ok_or("has a `${` that is not closed on its line")?;
    let (inner, after) = (&text[text.len() - body.len()..end], &text[end + 1..]);
    let rule = match operator {
        '-' => Rule::Default { text: parse_text(inner, depth + 1)?, blank_too },
        '+' => Rule::Alternative { text: parse_text(inner, depth + 1)?, blank_too },
        // Compose reads the message only when it is to be shown.
        _ => Rule::Required { blank_too },
    };
    Ok((Reference { name, rule }, after))
}

/// Where the reference that begins `text` ends: at the brace that closes it, else at the last one of its line.
fn closing_brace(text: &str, begin: usize) -> Option<usize> {
    let line = &text[..text[begin..].find('\n').map_or(text.len(), |end| begin + end)];
    let last = line.rfind('}').filter(|last| *last >= begin)?;
    let mut open = 1_usize;
    // The character after an opening brace never counts, whatever it is: that of the reference itself begins its name.
    let mut is_skipped = true;
    for (at, byte) in line.bytes().enumerate().take(last + 1) {
        match byte {
            _ if is_skipped => is_skipped = false,
            b'{' => (open, is_skipped) = (open + 1, true),
            b'}' => {
                open -= 1;
                if open == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    Some(last)
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
            // Braces in a default.
            ("${NONE:-{}}", "{}"),
            ("${NONE:-{\"a\":1}}z", "{\"a\":1}z"),
            ("${NONE:-{a}} ${SET}", "{a} s"),
            ("${NONE:-{x}", "{x"),
            ("${NONE:-x}}", "x}"),
            ("${NONE:-a}\n}", "a\n}"),
            ("${NONE:-$$}", "$"),
            ("${NONE:-$${SET}}", "${SET}"),
            ("${NONE:-a?b:+c}", "a?b:+c"),
            ("${SET:?say {so}}z", "sz"),
            ("${SET:?${broken}z", "sz"),
            ("${SET?}", "s"),
        ] {
            assert_eq!(fill(text), (expected.to_owned(), false), "{text}");
        }
        assert_eq!(fill("a${NONE:?gone}"), ("a?".to_owned(), true));
        assert_eq!(fill("${BLANK:?gone}"), ("?".to_owned(), true));
        assert_eq!(fill("${BLANK?gone}"), (String::new(), false));
    }

    #[test]
    fn a_broken_reference_is_refused_without_its_surroundings() {
        for text in [
            "S3CR3T${",
            "S3CR3T${}",
            "S3CR3T${A",
            "S3CR3T${A:-b",
            "S3CR3T${A!b}",
            "S3CR3T${1}",
            "${A:-S3CR3T\n}",
            "${A:-S3CR3T${}}",
        ] {
            let why = Template::parse(text).unwrap_err();
            assert!(!why.contains("S3CR3T"), "{why}");
        }
    }

    /// Case Q10: 24 KB of references within each other.
    #[test]
    fn references_within_references_have_a_limit_and_so_has_what_they_give() {
        let nested = |depth: usize| format!("{}x{}", "${A:-".repeat(depth), "}".repeat(depth));
        assert_eq!(fill(&nested(15)).0, "x");
        for text in [nested(4000), "${A:-".repeat(5000), "${".repeat(10_000), "${A:-{".repeat(5000)] {
            assert!(Template::parse(&text).is_err());
        }
        let long = "x".repeat(100_000);
        let filled = Template::parse(&"$A".repeat(20_000)).unwrap().fill(&|_| Some(long.clone()), "");
        assert!(filled.text.len() < 2 * VALUE_LIMIT_BYTES);
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
