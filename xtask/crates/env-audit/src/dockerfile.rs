//! Dockerfiles, as far as variables, labels and healthchecks go.

/// One instruction, its continuation lines joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) line: u32,
    /// In capitals; that of the inner instruction for `ONBUILD`.
    pub(crate) keyword: String,
    pub(crate) arguments: String,
    /// The stage it belongs to; `None` before the first `FROM`.
    pub(crate) stage: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dockerfile {
    pub(crate) instructions: Vec<Instruction>,
    /// What each stage starts from and what it is called.
    stages: Vec<(String, String)>,
}

/// `NAME` or `NAME=value` of an `ARG`, `ENV` or `LABEL`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
}

impl Dockerfile {
    pub(crate) fn parse(text: &str) -> Self {
        let mut file = Self { instructions: Vec::new(), stages: Vec::new() };
        for (line, text) in logical_lines(text) {
            let Some((keyword, arguments)) = split_keyword(&text) else { continue };
            if keyword == "FROM" {
                let words: Vec<_> = arguments.split_whitespace().filter(|word| !word.starts_with("--")).collect();
                let name =
                    words.iter().position(|word| word.eq_ignore_ascii_case("as")).and_then(|at| words.get(at + 1));
                let base = words.first().copied().unwrap_or_default().to_owned();
                file.stages.push((base, name.copied().unwrap_or_default().to_owned()));
            }
            let stage = file.stages.len().checked_sub(1);
            file.instructions.push(Instruction { line, keyword, arguments, stage });
        }
        file
    }

    /// The name of a stage; `Dockerfile` for what stands before the first.
    pub(crate) fn stage_name(&self, stage: Option<usize>) -> &str {
        stage.map_or("", |stage| &self.stages[stage].1)
    }

    /// The instructions that make the image itself: those of the last stage and of the stages it starts from.
    pub(crate) fn of_the_image(&self) -> impl Iterator<Item = &Instruction> {
        let mut chain = Vec::new();
        let mut next = self.stages.len().checked_sub(1);
        while let Some(stage) = next.filter(|stage| !chain.contains(stage)) {
            chain.push(stage);
            let base = &self.stages[stage].0;
            next = self.stages[..stage].iter().rposition(|(_, name)| !name.is_empty() && name == base);
        }
        self.instructions.iter().filter(move |one| one.stage.is_some_and(|stage| chain.contains(&stage)))
    }
}

impl Instruction {
    /// The assignments of an `ARG`, `ENV` or `LABEL`.
    pub(crate) fn assignments(&self) -> Vec<Assignment> {
        let words = shell_words(&self.arguments);
        // The old form `ENV NAME some words`.
        if self.keyword == "ENV" && words.first().is_some_and(|word| !word.contains('=')) {
            let (name, value) = self.arguments.split_once(char::is_whitespace).unwrap_or((&self.arguments, ""));
            return vec![Assignment { name: name.to_owned(), value: Some(value.trim().to_owned()) }];
        }
        let assignment = |word: String| match word.split_once('=') {
            Some((name, value)) => Assignment { name: name.to_owned(), value: Some(value.to_owned()) },
            None => Assignment { name: word, value: None },
        };
        words.into_iter().map(assignment).collect()
    }

    /// A `HEALTHCHECK` that needs a shell, which an image of nothing but a program does not have.
    pub(crate) fn is_shell_healthcheck(&self) -> bool {
        let Some((_, command)) = self.arguments.split_once("CMD") else { return false };
        self.keyword == "HEALTHCHECK" && !command.trim_start().starts_with('[')
    }

    pub(crate) fn is_disabled_healthcheck(&self) -> bool {
        self.keyword == "HEALTHCHECK" && self.arguments.trim().eq_ignore_ascii_case("none")
    }
}

fn split_keyword(text: &str) -> Option<(String, String)> {
    let (keyword, arguments) = text.trim().split_once(char::is_whitespace)?;
    let keyword = keyword.to_ascii_uppercase();
    let arguments = arguments.trim();
    if keyword == "ONBUILD" { split_keyword(arguments) } else { Some((keyword, arguments.to_owned())) }
}

/// Lines with their continuations, comments left out.
fn logical_lines(text: &str) -> Vec<(u32, String)> {
    let mut lines = Vec::new();
    let mut open: Option<(u32, String)> = None;
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if trimmed.starts_with('#') || (trimmed.is_empty() && open.is_none()) {
            continue;
        }
        let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
        let (start, mut joined) = open.take().unwrap_or((number, String::new()));
        match line.trim_end().strip_suffix('\\') {
            Some(continued) => {
                joined.push_str(continued);
                joined.push(' ');
                open = Some((start, joined));
            }
            None => {
                joined.push_str(line);
                lines.push((start, joined));
            }
        }
    }
    lines.extend(open);
    lines
}

/// Words as the shell splits them, quotes taken off.
fn shell_words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (None, letter) if letter.is_whitespace() => words.extend(word.take()),
            (None, '"' | '\'') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (Some(open), letter) if open == letter => quote = None,
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(letters.next()),
            (_, letter) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# c\nARG BASE=rust:1\nFROM ${BASE} AS build\nENV A=1 \\\n    # in between\n    B=\"two words\"\nARG REV=unknown\nRUN echo hi\nFROM scratch AS runtime\nENV OLD some words\nONBUILD ENV LATER=x\nLABEL a.b=\"c d\" e=f\nHEALTHCHECK --interval=5s CMD [\"/x\", \"healthcheck\"]\nFROM runtime\nARG ONLY\n";

    #[test]
    fn instructions_know_line_stage_and_assignments() {
        let file = Dockerfile::parse(FILE);
        let of = |keyword: &'static str| file.instructions.iter().filter(move |one| one.keyword == keyword);
        let names: Vec<_> = of("ENV").map(|one| (one.line, file.stage_name(one.stage), one.assignments())).collect();
        assert_eq!((names[0].0, names[0].1), (4, "build"));
        assert_eq!(names[0].2[1], Assignment { name: "B".into(), value: Some("two words".into()) });
        assert_eq!(names[1].2[0], Assignment { name: "OLD".into(), value: Some("some words".into()) });
        assert_eq!(names[2].2[0].name, "LATER");
        let arguments: Vec<_> = of("ARG").flat_map(Instruction::assignments).map(|a| a.name).collect();
        assert_eq!(arguments, ["BASE", "REV", "ONLY"]);
        let image: Vec<_> = file.of_the_image().map(|one| one.line).collect();
        assert_eq!(image, [9, 10, 11, 12, 13, 14, 15]);
    }

    /// Case D01.
    #[test]
    fn a_healthcheck_that_needs_a_shell_is_seen() {
        for (text, shell, none) in [
            ("HEALTHCHECK CMD /app healthcheck", true, false),
            ("HEALTHCHECK --interval=5s CMD curl -f http://localhost/", true, false),
            ("HEALTHCHECK CMD [\"/app\",\"healthcheck\"]", false, false),
            ("HEALTHCHECK NONE", false, true),
        ] {
            let file = Dockerfile::parse(text);
            let instruction = &file.instructions[0];
            assert_eq!(
                (instruction.is_shell_healthcheck(), instruction.is_disabled_healthcheck()),
                (shell, none),
                "{text}"
            );
        }
    }
}
