//! Words as BuildKit splits them, and what its quotes, escapes and references make of one.

use std::collections::BTreeMap;

use crate::template::VALUE_LIMIT_BYTES;

/// References within each other. BuildKit has no limit of its own; nobody writes more than three.
const DEPTH_LIMIT: usize = 20;

/// What a name has; `None` for a value that only the builder knows.
pub(super) type Known = BTreeMap<String, Option<String>>;

/// What a reference gives.
#[derive(Clone, Copy)]
pub(super) enum References<'a> {
    /// It stays as it is written.
    Keep,
    /// It is filled. `others_are_unset` says whether a name that is not there is known to be unset.
    Fill { known: &'a Known, others_are_unset: bool },
}

/// What stands between a keyword and its arguments: not every blank of Unicode.
pub(super) fn is_separator(letter: char) -> bool {
    matches!(letter, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

/// Arguments without the `--name=value` in front of them, and whether there was one.
pub(super) fn without_flags(arguments: &str, escape: char) -> (&str, bool) {
    let (mut rest, mut has_flags) = (arguments.trim(), false);
    while rest.starts_with("--") {
        let (mut quote, mut is_escaped) = (None, false);
        let end = rest.find(|letter: char| {
            match (quote, letter) {
                _ if is_escaped => is_escaped = false,
                (Some(open), _) if open == letter => quote = None,
                (_, _) if letter == escape => is_escaped = true,
                (None, '"' | '\'') => quote = Some(letter),
                (None, _) if letter.is_whitespace() => return true,
                _ => {}
            }
            false
        });
        let (flag, after) = rest.split_at(end.unwrap_or(rest.len()));
        rest = after.trim_start();
        // Two signs alone end the flags.
        if flag == "--" {
            break;
        }
        has_flags = true;
    }
    (rest, has_flags)
}

/// Splits at blanks outside quotes. Quotes and escapes stay where they are. `joins_here_documents`: blanks behind `<<` are a part of
/// the word.
pub(super) fn split(text: &str, escape: char, joins_here_documents: bool) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        if quote.is_none() && letter.is_whitespace() {
            if !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
            continue;
        }
        if letter == escape && quote != Some('\'') {
            // One at the very end escapes nothing.
            if let Some(next) = letters.next() {
                word.extend([letter, next]);
            }
            continue;
        }
        match quote {
            Some(open) if open == letter => quote = None,
            None if matches!(letter, '"' | '\'') => quote = Some(letter),
            _ => {}
        }
        word.push(letter);
        if joins_here_documents && quote.is_none() && letter == '<' && letters.next_if_eq(&'<').is_some() {
            word.push('<');
            while let Some(blank) = letters.next_if(|c| matches!(c, ' ' | '\t' | '\r' | '\n')) {
                word.push(blank);
            }
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// A word without its quotes and escapes. `Ok(None)` when a part of it is known to the builder alone.
///
/// # Errors
/// Why BuildKit refuses it, without the word.
pub(super) fn evaluate(word: &str, escape: char, references: References<'_>) -> Result<Option<String>, String> {
    // BuildKit's scanner drops a byte order mark that begins what it is given.
    let rest = word.strip_prefix('\u{feff}').unwrap_or(word);
    let mut reader = Reader { rest, escape, references, is_unknown: false };
    let text = reader.until(None, 0)?;
    Ok((!reader.is_unknown).then_some(text))
}

/// Values can double from line to line, and no program starts with a longer one.
fn check_length(text: &str) -> Result<(), String> {
    if text.len() > VALUE_LIMIT_BYTES { Err(format!("gives more than {VALUE_LIMIT_BYTES} bytes")) } else { Ok(()) }
}

struct Reader<'a> {
    rest: &'a str,
    escape: char,
    references: References<'a>,
    is_unknown: bool,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<char> {
        let letter = self.rest.chars().next()?;
        self.rest = &self.rest[letter.len_utf8()..];
        Some(letter)
    }

    fn until(&mut self, stop: Option<char>, depth: usize) -> Result<String, String> {
        if depth > DEPTH_LIMIT {
            return Err(format!("has more than {DEPTH_LIMIT} references within each other"));
        }
        let mut text = String::new();
        while let Some(letter) = self.next() {
            check_length(&text)?;
            match letter {
                _ if stop == Some(letter) => return Ok(text),
                '\'' => text.push_str(self.single_quoted()?),
                '"' => self.double_quoted(&mut text, depth)?,
                '$' => self.dollar(&mut text, depth)?,
                _ if letter == self.escape => text.extend(self.next()),
                _ => text.push(letter),
            }
        }
        if stop.is_some() { Err("has a `${` that is not closed".to_owned()) } else { Ok(text) }
    }

    fn single_quoted(&mut self) -> Result<&'a str, String> {
        let (inner, after) = self.rest.split_once('\'').ok_or("has a quote that is not closed")?;
        self.rest = after;
        Ok(inner)
    }

    fn double_quoted(&mut self, text: &mut String, depth: usize) -> Result<(), String> {
        while let Some(letter) = self.next() {
            check_length(text)?;
            match letter {
                '"' => return Ok(()),
                '$' => self.dollar(text, depth)?,
                _ if letter == self.escape => match self.rest.chars().next() {
                    Some(next) if next == '"' || next == '$' || next == self.escape => text.extend(self.next()),
                    Some(_) => text.push(letter),
                    None => {}
                },
                _ => text.push(letter),
            }
        }
        Err("has a quote that is not closed".to_owned())
    }

    fn dollar(&mut self, text: &mut String, depth: usize) -> Result<(), String> {
        let begin = self.rest;
        let Some(after) = self.rest.strip_prefix('{') else {
            let name = self.name();
            match (name, self.references) {
                ("", _) => text.push('$'),
                (name, References::Keep) => text.extend(["$", name]),
                (name, References::Fill { .. }) => text.extend(self.lookup(name)),
            }
            return Ok(());
        };
        self.rest = after;
        if matches!(self.rest.chars().next(), None | Some('{' | '}' | ':')) {
            return Err("has a `${` without the name of a variable after it".to_owned());
        }
        let name = self.name();
        let operator = self.next();
        let (is_blank_unset, operator) = if operator == Some(':') { (true, self.next()) } else { (false, operator) };
        let value = match operator {
            Some('}') if !is_blank_unset => self.lookup(name),
            Some(operator @ ('-' | '+' | '?')) => {
                let word = self.until(Some('}'), depth + 1)?;
                let was_unknown = std::mem::take(&mut self.is_unknown);
                let value = self.lookup(name).filter(|value| !(is_blank_unset && value.is_empty()));
                let is_unset =
                    value.is_none() && !self.is_unknown && matches!(self.references, References::Fill { .. });
                self.is_unknown |= was_unknown;
                match (operator, value) {
                    ('?', _) if is_unset => return Err("asks for a variable that is not set".to_owned()),
                    ('-', value) => value.or(Some(word)),
                    ('+', value) => value.map(|_| word),
                    (_, value) => value,
                }
            }
            // What is cut off or replaced is the builder's business.
            Some(operator @ ('#' | '%' | '/')) if !is_blank_unset => {
                if operator == '/' {
                    self.rest = self.rest.strip_prefix('/').unwrap_or(self.rest);
                    self.until(Some('/'), depth + 1)?;
                }
                self.until(Some('}'), depth + 1)?;
                self.is_unknown |= matches!(self.references, References::Fill { .. });
                None
            }
            _ => return Err("has a `${` that is not closed or has an unknown operator".to_owned()),
        };
        match self.references {
            References::Keep => text.extend(["$", &begin[..begin.len() - self.rest.len()]]),
            References::Fill { .. } => text.extend(value),
        }
        Ok(())
    }

    fn name(&mut self) -> &'a str {
        let is_special = self.rest.starts_with(['@', '*', '#', '?', '-', '$', '!', '0']);
        let is_number = self.rest.starts_with(|c: char| c.is_ascii_digit());
        let end = match (is_number, is_special) {
            (true, _) => self.rest.find(|c: char| !c.is_ascii_digit()),
            (_, true) => Some(1),
            _ => self.rest.find(|c: char| !(c.is_alphanumeric() || c == '_')),
        };
        let (name, after) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = after;
        name
    }

    fn lookup(&mut self, name: &str) -> Option<String> {
        let References::Fill { known, others_are_unset } = self.references else { return None };
        match known.get(name) {
            Some(Some(value)) => Some(value.clone()),
            Some(None) => {
                self.is_unknown = true;
                None
            }
            None => {
                self.is_unknown |= !others_are_unset;
                None
            }
        }
    }
}
