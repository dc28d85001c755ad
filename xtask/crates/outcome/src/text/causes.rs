//! Findings by their cause: those that the same rule made and the same step ends are one thing to fix.

use super::fit::{Section, wrapped};
use crate::style::{BAD, FAINT, STRONG, paint};
use crate::{Finding, Screen};

const MESSAGES_OF_A_CAUSE: usize = 3;

/// All findings, a cause at a time, in the order in which the causes were found.
pub(super) fn section(findings: &[Finding], screen: &Screen<'_>) -> Section {
    let items = by_cause(findings).into_iter().map(|cause| (cause.len(), lines(&cause, screen))).collect();
    Section { what: "findings", items }
}

/// How many causes there are.
pub(super) fn count(findings: &[Finding]) -> usize {
    by_cause(findings).len()
}

fn by_cause(findings: &[Finding]) -> Vec<Vec<&Finding>> {
    let mut causes: Vec<Vec<&Finding>> = Vec::new();
    for finding in findings {
        let same =
            |cause: &&mut Vec<&Finding>| cause[0].rule == finding.rule && cause[0].next_step == finding.next_step;
        match causes.iter_mut().find(same) {
            Some(cause) => cause.push(finding),
            None => causes.push(vec![finding]),
        }
    }
    causes
}

/// `PLACE [RULE]: MESSAGE` for each message, the other places of the same message below it, and what to do once. Where room is
/// short, a cause with many messages leaves some to the others.
fn lines(cause: &[&Finding], screen: &Screen<'_>) -> Vec<String> {
    let mark = if screen.marks { format!("{} ", paint(BAD, "✘")) } else { format!("{} ", paint(BAD, "finding:")) };
    let indent = if screen.marks { "  " } else { "         " };
    let mut lines = Vec::new();
    let mut told: Vec<&str> = Vec::new();
    let most = if screen.height.is_some() && !screen.evidence { MESSAGES_OF_A_CAUSE } else { usize::MAX };
    let mut left_out = 0;
    for finding in cause {
        if told.contains(&finding.message.as_str()) {
            continue;
        }
        if told.len() == most {
            left_out += 1;
            continue;
        }
        let label = if told.is_empty() { mark.as_str() } else { indent };
        told.push(&finding.message);
        let place = paint(STRONG, &finding.place.to_string());
        let text = format!("{place} {}: {}", paint(FAINT, &format!("[{}]", finding.rule)), finding.message);
        lines.extend(wrapped(label, &text, &format!("{indent}  "), screen.width));
        let others = cause.iter().filter(|other| other.message == finding.message).skip(1);
        let others: Vec<_> = others.map(|other| other.place.to_string()).collect();
        if !others.is_empty() {
            let text = format!("the same in {}", others.join(", "));
            lines.extend(wrapped(&format!("{indent}  "), &text, &format!("{indent}  "), screen.width));
        }
    }
    if left_out > 0 {
        lines.push(format!("{indent}… and {left_out} more of this cause"));
    }
    let next = format!("{indent}{} ", paint(STRONG, "next:"));
    lines.extend(wrapped(&next, &cause[0].next_step, &format!("{indent}  "), screen.width));
    lines
}
