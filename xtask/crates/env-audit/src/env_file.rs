//! Env files in the dialect that Compose reads, and where `docker run --env-file` reads another value.
//!
//! The rules were taken from what Compose 5.6 and the docker client 28 make of each of the files in the table below;
//! `tests/differential.rs` holds them against the Compose that is there.

use std::collections::{BTreeMap, BTreeSet};

use super::template::{Template, VALUE_LIMIT_BYTES};

/// What is larger is no file of variables.
const FILE_LIMIT_BYTES: usize = 1024 * 1024;

/// One entry of an env file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) line: u32,
    /// `None` for a name without `=`, which is taken from the environment of whoever calls Compose.
    pub(crate) value: Option<Template>,
    /// It stands behind the closing quote of another one's value, so its name may be the rest of a password: it is printed nowhere.
    pub(crate) follows_quote: bool,
    /// The value before interpolation, without quotes.
    literal: String,
    /// Whether `$` means something in it.
    interpolated: bool,
    /// What docker's own `--env-file` makes of the line; `None` when it refuses the file.
    docker: Option<String>,
    /// Every reference in it is to what stands above it, so it is meant as one.
    is_made_of_others: bool,
}

/// A whole env file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct EnvFile {
    pub(crate) entries: Vec<Entry>,
    /// What makes Compose refuse the file, or what no reader agrees about: line and what is wrong, without a value.
    pub(crate) problems: Vec<(u32, String)>,
    /// Compose does not start with it; what its lines set is then of no interest.
    pub(crate) is_refused: bool,
    /// A value asks for a variable (`${X:?}`) that the file does not set: Compose takes the file only where its environment does.
    pub(crate) needs_environment: bool,
    /// Values without a name, each with the number of the entries above it: they set nothing, and may ask for something.
    nameless: Vec<(usize, Template)>,
    /// What each name has in the end, after interpolation with what stands above it.
    values: BTreeMap<String, String>,
}

impl Entry {
    /// The characters that somebody wrote are not the value that arrives: `$` was taken for a reference (case F01) to what the file does
    /// not set.
    pub(crate) fn is_changed_by_interpolation(&self) -> bool {
        self.interpolated
            && !self.is_made_of_others
            && self.value.as_ref().is_some_and(|value| value.literal().as_deref() != Some(&self.literal))
    }

    /// Docker's own reader of env files would give the container something else (case F02).
    pub(crate) fn differs_for_docker(&self) -> bool {
        let Some(value) = &self.value else { return false };
        self.docker.as_deref() != value.literal().as_deref()
    }
}

impl EnvFile {
    /// Reads a file as Compose does. `raw` is Compose's `format: raw`: no quotes, no comments after values, no `$`.
    pub(crate) fn parse(bytes: &[u8], raw: bool) -> Self {
        let mut file = Self::default();
        if bytes.len() > FILE_LIMIT_BYTES {
            file.refuse(1, format!("has more than {FILE_LIMIT_BYTES} bytes and was not read"));
            return file;
        }
        if std::str::from_utf8(bytes).is_err() {
            file.problems.push((1, "is not valid UTF-8".to_owned()));
        }
        let text = String::from_utf8_lossy(bytes);
        let text = match text.strip_prefix('\u{feff}') {
            Some(rest) => {
                file.problems.push((1, "begins with a byte order mark".to_owned()));
                rest
            }
            None => &text,
        };
        if let Some(at) = text.find('\r') {
            file.problems.push((line_of(text, at), "has carriage returns (Windows line ends)".to_owned()));
        }
        if raw {
            file.parse_raw(text);
        } else {
            Reader { text, at: 0, counted: (0, 1), file: &mut file }.read();
        }
        file.note_duplicates();
        file.resolve();
        file
    }

    /// The entry that counts: the last one.
    pub(crate) fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| entry.name == name)
    }

    /// The value of a variable after interpolation with what stands above it in the file.
    pub(crate) fn value(&self, name: &str) -> Option<String> {
        self.values.get(name).cloned()
    }

    fn refuse(&mut self, line: u32, why: String) {
        self.is_refused = true;
        self.problems.push((line, why));
    }

    fn parse_raw(&mut self, text: &str) {
        for (index, line) in text.split('\n').enumerate() {
            // One of them, and in the last line, which has no end, as well.
            let line = line.strip_suffix('\r').unwrap_or(line);
            let line_number = u32::try_from(index + 1).unwrap_or(u32::MAX);
            let trimmed = line.trim_start();
            if trimmed.is_empty() || trimmed.starts_with('#') {
                continue;
            }
            let (name, value) = match trimmed.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (trimmed, None),
            };
            if name.is_empty() || name.contains([' ', '\t']) {
                let what = if name.is_empty() { "a value without a name" } else { "a name with a blank in it" };
                self.refuse(line_number, format!("has {what}"));
                continue;
            }
            let value = value.map(|value| Value::literal(value.to_owned()));
            self.entries.push(Entry {
                name: name.to_owned(),
                line: line_number,
                value: value.as_ref().and_then(|value| Template::parse(&value.text).ok()),
                follows_quote: false,
                literal: value.unwrap_or_default().literal,
                interpolated: false,
                docker: docker_value(line),
                is_made_of_others: false,
            });
        }
    }

    fn note_duplicates(&mut self) {
        let mut known = BTreeSet::new();
        let mut again = Vec::new();
        for entry in self.entries.iter().filter(|entry| !entry.follows_quote) {
            if !known.insert(entry.name.as_str()) {
                again.push((entry.line, format!("sets {} a second time; the last one counts", entry.name)));
            }
        }
        self.problems.extend(again);
    }

    /// Each value is made of what stands above it. A name without `=` leaves an earlier value as it is.
    fn resolve(&mut self) {
        let mut too_long = Vec::new();
        let mut nameless = std::mem::take(&mut self.nameless).into_iter().peekable();
        for (at, entry) in self.entries.iter_mut().enumerate() {
            while let Some((_, value)) = nameless.next_if(|(above, _)| *above <= at) {
                self.needs_environment |= value.fill(&|name| self.values.get(name).cloned(), "").has_unknown;
            }
            let Some(template) = &entry.value else { continue };
            let references = template.references();
            entry.is_made_of_others =
                !references.is_empty() && references.iter().all(|one| self.values.contains_key(&one.name));
            let filled = template.fill(&|other| self.values.get(other).cloned(), "");
            self.needs_environment |= filled.has_unknown;
            let filled = filled.text;
            if filled.len() > VALUE_LIMIT_BYTES {
                let of = if entry.follows_quote { String::new() } else { format!("{} ", entry.name) };
                too_long.push((
                    entry.line,
                    format!("gives {of}more than {VALUE_LIMIT_BYTES} bytes, with which no program starts"),
                ));
                continue;
            }
            self.values.insert(entry.name.clone(), filled);
        }
        for (_, value) in nameless {
            self.needs_environment |= value.fill(&|name| self.values.get(name).cloned(), "").has_unknown;
        }
        self.problems.extend(too_long);
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// Up to where lines were counted, and the line there.
    counted: (usize, u32),
    file: &'a mut EnvFile,
}

impl<'a> Reader<'a> {
    fn read(&mut self) {
        // The name in front of the closing quote on the same line.
        let mut quoted: Option<String> = None;
        loop {
            let before = self.at;
            self.skip_blank_lines_and_comments();
            if self.at >= self.text.len() {
                return;
            }
            let quoted_here = quoted.take().filter(|_| !self.text[before..self.at].contains('\n'));
            let line = self.line();
            if let Some(name) = &quoted_here {
                let why = format!("has text after the closing quote of {name}, which Compose takes for the next entry");
                self.file.problems.push((line, why));
            }
            match self.entry(line, quoted_here.is_some()) {
                Ok(name) => quoted = name,
                Err(_) if quoted_here.is_some() => {
                    self.file.is_refused = true;
                    self.at = self.end_of_line();
                }
                Err(why) => {
                    self.file.refuse(line, why);
                    self.at = self.end_of_line();
                }
            }
        }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn line(&mut self) -> u32 {
        let more = self.text[self.counted.0..self.at].matches('\n').count();
        self.counted = (self.at, self.counted.1.saturating_add(u32::try_from(more).unwrap_or(u32::MAX)));
        self.counted.1
    }

    fn end_of_line(&self) -> usize {
        self.rest().find('\n').map_or(self.text.len(), |end| self.at + end)
    }

    fn skip_blank_lines_and_comments(&mut self) {
        loop {
            let trimmed = self.rest().trim_start();
            self.at = self.text.len() - trimmed.len();
            if !trimmed.starts_with('#') {
                return;
            }
            self.at = self.end_of_line();
        }
    }

    fn skip_blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_start_matches(is_blank).len();
    }

    /// Reads one entry; gives its name when its value ended with a quote.
    fn entry(&mut self, line: u32, follows_quote: bool) -> Result<Option<String>, String> {
        let start = self.at;
        let unexported =
            self.rest().strip_prefix("export").filter(|rest| rest.starts_with(['\t', '\n', '\u{c}', '\r', ' ']));
        if let Some(rest) = unexported {
            self.at = self.text.len() - rest.len();
            self.skip_blanks();
        }
        let body = self.rest();
        let Some((name, separator)) = name_of(body)? else {
            // The last line, without an end: Compose takes it for a value without a name, so it sets nothing.
            self.at = self.text.len();
            self.note(line, follows_quote, "ends with a name that has no `=` and no end of line after it");
            return Ok(None);
        };
        if name.contains(' ') {
            return Err("has a name with a blank in it".to_owned());
        }
        if name.is_empty() && separator != '\n' {
            self.note(line, follows_quote, "has a value without a name");
        } else if name.contains(char::is_whitespace) {
            self.note(line, follows_quote, "has a name with a blank in it");
        }
        self.at += body.find(separator).unwrap_or_default() + 1;
        if separator == '\n' {
            let written = self.text[start..self.at].trim_end().to_owned();
            self.push(name, line, follows_quote, None, &written);
            return Ok(None);
        }
        self.skip_blanks();
        if let Some(quote @ ('"' | '\'')) = self.rest().chars().next() {
            self.quoted(quote, &name, line, follows_quote, start)?;
            return Ok(Some(name));
        }
        let end = self.end_of_line();
        let value = self.text[self.at..end].split(" #").next().unwrap_or_default().trim_end().to_owned();
        let written = self.text[start..end].to_owned();
        self.at = end;
        let value = Value { literal: value.clone(), text: value, interpolated: true };
        self.push(name, line, follows_quote, Some(value), &written);
        Ok(None)
    }

    fn quoted(&mut self, quote: char, name: &str, line: u32, follows_quote: bool, start: usize) -> Result<(), String> {
        let body = &self.text[self.at + 1..];
        let mut inner = String::new();
        let mut letters = body.char_indices();
        let end = loop {
            match letters.next() {
                None => return Err(format!("opens a quote for {name} and does not close it")),
                Some((at, letter)) if letter == quote => break at,
                Some((_, '\\')) => match letters.next() {
                    Some((_, letter)) if letter == quote => inner.push(letter),
                    Some((_, other)) => inner.extend(['\\', other]),
                    None => {}
                },
                Some((_, letter)) => inner.push(letter),
            }
        };
        let value = match quote {
            // Within double quotes `\$` is a dollar sign and no reference; what a person means by it is one sign.
            '"' => Value { text: unescape(&inner, "$$"), literal: unescape(&inner, "$"), interpolated: true },
            _ => Value::literal(inner),
        };
        self.at += 1 + end + 1;
        let written = self.text[start..self.end_of_line()].to_owned();
        self.push(name.to_owned(), line, follows_quote, Some(value), &written);
        Ok(())
    }

    /// What Compose takes, and nobody means.
    fn note(&mut self, line: u32, follows_quote: bool, why: &str) {
        // What stands behind a quote is a problem already.
        if !follows_quote {
            self.file.problems.push((line, why.to_owned()));
        }
    }

    fn push(&mut self, name: String, line: u32, follows_quote: bool, value: Option<Value>, written: &str) {
        let Value { text, literal, interpolated } = value.clone().unwrap_or_default();
        let template = value.map(|_| Template::parse(&text)).transpose().unwrap_or_else(|why| {
            let of = if follows_quote { "something" } else { name.as_str() };
            self.file.refuse(line, format!("gives {of} a value that {why}"));
            None
        });
        if name.is_empty() {
            self.file.nameless.extend(template.map(|value| (self.file.entries.len(), value)));
            return;
        }
        let docker = docker_value(written).filter(|_| !follows_quote);
        let is_made_of_others = false;
        let value = template;
        self.file.entries.push(Entry {
            name,
            line,
            value,
            follows_quote,
            literal,
            interpolated,
            docker,
            is_made_of_others,
        });
    }
}

/// The name that begins a text, and what ends it: `=`, `:` or the end of the line. `None` when the text ends before.
fn name_of(text: &str) -> Result<Option<(String, char)>, String> {
    for (at, letter) in text.char_indices() {
        match letter {
            '=' | ':' | '\n' => return Ok(Some((text[..at].trim_end().to_owned(), letter))),
            '_' | '.' | '-' | '[' | ']' => {}
            _ if is_blank(letter) || letter.is_alphanumeric() => {}
            _ => return Err("has a character in a name that no name has".to_owned()),
        }
    }
    Ok(None)
}

/// What Compose drops in front of a value, the no-break space included.
fn is_blank(letter: char) -> bool {
    matches!(letter, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ' | '\u{85}' | '\u{a0}')
}

#[derive(Clone, Default)]
struct Value {
    /// What is interpolated.
    text: String,
    /// What the person who wrote it means.
    literal: String,
    interpolated: bool,
}

impl Value {
    fn literal(text: String) -> Self {
        Self { text: text.replace('$', "$$"), literal: text, interpolated: false }
    }
}

/// The escapes of double quotes; anything else behind a backslash stays as it is.
fn unescape(text: &str, dollar: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let Some(letter) = after.chars().next() else {
            out.push('\\');
            return out;
        };
        rest = &after[letter.len_utf8()..];
        match letter {
            'a' => out.push('\u{7}'),
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            't' => out.push('\t'),
            'v' => out.push('\u{b}'),
            '$' => out.push_str(dollar),
            '"' | '\\' => out.push(letter),
            '0' => {
                let digits = rest.bytes().take(3).take_while(u8::is_ascii_digit).count();
                let (octal, after) = rest.split_at(digits);
                rest = after;
                match u8::from_str_radix(octal, 8).ok().filter(|_| digits == 3) {
                    Some(code) => out.push(char::from(code)),
                    // What is no octal number of three digits loses its zero.
                    None => out.extend(['\\'].into_iter().chain(octal.chars())),
                }
            }
            other => out.extend(['\\', other]),
        }
    }
    out + rest
}

/// What `docker run --env-file` takes from a line: everything after `=`, as it stands.
fn docker_value(line: &str) -> Option<String> {
    let (name, value) = line.trim_start().split_once('=')?;
    (!name.is_empty() && !name.contains(char::is_whitespace) && !value.contains('\n')).then(|| value.to_owned())
}

fn line_of(text: &str, at: usize) -> u32 {
    let before = text.get(..at).unwrap_or(text);
    u32::try_from(before.matches('\n').count() + 1).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Option<String> {
        EnvFile::parse(text.as_bytes(), false).value("A")
    }

    /// Cases F01 and F02: the file, what Compose gives the container, whether `docker run --env-file` gives the same.
    /// Recorded from the two programs themselves.
    #[test]
    fn values_are_those_that_compose_reads() {
        for (text, expected, same_for_docker) in [
            ("A=\"12 34\"\n", "12 34", false),
            ("A=12 34\n", "12 34", true),
            ("A=val#1\n", "val#1", true),
            ("A=val #1\n", "val", false),
            ("A='it\\'s'\n", "it's", false),
            ("A=\"a\\\"#b\"#c\n", "a\"#b", false),
            ("A=\n", "", true),
            ("export A=1\n", "1", false),
            ("export\tA=1\n", "1", false),
            (" A = 2\n", "2", false),
            ("A =1\n", "1", false),
            ("A= 1\n", "1", false),
            ("A=1\nA=2\n", "2", true),
            ("A='a\\nb'\n", "a\\nb", false),
            ("A=a\\nb\n", "a\\nb", true),
            ("A=\"a\\nb\"\n", "a\nb", false),
            ("A: v\n", "v", false),
            ("A=\"multi\nline\"\n", "multi\nline", false),
            ("A=\"x\" # c\n", "x", false),
            // Blanks, the no-break space among them.
            ("A=\u{a0}x\u{a0}\n", "x", false),
            ("A=\t\u{b}x\n", "x", false),
            ("A=\u{2003}x\n", "\u{2003}x", true),
            // Escapes.
            ("A=\"\\a\\b\\f\\v\\r\\t\\\\\"\n", "\u{7}\u{8}\u{c}\u{b}\r\t\\", false),
            ("A=\"\\0101\\0\\012\\0777\\c\\x\"\n", "A\\\\12\\777\\c\\x", false),
            ("A=\"\\0044B\"\n", "", false),
            ("A='a\\\"b'\n", "a\\\"b", false),
            ("A=\"a\r\nb\"\n", "a\r\nb", false),
            ("# c\n\nA=1\n", "1", true),
            ("A=a\"b\"c\n", "a\"b\"c", true),
            ("A==b\n", "=b", true),
            ("A=#x\n", "#x", true),
            ("A= #x\n", "#x", false),
            ("A=1\t#x\n", "1\t#x", true),
            ("A=x \n", "x", false),
            ("A=it's\n", "it's", true),
            ("A=\"a\\xb\"\n", "a\\xb", false),
            ("A='a\\\\'\n", "a\\\\", false),
            ("A=a\\\n", "a\\", true),
            ("A='lit$eral'\n", "lit$eral", false),
            ("A=tail$\n", "tail$", true),
            ("A=a$1b\n", "a$1b", true),
            ("A=$(id)\n", "$(id)", true),
            ("A=''\n", "", false),
            // The dollar sign is taken for a reference.
            ("A=corr3ct$battery\n", "corr3ct", false),
            ("A=P@$$w0rd\n", "P@$w0rd", false),
            ("A=x$NOPE\n", "x", false),
            ("A=${NOPE}\n", "", false),
            ("A=${NOPE:-d}\n", "d", false),
            ("A=\"dq$x\"\n", "dq", false),
            ("A=\"dq$$x\"\n", "dq$x", false),
            ("A=\"\\$x\"\n", "$x", false),
            ("B=1\nA=${B}2\n", "12", false),
        ] {
            let file = EnvFile::parse(text.as_bytes(), false);
            assert_eq!(file.value("A").as_deref(), Some(expected), "{text:?}");
            assert_eq!(!file.get("A").unwrap().differs_for_docker(), same_for_docker, "{text:?}");
        }
        assert_eq!(value("A\n"), None);
        assert_eq!(value("A=1\nA\n").as_deref(), Some("1"));
        assert_eq!(value("export A\n"), None);
    }

    /// Case F01: found by name, whatever the form.
    #[test]
    fn a_dollar_sign_that_changes_the_value_is_seen() {
        for (text, changes) in [
            ("A=corr3ct$battery\n", true),
            ("A=P@$$w0rd\n", true),
            ("A=x$HOME\n", true),
            ("A=${NOPE}\n", true),
            ("A=\"dq$x\"\n", true),
            ("A='lit$eral'\n", false),
            ("A=tail$\n", false),
            ("A=a$1b\n", false),
            ("A=\"\\$x\"\n", false),
            ("A=plain\n", false),
            ("B=1\nA=http://x:${B}/\n", false),
            ("B=1\nA=\"$B-$B\"\n", false),
            ("A=$B\nB=1\n", true),
            ("B=1\nA=$B$C\n", true),
        ] {
            let file = EnvFile::parse(text.as_bytes(), false);
            assert_eq!(file.get("A").unwrap().is_changed_by_interpolation(), changes, "{text:?}");
        }
    }

    #[test]
    fn what_readers_disagree_about_is_a_problem_with_its_line_and_without_a_value() {
        for (bytes, line, problem) in [
            (&b"\xef\xbb\xbfA=S3CR3T\n"[..], 1, "byte order mark"),
            (b"B=1\nA=S3CR3T\r\n", 2, "carriage returns"),
            (b"A=S3CR3T\nA=2\n", 2, "sets A a second time"),
            (b"A=\"S3CR3T\n", 1, "does not close it"),
            (b"A B=S3CR3T\n", 1, "a name with a blank"),
            (b"=S3CR3T\n", 1, "a value without a name"),
            (b"A=S3CR3T${\n", 1, "without the name of a variable"),
            (b"A=\xff\n", 1, "not valid UTF-8"),
            (b"B=1\nA=\"x\" S3CR3T\n", 2, "text after the closing quote of A"),
            (b"A=\"x\"S3CR3T\"\n", 1, "text after the closing quote of A"),
            (b"A*S3CR3T=1\n", 1, "a character in a name"),
            (b"A=1\nS3CR3T", 2, "no end of line after it"),
        ] {
            let file = EnvFile::parse(bytes, false);
            assert!(
                file.problems.iter().any(|(at, why)| *at == line && why.contains(problem)),
                "{problem}: {:?}",
                file.problems
            );
            assert!(!format!("{:?}", file.problems).contains("S3CR3T"), "{:?}", file.problems);
        }
    }

    /// Case Q01: what follows a closing quote is the next entry, and its name may be the rest of a password.
    #[test]
    fn what_follows_a_closing_quote_is_the_next_entry() {
        let file = EnvFile::parse(b"A=\"x\" B=y\nC='z'D='w' # c\nE=\"v\"\n", false);
        let values = |name: &str| file.value(name);
        assert_eq!(["A", "B", "C", "D", "E"].map(|name| values(name).unwrap()), ["x", "y", "z", "w", "v"]);
        let told: Vec<_> = file.entries.iter().filter(|entry| !entry.follows_quote).map(|entry| &entry.name).collect();
        assert_eq!(told, ["A", "C", "E"]);
        assert!(!file.is_refused);
        assert_eq!(file.problems.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 2]);
        let refused = EnvFile::parse(b"ADMIN_PASSWORD=\"pa\"ss\"\nB=1\n", false);
        assert!(refused.is_refused && refused.problems.len() == 1, "{:?}", refused.problems);
    }

    /// Case Q10: variables that grow from line to line, and a file without end.
    #[test]
    fn a_file_that_grows_without_end_is_a_problem() {
        let lines: String = (1..64).map(|at| format!("A{at}=$A{0}$A{0}\n", at - 1)).collect();
        let file = EnvFile::parse(format!("A0=xxxxxxxx\n{lines}").as_bytes(), false);
        assert!(file.problems.iter().any(|(_, why)| why.contains("no program starts")), "{:?}", file.problems);
        let file = EnvFile::parse(&vec![b'\n'; FILE_LIMIT_BYTES + 1], false);
        assert!(file.is_refused);
    }

    #[test]
    fn a_value_that_asks_for_a_variable_needs_it_from_the_file_or_the_environment() {
        for (text, needs) in [
            ("A=${B:?x}\n", true),
            ("B=\nA=${B:?x}\n", true),
            ("B=\nA=${B?x}\n", false),
            ("A='${B:?x}'\n", false),
            ("=${B?}\n", true),
            ("B=1\n=${B?}\n", false),
        ] {
            assert_eq!(EnvFile::parse(text.as_bytes(), false).needs_environment, needs, "{text:?}");
        }
    }

    #[test]
    fn a_raw_file_has_no_quotes_no_comments_after_values_and_no_references() {
        let file = EnvFile::parse(b"# c\nA=\"x$HOME\" #c\n", true);
        assert_eq!(file.value("A").as_deref(), Some("\"x$HOME\" #c"));
        assert!(!file.get("A").unwrap().is_changed_by_interpolation());
        // One carriage return belongs to the end of a line, and of the last line, which has no other end.
        // Of the blanks two alone make a name none.
        assert!(!EnvFile::parse("\u{a0}B\u{a0}=1\n".as_bytes(), true).is_refused);
        assert!(EnvFile::parse(b"B\t=1\n", true).is_refused);
        for (text, value) in [("A=1\r", "1"), ("A=1\r\n", "1"), ("A=1\r\r\n", "1\r"), ("A=1\rB\n", "1\rB")] {
            assert_eq!(EnvFile::parse(text.as_bytes(), true).value("A").as_deref(), Some(value), "{text:?}");
        }
    }
}
