//! What a Dockerfile copies from its context: the builder names a source that is not there late and without its line.

/// The sources of every COPY and ADD that reads the context, each with its line. One that a variable, a pattern or an address
/// stands in is left to the builder.
pub(super) fn copies(dockerfile: &str) -> Vec<(u32, String)> {
    let mut found = Vec::new();
    let (mut instruction, mut begins) = (String::new(), 1);
    for (line, number) in dockerfile.lines().zip(1..) {
        // A comment may stand between the lines of an instruction.
        if line.trim_start().starts_with('#') {
            continue;
        }
        if instruction.is_empty() {
            begins = number;
        }
        if let Some(part) = line.trim_end().strip_suffix('\\') {
            instruction += &format!("{part} ");
            continue;
        }
        instruction += line;
        found.extend(sources(&std::mem::take(&mut instruction)).into_iter().map(|source| (begins, source)));
    }
    found
}

fn sources(instruction: &str) -> Vec<String> {
    let (word, rest) = instruction.trim().split_once(char::is_whitespace).unwrap_or_default();
    if !["COPY", "ADD"].contains(&word.to_uppercase().as_str()) {
        return Vec::new();
    }
    let mut rest = rest.trim();
    while let Some(flag) = rest.strip_prefix("--") {
        let (flag, after) = flag.split_once(char::is_whitespace).unwrap_or((flag, ""));
        if flag.starts_with("from=") {
            return Vec::new();
        }
        rest = after.trim();
    }
    let words: Vec<String> =
        serde_json::from_str(rest).unwrap_or_else(|_| rest.split_whitespace().map(ToOwned::to_owned).collect());
    let is_plain =
        |source: &&String| !source.contains(['$', '*', '?', '[']) && !source.contains("://") && !source.contains("<<");
    let sources = words.split_last().map_or(&[][..], |(_, sources)| sources);
    sources.iter().filter(is_plain).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_context_has_to_hold_is_read_with_its_line() {
        let text = "FROM scratch\n# COPY no /\nCOPY --chmod=0755 a b/ \\\n  # why\n  c /there/\ncopy [\"with blank\", \"/x\"]\nCOPY --from=build /out /out\n\
                    ADD https://host.example/x /x\nCOPY $A *.toml /y\nRUN COPY d /d\n";
        let found = copies(text);
        let found: Vec<_> = found.iter().map(|(line, source)| (*line, source.as_str())).collect();
        assert_eq!(found, [(3, "a"), (3, "b/"), (3, "c"), (6, "with blank")]);
    }
}
