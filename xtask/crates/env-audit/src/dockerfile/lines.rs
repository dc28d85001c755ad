//! The lines of a Dockerfile: the escape directive, continuations with what stands in between, and here-documents.

use std::collections::BTreeSet;

use super::words::{References, evaluate, is_separator, split, without_flags};

/// BuildKit refuses a longer line.
const LINE_LIMIT_BYTES: usize = 64 * 1024 - 1;

/// One instruction as it is written, and the here-documents that follow it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogicalLine {
    pub(super) line: u32,
    pub(super) text: String,
    /// Lines that are input for the instruction and no instructions.
    pub(super) body: Vec<(u32, String)>,
}

/// The lines, what escapes in them, and what BuildKit refuses.
pub(super) struct Lines {
    pub(super) lines: Vec<LogicalLine>,
    pub(super) escape: char,
    pub(super) problems: Vec<(u32, String)>,
    /// Those that were seen; none may be repeated.
    directives: BTreeSet<String>,
}

pub(super) fn read(text: &str) -> Lines {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut read = Lines { lines: Vec::new(), escape: '\\', problems: Vec::new(), directives: BTreeSet::new() };
    let mut numbered = (1_u32..).zip(text.lines());
    let is_long = |(_, line): &(u32, &str)| line.len() > LINE_LIMIT_BYTES;
    if let Some((number, _)) = numbered.clone().find(is_long) {
        read.problems.push((number, format!("has a line of more than {LINE_LIMIT_BYTES} bytes")));
    }
    let mut may_be_directive = true;
    while let Some((number, line)) = numbered.next() {
        if may_be_directive {
            may_be_directive = read.directive(number, line.trim_start());
        }
        let line = line.trim_start();
        if line.starts_with('#') || line.trim().is_empty() {
            continue;
        }
        let (mut joined, mut is_open) = without_continuation(line, read.escape);
        while is_open {
            let Some((_, line)) = numbered.next() else { break };
            // Comments and blank lines end no instruction.
            if line.trim_start().starts_with('#') || line.trim().is_empty() {
                continue;
            }
            let (more, goes_on) = without_continuation(line, read.escape);
            joined += &more;
            is_open = goes_on;
        }
        let mut body = Vec::new();
        for (name, is_indented) in here_documents(&joined, read.escape) {
            let mut is_closed = false;
            for (number, line) in numbered.by_ref() {
                let end = if is_indented { line.trim_start_matches('\t') } else { line };
                is_closed = end.trim_end_matches('\r') == name;
                if is_closed {
                    break;
                }
                body.push((number, line.to_owned()));
            }
            if !is_closed {
                read.problems.push((number, "has a here-document that is not closed".to_owned()));
            }
        }
        read.lines.push(LogicalLine { line: number, text: joined, body });
    }
    read
}

impl Lines {
    /// `# escape=`, before anything else. Gives whether another directive may follow.
    fn directive(&mut self, number: u32, line: &str) -> bool {
        let Some((name, value)) = line.strip_prefix('#').and_then(|line| line.split_once('=')) else { return false };
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        if !["escape", "syntax", "check"].contains(&name.as_str()) || value.is_empty() {
            return false;
        }
        match (name.as_str(), value) {
            ("escape", "\\") => self.escape = '\\',
            ("escape", "`") => self.escape = '`',
            ("escape", _) => {
                self.problems.push((number, "sets an escape character that is neither \\ nor `".to_owned()));
            }
            _ => {}
        }
        if self.directives.contains(&name) {
            self.problems.push((number, format!("has a second directive `{name}`")));
        }
        self.directives.insert(name);
        true
    }
}

/// The line without the escape character that ends it, and whether there was one. Two of them escape each other.
fn without_continuation(line: &str, escape: char) -> (String, bool) {
    let end = line.trim_end_matches(['\r', '\n']);
    let trimmed = end.trim_end_matches([' ', '\t']);
    match trimmed.strip_suffix(escape).filter(|rest| !rest.ends_with(escape)) {
        Some(rest) => (rest.to_owned(), true),
        None => (end.to_owned(), false),
    }
}

/// The names that end the here-documents of an instruction, and whether tabs before them count for nothing.
fn here_documents(text: &str, escape: char) -> Vec<(String, bool)> {
    let Some((mut keyword, mut arguments)) = text.trim().split_once(is_separator) else { return Vec::new() };
    if keyword.eq_ignore_ascii_case("ONBUILD") {
        let inner = arguments.trim_start().split_once(is_separator);
        (keyword, arguments) = inner.unwrap_or((keyword, ""));
    }
    let takes_one = ["ADD", "COPY", "RUN"].iter().any(|known| keyword.eq_ignore_ascii_case(known));
    if !takes_one || serde_json::from_str::<Vec<String>>(without_flags(arguments, escape).0).is_ok() {
        return Vec::new();
    }
    // BuildKit reads these with a backslash as the escape character, whatever the directive says.
    if evaluate(arguments, '\\', References::Keep).is_err() {
        return Vec::new();
    }
    split(arguments, '\\', true).iter().filter_map(|word| name_of_here_document(word)).collect()
}

/// `2<<-"EOF"` as `EOF`: at the beginning of a word, behind the number of a file descriptor at most.
fn name_of_here_document(word: &str) -> Option<(String, bool)> {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
    let (rest, is_indented) = rest.strip_prefix('-').map_or((rest, false), |rest| (rest, true));
    let rest = rest.trim_start();
    let name = evaluate(rest, '\\', References::Keep).ok().flatten()?;
    (!name.is_empty() && !rest.contains('<')).then_some((name, is_indented))
}
