//! Dockerfiles, as far as variables, labels and healthchecks go. `tests/differential.rs` holds the reader against BuildKit.

mod lines;
mod words;

use std::collections::BTreeMap;

use self::words::{Known, References, evaluate, is_separator, split, without_flags};

/// What begins a line; anything else BuildKit refuses.
const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];
/// Values by name.
pub(crate) type Named = BTreeMap<String, String>;

const EMPTY_BASE: &str = "scratch";

/// One instruction, its continuation lines joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) line: u32,
    /// In capitals; that of the inner instruction for `ONBUILD`.
    pub(crate) keyword: String,
    pub(crate) arguments: String,
    /// The lines of its here-documents.
    pub(crate) body: Vec<(u32, String)>,
    /// It runs in the builds of other images that start from this one.
    pub(crate) is_for_later: bool,
    /// The stage it belongs to; `None` before the first `FROM`.
    pub(crate) stage: Option<usize>,
    escape: char,
    assigned: Vec<Assignment>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dockerfile {
    pub(crate) instructions: Vec<Instruction>,
    /// What BuildKit refuses: line and why.
    pub(crate) problems: Vec<(u32, String)>,
    /// What each stage starts from and what it is called.
    stages: Vec<(String, String)>,
}

/// `NAME` or `NAME=value` of an `ARG`, `ENV` or `LABEL`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
}

/// What an image gets from one `ENV` or `LABEL`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageSetting<'a> {
    pub(crate) instruction: &'a Instruction,
    pub(crate) name: String,
    /// With its references filled; `None` when only the builder knows them.
    pub(crate) value: Option<String>,
}

impl Dockerfile {
    pub(crate) fn parse(text: &str) -> Self {
        let read = lines::read(text);
        let mut file = Self { instructions: Vec::new(), problems: read.problems, stages: Vec::new() };
        let mut global = Known::new();
        for one in read.lines {
            let (is_for_later, keyword, arguments) = split_keyword(&one.text);
            // What a later build makes of an instruction is not looked at before.
            if !is_for_later && !KEYWORDS.contains(&keyword.as_str()) {
                file.problems.push((one.line, "begins with no instruction that BuildKit knows".to_owned()));
                continue;
            }
            if is_for_later && ["", "FROM", "MAINTAINER", "ONBUILD"].contains(&keyword.as_str()) {
                file.problems.push((one.line, "has an ONBUILD with nothing that can be done later".to_owned()));
            }
            if keyword == "FROM" && !is_for_later {
                file.begin_stage(&arguments, read.escape, &global);
            }
            let stage = file.stages.len().checked_sub(1);
            if stage.is_none() && (is_for_later || keyword != "ARG") {
                file.problems.push((one.line, format!("has {keyword} before the first FROM")));
            }
            let mut instruction = Instruction {
                line: one.line,
                keyword,
                arguments,
                body: one.body,
                is_for_later,
                stage,
                escape: read.escape,
                assigned: Vec::new(),
            };
            instruction.assigned = instruction.read_assignments();
            if let Err(why) = instruction.parts() {
                file.problems.push((one.line, why));
            }
            if stage.is_none() && instruction.keyword == "ARG" {
                take(&instruction, &mut global, &Known::new(), true);
            }
            file.instructions.push(instruction);
        }
        // What shows only with the values; a build argument may get one.
        let mut refused = file.evaluated("", false).1;
        refused.retain(|(line, _)| !file.problems.iter().any(|one| one.0 == *line));
        file.problems.extend(refused);
        file
    }

    fn begin_stage(&mut self, arguments: &str, escape: char, global: &Known) {
        let words: Vec<_> = arguments.split_whitespace().filter(|word| !word.starts_with("--")).collect();
        let name = words.iter().position(|word| word.eq_ignore_ascii_case("as")).and_then(|at| words.get(at + 1));
        let base = words.first().copied().unwrap_or_default();
        let filled = evaluate(base, escape, References::Fill { known: global, others_are_unset: true });
        let base = filled.ok().flatten().unwrap_or_else(|| base.to_owned());
        self.stages.push((base, name.copied().unwrap_or_default().to_owned()));
    }

    /// The name of a stage; empty for what stands before the first.
    pub(crate) fn stage_name(&self, stage: Option<usize>) -> &str {
        stage.map_or("", |stage| &self.stages[stage].1)
    }

    /// The stages that make the image itself: the last one and those it starts from.
    fn chain(&self) -> Vec<usize> {
        let mut chain = Vec::new();
        let mut next = self.stages.len().checked_sub(1);
        while let Some(stage) = next {
            chain.push(stage);
            let base = &self.stages[stage].0;
            next =
                self.stages[..stage].iter().rposition(|(_, name)| !name.is_empty() && name.eq_ignore_ascii_case(base));
        }
        chain.reverse();
        chain
    }

    /// Whether the image begins with nothing: no shell, no variable that its base sets.
    pub(crate) fn is_from_nothing(&self) -> bool {
        self.chain().first().is_none_or(|stage| self.stages[*stage].0 == EMPTY_BASE)
    }

    /// The instructions that make the image itself: those of the last stage and of the stages it starts from.
    pub(crate) fn of_the_image(&self) -> impl Iterator<Item = &Instruction> {
        let chain = self.chain();
        self.instructions.iter().filter(move |one| one.stage.is_some_and(|stage| chain.contains(&stage)))
    }

    /// What is carried out for the image, each with the stage in which it is: one begins with what the stage before it left for later.
    fn in_order(&self) -> Vec<(usize, &Instruction)> {
        let (chain, mut order) = (self.chain(), Vec::new());
        for (at, stage) in chain.iter().enumerate() {
            let of = |wanted: usize, is_for_later: bool| {
                let is_it = move |one: &&Instruction| one.stage == Some(wanted) && one.is_for_later == is_for_later;
                self.instructions.iter().filter(is_it).map(|one| (*stage, one))
            };
            let before = at.checked_sub(1).map(|before| of(chain[before], true));
            order.extend(before.into_iter().flatten().chain(of(*stage, false)));
        }
        order
    }

    /// The healthcheck that the image has: the last one written.
    pub(crate) fn healthcheck(&self) -> Option<&Instruction> {
        self.of_the_image().filter(|one| one.keyword == "HEALTHCHECK" && !one.is_for_later).last()
    }

    /// Every `ENV` of the image and what it gives.
    pub(crate) fn image_variables(&self) -> Vec<ImageSetting<'_>> {
        self.evaluated("ENV", false).0
    }

    /// The variables and labels of the image, as the builder makes them without build arguments.
    ///
    /// # Errors
    /// What the builder would refuse.
    pub(crate) fn image(&self) -> Result<(Named, Named), String> {
        if let Some((line, why)) = self.problems.iter().chain(&self.evaluated("", true).1).next() {
            return Err(format!("line {line} {why}"));
        }
        let map = |keyword| {
            let settings = self.evaluated(keyword, true).0.into_iter();
            settings.map(|one| (one.name, one.value.unwrap_or_default())).collect()
        };
        Ok((map("ENV"), map("LABEL")))
    }

    /// What the instructions of one keyword give, and which the builder refuses for the values that they take. Build arguments without
    /// a default are unset, or known to the builder alone.
    fn evaluated(&self, keyword: &str, are_arguments_unset: bool) -> (Vec<ImageSetting<'_>>, Vec<(u32, String)>) {
        let (mut global, mut refused) = (Known::new(), Vec::new());
        for one in self.instructions.iter().filter(|one| one.stage.is_none() && one.keyword == "ARG") {
            refused.extend(take(one, &mut global, &Known::new(), true));
        }
        let is_from_nothing = self.is_from_nothing();
        let (mut known, mut made) = (Known::new(), Vec::new());
        let mut stage = None;
        for (in_stage, one) in self.in_order() {
            if stage.replace(in_stage) != Some(in_stage) {
                // Build arguments are there in what starts from their stage, too, where no variable has their name.
                let set = made.iter().filter(|one: &&ImageSetting<'_>| one.instruction.keyword == "ENV");
                known.extend(set.map(|one| (one.name.clone(), one.value.clone())));
            }
            match one.keyword.as_str() {
                "ARG" => refused.extend(take(one, &mut known, &global, are_arguments_unset)),
                "ENV" | "LABEL" => {
                    let parts = one.parts().unwrap_or_default();
                    let fill = References::Fill { known: &known, others_are_unset: is_from_nothing };
                    let mut filled = |text: &str| match evaluate(text, one.escape, fill) {
                        Ok(value) => value,
                        Err(why) => {
                            refused.push((one.line, why));
                            None
                        }
                    };
                    let mut set = Vec::new();
                    for (name, value) in parts {
                        let (name, value) = (filled(&name), filled(&value.unwrap_or_default()));
                        set.extend(name.map(|name| ImageSetting { instruction: one, name, value }));
                    }
                    if one.keyword == "ENV" {
                        known.extend(set.iter().map(|one| (one.name.clone(), one.value.clone())));
                    }
                    made.extend(set);
                }
                _ => {}
            }
        }
        made.retain(|one| one.instruction.keyword == keyword);
        (made, refused)
    }
}

/// What an `ARG` sets. One without a default takes that of the same name before the first stage. Gives what the builder refuses.
fn take(one: &Instruction, known: &mut Known, global: &Known, is_unset_without: bool) -> Vec<(u32, String)> {
    let mut refused = Vec::new();
    for (name, value) in one.parts().unwrap_or_default() {
        match value {
            Some(value) => {
                let fill = References::Fill { known, others_are_unset: true };
                let value = evaluate(&value, one.escape, fill);
                refused.extend(value.as_ref().err().map(|why| (one.line, why.clone())));
                known.insert(name, value.ok().flatten());
            }
            None => match global.get(&name) {
                Some(value) => drop(known.insert(name, value.clone())),
                None if is_unset_without => {}
                None => {
                    known.entry(name).or_insert(None);
                }
            },
        }
    }
    refused
}

impl Instruction {
    /// The assignments of an `ARG`, `ENV` or `LABEL`, quotes taken off and references left.
    pub(crate) fn assignments(&self) -> &[Assignment] {
        &self.assigned
    }

    fn read_assignments(&self) -> Vec<Assignment> {
        let plain = |word: &str| {
            evaluate(word, self.escape, References::Keep).ok().flatten().unwrap_or_else(|| word.to_owned())
        };
        let parts = self.parts().unwrap_or_default().into_iter();
        parts.map(|(name, value)| Assignment { name: plain(&name), value: value.map(|value| plain(&value)) }).collect()
    }

    /// Names and values as they are written.
    fn parts(&self) -> Result<Vec<(String, Option<String>)>, String> {
        let keyword = self.keyword.as_str();
        if !matches!(keyword, "ARG" | "ENV" | "LABEL") {
            return Ok(Vec::new());
        }
        let (arguments, has_flags) = without_flags(&self.arguments, self.escape);
        // Those of an ARG count for nothing.
        if has_flags && keyword != "ARG" && !self.is_for_later {
            return Err(format!("has an {keyword} with an option, and it knows none"));
        }
        // What a later build makes of the values is not looked at before.
        let check = |text: &str| match self.is_for_later {
            true => Ok(()),
            false => evaluate(text, self.escape, References::Keep).map(drop),
        };
        let words = split(arguments, self.escape, false);
        let Some(first) = words.first() else { return Err(format!("has an {keyword} without a name")) };
        // The old form `ENV NAME some words`.
        if keyword != "ARG" && !first.contains('=') {
            let Some((name, value)) = arguments.split_once(is_separator) else {
                return Err(format!("has an {keyword} without a value"));
            };
            let value = value.trim_start_matches(is_separator).to_owned();
            check(name)?;
            check(&value)?;
            return Ok(vec![(name.to_owned(), Some(value))]);
        }
        let mut parts = Vec::new();
        for word in words {
            match word.split_once('=') {
                Some((name, value)) if !name.is_empty() || self.is_for_later => {
                    // The name of a build argument is what is written.
                    if keyword != "ARG" {
                        check(name)?;
                    }
                    check(value)?;
                    parts.push((name.to_owned(), Some(value.to_owned())));
                }
                None if keyword == "ARG" => parts.push((word, None)),
                _ => return Err(format!("has an {keyword} with a word that is not of the form name=value")),
            }
        }
        Ok(parts)
    }

    /// The type of a `HEALTHCHECK`, in capitals, and the rest.
    fn healthcheck_parts(&self) -> Option<(String, &str)> {
        let (arguments, _) = without_flags(&self.arguments, self.escape);
        let (kind, rest) = arguments.split_once(char::is_whitespace).unwrap_or((arguments, ""));
        (self.keyword == "HEALTHCHECK").then(|| (kind.to_ascii_uppercase(), rest.trim()))
    }

    /// A `HEALTHCHECK` that needs a shell, which an image of nothing but a program does not have.
    pub(crate) fn is_shell_healthcheck(&self) -> bool {
        let is_shell = |rest: &str| serde_json::from_str::<Vec<String>>(rest).is_err();
        self.healthcheck_parts().is_some_and(|(kind, rest)| kind == "CMD" && is_shell(rest))
    }

    pub(crate) fn is_disabled_healthcheck(&self) -> bool {
        self.healthcheck_parts().is_some_and(|(kind, _)| kind == "NONE")
    }
}

/// Whether it is `ONBUILD`, the keyword in capitals, the rest.
fn split_keyword(text: &str) -> (bool, String, String) {
    let text = text.trim();
    let (keyword, arguments) = text.split_once(is_separator).unwrap_or((text, ""));
    let (keyword, arguments) = (keyword.to_ascii_uppercase(), arguments.trim());
    if keyword != "ONBUILD" {
        return (false, keyword, arguments.to_owned());
    }
    let (inner, arguments) = arguments.split_once(is_separator).unwrap_or((arguments, ""));
    (true, inner.to_ascii_uppercase(), arguments.trim().to_owned())
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
        let arguments: Vec<_> = of("ARG").flat_map(Instruction::assignments).map(|a| a.name.as_str()).collect();
        assert_eq!(arguments, ["BASE", "REV", "ONLY"]);
        let image: Vec<_> = file.of_the_image().map(|one| one.line).collect();
        assert_eq!(image, [9, 10, 11, 12, 13, 14, 15]);
    }

    fn variables(text: &str) -> Vec<(u32, String, Option<String>)> {
        let file = Dockerfile::parse(&format!("{text}\n"));
        assert_eq!(file.problems, [], "{text}");
        let variables = file.image_variables();
        variables.into_iter().map(|one| (one.instruction.line, one.name, one.value)).collect()
    }

    fn values(text: &str) -> String {
        let told = |(_, name, value): (u32, String, Option<String>)| format!("{name}={}", value.unwrap_or("?".into()));
        variables(&format!("FROM scratch\n{text}")).into_iter().map(told).collect::<Vec<_>>().join("|")
    }

    /// Case Q04: comments and blank lines end no continuation, and nothing comes between the joined lines.
    #[test]
    fn a_continuation_goes_on_over_blank_lines_and_comments() {
        for (text, expected) in [
            ("ENV A=1 \\\n\n  # c\n\n B=2", "A=1|B=2"),
            ("ENV A=on\\\ne", "A=one"),
            ("ENV A=on\\  \ne", "A=one"),
            ("ENV A=a\\\\\nENV B=2", "A=a\\|B=2"),
            ("# escape=`\nENV A=1", "A=1"),
            ("ENV A=1 \\\r\n B=2\r", "A=1|B=2"),
            ("env A=1\nEnv b=2", "A=1|b=2"),
            ("ENV A=1 \\", "A=1"),
        ] {
            assert_eq!(values(text), expected, "{text:?}");
        }
        assert_eq!(variables("\u{feff}# escape=`\nFROM scratch\nENV A=1 `\n B=c:\\x `\n C=\"`\"\"").len(), 3);
        assert_eq!(variables("\u{feff}FROM scratch\n\nENV A=1 \\\n\n B=2")[0].0, 3);
    }

    /// Case Q04: references, quotes and both forms.
    #[test]
    fn a_value_is_what_the_builder_makes_of_it() {
        for (text, expected) in [
            ("ARG L=info\nENV LOG_LEVEL=${L}", "LOG_LEVEL=info"),
            ("ARG L\nENV A=$L B=x", "A=?|B=x"),
            ("ENV A=1\nENV A=2 B=$A", "A=1|A=2|B=1"),
            ("ENV A=x\nENV B=${A:-y}${C:-z}${A:+w}${C:+v}", "A=x|B=xzw"),
            ("ENV A=\"x $B 'y'\" C='$B' D=a\\ b E=\\$B", "A=x  'y'|C=$B|D=a b|E=$B"),
            ("ENV OLD some  words \"x\"", "OLD=some  words x"),
            ("ENV OLD\tx=y", "OLD=x=y"),
            ("ENV A=\"a\\nb\\\"\"", "A=a\\nb\""),
            ("ENV A=${B#x}", "A=?"),
            ("ONBUILD ENV A=1\nENV B=2", "B=2"),
            // What a later build makes of it is not looked at; options are for those that know some.
            ("ONBUILD NOPE x\nONBUILD ENV A=${\nENV B=2", "B=2"),
            ("ARG --x=\"a b\" A=1\nENV B=$A", "B=1"),
            ("ENV -- A=1", "A=1"),
            ("ENV A=${B/x/y}${B//x/y}", "A=?"),
            ("ARG A\nENV B=${A?x}", "B=?"),
            ("ENV A=1\nENV B=${A?x}${A:?x}", "A=1|B=11"),
            ("ENV A=\u{feff}x", "A=x"),
        ] {
            assert_eq!(values(text), expected, "{text:?}");
        }
        let inherited = "ARG L=g\nFROM scratch AS a\nARG L\nARG M=m\nENV A=$L\nARG A=x\nFROM a\nENV B=$A$M\n";
        let told: Vec<_> = variables(inherited).into_iter().map(|(_, name, value)| (name, value)).collect();
        assert_eq!(told, [("A".into(), Some("g".into())), ("B".into(), Some("gm".into()))]);
        let left = "FROM scratch AS a\nENV B=2\nONBUILD ENV A=1\nFROM a AS b\nENV C=$A$B\nFROM b\n";
        let told: Vec<_> = variables(left).into_iter().map(|(_, name, value)| name + &value.unwrap()).collect();
        assert_eq!(told, ["B2", "A1", "C12"]);
        assert_eq!(variables("FROM rust\nENV A=$PATH:/x")[0].2, None, "the base may set it");
        let chosen = "ARG X=b\nFROM scratch AS a\nENV A=1\nFROM scratch AS b\nENV B=1\nFROM ${X}\n";
        assert_eq!(variables(chosen)[0].1, "B");
    }

    /// Case Q04.
    #[test]
    fn the_body_of_a_here_document_is_no_instruction() {
        let text = "FROM scratch\nRUN <<EOF cat\nENV A=1\nEOF\nCOPY <<-'x y' <<\"B\" /\nENV B=1\n\tx y\nENV C=1\nB\nRUN [\"<<EOF\"]\nRUN 3<<E\nE\nRUN echo a<<E\nENV D=1";
        let text = text.replace("'x y'", "'xy'").replace("\tx y", "\txy");
        assert_eq!(variables(&text).iter().map(|one| one.1.as_str()).collect::<Vec<_>>(), ["D"]);
        let file = Dockerfile::parse(&text);
        assert_eq!(file.instructions[1].body, [(3, "ENV A=1".to_owned())]);
        assert_eq!(Dockerfile::parse("FROM x\nRUN <<E\n").problems[0].0, 2);
    }

    #[test]
    fn the_name_of_a_here_document_is_a_word_of_its_line() {
        for (opener, end) in [
            ("<< EOF", "EOF"),
            ("<<\t\\EOF", "EOF"),
            ("<<\"E F\"", "E F"),
            ("<<E\"O\"'F'", "EOF"),
            ("2<<-EOF", "\t\tEOF"),
            ("<<$A", "$A"),
            ("<<EOF", "EOF\r\r"),
            ("<\\\n<EOF", "EOF"),
        ] {
            let text = format!("FROM scratch\nONBUILD RUN cat {opener} x\nENV A=1\n{end}\nENV D=1");
            assert_eq!(variables(&text).iter().map(|one| one.1.as_str()).collect::<Vec<_>>(), ["D"], "{opener:?}");
        }
        // In quotes, within a word, without a name, with a quote that is not closed: none.
        for opener in ["\"<<EOF\"", "a<<EOF", "<<- EOF", "<<<EOF", "<<\"\"", "<<E'OF", "\\<<EOF"] {
            let text = format!("FROM scratch\nONBUILD RUN cat {opener} x\nENV A=1");
            assert_eq!(variables(&text).iter().map(|one| one.1.as_str()).collect::<Vec<_>>(), ["A"], "{opener:?}");
        }
    }

    #[test]
    fn what_the_builder_refuses_is_a_problem_with_its_line() {
        for text in [
            "ENV A",
            "ENV A=1 B",
            "ENV =1",
            "LABEL \"a",
            "ENV A=\"x",
            "ENV A=${",
            "ENV A=${B",
            "ARG",
            "COMMAND x",
            "ENV \"A b",
            "ENV --x A=1",
            "ENV A=${B?x}",
            "ENV A=${B/x}",
            "ENV A= B=${A:?x}",
            "ENV\u{a0}A=1",
            "ONBUILD FROM x",
            "ONBUILD ENV A",
            "ONBUILD",
        ] {
            assert_eq!(
                Dockerfile::parse(&format!("FROM scratch\n{text}\n")).problems.first().map(|one| one.0),
                Some(2),
                "{text}"
            );
        }
        for (text, line) in [
            ("# escape=`\n# escape=`\nFROM scratch\n", 2),
            ("# escape=x\nFROM scratch\n", 1),
            ("ENV A=1\nFROM scratch\n", 1),
        ] {
            assert_eq!(Dockerfile::parse(text).problems.first().map(|one| one.0), Some(line), "{text}");
        }
        assert_eq!(Dockerfile::parse("# escape=\n# escape=`\nFROM scratch\nENV A=`\n").problems, []);
        let long = format!("FROM scratch\nENV A={}\n", "x".repeat(64 * 1024));
        assert_eq!(Dockerfile::parse(&long).problems[0].0, 2);
        let bomb = format!("FROM scratch\nENV A=xxxxxxxx\n{}", "ENV A=$A$A\nENV B=\"$A$A\"\n".repeat(64));
        let file = Dockerfile::parse(&bomb);
        let longest = file.image_variables().into_iter().filter_map(|one| one.value).map(|one| one.len());
        assert!(longest.max().unwrap() < 2 * crate::template::VALUE_LIMIT_BYTES + 1024);
        let deep = format!("FROM scratch\nENV A={}", "${A:-".repeat(5000));
        assert_eq!(Dockerfile::parse(&deep).problems.len(), 1);
    }

    /// Case D01.
    #[test]
    fn a_healthcheck_that_needs_a_shell_is_seen() {
        for (text, shell, none) in [
            ("HEALTHCHECK CMD /app healthcheck", true, false),
            ("HEALTHCHECK --interval=5s CMD curl -f http://localhost/", true, false),
            ("HEALTHCHECK CMD [\"/app\",\"healthcheck\"]", false, false),
            ("HEALTHCHECK NONE", false, true),
            ("healthcheck --interval=5s cmd [\"/app\"]", false, false),
            ("HEALTHCHECK CMD ['/app']", true, false),
            ("HEALTHCHECK CMD [\"/app CMD\"]", false, false),
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
