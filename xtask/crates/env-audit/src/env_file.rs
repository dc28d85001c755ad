//! Env files in the dialect that Compose reads, and where `docker run --env-file` reads another value.
//!
//! The rules were taken from what Compose 2.40 and the docker client 28 make of each of the files in the table below.

use super::template::Template;

/// One entry of an env file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) line: u32,
    /// `None` for a name without `=`, which is taken from the environment of whoever calls Compose.
    pub(crate) value: Option<Template>,
    /// The value before interpolation, without quotes.
    literal: String,
    /// Whether `$` means something in it.
    interpolated: bool,
    /// What docker's own `--env-file` makes of the line; `None` when it refuses the file.
    docker: Option<String>,
}

/// A whole env file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct EnvFile {
    pub(crate) entries: Vec<Entry>,
    /// What makes Compose refuse the file, or what no reader agrees about: line and what is wrong, without a value.
    pub(crate) problems: Vec<(u32, String)>,
}

impl Entry {
    /// The characters that somebody wrote are not the value that arrives: `$` was taken for a reference (case F01).
    pub(crate) fn is_changed_by_interpolation(&self) -> bool {
        self.interpolated && self.value.as_ref().is_some_and(|value| value.literal().as_deref() != Some(&self.literal))
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
        let text = text.replace("\r\n", "\n");
        if raw {
            file.parse_raw(&text);
        } else {
            Reader { text: &text, at: 0, file: &mut file }.read();
        }
        file.note_duplicates();
        file
    }

    /// The entry that counts: the last one.
    pub(crate) fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| entry.name == name)
    }

    /// The value of a variable after interpolation with what stands above it in the file.
    pub(crate) fn value(&self, name: &str) -> Option<String> {
        let at = self.entries.iter().rposition(|entry| entry.name == name)?;
        self.value_before(name, at + 1)
    }

    fn value_before(&self, name: &str, end: usize) -> Option<String> {
        let at = self.entries[..end].iter().rposition(|entry| entry.name == name)?;
        let template = self.entries[at].value.as_ref()?;
        Some(template.fill(&|other| self.value_before(other, at), "").text)
    }

    fn parse_raw(&mut self, text: &str) {
        for (index, line) in text.lines().enumerate() {
            let line_number = u32::try_from(index + 1).unwrap_or(u32::MAX);
            let trimmed = line.trim_start();
            if trimmed.is_empty() || trimmed.starts_with('#') {
                continue;
            }
            let (name, value) = match trimmed.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (trimmed, None),
            };
            let value = value.map(|value| Value::literal(value.to_owned()));
            self.entries.push(Entry {
                name: name.to_owned(),
                line: line_number,
                value: value.as_ref().and_then(|value| Template::parse(&value.text).ok()),
                literal: value.unwrap_or_default().literal,
                interpolated: false,
                docker: docker_value(line),
            });
        }
    }

    fn note_duplicates(&mut self) {
        for (index, entry) in self.entries.iter().enumerate() {
            if self.entries[..index].iter().any(|earlier| earlier.name == entry.name) {
                let why = format!("sets {} a second time; the last one counts", entry.name);
                self.problems.push((entry.line, why));
            }
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    file: &'a mut EnvFile,
}

impl<'a> Reader<'a> {
    fn read(&mut self) {
        loop {
            self.skip_blank_lines_and_comments();
            if self.at >= self.text.len() {
                return;
            }
            if let Err(why) = self.entry() {
                self.file.problems.push((line_of(self.text, self.at), why));
                self.at = self.end_of_line();
            }
        }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
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

    fn entry(&mut self) -> Result<(), String> {
        let (start, line) = (self.at, line_of(self.text, self.at));
        let end = self.end_of_line();
        let written = &self.text[start..end];
        let unexported = written.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t']));
        let body = unexported.map_or(written, |rest| rest.trim_start_matches([' ', '\t']));
        let Some(separator) = body.find(['=', ':']) else {
            let name = body.trim();
            if name.contains(char::is_whitespace) {
                return Err("has a name with a blank in it".to_owned());
            }
            let (name, written) = (name.to_owned(), written.to_owned());
            self.push(name, line, None, &written);
            self.at = end;
            return Ok(());
        };
        let name = body[..separator].trim();
        if name.is_empty() {
            return Err("has a value without a name".to_owned());
        }
        if name.contains(char::is_whitespace) {
            return Err("has a name with a blank in it".to_owned());
        }
        let name = name.to_owned();
        self.at = end - body.len() + separator + 1;
        self.skip_blanks();
        match self.rest().chars().next() {
            Some(quote @ ('"' | '\'')) => self.quoted(quote, name, line, start),
            _ => {
                let value = self.text[self.at..end].to_owned();
                let value = value.split(" #").next().unwrap_or_default().trim_end().to_owned();
                let written = self.text[start..end].to_owned();
                self.push(
                    name,
                    line,
                    Some(Value { literal: value.clone(), text: value, interpolated: true }),
                    &written,
                );
                self.at = end;
                Ok(())
            }
        }
    }

    fn skip_blanks(&mut self) {
        let trimmed = self.rest().trim_start_matches([' ', '\t']);
        self.at = self.text.len() - trimmed.len();
    }

    fn quoted(&mut self, quote: char, name: String, line: u32, start: usize) -> Result<(), String> {
        let body = &self.text[self.at + 1..];
        let mut escaped = false;
        let end = body.char_indices().find(|(_, letter)| {
            let ends = *letter == quote && !escaped;
            escaped = *letter == '\\' && !escaped;
            ends
        });
        let Some((end, _)) = end else { return Err(format!("opens a quote for {name} and does not close it")) };
        let inner = &body[..end];
        let value = match quote {
            // Within double quotes `\$` is a dollar sign and no reference; what a person means by it is one sign.
            '"' => Value { text: unescape(inner, "$$"), literal: unescape(inner, "$"), interpolated: true },
            _ => Value::literal(inner.replace("\\'", "'")),
        };
        self.at += 1 + end + 1;
        // What follows the closing quote on its line is dropped by Compose.
        self.at = self.end_of_line();
        let written = self.text[start..self.at].to_owned();
        self.push(name, line, Some(value), &written);
        Ok(())
    }

    fn push(&mut self, name: String, line: u32, value: Option<Value>, written: &str) {
        let Value { text, literal, interpolated } = value.clone().unwrap_or_default();
        let template = value.map(|_| Template::parse(&text)).transpose().unwrap_or_else(|why| {
            self.file.problems.push((line, format!("gives {name} a value that {why}")));
            None
        });
        let docker = docker_value(written);
        self.file.entries.push(Entry { name, line, value: template, literal, interpolated, docker });
    }
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

/// The escapes of double quotes.
fn unescape(text: &str, dollar: &str) -> String {
    let mut out = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            out.push(letter);
            continue;
        }
        match letters.next() {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('$') => out.push_str(dollar),
            Some(known @ ('"' | '\\')) => out.push(known),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    out
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
            ("A=\"x\"y\n", "x", false),
            ("A='x' y\n", "x", false),
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

    #[test]
    fn a_raw_file_has_no_quotes_no_comments_after_values_and_no_references() {
        let file = EnvFile::parse(b"# c\nA=\"x$HOME\" #c\n", true);
        assert_eq!(file.value("A").as_deref(), Some("\"x$HOME\" #c"));
        assert!(!file.get("A").unwrap().is_changed_by_interpolation());
    }
}
