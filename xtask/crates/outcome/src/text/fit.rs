//! Lines that fit a terminal's width, and sections that fit its height.

use textwrap::{Options, WordSplitter, wrap};

/// Stands for a blank that must not become the end of a line.
const KEPT_BLANK: &str = "\u{a0}";

/// Wraps a text behind its label; the following lines are indented. A command between backticks stays in one piece, so that it
/// can be pasted. Without a width only the text's own lines end one.
pub(super) fn wrapped(label: &str, text: &str, indent: &str, width: Option<usize>) -> Vec<String> {
    let Some(width) = width else {
        let lines = text.lines().enumerate();
        return lines.map(|(at, line)| format!("{}{line}", if at == 0 { label } else { indent })).collect();
    };
    let options = Options::new(width)
        .initial_indent(label)
        .subsequent_indent(indent)
        .break_words(false)
        .word_splitter(WordSplitter::NoHyphenation);
    wrap(&with_commands_whole(text), options).into_iter().map(|line| line.replace(KEPT_BLANK, " ")).collect()
}

fn with_commands_whole(text: &str) -> String {
    let is_paired = text.matches('`').count().is_multiple_of(2);
    let parts = text.split('`').enumerate();
    let kept =
        parts.map(|(at, part)| if is_paired && at % 2 == 1 { part.replace(' ', KEPT_BLANK) } else { part.to_owned() });
    kept.collect::<Vec<_>>().join("`")
}

/// How many lines of a terminal these take: one that is too long continues on the next.
pub(super) fn height(lines: &[String], width: Option<usize>) -> usize {
    let rows = |line: &String| match width {
        Some(width) => textwrap::core::display_width(line).div_ceil(width.max(1)).max(1),
        None => 1,
    };
    lines.iter().map(rows).sum()
}

/// Things of one kind: each takes some lines, and what has no room is counted.
pub(super) struct Section {
    /// `findings`.
    pub(super) what: &'static str,
    /// How many there are in each item, and its lines.
    pub(super) items: Vec<(usize, Vec<String>)>,
}

/// The lines of all sections. With a room, each section shows what fits, at least the beginning of its first item, and says
/// how much is left out.
pub(super) fn sections(sections: Vec<Section>, room: Option<usize>, width: Option<usize>) -> Vec<String> {
    let mut sections: Vec<_> = sections.into_iter().filter(|section| !section.items.is_empty()).collect();
    let mut left = room;
    let mut lines = Vec::new();
    while !sections.is_empty() {
        let section = sections.remove(0);
        // Every later section gets two lines: the beginning of its first item, and one that counts the others.
        let reserved: usize = sections.iter().map(|later| later.height(width).min(2)).sum();
        let own = left.map(|left| left.saturating_sub(reserved).max(2));
        let shown = fitted(section, own, width);
        left = left.map(|left| left.saturating_sub(height(&shown, width)));
        lines.extend(shown);
    }
    lines
}

impl Section {
    fn height(&self, width: Option<usize>) -> usize {
        self.items.iter().map(|(_, lines)| height(lines, width)).sum()
    }
}

fn fitted(section: Section, room: Option<usize>, width: Option<usize>) -> Vec<String> {
    let Some(room) = room.filter(|room| section.height(width) > *room) else {
        return section.items.into_iter().flat_map(|(_, lines)| lines).collect();
    };
    let room = room.saturating_sub(1);
    let (mut shown, mut left_out, mut used) = (Vec::new(), 0, 0);
    for (count, lines) in section.items {
        let needed = height(&lines, width);
        if left_out == 0 && used + needed <= room {
            used += needed;
            shown.extend(lines);
        } else if shown.is_empty() {
            // The first one is begun, however long it is.
            shown.extend(beginning(lines, room.max(1), width));
            left_out += count.saturating_sub(1);
            used = room;
        } else {
            left_out += count;
        }
    }
    let more = if left_out == 0 { "…".to_owned() } else { format!("… and {left_out} more {}", section.what) };
    shown.push(format!("  {more}; -v and the report show all"));
    shown
}

fn beginning(lines: Vec<String>, room: usize, width: Option<usize>) -> Vec<String> {
    let mut shown: Vec<String> = Vec::new();
    for line in lines {
        shown.push(line);
        if height(&shown, width) > room {
            shown.pop();
            break;
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(what: &'static str, items: &[usize]) -> Section {
        let item = |lines: &usize| (1, vec![format!("{what}"); *lines]);
        Section { what, items: items.iter().map(item).collect() }
    }

    #[test]
    fn a_command_is_never_broken_and_words_are() {
        let text = "set it in the file, then run `cargo xtask audit-env --write` once more";
        insta::assert_snapshot!(wrapped("next: ", text, "      ", Some(34)).join("\n"), @r"
        next: set it in the file, then run
              `cargo xtask audit-env --write`
              once more
        ");
        assert_eq!(wrapped("a: ", "one\ntwo", "   ", None), ["a: one", "   two"]);
    }

    #[test]
    fn what_fits_is_shown_whole_and_the_rest_is_counted() {
        let all = || vec![section("findings", &[2, 2, 2, 2]), section("failures", &[1]), section("checks", &[])];
        assert_eq!(sections(all(), None, None).len(), 9);
        // The last section may need less than the two lines that it gets.
        assert_eq!(sections(all(), Some(9), Some(80)).len(), 9);
        let cut = sections(all(), Some(7), Some(80));
        assert_eq!(cut.len(), 6, "{cut:#?}");
        assert_eq!(cut[4], "  … and 2 more findings; -v and the report show all");
        for room in 0..12 {
            let lines = sections(all(), Some(room), Some(80));
            assert!(lines.iter().any(|line| line == "failures"), "{room}: {lines:#?}");
            assert!(lines.len() <= room.max(3), "{room}: {lines:#?}");
        }
    }

    #[test]
    fn a_line_that_is_too_long_counts_as_the_lines_that_it_takes() {
        let lines = vec!["x".repeat(100), String::new()];
        assert_eq!((height(&lines, Some(40)), height(&lines, None)), (4, 2));
    }
}
