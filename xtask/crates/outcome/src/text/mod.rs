//! The report for people: what ran, what was found and what was not checked, then the verdict, and the next command last.

mod causes;
mod evidence;
mod fit;

use self::fit::{Section, height, sections, wrapped};
use crate::report::summary;
use crate::style::{BAD, DOUBTFUL, FAINT, STRONG, of_verdict, paint};
use crate::{Checked, Report, Table, Unchecked, Verdict};

/// The columns of the steps but for what was checked: mark, verdict, seconds, and the blanks between.
const STEP_COLUMNS_WIDTH: usize = 28;
/// With less room than this, what was checked is left to the report.
const CHECKED_WIDTH: usize = 16;

/// What a report is shown on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Screen<'a> {
    /// Lines are wrapped at so many columns; without it they are as long as they come.
    pub width: Option<usize>,
    /// The end of the report, from the steps on, takes at most so many lines; without it everything is shown.
    pub height: Option<usize>,
    /// Show marks beside the words.
    pub marks: bool,
    /// Show all evidence and every table.
    pub evidence: bool,
    /// Where more is: what it is, and its path.
    pub files: &'a [(&'a str, String)],
}

impl Report {
    /// The report for a person, with colours, which whoever prints it may have to strip.
    pub fn text(&self, screen: &Screen<'_>) -> String {
        let mut lines = if screen.evidence { evidence::lines(&self.evidence) } else { Vec::new() };
        for table in self.tables.iter().filter(|table| screen.evidence || table.step.is_empty()) {
            lines.extend(self.table_lines(table, screen));
        }
        let notes: Vec<_> = self.notes.iter().flat_map(|note| wrapped("", note, "  ", screen.width)).collect();
        let (steps, end) = (self.step_lines(screen), self.end(screen));
        let fixed = [&notes, &steps, &end].map(|part| height(part, screen.width)).iter().sum::<usize>();
        // One line is the shell's.
        let room = screen.height.filter(|_| !screen.evidence).map(|height| height.saturating_sub(fixed + 1));
        let middle =
            vec![self.failure_section(screen), causes::section(&self.findings, screen), self.unchecked_section(screen)];
        lines.extend(notes);
        lines.extend(steps);
        lines.extend(sections(middle, room, screen.width));
        lines.extend(end);
        lines.join("\n") + "\n"
    }

    fn table_lines(&self, table: &Table, screen: &Screen<'_>) -> Vec<String> {
        let mut lines = table.lines(screen.width);
        if let Some(head) = lines.first_mut() {
            *head = paint(FAINT, head);
        }
        lines.insert(0, paint(STRONG, &table.title));
        lines.push(String::new());
        lines
    }

    /// The verdict of every step, what it looked at, and how long it took.
    fn step_lines(&self, screen: &Screen<'_>) -> Vec<String> {
        let steps = self.steps.iter().filter(|step| screen.evidence || !step.name.contains('/'));
        let steps: Vec<_> = steps.collect();
        if steps.is_empty() {
            return Vec::new();
        }
        let longest = steps.iter().map(|step| step.name.chars().count()).max().unwrap_or_default();
        let room = screen.width.map(|width| width.saturating_sub(STEP_COLUMNS_WIDTH + longest));
        let is_shown = room.is_none_or(|room| room >= CHECKED_WIDTH);
        let mut table = match is_shown {
            true => Table::new("", &["verdict", "step", "checked", "#seconds"]),
            false => Table::new("", &["verdict", "step", "#seconds"]),
        };
        for step in &steps {
            let said = is_shown.then(|| cut(&step.said(), room));
            let seconds = format!("{:.1}", step.seconds);
            let first = [step.verdict.word().replace('-', " "), step.name.clone()];
            table.row(first.into_iter().chain(said).chain([seconds]));
        }
        let marked = if screen.marks { "  " } else { "" };
        let mut lines = table.lines(screen.width.map(|width| width.saturating_sub(marked.len())));
        for (line, step) in lines.iter_mut().skip(1).zip(&steps) {
            let (style, mark) = of_verdict(step.verdict.word());
            let word = step.verdict.word().replace('-', " ");
            let painted = line.replacen(&word, &paint(style, &word), 1);
            *line = if screen.marks { format!("{} {painted}", paint(style, mark)) } else { painted };
        }
        lines[0] = format!("{marked}{}", paint(FAINT, &lines[0]));
        lines.push(String::new());
        lines
    }

    fn failure_section(&self, screen: &Screen<'_>) -> Section {
        let label = if screen.marks { "✘ " } else { "failed: " };
        let failures = if self.is_said_by_the_verdict(screen) { &[][..] } else { &self.failures };
        let item = |failure: &crate::Failure| {
            let step = if failure.step.is_empty() { &self.command } else { &failure.step };
            let text = format!("{}: {}", paint(STRONG, step), failure.message.trim_end());
            (1, wrapped(&paint(BAD, label), &text, "  ", screen.width))
        };
        Section { what: "failures", items: failures.iter().map(item).collect() }
    }

    /// Whether the sentence of the verdict is all that the only failure has to say. A log with findings, too, is searched for it.
    fn is_said_by_the_verdict(&self, screen: &Screen<'_>) -> bool {
        self.failures.len() == 1 && !self.headline.contains('\n') && (screen.marks || self.findings.is_empty())
    }

    /// Whether nothing but one failure is wrong, and its message says what to do.
    fn has_own_next_step(&self) -> bool {
        matches!(self.failures.as_slice(), [only] if only.message.contains("next: ")) && self.findings.is_empty()
    }

    /// What was not checked, those with the same reason together.
    fn unchecked_section(&self, screen: &Screen<'_>) -> Section {
        let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
        for Unchecked { what, reason } in &self.unchecked {
            match reasons.iter_mut().find(|(known, _)| known == reason) {
                Some((_, all)) => all.push(what),
                None => reasons.push((reason, vec![what])),
            }
        }
        let label = if screen.marks { "! not checked: " } else { "not checked: " };
        let item = |(reason, what): (&str, Vec<&str>)| {
            let text = format!("{} ({reason})", paint(STRONG, &what.join(", ")));
            (what.len(), wrapped(&paint(DOUBTFUL, label), &text, "  ", screen.width))
        };
        Section { what: "things that were not checked", items: reasons.into_iter().map(item).collect() }
    }

    /// The verdict in a sentence, where more is, and the next command.
    fn end(&self, screen: &Screen<'_>) -> Vec<String> {
        let (style, mark) = of_verdict(self.verdict.word());
        let word = self.verdict.word().to_uppercase();
        let word = if screen.marks { format!("{mark} {word}") } else { word };
        let label = format!("{} {}", paint(style, &word), paint(STRONG, &self.command));
        let mut lines = wrapped("", &format!("{label}{}", self.sentence()), "  ", screen.width);
        let files: Vec<_> = screen.files.iter().map(|(what, path)| format!("`{what} {path}`")).collect();
        // A command line that was refused leaves none.
        if !files.is_empty() && self.verdict != Verdict::Usage {
            let files = wrapped("", &files.join(" · "), "", screen.width);
            lines.extend(files.into_iter().map(|line| paint(FAINT, &line.replace('`', ""))));
        }
        // A command with a line break in it cannot be pasted.
        let is_well = matches!(self.verdict, Verdict::Pass | Verdict::Incomplete);
        match (&self.next, &self.rerun) {
            (Some(next), _) if is_well => lines.push(format!("next: {next}")),
            (_, Some(rerun)) if !is_well && !self.has_own_next_step() => lines.push(format!("run it again: {rerun}")),
            _ => {}
        }
        lines
    }

    /// What stands behind verdict and command.
    fn sentence(&self) -> String {
        let seconds = format!("in {:.1} s", self.seconds);
        let own = self.own_checks();
        let checked = match (own.as_slice(), self.steps.as_slice()) {
            ([], [_, ..]) => String::new(),
            (own, _) => format!(" {}", summary(own)),
        };
        let found = match (self.findings.len(), causes::count(&self.findings)) {
            (1, _) => "1 finding".to_owned(),
            (all, causes) if all == causes => format!("{all} findings"),
            (all, 1) => format!("{all} findings of one cause"),
            (all, causes) => format!("{all} findings of {causes} causes"),
        };
        match self.verdict {
            Verdict::Pass if checked.is_empty() => format!(": everything was checked, {seconds}"),
            Verdict::Pass => format!(":{checked} {seconds}"),
            Verdict::Incomplete => {
                let unchecked = match self.unchecked.len() {
                    1 => "1 thing was not checked".to_owned(),
                    all => format!("{all} things were not checked"),
                };
                let code = match self.exit_code() {
                    0 => "exit code 0; 3 with --strict",
                    _ => "exit code 3",
                };
                let checked = if own.is_empty() { String::new() } else { format!("; checked:{checked}") };
                format!(": nothing wrong was found, and {unchecked} ({code}){checked} {seconds}")
            }
            Verdict::Findings if checked.is_empty() => format!(": {found} {seconds}"),
            Verdict::Findings => format!(": {found}; checked:{checked} {seconds}"),
            _ if self.findings.is_empty() => format!(": {}", first_line(&self.headline)),
            _ => format!(" ({found}): {}", first_line(&self.headline)),
        }
    }

    /// What the command looked at beside its steps.
    fn own_checks(&self) -> Vec<Checked> {
        let mut of_steps: Vec<_> =
            self.steps.iter().filter(|step| !step.name.contains('/')).flat_map(|step| &step.checked).collect();
        let is_own = |checked: &&Checked| match of_steps.iter().position(|known| *known == *checked) {
            Some(at) => {
                of_steps.swap_remove(at);
                false
            }
            None => true,
        };
        self.checked.iter().filter(is_own).cloned().collect()
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// As many of the parts between commas as there is room for.
fn cut(text: &str, room: Option<usize>) -> String {
    let Some(room) = room.filter(|room| text.chars().count() > *room) else { return text.to_owned() };
    let mut shown = String::new();
    for part in text.split_inclusive(", ") {
        if shown.chars().count() + part.chars().count() + 1 > room {
            break;
        }
        shown += part;
    }
    if shown.is_empty() {
        shown = text.chars().take(room.saturating_sub(1)).collect();
    }
    shown + "…"
}

#[cfg(test)]
mod tests;
